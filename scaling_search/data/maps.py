"""Maps while they are written, by one process at a time."""

import contextlib
import hashlib
import io
import json
import logging
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from scaling_search.core.dataset import Splits
from scaling_search.data.opening import opened, splits_in
from scaling_search.runtime import digests
from scaling_search.runtime.files import open_unlinked, wait_for_lock

log = logging.getLogger(__name__)

NAMES = ("train", "val", "test")

SUMS = "train-sums.npy"
"""File of the train split's sums, beside the maps."""

SAVED, NEW, NOTES = "saved.json", "saved.json.new", "notes.jsonl"
"""Files of the progress of maps while they are written; gone when they are kept."""

VALUES_AT_ONCE = 1 << 20
"""Number of pixels that are squared at a time."""

DROPPED_AT_ONCE = 1024
"""Images that are copied at a time where others are taken out."""

Sums = NDArray[np.int64]
"""Sums of each channel's values and of their squares, (2, C)."""


def sums_of(images: torch.Tensor | NDArray[np.uint8]) -> Sums:
    """The sums of images uint8 (N, C, H, W), few of them at a time."""
    pixels = np.asarray(images)
    found = np.zeros((2, pixels.shape[1]), np.int64)
    at_once = max(1, VALUES_AT_ONCE // max(1, math.prod(pixels.shape[1:])))
    for start in range(0, len(pixels), at_once):
        chunk = pixels[start : start + at_once]
        found[0] += chunk.sum((0, 2, 3), dtype=np.int64)
        found[1] += np.square(chunk, dtype=np.uint16).sum((0, 2, 3), dtype=np.int64)
    return found


def as_file(values: NDArray[np.int64]) -> bytes:
    """The bytes of the file that numpy would write."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


@contextlib.contextmanager
def building(root: Path, name: str) -> Iterator["Maps"]:
    """Maps that one process at a time writes; others wait.

    What a killed one left is taken over as far as it had saved it; else it is removed.

    Raises:
        RuntimeError: There is no room, or nothing can be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _lock_file(root / f"{name}.lock") as lock:
            # Where there are no locks all write, and one comes first.
            left = sorted(root.glob(f"{name}.*/")) if wait_for_lock(lock) else []
            whole = [place for place in left if (place / SAVED).is_file()][:1]
            for place in left:
                if place not in whole:
                    shutil.rmtree(place, ignore_errors=True)
            with Maps(root, name, whole[0] if whole else None) as maps:
                yield maps
    except OSError as error:
        raise RuntimeError(
            f"{root} must have room for the images, got {error.strerror or str(error)!r}; free "
            "some space, or set SCALING_SEARCH_CACHE to another folder"
        ) from error


class Maps:
    """Maps while they are written: added to, then moved into their place at once.

    Files are appended to, not mapped: on a full disk that is an error, where writing to a map would
    end the process. Nothing is left of what was not kept, but for what `save` wrote where the
    process is killed or interrupted.
    """

    def __init__(self, root: Path, name: str, left: Path | None = None) -> None:
        """Prepares.

        Args:
            root: Folder of all maps.
            name: Beginning of the temporary folder's name.
            left: The folder of an interrupted build that had saved something.
        """
        self._root, self._name = root, name
        self._left = left
        self._files: dict[str, IO[bytes]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._labels: dict[str, list[NDArray[np.int64]]] = {}
        self._sums: Sums | int = 0
        self._notes: IO[bytes] | None = None
        self._hashes: dict[str, Any] = {}
        self._is_saved = False

    def __enter__(self) -> Self:
        """Makes a folder beside the others, or takes over what was left."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._temporary = self._left or self._new_folder()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        """Removes what was not kept, unless it was interrupted and can go on."""
        for file in self._open_files():
            with contextlib.suppress(OSError):  # a full disk, of which was told before
                file.close()
        is_stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        if not (is_stopped and self._is_saved):
            shutil.rmtree(self._temporary, ignore_errors=True)

    def add(self, name: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Appends images (N, C, H, W) and labels (N,) to a split."""
        if name not in self._files:
            self._files[name] = (self._temporary / f"{name}-images.npy").open("wb")
            self._shapes[name], self._labels[name] = images.shape[1:], []
            self._hashes[name] = hashlib.sha256(self._head(name, 0))
        if name == "train":
            self._sums = self._sums + sums_of(images)
        pixels = np.ascontiguousarray(images).data
        self._files[name].write(pixels)
        self._hashes[name].update(pixels)
        self._labels[name].append(labels)

    def save(self, notes: Sequence[object]) -> None:
        """Writes all that was added to the disk, so that another process can go on from here.

        Args:
            notes: Plain values for that process, since the last time.

        Raises:
            OSError: It cannot be written.
        """
        if self._notes is None:
            self._notes = (self._temporary / NOTES).open("wb")
            self._hashes[NOTES] = hashlib.sha256()
        for note in notes:
            line = json.dumps(note).encode() + b"\n"
            self._notes.write(line)
            self._hashes[NOTES].update(line)
        for file in self._open_files():
            file.flush()
            os.fsync(file.fileno())
        self._labels = {name: [np.concatenate(of)] for name, of in self._labels.items()}
        state = {
            "notes_bytes": self._notes.tell(),
            "files": {name: file.tell() for name, file in self._files.items()},
            "shapes": self._shapes,
            "labels": {name: of[0].tolist() for name, of in self._labels.items()},
            "sums": np.asarray(self._sums).tolist(),
            "digests": {name: of.hexdigest() for name, of in self._hashes.items()},
        }
        _write(self._temporary / NEW, digests.sealed_json(state))
        (self._temporary / NEW).replace(self._temporary / SAVED)
        self._is_saved = True

    def taken_over(self) -> list[Any]:
        """Resumes an interrupted build and returns its notes.

        Empty where there was none, or not all that it saved is there.
        """
        if self._left is None:
            return []
        try:
            state = digests.unsealed_json((self._left / SAVED).read_bytes())
            for name, num_bytes in state["files"].items():
                self._files[name] = self._cut(name, f"{name}-images.npy", num_bytes, state)
                self._shapes[name] = tuple(state["shapes"][name])
                self._labels[name] = [np.array(state["labels"][name], np.int64)]
            self._sums = np.array(state["sums"], np.int64)
            self._notes = self._cut(NOTES, NOTES, state["notes_bytes"], state)
            notes = [json.loads(line) for line in (self._left / NOTES).read_bytes().splitlines()]
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("reading starts again: %s", error)
            self.begin_anew()
            return []
        self._is_saved = True
        return notes

    def begin_anew(self) -> None:
        """Forgets all that was added."""
        for file in self._open_files():
            file.close()
        self._files, self._shapes, self._labels, self._hashes = {}, {}, {}, {}
        self._sums, self._notes, self._is_saved = 0, None, False
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary = self._new_folder()

    def _open_files(self) -> list[IO[bytes]]:
        return [*self._files.values(), *([self._notes] if self._notes else [])]

    def _new_folder(self) -> Path:
        # Its mode is the user's umask's, where that of tempfile shuts out all other users.
        place = self._root / f"{self._name}.{secrets.token_hex(8)}"
        place.mkdir()
        return place

    def splits(self) -> Splits:
        """The splits as added until now, read from their files; each must have images.

        Raises:
            OSError: They cannot be written.
        """
        for name, file in self._files.items():
            labels = np.concatenate(self._labels[name])
            self._head(name, len(labels))
            file.seek(0, os.SEEK_END)
            file.flush()
            (self._temporary / f"{name}-labels.npy").write_bytes(as_file(labels))
        return splits_in(self._temporary)

    def drop(self, places: Mapping[str, Sequence[int]]) -> None:
        """Takes images out of their splits, by their places there.

        Raises:
            OSError: They cannot be written.
        """
        before = self.splits()
        for name, dropped in places.items():
            if not dropped:
                continue
            split = getattr(before, name)
            kept = np.setdiff1d(np.arange(len(split.labels)), dropped)
            self._files[name].close()
            new = self._temporary / f"{name}-images.npy.new"
            self._files[name] = new.open("w+b")
            self._head(name, 0)
            self._labels[name] = [split.labels.numpy()[kept]]
            self._sums = 0 if name == "train" else self._sums
            for chunk in np.array_split(kept, -(-len(kept) // DROPPED_AT_ONCE)):
                images = split.images.numpy()[chunk]
                self._sums = self._sums + sums_of(images) if name == "train" else self._sums
                self._files[name].write(images.data)
            new.replace(self._temporary / f"{name}-images.npy")

    def keep(self, place: Path) -> None:
        """Moves the maps into their place, or leaves what another process has put there.

        Raises:
            OSError: They cannot be written.
        """
        if self._notes is not None:
            self._notes.close()
            for note in (NOTES, SAVED, NEW):
                (self._temporary / note).unlink(missing_ok=True)
        for name, file in self._files.items():
            labels = np.concatenate(self._labels[name])
            self._head(name, len(labels))
            _close(file)
            _write(self._temporary / f"{name}-labels.npy", as_file(labels))
        _write(self._temporary / SUMS, as_file(np.asarray(self._sums)))
        _write(self._temporary / digests.SUMS, digests.sums_of(self._temporary))
        _sync(self._temporary)
        if place.exists() and opened(place) is None:
            shutil.rmtree(place)
        try:
            self._temporary.rename(place)
        except OSError:
            if opened(place) is None:  # else another process was faster
                raise
        _sync(place.parent)

    def _head(self, name: str, num_images: int) -> bytes:
        """Writes how many images there are, and returns that; NumPy leaves room for any number."""
        shape = (num_images, *self._shapes[name])
        described = {"descr": "|u1", "fortran_order": False, "shape": shape}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, described)
        self._files[name].seek(0)
        self._files[name].write(header.getvalue())
        return header.getvalue()

    def _cut(self, name: str, file_name: str, num_bytes: int, state: dict[str, Any]) -> IO[bytes]:
        """A file to be appended to behind so many bytes; what is beyond them is taken off."""
        file = (self._temporary / file_name).open("r+b")
        file.truncate(num_bytes)
        self._hashes[name] = hashlib.file_digest(file, "sha256")
        if self._hashes[name].hexdigest() != state["digests"][name]:
            file.close()
            raise ValueError(f"{file_name} is not as it was saved")
        return file


def _lock_file(path: Path) -> IO[bytes]:
    try:
        return open_unlinked(path, "ab")
    except PermissionError:  # another user's, which can be locked all the same
        return open_unlinked(path, "rb")


def _close(file: IO[bytes]) -> None:
    """Writes a file to the disk before its folder gets its name; a power cut leaves no zeros."""
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        _close(file)


def _sync(path: Path) -> None:
    """Writes the names in a folder to the disk, where its file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
