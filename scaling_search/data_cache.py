"""Datasets at a size as memory maps on disk: read and resized once, shared by all processes."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from scaling_search.protocols import Dataset, Split, Splits

log = logging.getLogger(__name__)

FORMAT = "1"
"""Changes with what is written; older folders are then left alone."""

NAMES = ("train", "val", "test")

Part = tuple[str, NDArray[np.uint8], NDArray[np.int64]]
"""A split's name, images (N, C, H, W) and labels (N,)."""

_given: dict[tuple[Dataset, int], Splits] = {}


@runtime_checkable
class InParts(Protocol):
    """A dataset that may be larger than memory: it goes to its maps part by part. Optional."""

    def parts(self, resolution: int) -> Iterator[Part]:
        """All images and labels at a size, in the order of their splits, some at a time."""


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
    given to this process come before all others. A dataset that comes in parts is never in memory
    as a whole, and one process at a time writes it.

    Raises:
        RuntimeError: The dataset cannot be read, or comes in parts and cannot be kept.
    """
    if (dataset, resolution) in _given:
        return _given[dataset, resolution]
    place = place_of(dataset.fingerprint(), resolution)
    if (found := opened(place)) is not None:
        return found
    if isinstance(dataset, InParts):
        with building(place.name) as maps:
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


def opened(place: Path) -> Splits | None:
    """The splits in a folder of maps; None if it is not whole."""
    try:
        return Splits(
            *(Split(_map(place, name, "images"), _map(place, name, "labels")) for name in NAMES)
        )
    except (OSError, ValueError, EOFError):
        return None


def _there(place: Path) -> Splits:
    found = opened(place)
    if found is None:
        raise RuntimeError(
            f"{place} must stay while it is used, but is gone; run the same command again"
        )
    return found


def _map(place: Path, split: str, what: str) -> torch.Tensor:
    # Copy on write: pages are shared, and nobody can change the file.
    return torch.from_numpy(
        np.load(place / f"{split}-{what}.npy", mmap_mode="c", allow_pickle=False)
    )


def _write(splits: Splits, place: Path) -> None:
    with Maps(place.name) as maps:
        for name in NAMES:
            split = getattr(splits, name)
            maps.add(name, split.images.numpy(), split.labels.numpy())
        maps.keep(place)


@contextlib.contextmanager
def building(name: str) -> Iterator["Maps"]:
    """Maps that one process at a time writes; others wait. What a killed one left is removed.

    Raises:
        RuntimeError: There is no room, or nothing can be written.
    """
    root = folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / f"{name}.lock").open("wb") as lock:
            if _locked(lock):
                for left in root.glob(f"{name}.*/"):
                    shutil.rmtree(left, ignore_errors=True)
            with Maps(name) as maps:
                yield maps
    except OSError as error:
        raise RuntimeError(
            f"images must find room in {root}, got {error.strerror or str(error)!r}; make room, or "
            "set SCALING_SEARCH_CACHE to another folder"
        ) from error


def _locked(file: BinaryIO) -> bool:
    """Waits for a file to be this process's; False where there are no locks.

    Then all write, and one comes first.
    """
    try:
        import fcntl  # absent on Windows  # noqa: PLC0415

        fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return False
    return True


class Maps:
    """Maps while they are written: added to, then moved into their place at once.

    Files are appended to, not mapped: on a full disk that is an error, where writing to a map would
    end the process. Nothing is left of what was not kept.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._files: dict[str, BinaryIO] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._labels: dict[str, list[NDArray[np.int64]]] = {}

    def __enter__(self) -> Self:
        """Makes a folder beside the others."""
        folder().mkdir(parents=True, exist_ok=True)
        self._temporary = Path(tempfile.mkdtemp(prefix=f"{self._name}.", dir=folder()))
        return self

    def __exit__(self, *exc: object) -> None:
        """Removes what was not kept."""
        for file in self._files.values():
            with contextlib.suppress(OSError):  # a full disk, of which was told before
                file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add(self, name: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Appends images (N, C, H, W) and labels (N,) to a split."""
        if name not in self._files:
            self._files[name] = (self._temporary / f"{name}-images.npy").open("wb")
            self._shapes[name], self._labels[name] = images.shape[1:], []
            self._head(name, 0)
        self._files[name].write(np.ascontiguousarray(images).data)
        self._labels[name].append(labels)

    def keep(self, place: Path) -> None:
        """Moves the maps into their place, or leaves what another process has put there.

        Raises:
            OSError: They cannot be written.
        """
        for name, file in self._files.items():
            labels = np.concatenate(self._labels[name])
            self._head(name, len(labels))
            _close(file)
            with (self._temporary / f"{name}-labels.npy").open("wb") as file_of_labels:
                np.save(file_of_labels, labels, allow_pickle=False)
                _close(file_of_labels)
        _sync(self._temporary)
        if place.exists() and opened(place) is None:
            shutil.rmtree(place)
        try:
            self._temporary.rename(place)
        except OSError:
            if opened(place) is None:  # else another process was faster
                raise
        _sync(place.parent)

    def _head(self, name: str, num_images: int) -> None:
        """Writes how many images there are; NumPy leaves room for any number."""
        file = self._files[name]
        file.seek(0)
        shape = (num_images, *self._shapes[name])
        described = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, described)


def _close(file: BinaryIO) -> None:
    """Has the disk hold a file before its folder gets its name; a power cut leaves no zeros."""
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _sync(path: Path) -> None:
    """Has the disk hold the names in a folder, where its file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
