"""Datasets at a size as memory maps on disk: read and resized once, shared by all processes."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from scaling_search.core.dataset import Dataset, Splits
from scaling_search.data.maps import NAMES, SUMS, Maps, Sums, building, sums_of
from scaling_search.data.opening import opened

log = logging.getLogger(__name__)

FORMAT = "1"
"""Changes with what is written; older folders are then left alone."""

Part = tuple[str, NDArray[np.uint8], NDArray[np.int64]]
"""A split's name, images (N, C, H, W) and labels (N,)."""


class NotCheckedError(RuntimeError):
    """The data have not been made ready by `Dataset.check` yet."""


_given: dict[tuple[Dataset, int], Splits] = {}


@runtime_checkable
class InParts(Protocol):
    """A dataset that may be larger than memory: it goes to its maps part by part. Optional."""

    def parts(self, resolution: int) -> Iterator[Part]:
        """All images and labels at a size, in the order of their splits, some at a time."""


def folder() -> Path:
    """The folder of all maps: ``SCALING_SEARCH_CACHE``, else the user's cache folder."""
    named = os.environ.get("SCALING_SEARCH_CACHE")
    return Path(named) if named else user_cache_path("scaling_search")


def native_size(dataset: Dataset) -> int:
    """The dataset's own height and width in pixels.

    Raises:
        ValueError: They have not been read yet.
    """
    if dataset.resolution is None:
        raise ValueError(
            "dataset.resolution must be known before images are loaded, got None; "
            "dataclasses.replace(dataset, **dataset.numbers()) reads it from the data"
        )
    return dataset.resolution


def mapped(dataset: Dataset, resolution: int, *, fingerprint: str = "") -> Splits:
    """The splits at a size, in the host's memory once however many processes look at them.

    Written on first use under the dataset's fingerprint. Where nothing can be written, or what is
    there is damaged and cannot be replaced, the splits are this process's own. Those that were
    given to this process come before all others. A dataset that comes in parts is never in memory
    as a whole, and one process at a time writes it.

    Args:
        dataset: Dataset to find.
        resolution: Height and width in pixels.
        fingerprint: Expected fingerprint, unless the splits were given; any will do if empty.

    Raises:
        RuntimeError: The dataset cannot be read, has another fingerprint, or comes in parts and
            cannot be kept.
    """
    if (dataset, resolution) in _given:
        return _given[dataset, resolution]
    found_here = _fingerprint(dataset)
    if fingerprint and found_here != fingerprint:
        raise RuntimeError(
            f"dataset must be the one that the record began with, {fingerprint[:16]!r}, got "
            f"{found_here[:16]!r}: its files have changed; put them back, or start again with "
            "another out"
        )
    place = place_of(found_here, resolution)
    if (found := opened(place)) is not None:
        return found
    if isinstance(dataset, InParts):
        with building(folder(), place.name) as maps:
            if (found := opened(place)) is not None:
                return found  # another process wrote them while this one waited
            for name, images, labels in dataset.parts(resolution):
                maps.add(name, images, labels)
            maps.keep(place)
        return _there(place)
    splits = dataset.load(resolution, "cpu")
    try:
        _write(splits, place)
    except OSError as error:
        log.warning("data are not kept in %s: %s", place, error.strerror)
        return splits
    return opened(place) or splits


def sums(dataset: Dataset, resolution: int, splits: Splits) -> Sums:
    """The sums of the train split, which lie beside its maps; exact, so the same for every process.

    Args:
        dataset: Dataset of the splits.
        resolution: Height and width in pixels.
        splits: As `mapped` gave them; read only if there is nothing beside the maps.
    """
    images = splits.train.images
    if (dataset, resolution) in _given:
        return sums_of(images)
    place = place_of(_fingerprint(dataset), resolution)
    if opened(place) is None:  # maps that could not be kept
        return sums_of(images)
    known: Sums = np.load(place / SUMS, allow_pickle=False)
    return known


def place_of(fingerprint: str, resolution: int) -> Path:
    """The folder of the maps of a dataset at a size."""
    return folder() / f"{fingerprint[:32]}-{resolution}-{FORMAT}"


@contextlib.contextmanager
def given(dataset: Dataset, resolution: int, splits: Splits) -> Iterator[None]:
    """Has `mapped` return these splits while it is entered, for a host that has no files."""
    _given[dataset, resolution] = splits
    try:
        yield
    finally:
        del _given[dataset, resolution]


def _fingerprint(dataset: Dataset) -> str:
    try:
        return dataset.fingerprint()
    except NotCheckedError:  # a worker on another host, or the user has emptied the cache
        dataset.check()
        return dataset.fingerprint()


def _there(place: Path) -> Splits:
    found = opened(place)
    if found is None:
        raise RuntimeError(
            f"{place} must stay while it is used, but is gone; run the same command again"
        )
    return found


def _write(splits: Splits, place: Path) -> None:
    with Maps(folder(), place.name) as maps:
        for name in NAMES:
            split = getattr(splits, name)
            maps.add(name, split.images.numpy(), split.labels.numpy())
        maps.keep(place)
