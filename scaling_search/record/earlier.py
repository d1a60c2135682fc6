"""Older runs: the options that they do not name, and the parts that they name otherwise."""

from collections.abc import Mapping
from typing import Any

OWN_IMAGES = {"splits": None, "duplicates": "keep", "aspect": "crop"}
PICTURES = OWN_IMAGES | {"background": "black"}

UNNAMED: dict[str, dict[str, Any]] = {
    "scaling_search.datasets.arrays.Arrays": OWN_IMAGES,
    "scaling_search.datasets.huggingface.HuggingFace": PICTURES,
    "scaling_search.datasets.imagefolder.ImageFolder": PICTURES,
}
"""Options by the ``_target_`` of a part, with the values that do what the code did then."""

MOVED = {
    f"scaling_search.{old}": f"scaling_search.{new}"
    for old, new in (
        ("base_networks.custom.custom", "base_networks.custom_network.custom"),
        ("base_networks.efficientnet.efficientnet", "base_networks.efficientnets.efficientnet"),
        (
            "base_networks.efficientnet.small_efficientnet",
            "base_networks.efficientnets.small_efficientnet",
        ),
        ("base_networks.resnet.ResNet", "base_networks.resnets.ResNet"),
        ("base_networks.resnet.resnet", "base_networks.resnets.resnet"),
        ("samplers.gp.Gp", "samplers.optuna.Gp"),
        ("samplers.qmc.Qmc", "samplers.optuna.Qmc"),
        ("samplers.tpe.Tpe", "samplers.optuna.Tpe"),
    )
}
"""The present ``_target_`` of parts that have moved, by the one that older runs name."""


def earlier(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Values for the options of a run's parts, by their keys; what the run names wins over them."""
    parts = {key: part for key, part in options.items() if isinstance(part, Mapping)}
    known = {key: UNNAMED.get(str(part.get("_target_")), {}) for key, part in parts.items()}
    return {key: values for key, values in known.items() if values}


def present(options: Any) -> Any:
    """The options of a run, at any depth, with parts that have moved by their present names."""
    if isinstance(options, Mapping):
        return {key: present(value) for key, value in options.items()}
    return MOVED.get(options, options) if isinstance(options, str) else options
