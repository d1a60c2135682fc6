"""Versions of the record, and how older ones are read.

A record says its version. One of a newer version is refused. Options that an older run does not
name have the value of `ADDED`, else the default that the code has today.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

VERSION = 3
"""Version of the records that this code writes.

1 (0.1.0): choices as composed options; networks are planned anew and in CSV files.
2: choices as the built parts; every network with its architecture.
3: digests beside all that is recorded; the options of ``config.yaml``.
"""

WITHOUT_DIGESTS = 2
"""The version that becomes today's by writing the first digest."""

OWN_IMAGES = {"splits": None, "duplicates": "keep", "aspect": "crop"}
PICTURES = OWN_IMAGES | {"background": "black"}

ADDED: dict[str, dict[str, Any]] = {
    "scaling_search.datasets.arrays.Arrays": OWN_IMAGES,
    "scaling_search.datasets.huggingface.HuggingFace": PICTURES,
    "scaling_search.datasets.imagefolder.ImageFolder": PICTURES,
    "scaling_search.core.recipe.Recipe": {"check": False},
}
"""Options, by the part's name of today, that older runs lack, with values that do as before.

Options whose defaults do so are not here.
"""

ANY: Any = object()
"""Any value of a dropped option: none of them changed a result, or another sampler may go on."""

_EFFICIENTNET: dict[str, Any] = {"norm_epsilon": 0.001, "se_ratio": 0.25}
_MOBILENET: dict[str, Any] = {"norm_momentum": 0.1, "norm_epsilon": 0.001}
_RESNET: dict[str, Any] = {"norm_momentum": 0.1, "norm_epsilon": 0.00001}
_SAMPLER: dict[str, Any] = {"objective": ANY}

DROPPED: dict[str, dict[str, Any]] = {
    f"scaling_search.{name}": values
    for name, values in {
        "base_networks.efficientnets.EfficientNet": _EFFICIENTNET,
        "base_networks.efficientnets.efficientnet": _EFFICIENTNET | {"norm_momentum": 0.01},
        "base_networks.efficientnets.small_efficientnet": _EFFICIENTNET | {"norm_momentum": 0.1},
        "base_networks.mobilenet_v1.MobileNetV1": _MOBILENET,
        "base_networks.mobilenet_v2.MobileNetV2": _MOBILENET,
        "base_networks.resnets.ResNet": _RESNET,
        "base_networks.resnets.resnet": _RESNET,
        "costs.latency.Latency": {"warm_up": 5, "threads": 1},
        "datasets.fashion_mnist.FashionMnist": {"download": ANY, "url": ANY},
        "samplers.focus.Focus": _SAMPLER | {"target": ANY},
        "samplers.optuna.Gp": _SAMPLER,
        "samplers.optuna.Qmc": {"sequence": ANY, "scramble": ANY, "seed": ANY},
        "samplers.optuna.Tpe": _SAMPLER,
    }.items()
}
"""Options that no longer exist, by the part's name of today, with the value that the code has."""

MEASURED_CAPS = {"latency": "latency_ms", "memory": "memory_bytes"}
"""Options on measuring a capped cost, and those of their limits."""

COMMANDS = ("Audit", "Confirm", "Export", "Fairness", "Report", "Scale", "Transfer")

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
        ("experiment.Decide", "experiment.experiment.Decide"),
        ("experiment.Experiment", "experiment.experiment.Experiment"),
        ("experiment.Limits", "answer.stopping.Limits"),
        ("samplers.gp.Gp", "samplers.optuna.Gp"),
        ("samplers.qmc.Qmc", "samplers.optuna.Qmc"),
        ("samplers.tpe.Tpe", "samplers.optuna.Tpe"),
        ("spaces.buildable.Buildable", "candidates.buildable.Buildable"),
        ("spaces.paper_grid.PaperGrid", "candidates.paper_grid.PaperGrid"),
        ("training.recipe.Recipe", "core.recipe.Recipe"),
        *((f"experiment.{one}", f"experiment.options.{one}") for one in COMMANDS),
        *((f"options.{one}", f"experiment.options.{one}") for one in COMMANDS),
    )
}
"""New names of parts by the names that older runs have."""

CROP_KEY = "what recipe.crop is a fraction of"
"""A choice of this package, not an option; recorded if crops are taken."""

START_KEY = "the SHA-256 of recipe.start"
"""Another one, recorded if there is such a file."""

NO_CHOICES = {"recipe.checkpoint_minutes", "recipe.check", "recipe.start", "training.keep"}
"""Options that change no result, and the place of a file whose content does."""

BEFORE = {CROP_KEY: "the size that a network sees", "objective_direction": None, "training": None}
"""Choices that older records do not name, with the values of their trainings."""

_MEMORY = re.compile(r"\bMemory\(device='[^']*', batch_size=\d+(?=\))")
"""The memory cost of older runs, whose optimizer was SGD."""

NAMES = ("_target_", "class")
"""Keys under which a part's name stands, in configurations and in records."""


def current(options: Any) -> Any:
    """Plain options of an older run as those of today: parts renamed, options added and dropped.

    Raises:
        ValueError: A dropped option has another value than the code has now.
    """
    if isinstance(options, list):
        return [current(value) for value in options]
    if not isinstance(options, Mapping):
        return options
    options = {k: None if _is_unused(k, options) else value for k, value in options.items()}
    name = next((str(options[key]) for key in NAMES if key in options), "")
    name = MOVED.get(name, name)
    read = ADDED.get(name, {}) | {key: current(value) for key, value in options.items()}
    for option, value in DROPPED.get(name, {}).items():
        if value is not ANY and read.get(option, value) != value:
            raise ValueError(
                f"{option} of {name.rpartition('.')[2]} must be {value!r}, which can no longer be "
                f"chosen, got {read[option]!r}; use the version that made this run"
            )
        read.pop(option, None)
    return read | {key: name for key in NAMES if key in options}


def current_costs(costs: Mapping[str, Any]) -> dict[str, Any]:
    """Measured costs of an older run by the names that their measures have today."""
    # Other values of these dropped options are refused.
    named = {key.replace(", warm_up=5, threads=1)", ")"): value for key, value in costs.items()}
    return {_MEMORY.sub(r"\g<0>, optimizer='sgd'", key): value for key, value in named.items()}


def check_version(version: int, where: str) -> None:
    """Checks the version of a record.

    Raises:
        RuntimeError: The record is newer than this code.
    """
    if version > VERSION:
        raise RuntimeError(
            f"{where} must be a record of version {VERSION} or older, got version {version}; "
            "update scaling-search"
        )


def check_choices(
    choices: Mapping[str, object],
    held: Mapping[str, object],
    *,
    remedy: str = "use another out= for another experiment",
) -> None:
    """Compares choices with those of a record.

    Args:
        choices: In groups, as a record has them.
        held: Those of the record.
        remedy: Advice if a choice differs.

    Raises:
        ValueError: A choice differs.
    """
    mine, theirs, missing = _used(choices), _used(held), "nothing"
    for key in sorted({*mine, *theirs} - NO_CHOICES):
        wanted, found = mine.get(key, missing), theirs.get(key, BEFORE.get(key, missing))
        if wanted != found:
            raise ValueError(
                f"{key} must be {found!r} as in this folder's record, got {wanted!r}; {remedy}"
            )


def _used(options: Mapping[str, object]) -> dict[str, object]:
    """The choices by their full keys, without options of measuring a cost that is not capped."""
    every = dict(_flat(options))
    for how, limit in MEASURED_CAPS.items():
        if every.get(f"caps.{limit}") is None:
            every = {k: v for k, v in every.items() if not f"{k}.".startswith(f"caps.{how}.")}
    return every


def _is_unused(key: str, options: Mapping[str, Any]) -> bool:
    """True if an option says how to measure a cost that is not capped."""
    return key in MEASURED_CAPS and options.get(MEASURED_CAPS[key], 0) is None


def _flat(options: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every value of nested options with its full key; lists of groups by their places."""
    for key, value in options.items():
        if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            value = {str(place): one for place, one in enumerate(value)}  # noqa: PLW2901
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nested(options: Mapping[str, object]) -> dict[str, Any]:
    """Options by their full keys as groups within groups."""
    groups: dict[str, Any] = {}
    for key, value in options.items():
        *above, last = key.split(".")
        group = groups
        for name in above:
            group = group.setdefault(name, {})
        group[last] = value
    return groups
