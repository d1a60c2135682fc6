"""Datasets at a size as memory maps on disk: read and resized once, shared by all processes."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from scaling_search.protocols import Dataset, Split, Splits

log = logging.getLogger(__name__)

FORMAT = "1"
"""Changes with what is written; older folders are then left alone."""

NAMES = ("train", "val", "test")

_given: dict[tuple[Dataset, int], Splits] = {}


def folder() -> Path:
    """Where maps are kept: ``SCALING_SEARCH_CACHE``, else the user's cache folder."""
    named = os.environ.get("SCALING_SEARCH_CACHE")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "scaling_search"


def mapped(dataset: Dataset, resolution: int) -> Splits:
    """The splits at a size, in the host's memory once however many processes look at them.

    Written on first use under the dataset's fingerprint. Where nothing can be written, or what is
    there is damaged and cannot be replaced, the splits are this process's own. Those that were
    given to this process come before all others.

    Raises:
        RuntimeError: The dataset cannot be read.
    """
    if (dataset, resolution) in _given:
        return _given[dataset, resolution]
    place = folder() / f"{dataset.fingerprint()[:32]}-{resolution}-{FORMAT}"
    if (found := _opened(place)) is not None:
        return found
    splits = dataset.load(resolution, "cpu")
    try:
        _write(splits, place)
    except OSError as error:
        log.warning("data are not kept in %s: %s", place, error.strerror)
        return splits
    return _opened(place) or splits


@contextlib.contextmanager
def given(dataset: Dataset, resolution: int, splits: Splits) -> Iterator[None]:
    """Has `mapped` return these splits while it is entered, for a host that has no files."""
    _given[dataset, resolution] = splits
    try:
        yield
    finally:
        del _given[dataset, resolution]


def _opened(place: Path) -> Splits | None:
    """The splits in a folder; None if it is not whole."""
    try:
        return Splits(
            *(Split(_map(place, name, "images"), _map(place, name, "labels")) for name in NAMES)
        )
    except (OSError, ValueError, EOFError):
        return None


def _map(place: Path, split: str, what: str) -> torch.Tensor:
    # Copy on write: pages are shared, and nobody can change the file.
    return torch.from_numpy(
        np.load(place / f"{split}-{what}.npy", mmap_mode="c", allow_pickle=False)
    )


def _write(splits: Splits, place: Path) -> None:
    """Writes beside the place and moves there at once, so that nobody sees a half."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    try:
        for name in NAMES:
            split = getattr(splits, name)
            np.save(temporary / f"{name}-images.npy", split.images.numpy(), allow_pickle=False)
            np.save(temporary / f"{name}-labels.npy", split.labels.numpy(), allow_pickle=False)
        if place.exists() and _opened(place) is None:
            shutil.rmtree(place)
        temporary.rename(place)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if _opened(place) is None:  # else another process was faster
            raise
