"""Arrays in NumPy's files: looked at, read whole or some at a time, never unpickled."""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from scaling_search.data.trees import files_in

AT_ONCE_BYTES = 16_000_000
FAULTS = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class Stored:
    """An array that lies in a file: looked at, not read.

    Attributes:
        place: The ``.npy`` file, or the ``.npz`` file it lies in.
        name: Name of the array.
        shape: As its header says.
        dtype: As its header says.
        is_fortran: True if its first axis changes fastest.
    """

    place: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool

    def __len__(self) -> int:
        """Along its first axis."""
        return self.shape[0] if self.shape else 0

    def whole(self) -> NDArray[Any]:
        """All of it, in memory."""
        with _reading(self.place, self.name) as file:
            found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
            return found

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Blocks along its first axis; one in Fortran's order is read whole."""
        if self.is_fortran:
            yield self.whole()
            return
        of_one = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        step = max(1, AT_ONCE_BYTES // max(1, of_one))
        with _reading(self.place, self.name) as file:
            _header(file)
            for start in range(0, len(self), step):
                count = min(step, len(self) - start)
                content = file.read(count * of_one)
                if len(content) != count * of_one:
                    raise _damaged(self.place, self.name, "its end is missing")
                yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


@contextlib.contextmanager
def _reading(place: Path, name: str) -> Iterator[IO[bytes]]:
    """An array's file, open; what goes wrong meanwhile becomes one line."""
    try:
        with contextlib.ExitStack() as opened:
            if place.suffix != ".npz":
                yield opened.enter_context(place.open("rb"))
                return
            archive = opened.enter_context(zipfile.ZipFile(place))
            try:
                file = archive.open(f"{name}.npy")
            except RuntimeError as error:  # a file with a password
                raise ValueError(str(error)) from error
            yield opened.enter_context(file)
    except FAULTS as error:
        raise _damaged(place, name, error) from error


def _damaged(place: Path, name: str, why: object) -> RuntimeError:
    reason = " ".join(str(why).split())
    return RuntimeError(
        f"dataset.path must hold whole arrays without pickled objects, got {reason!r} for {name} "
        f"in {str(place)!r}; save it again by numpy.savez or numpy.save"
    )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and kind; the file is then at the first value."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format")
    if dtype.hasobject:
        raise ValueError("Python objects, which are pickled (text becomes an array by astype(str))")
    return shape, is_fortran, dtype


def stored(place: Path, name: str) -> Stored:
    """An array of a file or folder, by its header.

    Raises:
        RuntimeError: It cannot be read, or holds Python's objects.
    """
    place = place / f"{name}.npy" if place.is_dir() else place
    with _reading(place, name) as file:
        shape, is_fortran, dtype = _header(file)
    return Stored(place, name, shape, dtype, is_fortran)


def names_in(place: Path) -> list[str]:
    """Names of all arrays, sorted; of files in folders with these."""
    if place.is_dir():
        paths = [path.relative_to(place) for path in files_in(place) if path.suffix == ".npy"]
        return sorted(path.with_suffix("").as_posix() for path in paths)
    if place.suffix != ".npz":
        return []
    try:
        with zipfile.ZipFile(place) as archive:
            files = archive.namelist()
    except FAULTS as error:
        raise _damaged(place, "any array", error) from error
    return sorted(name.removesuffix(".npy") for name in files if name.endswith(".npy"))
