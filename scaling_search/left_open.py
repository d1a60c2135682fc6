"""Options that are left open, null, and that data and target settle before anything is planned."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args

from scaling_search.data.gathering import Described
from scaling_search.planning.room import fitted_resolution

Build = Callable[[str, Mapping[str, Any]], Any]
"""Builds the part of a key from its options."""


def settled(options: Mapping[str, Any], build: Build) -> dict[str, int]:
    """Values for options that are null, by their full keys.

    Classes, channels and resolution of a dataset are read from its data; the resolution of a base
    network without a size of its own leaves room for the target.

    Args:
        options: Plain options of an experiment, interpolations resolved.
        build: Builds its dataset and candidates.

    Raises:
        ValueError: An option is not what the data say, or nothing settles it.
        RuntimeError: The data cannot be read.
    """
    found: dict[str, int] = {}
    native = None
    if options["dataset"] is not None:
        dataset = build("dataset", options["dataset"])
        if isinstance(dataset, Described):
            found = {f"dataset.{key}": value for key, value in dataset.numbers().items()}
        native = found.get("dataset.resolution", dataset.resolution)
    base = options["base_network"]
    if base.get("resolution", 0) is None and not _has_own_size(base["_target_"]):
        candidates = build("candidates", options["candidates"])
        limits = [native, getattr(candidates, "max_resolution", None)]
        found["base_network.resolution"] = fitted_resolution(
            min((limit for limit in limits if limit is not None), default=None),
            target=candidates.target,
            tolerance=candidates.tolerance,
            divisor=base.get("resolution_divisor", 1),
        )
    return found


def _has_own_size(target: str) -> bool:
    """True if a base network's function takes None for its resolution, as a published one does."""
    module, _, name = target.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    resolution = inspect.signature(function).parameters["resolution"]
    return type(None) in get_args(resolution.annotation)
