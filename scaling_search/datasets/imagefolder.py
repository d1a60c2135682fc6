"""A folder of pictures, with a folder for each class."""

import functools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from scaling_search.data import gathering, pictures, sources
from scaling_search.data.cache import Part
from scaling_search.data.description import Description
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import Broken, Listing, Row, Rows
from scaling_search.protocols import Splits, part

FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""What the folder of a ready split may be called."""

REMEDY = "give a folder that holds a folder of pictures for each class"


@part
class ImageFolder:
    """Pictures in a folder for each class: ``cats/a.jpg``, ``dogs/young/b.png``.

    Where ``train`` is a folder of folders, the splits are ready: ``train/cats/a.jpg`` and so on.
    ``val`` and ``test`` beside it are optional; what is not there is drawn from train, class by
    class. Labels are the places of the classes' sorted names. Hidden files and folders are left
    out, links followed.

    How a picture becomes square is told in `pictures.square`: the shorter side is resized, the
    centre cropped (Krizhevsky, Sutskever & Hinton 2012). It is decoded once, to ``resolution``;
    smaller sizes are resized from that.

    Attributes:
        path: The folder.
        val_share: The part of the training pictures to choose on, unless there is a ready split.
        test_share: The part to report on, unless there is a ready split.
        split_seed: Of the draw of both.
        broken: Whether pictures that cannot be read end the command or are left out.
        duplicates: Whether exact copies of pictures stay or are taken out.
        background: Paper under transparent pixels.
        aspect: Whether the centre of pictures that are not square is cropped, or the whole
            stretched.
        num_classes: Classes there must be; None for those there are.
        in_channels: 3 for colour, 1 for grey, to which pictures are converted; None for 1 where
            all are grey.
        resolution: Height and width that are kept, in pixels, the largest to train at; None for
            what half of the pictures have, up to 320.
    """

    path: str | None
    val_share: Annotated[float, Field(gt=0, lt=1)]
    test_share: Annotated[float, Field(gt=0, lt=1)]
    split_seed: Annotated[int, Field(ge=0)]
    broken: Literal["fail", "skip"]
    duplicates: Literal["keep", "drop"]
    background: Literal["white", "black"]
    aspect: Literal["crop", "stretch"]
    num_classes: Annotated[int, Field(ge=2)] | None
    in_channels: Literal[1, 3] | None
    resolution: Annotated[int, Field(ge=1)] | None

    def __post_init__(self) -> None:
        sources.check_shares(self.val_share, self.test_share)

    def check(self) -> None:
        """Reads all pictures into maps unless they are there, with a bar on a terminal.

        Raises:
            ValueError: An option is not what lies there.
            RuntimeError: Pictures are missing or broken, or there is no room.
        """
        gathering.check(self)

    def fingerprint(self) -> str:
        """A hash of the files of all splits and of how they are read."""
        return gathering.fingerprint(self)

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
        return gathering.load(self, resolution, device)

    def parts(self, resolution: int) -> Iterator[Part]:
        """The splits at a size, some pictures at a time."""
        return gathering.parts(self, resolution)

    def sentences(self, resolutions: Iterable[int]) -> Iterator[str]:
        """What reading the pictures takes, and how much room they need at these sizes."""
        return gathering.sentences(self, resolutions)

    def numbers(self) -> Mapping[str, int]:
        """Classes, channels and resolution that are left open, read from the pictures."""
        return gathering.numbers(self)

    def description(self) -> Description:
        """The pictures as they were understood, once all have been read."""
        return gathering.description(self)

    def outline(self) -> Description:
        """The pictures as they are understood before any is decoded."""
        return gathering.outline(self)

    def stamp(self) -> Iterator[object]:
        """Names, sizes and times of all files."""
        return iter(_files(sources.existing(self, REMEDY)))

    def listing(self) -> Listing:
        """The pictures by split, class and name."""
        root = sources.existing(self, REMEDY)
        folders = _split_folders(root)
        found = {name: _by_class(root / folder) for name, folder in folders.items()}
        classes = tuple(found["train"])
        for name, by_class in found.items():
            if odd := sorted(by_class.keys() ^ set(classes)):
                raise RuntimeError(
                    f"dataset.path must hold the same classes in {folders[name]!r} as in 'train', "
                    f"got {odd[0]!r} in one alone; put each picture into the folder of its class"
                )
        labels = {
            name: np.repeat(np.arange(len(classes)), [len(by_class[c]) for c in classes])
            for name, by_class in found.items()
        }
        paths = [str(path) for of in found.values() for c in classes for path in of[c]]
        return Listing(classes, labels, tuple(paths))

    def heads(self, listing: Listing, count: int) -> Iterator[Head]:
        """Sizes of pictures from everywhere."""
        step = -(-len(listing.items) // count)
        found = sources.in_order(lambda path: pictures.head(Path(path)), listing.items[::step])
        return (head for head in found if head is not None)

    def span(self, listing: Listing) -> tuple[int, int] | None:
        """The smallest and largest value of all pictures of more than 8 bits."""
        return sources.common(sources.in_order(_extremes, listing.items))

    def rows(self, listing: Listing, way: Way, *, first: int = 0) -> Rows:
        """All pictures from one on, read by threads."""
        return sources.in_order(functools.partial(_row, way), listing.items[first:])


class File(NamedTuple):
    """A file that should be a picture: its path below the root, its size and time."""

    path: str
    num_bytes: int
    changed: int


def _row(way: Way, path: str) -> Row | Broken:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return Broken(path, error.strerror or str(error))
    return sources.row_of(way, path, content)


def _extremes(path: str) -> tuple[int, int] | None:
    head = pictures.head(Path(path))
    return pictures.extremes(Path(path).read_bytes()) if head and head.is_deep else None


def _split_folders(root: Path) -> dict[str, str]:
    """The folder of each ready split; the root's own where all are one."""
    if not any(_is_folder(entry) for entry in _entries(root / "train")):
        return {"train": ""}
    there = {entry.name for entry in _entries(root) if _is_folder(entry)}
    found = {split: [n for n in names if n in there] for split, names in FOLDERS.items()}
    return {split: names[0] for split, names in found.items() if names}


def _by_class(folder: Path) -> dict[str, list[Path]]:
    """The pictures of each class, in the order of their names.

    Raises:
        RuntimeError: A class has none.
    """
    by_class: dict[str, list[Path]] = {}
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        if _is_folder(entry):
            inside = Path(entry.path)
            by_class[entry.name] = [inside / file.path for file in _files(inside)]
            if not by_class[entry.name]:
                raise RuntimeError(
                    f"dataset.path must hold pictures of each class, got none in {entry.path!r}; "
                    "put JPEG, PNG or WebP files there or remove the folder"
                )
    if not by_class:
        raise RuntimeError(
            f"dataset.path must hold a folder for each class, got none in {str(folder)!r}; "
            "put the pictures of each class into a folder of its own"
        )
    return by_class


def _files(root: Path) -> list[File]:
    """All files below a folder that should be pictures, sorted by their path."""
    found: list[File] = []
    _collect(root, "", found, frozenset())
    return sorted(found)


def _collect(folder: Path, prefix: str, found: list[File], above: frozenset[object]) -> None:
    state = folder.stat()
    if (here := (state.st_dev, state.st_ino)) in above:
        return  # a link to a folder that it lies in
    for entry in _entries(folder):
        name = prefix + entry.name
        if _is_folder(entry):
            _collect(Path(entry.path), f"{name}/", found, above | {here})
        elif Path(entry.name).suffix.lower() in pictures.SUFFIXES:
            try:
                about = entry.stat()
            except OSError:  # a link to nowhere: a picture that is missing
                found.append(File(name, -1, -1))
            else:
                if stat.S_ISREG(about.st_mode):  # to read a pipe could take for ever
                    found.append(File(name, about.st_size, about.st_mtime_ns))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, hidden files left out; nothing if it is not there.

    Raises:
        RuntimeError: It cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RuntimeError(
            f"dataset.path must be a folder that can be read, got {error.strerror!r} for "
            f"{str(folder)!r}; mend its permissions"
        ) from error
