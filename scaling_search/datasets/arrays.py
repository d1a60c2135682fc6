"""Images and labels that lie in NumPy's files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scaling_search.core.part import part
from scaling_search.data import images, listings, pictures, sources
from scaling_search.data.labels import Column
from scaling_search.data.left_out import LeftOut
from scaling_search.data.npy import Stored, names_in, stored
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import Listing, Row, Rows
from scaling_search.data.split_names import Found, counted, plain, quoted, split_of
from scaling_search.data.trees import files_in, state_of
from scaling_search.datasets.own_images import OwnImages

CHANNELS = (1, 3)
WORDS = {
    "labels": ("labels", "label", "targets", "target", "y"),
    "images": ("images", "image", "imgs", "data", "x"),
}
"""Names of arrays, before or behind the name of a split: ``train_images``, ``x_train``."""

REMEDY = (
    "give an .npz file, or a folder of .npy files, with images and labels, or train_images, "
    "train_labels and the same of val and test"
)


@part
class Arrays(OwnImages):
    """An ``.npz`` file, or a folder of ``.npy`` files, with ``images`` and ``labels``.

    Images are integers (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or deeper; labels integers,
    text or booleans (N,) or (N, 1), which are sorted. Ready splits are called ``train_images``,
    ``train_labels``, ``val_images`` and so on, or ``x_train`` and ``y_train`` (`split_names` has
    all names); what is not there of val and test is drawn from train, class by class. Nothing is
    unpickled.

    Channels are those of the arrays; a resolution of None is the shorter side of their images, up
    to 320.
    """

    def stamp(self) -> Iterator[object]:
        """The state of each file."""
        place = sources.existing(self, REMEDY)
        for path in files_in(place):
            yield path.name, *state_of(path)

    def listing(self) -> Listing:
        """The labels; shapes and kinds of all arrays are looked at.

        Raises:
            ValueError: Names have two readings, images are not of one shape, or labels no classes.
            RuntimeError: An array is not there or cannot be read.
        """
        found = _opened(self)
        made = listings.listing(
            found.names,
            self.splits,
            lambda name: [_column(self, *found.pairs[name])],
            lambda name: len(found.pairs[name][0]),
            found.left_out,
        )
        _check_alike(self, self._images(made))
        return made

    def heads(self, listing: Listing, count: int) -> Iterator[Head]:
        """The one size of the images of each array."""
        del count
        for pixels in self._images(listing):
            channels, height, width = _layout(pixels.shape) or (0, 0, 0)
            yield Head(height, width, channels, pixels.dtype != np.uint8)

    def span(self, listing: Listing) -> tuple[int, int] | None:
        """The smallest and largest value of images of more than 8 bits."""
        deep = [pixels for pixels in self._images(listing) if pixels.dtype != np.uint8]
        blocks = (block for of in deep for block in of.blocks())
        return sources.common((int(block.min()), int(block.max())) for block in blocks)

    def rows(self, listing: Listing, way: Way, *, first: int = 0) -> Rows:
        """All images from one on; those before are read too, which takes little."""
        for pixels in self._images(listing):
            for block in pixels.blocks():
                yield from _rows(block[first:], way)
                first = max(0, first - len(block))

    def _images(self, listing: Listing) -> list[Stored]:
        pairs = _opened(self).pairs
        return [pairs[name][0] for of in listing.tables.values() for name in of]


@dataclass(frozen=True)
class Opened:
    """Names and shapes of what lies there.

    Attributes:
        pairs: Images and labels by the name of the images' array.
        names: Which of these names mean splits.
        left_out: Arrays that are neither.
    """

    pairs: Mapping[str, tuple[Stored, Stored]]
    names: Found
    left_out: tuple[str, ...]


def _opened(dataset: Arrays) -> Opened:
    """Pairs of images and labels."""
    place = sources.existing(dataset, REMEDY)
    names = names_in(place)
    pairs, splits, others = {}, dict[str, str](), list[str]()
    for split, (pixels, labels) in _paired(place, names).items():
        pairs[pixels] = stored(place, pixels), stored(place, labels)
        if split:
            splits[pixels] = split
        else:
            others.append(pixels)
    read = {array.name for pair in pairs.values() for array in pair}
    unread = [name for name in names if name not in read]
    left = LeftOut(
        [f"{counted(len(unread), 'array')} ({quoted(unread)}), no images or labels"]
        if unread
        else []
    )
    for path in files_in(place) if place.is_dir() else ():
        if path.suffix != ".npy":
            left.file(path.name)
    drawn = f"{others[0]!r} is the whole" if others and splits else "all are one whole"
    found = Found(str(place), splits, others, kind="arrays", drawn=drawn, is_whole=True)
    return Opened(pairs, found, left.told())


def _paired(place: Path, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Names of images and labels by the split that they mean, empty for the whole."""
    by_role: dict[tuple[str, str], str] = {}
    for name in names:
        if (role := _role(name)) is None:
            continue
        if (other := by_role.setdefault(role, name)) != name:
            raise RuntimeError(
                f"dataset.path must hold one array of {role[1]} for {role[0] or 'all'}, got "
                f"{other!r} and {name!r} in {str(place)!r}; leave one of them out"
            )
    if not by_role:
        raise RuntimeError(
            f"dataset.path must hold arrays 'images' and 'labels', got {str(place)!r} with "
            f"{', '.join(names) or 'none'}; {REMEDY}"
        )
    pairs = {}
    for split in dict.fromkeys(split for split, _ in by_role):
        pixels, labels = by_role.get((split, "images")), by_role.get((split, "labels"))
        if pixels is None or labels is None:
            lacking = (f"{split}_" if split else "") + ("labels" if labels is None else "images")
            raise RuntimeError(
                f"dataset.path must hold an array {lacking!r} beside {pixels or labels!r}, got "
                f"{str(place)!r} with {', '.join(names)}; add it, or leave "
                f"{pixels or labels!r} out of what is saved there"
            )
        pairs[split] = pixels, labels
    return pairs


def _role(name: str) -> tuple[str, str] | None:
    """The split that a name means, empty for the whole, and which of the two it holds."""
    short = plain(name)
    for what, words in WORDS.items():
        for word in words:
            for rest in {short.removesuffix(word), short.removeprefix(word)} - {short}:
                if not rest:
                    return "", what
                if split := split_of(rest):
                    return split, what
    return None


def _check_images(dataset: Arrays, pixels: Stored) -> None:
    """Checks that images are what the options say."""
    if pixels.dtype.kind not in "iu":
        raise ValueError(
            f"dataset.path must hold images of integers, as uint8 from 0 to 255, got "
            f"{pixels.dtype} for {pixels.name} in {dataset.path!r}; save "
            "(255 * images).round().astype('uint8') where they reach from 0 to 1, "
            "images.round().astype('uint8') where from 0 to 255"
        )
    if len(pixels.shape) not in {3, 4} or (shape := _layout(pixels.shape)) is None:
        raise ValueError(
            f"dataset.path must hold images (N, H, W), (N, H, W, C) or (N, C, H, W) of 1 or 3 "
            f"channels, got {pixels.shape} for {pixels.name} in {dataset.path!r}; "
            "transpose or reshape them, or save grey or red, green and blue alone"
        )
    if dataset.in_channels not in {None, shape[0]}:
        raise sources.refused("in_channels", dataset, shape[0])


def _check_alike(dataset: Arrays, found: Sequence[Stored]) -> None:
    """Checks that the images of all splits have one shape."""
    shapes = {_layout(pixels.shape): pixels.name for pixels in found}
    if len(shapes) > 1:
        (one, a), (other, b) = list(shapes.items())[:2]
        raise ValueError(
            f"dataset.path must hold images of one shape, got {a} of (C, H, W) = {one} and {b} of "
            f"{other} in {dataset.path!r}; bring them to one"
        )


def _layout(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Channels, height and width; None if there is no axis of channels."""
    if len(shape) == 3:
        return 1, shape[1], shape[2]
    if shape[3] in CHANNELS:
        return shape[3], shape[1], shape[2]
    return shape[1:] if shape[1] in CHANNELS else None  # type: ignore[return-value]  # of four


def _column(dataset: Arrays, images: Stored, labels: Stored) -> Column:
    """The labels of as many images."""
    _check_images(dataset, images)
    if labels.shape[:1] != images.shape[:1]:
        raise ValueError(
            f"dataset.path must hold a label for each of {len(images):,} images, got "
            f"{labels.dtype} {labels.shape} for {labels.name} in {dataset.path!r}; fix the array"
        )
    values = labels.whole()
    return Column(
        f"{labels.name} in {dataset.path!r}",
        values.reshape(-1) if labels.shape[1:] == (1,) else values,
        another=f"save one class for each image as {labels.name}",
        filtered="save images[kept] and labels[kept], where kept tells which images have one, "
        "like kept = labels >= 0",
    )


def _rows(block: NDArray[Any], way: Way) -> Iterator[Row]:
    """The images of a block, square."""
    if block.ndim == 3:
        block = block[:, None]
    elif block.shape[3] in CHANNELS:
        block = block.transpose(0, 3, 1, 2)
    if block.dtype != np.uint8:
        if way.span is None:
            raise pictures.UnknownSpanError
        block = pictures.scaled(block, way.span)
    if way.aspect == "crop":
        side = min(block.shape[2:])
        top, left = ((length - side) // 2 for length in block.shape[2:])
        block = block[:, :, top : top + side, left : left + side]
    block = np.require(block, requirements=["C", "W"])
    squared = images.resize(torch.from_numpy(block), way.resolution).numpy()
    for image, kept in zip(block, squared, strict=True):
        yield Row(hashlib.sha256(image.data).digest(), kept)
