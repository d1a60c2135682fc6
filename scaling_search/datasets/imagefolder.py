"""A folder of pictures, with a folder for each class."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from scaling_search.data import gathering, layouts, pictures, sources, trees
from scaling_search.data.cache import Part
from scaling_search.data.description import Description
from scaling_search.data.labels import alike, check_classes
from scaling_search.data.left_out import LeftOut
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import Broken, Listing, Row, Rows
from scaling_search.data.split_names import OPTION
from scaling_search.protocols import Splits, part

REMEDY = "give a folder that holds a folder of pictures for each class"


@part
class ImageFolder:
    """Pictures in a folder for each class: ``cats/a.jpg``, ``dogs/young/b.png``.

    Where folders are called train, val and test (`split_names` has all names), the splits are
    ready: ``train/cats/a.jpg`` or ``cats/train/a.jpg``. Val and test are optional; what is not
    there is drawn from train, class by class. Labels are the places of the classes' sorted names.
    Hidden files and folders are left out. Links are followed, each folder once, but not into the
    folder of another class.

    How a picture becomes square is told in `pictures.square`: the shorter side is resized, the
    centre cropped (Krizhevsky, Sutskever & Hinton 2012). It is decoded once, to ``resolution``;
    smaller sizes are resized from that.

    Attributes:
        path: The folder.
        splits: ``given`` takes folders that are called train, val and test as splits, ``drawn``
            takes every folder as a class; None is told by the names, if they have one reading.
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
    splits: OPTION | None = None
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: Annotated[int, Field(ge=0)] = 0
    broken: Literal["fail", "skip"] = "fail"
    duplicates: Literal["keep", "drop"] = "keep"
    background: Literal["white", "black"] = "white"
    aspect: Literal["crop", "stretch"] = "crop"
    num_classes: Annotated[int, Field(ge=2)] | None = None
    in_channels: Literal[1, 3] | None = None
    resolution: Annotated[int, Field(ge=1)] | None = None

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
        """All names, and the state of each file that should be a picture."""
        return trees.stamps(sources.existing(self, REMEDY))

    def listing(self) -> Listing:
        """The pictures by split, class and name.

        Raises:
            ValueError: Names have two readings, or the splits other classes.
            RuntimeError: A class has no pictures or shares its folder with another.
        """
        root, left = sources.existing(self, REMEDY), LeftOut()
        found = layouts.layout(root, self.splits, left)
        classes = tuple(sorted({name for of in found.paths.values() for name in of}))
        labels = {
            split: np.repeat(np.arange(len(classes)), [len(of.get(c, ())) for c in classes])
            for split, of in found.paths.items()
        }
        check_classes(classes, labels, found.ready, str(root))
        paths = [path for of in found.paths.values() for c in classes for path in of.get(c, ())]
        return Listing(
            classes,
            labels,
            tuple(paths),
            ready=found.ready,
            notes=alike(classes),
            left_out=left.told(),
        )

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


def _row(way: Way, path: str) -> Row | Broken:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return Broken(path, error.strerror or str(error))
    return sources.row_of(way, path, content)


def _extremes(path: str) -> tuple[int, int] | None:
    head = pictures.head(Path(path))
    return pictures.extremes(Path(path).read_bytes()) if head and head.is_deep else None
