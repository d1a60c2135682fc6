"""Options that older runs do not name, with the values that do what the code did then."""

from collections.abc import Mapping
from typing import Any

OWN_IMAGES = {"splits": None, "duplicates": "keep", "aspect": "crop"}
PICTURES = OWN_IMAGES | {"background": "black"}

UNNAMED: dict[str, dict[str, Any]] = {
    "scaling_search.datasets.arrays.Arrays": OWN_IMAGES,
    "scaling_search.datasets.huggingface.HuggingFace": PICTURES,
    "scaling_search.datasets.imagefolder.ImageFolder": PICTURES,
}
"""Options by the ``_target_`` of a part."""


def earlier(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Values for the options of a run's parts, by their keys; what the run names wins over them."""
    parts = {key: part for key, part in options.items() if isinstance(part, Mapping)}
    known = {key: UNNAMED.get(str(part.get("_target_")), {}) for key, part in parts.items()}
    return {key: values for key, values in known.items() if values}
