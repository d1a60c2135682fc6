"""A folder of pictures, with a folder for each class."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scaling_search.core.part import part
from scaling_search.data import layouts, pictures, sources, trees
from scaling_search.data.labels import alike, check_classes
from scaling_search.data.left_out import LeftOut
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import Broken, Listing, Row, Rows
from scaling_search.datasets.own_images import OwnPictures

REMEDY = "give a folder that holds a folder of pictures for each class"


@part
class ImageFolder(OwnPictures):
    """Pictures in a folder for each class: ``cats/a.jpg``, ``dogs/young/b.png``.

    Where folders are called train, val and test (`split_names` has all names), the splits are
    ready: ``train/cats/a.jpg`` or ``cats/train/a.jpg``. Val and test are optional; what is not
    there is drawn from train, class by class. Labels are the places of the classes' sorted names.
    Hidden files and folders are left out. Links are followed, each folder once, but not into the
    folder of another class.

    How a picture becomes square is told in `pictures.square`: the shorter side is resized, the
    centre cropped (Krizhevsky, Sutskever & Hinton 2012). It is decoded once, to ``resolution``;
    smaller sizes are resized from that.

    Of `splits`, ``given`` takes folders that are called train, val and test as splits, ``drawn``
    every folder as a class.
    """

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
        content = pictures.read(Path(path))
    except OSError as error:
        return Broken(path, error.strerror or str(error))
    return sources.row_of(way, path, content)


def _extremes(path: str) -> tuple[int, int] | None:
    head = pictures.head(Path(path))
    return pictures.extremes(pictures.read(Path(path))) if head and head.is_deep else None
