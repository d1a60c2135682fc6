"""A data set as it was understood: splits, classes and pixels, and what looks wrong with them."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch

from scaling_search.core.dataset import Split, Splits
from scaling_search.data.maps import NAMES, sums_of

FLAT_SD = 1.5
"""An image is nearly constant if no channel's standard deviation, of 0 to 255, is larger."""

COPIED = 0.5
"""A split that has more of its images in another is called a copy of it."""

IMBALANCED = 10.0
"""The largest class over the smallest, from which on it is said."""

FLAT = "nearly one colour"

NUM_EXAMPLES = 3
VALUES_AT_ONCE = 250_000
"""Number of pixels that are floats at a time."""


Naming = Callable[[str, int], str]
"""A readable name of the image at a place of a split."""


@dataclass(frozen=True)
class Description:
    """A data set as it was understood, before anything is trained.

    Attributes:
        classes: Names by their labels.
        counts: Images of each class, by split.
        origins: Origin of each split.
        channels: Channels of an image.
        resolution: Height and width that are kept, in pixels.
        shapes: Sizes of the images in their files, as text.
        mean: Mean of all values of the train split, 0 to 255.
        notes: Sentences about labels and pixels that were mapped.
        left_out: Files, folders and images that are not read, and why.
        warnings: Sentences about what looks wrong.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    origins: Mapping[str, str]
    channels: int
    resolution: int
    shapes: str
    mean: float
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """The description that `row` gave.

        Raises:
            TypeError: It is none.
        """
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        counts = {name: tuple(of_split) for name, of_split in row["counts"].items()}
        return cls(**values | {"counts": counts})


@dataclass(frozen=True)
class Survey:
    """Counts, copies and faults that all pixels of the splits show.

    Attributes:
        counts: Images of each class, by split.
        mean: Mean of all values of the train split, 0 to 255.
        flat: Number of nearly constant images of each class.
        alike: True if all images of a class, two or more, have the same pixels.
        copies: Places of images that equal an earlier one of their split, or one of a split that
            must stay as it is: train's are compared with val and test, val's with test.
        shared: Number of images of the first split that lie in the second too.
        contradicting: Number of different images that stand under several labels.
        examples: Names of some copies and of what they equal.
    """

    counts: Mapping[str, tuple[int, ...]]
    mean: float
    flat: tuple[int, ...]
    alike: tuple[bool, ...]
    copies: Mapping[str, tuple[int, ...]]
    shared: Mapping[tuple[str, str], int]
    contradicting: int
    examples: tuple[tuple[str, str], ...]

    @property
    def num_copies(self) -> int:
        """Images that a data set without copies would lack."""
        return sum(map(len, self.copies.values()))


def survey(splits: Splits, num_classes: int, named: Naming | None = None) -> Survey:
    """Looks at every pixel of the splits, few images in memory at a time.

    Args:
        splits: At the dataset's own resolution.
        num_classes: Labels are below it.
        named: Names an image; by default its split and its place there.
    """
    named = named or (lambda split, place: f"{split} {place}")
    flat, alike = np.zeros(num_classes, np.int64), [set[bytes]() for _ in range(num_classes)]
    first, contradicting = dict[bytes, tuple[str, int, int]](), set[bytes]()
    hashes, copies = dict[str, list[bytes]](), dict[str, tuple[int, ...]]()
    examples = list[tuple[str, str]]()
    for name in reversed(NAMES):  # test stays as it is, then val
        split = getattr(splits, name)
        labels = split.labels.numpy()
        hashes[name], again = [], []
        step = max(1, VALUES_AT_ONCE // max(1, math.prod(split.images.shape[1:])))
        for start in range(0, len(labels), step):
            images = split.images[start : start + step].numpy()
            by_channel = images.reshape(*images.shape[:2], -1).std(axis=2, dtype=np.float32)
            is_flat = by_channel.max(axis=1) < FLAT_SD
            np.add.at(flat, labels[start : start + step][is_flat], 1)
            hashes[name] += [hashlib.blake2b(image, digest_size=16).digest() for image in images]
        for place, (digest, label) in enumerate(zip(hashes[name], labels.tolist(), strict=True)):
            if len(alike[label]) < 2:
                alike[label].add(digest)
            if (other := first.get(digest)) is None:
                first[digest] = (name, place, label)
                continue
            again.append(place)
            if label != other[2]:
                contradicting.add(digest)
            if len(examples) < NUM_EXAMPLES:
                examples.append((named(name, place), named(*other[:2])))
        copies[name] = tuple(again)
    counts = counts_of(splits, num_classes)
    of_class = np.sum(list(counts.values()), axis=0)
    return Survey(
        counts=counts,
        mean=float(sums_of(splits.train.images)[0].sum() / splits.train.images.numel()),
        flat=tuple(flat.tolist()),
        alike=tuple(len(a) == 1 and n > 1 for a, n in zip(alike, of_class, strict=True)),
        copies=copies,
        shared=_shared(hashes),
        contradicting=len(contradicting),
        examples=tuple(examples),
    )


def counts_of(splits: Splits, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Images of each class, by split."""

    def counted(split: Split) -> tuple[int, ...]:
        return tuple(torch.bincount(split.labels, minlength=num_classes).tolist())

    return {name: counted(getattr(splits, name)) for name in NAMES}


def _shared(hashes: Mapping[str, Sequence[bytes]]) -> dict[tuple[str, str], int]:
    sets = {name: set(of_split) for name, of_split in hashes.items()}
    pairs = (("val", "train"), ("test", "train"), ("test", "val"))
    return {(a, b): sum(digest in sets[b] for digest in hashes[a]) for a, b in pairs}


def check_pixels(found: Survey, classes: Sequence[str], path: str | None) -> None:
    """Checks that the images of each class differ, and show anything.

    Raises:
        ValueError: They do not.
    """
    totals = np.sum(list(found.counts.values()), axis=0)
    for kind, spoiled in (
        (FLAT, np.array(found.flat) == totals),
        ("the same", np.array(found.alike)),
    ):
        if not spoiled.any():
            continue
        which = int(spoiled.argmax())
        whose = f"all {totals[which]} of {classes[which]!r}"
        if spoiled.all():
            whose = "all images" if kind == FLAT else "all images of each class"
        raise ValueError(
            f"dataset.path must hold images that differ, got {whose} {kind} in {path!r}; look at "
            "some of them (white ink on transparent paper needs dataset.background=black)"
        )


def warnings_of(found: Survey, classes: Sequence[str], *, are_dropped: bool) -> Iterator[str]:
    """Sentences about copies, imbalance and images that show nothing.

    Args:
        found: Results for all images.
        classes: Names by their labels.
        are_dropped: True if copies were removed; the survey is the one before that.
    """
    for (name, other), number in () if are_dropped else found.shared.items():
        total = sum(found.counts[name])
        if number > COPIED * total:
            yield (
                f"THE {name.upper()} SPLIT IS A COPY OF {other.upper()}: {number:,} OF ITS "
                f"{total:,} IMAGES ARE IN BOTH, SO ITS RESULTS DO NOT HOLD FOR NEW IMAGES."
            )
        elif number:
            yield f"{number:,} of {total:,} images of {name} are in {other} too."
    if found.num_copies:
        yield _about_copies(found, are_dropped=are_dropped)
    if found.contradicting:
        images = "image" if found.contradicting == 1 else "images"
        what = f"{found.contradicting} {images} {{}} more than one label"
        if are_dropped:
            yield f"{what.format('had')}; one copy of each was kept. Check its label."
        else:
            has = "has" if found.contradicting == 1 else "have"
            yield f"{what.format(has)}, which no network can learn."
    yield from imbalance(found.counts["train"], classes)
    if num_flat := sum(found.flat):
        yield f"{num_flat} {'image is' if num_flat == 1 else 'images are'} {FLAT}."


def imbalance(counts: Sequence[int], classes: Sequence[str]) -> Iterator[str]:
    """The sentence on classes of very different size, if they are."""
    of_class = np.array(counts)
    largest, smallest = int(of_class.argmax()), int(of_class.argmin())
    if of_class[largest] >= IMBALANCED * max(1, of_class[smallest]):
        yield (
            f"Classes are imbalanced: train has {of_class[largest]:,} images of "
            f"{classes[largest]!r} and {of_class[smallest]:,} of {classes[smallest]!r}; always "
            f"answering {classes[largest]!r} would have an accuracy of "
            f"{100 * of_class[largest] / of_class.sum():.1f} %."
        )


def _about_copies(found: Survey, *, are_dropped: bool) -> str:
    within = {name: len(places) for name, places in found.copies.items() if places}
    where = ", ".join(f"{number:,} in {name}" for name, number in within.items())
    examples = ", ".join(f"{a!r} equals {b!r}" for a, b in found.examples)
    done = "dropped" if are_dropped else "kept; dataset.duplicates=drop removes them"
    return f"Exact copies of other images are {done}: {where}, for instance {examples}."


def shapes_of(sides: Iterable[tuple[int, int]]) -> str:
    """Heights and widths of some images, as text."""
    by_area = sorted(sides, key=lambda side: side[0] * side[1])
    if not by_area:
        return "unknown"
    (low, middle, high) = (by_area[i] for i in (0, len(by_area) // 2, -1))
    if by_area[0] == by_area[-1] and len(set(by_area)) == 1:
        return f"{low[0]} x {low[1]} px"
    return f"{low[0]} x {low[1]} to {high[0]} x {high[1]} px, median {middle[0]} x {middle[1]}"
