"""Interface of users' own images: labels and splits, then one image after another."""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from scaling_search.core.dataset import Dataset
from scaling_search.data import pictures
from scaling_search.data.pictures import Head, Way
from scaling_search.runtime.cores import usable_cores

Item = TypeVar("Item")
Made = TypeVar("Made")


class Row(NamedTuple):
    """One image that was read.

    Attributes:
        digest: SHA-256 of what it was read from.
        pixels: uint8 (C, H, W) at the dataset's resolution.
    """

    digest: bytes
    pixels: NDArray[np.uint8]


class Broken(NamedTuple):
    """One image that could not be read, and why."""

    name: str
    reason: str


Rows = Generator[Row | Broken, None, None]
"""Images in order; closing it ends the threads that read."""


@dataclass(frozen=True)
class Listing:
    """Labels and splits of all images, before any is decoded.

    Attributes:
        classes: Names of the classes by their labels.
        labels: Of the images (N,) of each split that is ready, in the order of `NAMES`; all under
            ``train`` where none is.
        items: What the dataset finds the images by, in that order, if it needs it.
        tables: Names of the tables or arrays that each split is read from, where they have some.
        ready: What each ready split is called where it lies; empty where all images are one.
        notes: Sentences that say how labels were understood, where they were mapped.
        left_out: What lies there and is not read, how many, and why; each a sentence's beginning
            like "12 files .heic, which Pillow does not read".
    """

    classes: tuple[str, ...]
    labels: dict[str, NDArray[np.int64]]
    items: tuple[str, ...] = ()
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ready: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """Images of all splits."""
        return sum(map(len, self.labels.values()))

    def name(self, number: int) -> str:
        """An image, by its place among all, for people."""
        if self.items:
            return self.items[number]
        for split, labels in self.labels.items():
            if number < len(labels):
                return f"{split} {number}"
            number -= len(labels)
        raise IndexError(number)


class Source(Dataset, Protocol):
    """A dataset of a user's own images; `gathering` does the rest.

    Number of classes, channels and resolution may be None: `gathering.numbers` reads them.
    """

    @property
    def path(self) -> str | None:
        """Folder or file of the images."""

    @property
    def val_share(self) -> float:
        """The part of the training images to choose on, where no split is ready."""

    @property
    def test_share(self) -> float:
        """The part to report on, where no split is ready."""

    @property
    def split_seed(self) -> int:
        """Seed of the draw of both."""

    @property
    def broken(self) -> Literal["fail", "skip"]:
        """Treatment of images that cannot be read."""

    @property
    def background(self) -> Literal["white", "black"]:
        """Paper under transparent pixels."""

    @property
    def aspect(self) -> Literal["crop", "stretch"]:
        """Treatment of images that are not square."""

    @property
    def duplicates(self) -> Literal["keep", "drop"]:
        """Treatment of images that come more than once."""

    def stamp(self) -> Iterator[object]:
        """Values that change when what lies there does, quickly told, and no path as typed."""

    def listing(self) -> Listing:
        """Labels and splits of all images; none of them is decoded."""

    def heads(self, listing: Listing, count: int) -> Iterator[Head]:
        """Sizes of some images that can be read, from everywhere if that is quick."""

    def span(self, listing: Listing) -> tuple[int, int] | None:
        """The smallest and largest value of all images of more than 8 bits; None without any."""

    def rows(self, listing: Listing, way: Way, *, first: int = 0) -> Rows:
        """All images from one on, in the order of the listing, few at a time in memory."""


class Filled(Source, Protocol):
    """A source whose numbers are all known."""

    @property
    def num_classes(self) -> int:
        """Number of labels."""

    @property
    def in_channels(self) -> int:
        """Channels of an image."""

    @property
    def resolution(self) -> int:
        """Height and width that are kept, in pixels."""


def in_order(make: Callable[[Item], Made], items: Iterable[Item]) -> Generator[Made, None, None]:
    """Results of a function on items, made by threads, in order; few are in memory at a time.

    Threads do: Pillow, hashlib and torch work without Python's lock.
    """
    workers = usable_cores()
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > 8 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def row_of(way: Way, name: str, content: bytes) -> Row | Broken:
    """The picture of a file."""
    try:
        pixels = pictures.square(content, way)
    except pictures.BrokenError as error:
        return Broken(name, str(error))
    return Row(hashlib.sha256(content).digest(), pixels)


def common(spans: Iterable[tuple[int, int] | None]) -> tuple[int, int] | None:
    """The span of several; None where none has any."""
    known = [span for span in spans if span is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def refused(key: str, source: Source, wanted: int) -> ValueError:
    """The error for an option that is not what lies there."""
    got = getattr(source, key)
    return ValueError(
        f"dataset.{key} must be {wanted} as in {source.path!r}, got {got}; "
        f"add dataset.{key}={wanted}"
    )


def check_shares(val_share: float, test_share: float) -> None:
    """Checks that something is left to train on.

    Raises:
        ValueError: Nothing is.
    """
    if val_share + test_share >= 1:
        raise ValueError(
            f"dataset.val_share and dataset.test_share must sum to less than 1, got {val_share} "
            f"and {test_share}; make one of them smaller"
        )


def existing(source: Source, remedy: str) -> Path:
    """The place that ``dataset.path`` names.

    Raises:
        RuntimeError: It is not given, or nothing is there.
    """
    if source.path is None:
        raise RuntimeError("dataset.path must be given, got null; add dataset.path=PATH")
    place = Path(source.path).expanduser()
    if not place.exists():
        raise RuntimeError(f"dataset.path must be there, got {source.path!r}; {remedy}")
    return place.resolve()
