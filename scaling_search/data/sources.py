"""Interface of users' own images: labels and splits, then one image after another."""

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling_search.core.part import part
from scaling_search.data import pictures
from scaling_search.data.pictures import Head, Way
from scaling_search.data.split_names import OPTION
from scaling_search.runtime.cores import usable_cores

LARGEST = 320
"""Pixels that are kept of larger images where no resolution is given."""

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
        labels: Labels (N,) of the images of each ready split, in the order of `NAMES`; all under
            ``train`` where none is.
        items: Keys by which the dataset finds the images, in that order, if it needs any.
        tables: Names of the tables or arrays that each split is read from, where they have some.
        ready: Original name of each ready split; empty where all images are one.
        notes: Sentences that say how labels were understood, where they were mapped.
        left_out: Files that are not read, with number and reason; each a sentence's beginning
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
        """An image, by its place among all, as shown."""
        if self.items:
            return self.items[number]
        for split, labels in self.labels.items():
            if number < len(labels):
                return f"{split} {number}"
            number -= len(labels)
        raise IndexError(number)


@part
class Source(ABC):
    """Options of a user's own images, and the methods that each format adds; `gathering` reads.

    Attributes:
        path: Folder or file of the images; None is refused once they are looked for.
        splits: ``given`` takes what is called train, val and test as splits, ``drawn`` all as one
            whole; None is told by the names, if they have one reading.
        val_share: The part of the training images to choose on, unless there is a ready split.
        test_share: The part to report on, unless there is a ready split.
        split_seed: Seed of the draw of both.
        duplicates: ``drop`` removes exact copies of images, ``keep`` leaves them in.
        aspect: ``crop`` takes the centre of images that are not square, ``stretch`` the whole.
        num_classes: Classes there must be; None for those there are.
        in_channels: 3 for colour, 1 for grey; None for 1 where all are grey.
        resolution: Height and width that are kept, in pixels, the largest to train at; None for
            what half of the images have, up to 320.
    """

    path: str | None
    splits: OPTION | None = None
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: Annotated[int, Field(ge=0)] = 0
    duplicates: Literal["keep", "drop"] = "keep"
    aspect: Literal["crop", "stretch"] = "crop"
    num_classes: Annotated[int, Field(ge=2)] | None = None
    in_channels: Literal[1, 3] | None = None
    resolution: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.val_share + self.test_share >= 1:
            raise ValueError(
                "dataset.val_share and dataset.test_share must sum to less than 1, got "
                f"{self.val_share} and {self.test_share}; make one of them smaller"
            )

    @property
    def broken(self) -> Literal["fail", "skip"]:
        """Treatment of images that cannot be read."""
        return "fail"

    @property
    def background(self) -> Literal["white", "black"]:
        """Paper under transparent pixels."""
        return "white"

    @abstractmethod
    def stamp(self) -> Iterator[object]:
        """Values that change when what lies there does, quickly told, and no path as typed."""

    @abstractmethod
    def listing(self) -> Listing:
        """Labels and splits of all images; none of them is decoded."""

    @abstractmethod
    def heads(self, listing: Listing, count: int) -> Iterator[Head]:
        """Sizes of some images that can be read, from everywhere if that is quick."""

    @abstractmethod
    def span(self, listing: Listing) -> tuple[int, int] | None:
        """The smallest and largest value of all images of more than 8 bits; None without any."""

    @abstractmethod
    def rows(self, listing: Listing, way: Way, *, first: int = 0) -> Rows:
        """All images from one on, in the order of the listing, few at a time in memory."""


@part
class Filled(Source, ABC):
    """A source whose numbers are all known."""

    num_classes: int = 2
    in_channels: Literal[1, 3] = 3
    resolution: int = LARGEST


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
