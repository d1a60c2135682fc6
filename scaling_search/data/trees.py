"""Folders of pictures: what lies below them, links followed once and never into another class."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from scaling_search.data import pictures
from scaling_search.data.left_out import LeftOut, ending
from scaling_search.data.split_names import split_of

Identity = tuple[int, int]
"""Device and number of a file or folder, the same by whatever path it is reached."""


class State(NamedTuple):
    """A file as it lies on the disk; one of its values differs once its bytes do.

    A file that is replaced in place has another time of change, one that is renamed into its place
    another number, even where size and time of writing are the same.
    """

    path: str
    num_bytes: int
    written: int
    changed: int
    number: int


def state_of(path: str | Path) -> State:
    """The state of a file, links followed; sizes are -1 where it is not there."""
    real = os.path.realpath(path)
    return _state(real, Path(real))


def _state(real: str, file: Path | os.DirEntry[str]) -> State:
    try:
        about = file.stat()
    except OSError:
        return State(real, -1, -1, -1, -1)
    return State(real, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)


def is_picture(name: str) -> bool:
    """True if a file should be a picture, by the ending of its name."""
    return ending(name) in pictures.SUFFIXES


def is_folder(entry: os.DirEntry[str]) -> bool:
    """True if it is a folder or leads to one."""
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """True if it is a link to something that is not there, or to itself."""
    return entry.is_symlink() and not Path(entry.path).exists()


def entries(folder: str | Path, left: LeftOut | None = None) -> list[os.DirEntry[str]]:
    """Entries of a folder, sorted by name, hidden files left out; none if it is not there.

    Args:
        folder: Folder.
        left: Counts hidden pictures and folders.

    Raises:
        RuntimeError: It cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            every = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RuntimeError(
            f"dataset.path must be a folder that can be read, got {error.strerror!r} for "
            f"{str(folder)!r}; fix its permissions"
        ) from error
    if left is not None:
        for entry in every:
            if entry.name.startswith("."):
                if is_folder(entry):
                    left.hidden("folder", entry.name)
                elif is_picture(entry.name):
                    left.hidden("picture", entry.name)
    return [entry for entry in every if not entry.name.startswith(".")]


def identity(path: str | Path) -> Identity:
    """Identity of a folder, links followed."""
    about = Path(path).stat()
    return about.st_dev, about.st_ino


def files_in(place: Path) -> list[Path]:
    """All files below a folder but hidden ones, sorted; one file alone."""
    if not place.is_dir():
        return [place]
    found = (path for path in place.rglob("*") if path.is_file())
    return sorted(
        path for path in found if not any(p.startswith(".") for p in path.relative_to(place).parts)
    )


def stamps(root: Path) -> Iterator[object]:
    """All names below a folder, and the state of each picture; each real folder once."""
    seen: set[Identity] = set()

    def below(folder: str, real: str) -> Iterator[object]:
        here = identity(folder)
        yield folder[len(str(root)) :], real, here in seen
        if here in seen:
            return
        seen.add(here)
        for entry in entries(folder):
            is_link = entry.is_symlink()
            if is_folder(entry):
                inside = os.path.realpath(entry.path) if is_link else f"{real}/{entry.name}"
                yield from below(entry.path, inside)
            elif not is_picture(entry.name):
                yield entry.name
            elif is_link:
                yield entry.name, *state_of(entry.path)
            else:
                yield _state(entry.name, entry)

    yield from below(str(root), os.path.realpath(root))


@dataclass
class Below:
    """Pictures and links below a folder of a class.

    Attributes:
        names: Paths of pictures below it, sorted.
        like_splits: Paths of folders below it whose names mean a split.
    """

    names: list[str] = field(default_factory=list)
    like_splits: list[str] = field(default_factory=list)


class Walk:
    """Walks folders of classes; knows which class each real folder belongs to.

    Attributes:
        left: Files that were not read.
    """

    def __init__(self, root: Path, splits: list[str], left: LeftOut) -> None:
        """Prepares.

        Args:
            root: Folder of all.
            splits: Folders of splits, below or at the root.
            left: Counts what is not read.
        """
        self._root, self.left = str(root), left
        above: list[str | Path] = [root, *root.parents, *splits]
        self._above = {identity(path): str(path) for path in reversed(above)}
        self._owners: dict[Identity, tuple[str, str]] = {}

    def classes(self, folders: dict[str, str]) -> dict[str, Below]:
        """Pictures below the folder of each class of a split.

        Args:
            folders: By class.

        Raises:
            RuntimeError: Two classes have one folder, or one cannot be read.
        """
        seen: set[Identity] = set()
        for name, folder in folders.items():
            here = identity(folder)
            self._own(here, name, folder)
            seen.add(here)
        found = {}
        for name, folder in folders.items():
            found[name] = Below()
            self._collect(name, folder, "", found[name], seen)
            found[name].names.sort()
        return found

    def _own(self, here: Identity, name: str, folder: str) -> None:
        owner, path = self._owners.setdefault(here, (name, folder))
        if owner != name:
            raise RuntimeError(
                f"dataset.path must have folders of its own for each class, got {path!r} of class "
                f"{owner!r} and {folder!r} of class {name!r}, which are the same folder "
                f"{os.path.realpath(folder)!r}; remove one of the links"
            )

    def _collect(
        self, name: str, folder: str, prefix: str, found: Below, seen: set[Identity]
    ) -> None:
        for entry in entries(folder, self.left):
            below = prefix + entry.name
            if is_folder(entry):
                if split_of(entry.name):
                    found.like_splits.append(below)
                if self._is_new(name, entry.path, seen):
                    self._collect(name, entry.path, f"{below}/", found, seen)
            elif not is_picture(entry.name):
                self.left.file(entry.name)
            elif _may_be_read(entry):
                found.names.append(below)
            else:
                self.left.phrases.append(f"{self._short(entry.path)!r}, which is a pipe or device")

    def _is_new(self, name: str, folder: str, seen: set[Identity]) -> bool:
        """True if a folder is to be read, as a part of a class."""
        here = identity(folder)
        if here in self._above:
            up = self._short(self._above[here])
            self.left.link(f"{self._short(folder)!r} leads back up to {up!r}")
            return False
        self._own(here, name, folder)
        if here in seen:
            _, path = self._owners[here]
            self.left.link(f"{self._short(folder)!r} is {self._short(path)!r} again")
            return False
        seen.add(here)
        return True

    def _short(self, path: str) -> str:
        return path.removeprefix(f"{self._root}/")


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """True if it is a file, or a link to nowhere: a picture that is missing.

    To read a pipe could take for ever.
    """
    if entry.is_symlink():
        try:
            return stat.S_ISREG(entry.stat().st_mode)
        except OSError:
            return True
    return entry.is_file()
