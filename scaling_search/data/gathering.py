"""Reads people's own images once: split by class, kept as maps, told apart by a hash."""

import contextlib
import functools
import hashlib
import itertools
import json
import logging
import math
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from scaling_search.cores import usable_cores
from scaling_search.data import cache as data_cache
from scaling_search.data import images, pictures
from scaling_search.data.cache import Part
from scaling_search.data.description import (
    Description,
    check_pixels,
    shapes_of,
    survey,
    warnings_of,
)
from scaling_search.data.maps import NAMES, Maps, building, opened
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import (
    Broken,
    Filled,
    Listing,
    Row,
    Rows,
    Source,
    in_order,
    refused,
)
from scaling_search.files import replace_file
from scaling_search.protocols import Splits

NUM_SAMPLED = 64
"""Images that are looked at before all others: what they take, and how large they are."""

SILENT_SECONDS = 2.0
"""No bar is shown for what takes less."""

SAVE_SECONDS = 10.0
"""What is decoded is saved so often, for a process that goes on should this one be stopped."""

PART_BYTES = 4_000_000
"""Of the pixels that a thread resizes at a time."""

NUM_NAMED = 3

LARGEST = 320
"""Pixels that are kept of larger images where no resolution is given."""

log = logging.getLogger(__name__)


@runtime_checkable
class Announced(Protocol):
    """A dataset that can say beforehand what it takes to be read."""

    def sentences(self, resolutions: Iterable[int]) -> Iterator[str]:
        """Time and room that images at these sizes take, for people."""


def check(source: Source) -> None:
    """Reads all images into maps unless they are there, and says which are left out.

    Raises:
        ValueError: An option is not what lies there, or the images show nothing.
        RuntimeError: Images are missing or broken, or there is no room.
    """
    _forget()  # what lies there may have changed since this process last looked
    known = _found(_filled(source))
    if broken := known["broken"]:
        log.warning(
            "%d of %d images are broken and left out: %s; %s names all",
            *(len(broken), known["num_images"], _named(broken), known["written_to"]),
        )


@functools.lru_cache(maxsize=16)
def numbers(source: Source) -> Mapping[str, int]:
    """Classes, channels and resolution that a source leaves open, by its data; once in a process.

    Classes are counted; images are grey if all that are looked at are, and as large as half of
    them allow, up to `LARGEST`.

    Raises:
        ValueError: An option is not what lies there.
        RuntimeError: There are no images that can be read.
    """
    if None not in (source.num_classes, source.in_channels, source.resolution):
        return {}
    listing = source.listing()
    heads = list(source.heads(listing, NUM_SAMPLED))
    if not heads:
        raise RuntimeError(
            f"dataset.path must hold images that can be read, got none in {source.path!r}; "
            "look at some of them"
        )
    found = {
        "num_classes": len(listing.classes),
        "in_channels": max(head.channels for head in heads),
        "resolution": min(LARGEST, _middle(heads)),
    }
    return {key: value for key, value in found.items() if getattr(source, key) is None}


def _filled(source: Source) -> Filled:
    given: Any = source
    known: Filled = replace(given, **numbers(source))
    return known


@functools.lru_cache(maxsize=16)
def fingerprint(source: Source) -> str:
    """A hash of what all images of all splits were read from and of how; once in a process.

    While nothing has changed where they lie, it is known without reading them.

    Raises:
        ValueError: An option is not what lies there, or the images show nothing.
        RuntimeError: Images are missing or broken, or there is no room.
    """
    return str(_found(_filled(source))["fingerprint"])


def description(source: Source) -> Description:
    """What the images were understood as, once all have been read.

    Raises:
        ValueError: An option is not what lies there, or the images show nothing.
        RuntimeError: Images are missing or broken, or there is no room.
    """
    return Description.of_row(_found(_filled(source))["description"])


def outline(source: Source) -> Description:
    """What the images are understood as before any is decoded; copies and the mean are not known.

    Raises:
        ValueError: An option is not what lies there.
        RuntimeError: There are no images that can be read.
    """
    filled = _filled(source)
    listing = filled.listing()
    _agree(filled, listing)
    heads = _checked_heads(filled, listing)
    splits, labels = _drawn(filled, listing)
    counts = np.zeros((len(NAMES), len(listing.classes)), np.int64)
    np.add.at(counts, (splits, labels), 1)
    by_split = dict(zip(NAMES, map(tuple, counts.tolist()), strict=True))
    return _described(filled, listing, heads, by_split, mean=math.nan)


def _forget() -> None:
    numbers.cache_clear()
    fingerprint.cache_clear()


def native(source: Source) -> Splits:
    """The maps at the dataset's own resolution, read again if they are gone."""
    resolution = _filled(source).resolution
    place = data_cache.place_of(fingerprint(source), resolution)
    found = opened(place)
    if found is None:
        fingerprint.cache_clear()
        found = opened(data_cache.place_of(fingerprint(source), resolution))
    if found is None:
        raise RuntimeError(f"{place} must stay while it is used, but is gone; run again")
    return found


def parts(source: Source, resolution: int) -> Iterator[Part]:
    """All images at a size, resized from the maps of the dataset's own, few at a time."""
    filled, splits = _filled(source), native(source)
    largest = filled.in_channels * max(resolution, filled.resolution) ** 2
    step = max(1, PART_BYTES // largest)
    for name in NAMES:
        split = getattr(splits, name)
        pieces = zip(split.images.split(step), split.labels.split(step), strict=True)

        def resized(piece: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return images.resize(piece[0], resolution), piece[1]

        for pixels, labels in in_order(resized, pieces):
            yield name, pixels.numpy(), labels.numpy()


def load(source: Source, resolution: int, device: str) -> Splits:
    """The splits at a size, on a device; memory maps on a CPU."""
    return data_cache.mapped(source, resolution).to(device)


def sentences(source: Source, resolutions: Iterable[int]) -> Iterator[str]:
    """What reading the images takes and how much room their maps need at the sizes to be trained.

    Measured on some of the images, unless all have been read.
    """
    filled = _filled(source)
    if _known(filled, _key(filled)) is not None:
        yield "The images have been read; nothing is decoded again."
        return
    listing = source.listing()
    _agree(filled, listing)
    _checked_heads(filled, listing)
    started, free = time.perf_counter(), _free()
    way = _way(filled, (0, 2**16 - 1))  # any span takes as long
    with pictures.quiet(), contextlib.closing(source.rows(listing, way)) as rows:
        count = sum(1 for _ in itertools.islice(rows, NUM_SAMPLED))
    rate = count / (time.perf_counter() - started)
    sizes = sorted({filled.resolution, *resolutions})
    room = listing.num_images * filled.in_channels * sum(size**2 for size in sizes)
    yield (
        f"{listing.num_images:,} images of {len(listing.classes)} classes are decoded once, to "
        f"{filled.resolution} px, which takes about {_duration(listing.num_images / rate)}: "
        f"{rate:,.0f} images a second, measured on {count} of them with {usable_cores()} threads."
    )
    yield (
        f"Their maps at {', '.join(map(str, sizes))} px need {room / 1e9:,.1f} GB in "
        f"{data_cache.folder()}, where {free / 1e9:,.1f} GB are free."
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _key(source: Filled) -> str:
    """Names a state of what lies there, and the options it is read by; no path as typed."""
    options = {k: v for k, v in vars(source).items() if k != "path"}
    how = (type(source).__name__, sorted(options.items()), data_cache.FORMAT, pictures.VERSION)
    digest = hashlib.sha256(repr(how).encode())
    for what in source.stamp():
        digest.update(repr(what).encode())
    return digest.hexdigest()[:32]


def _found(source: Filled) -> dict[str, Any]:
    """What is known of the images once they have been read, now or before."""
    key = _key(source)
    if (known := _known(source, key)) is None:
        with building(data_cache.folder(), key) as maps:
            if (known := _known(source, key)) is None:  # nor by whom this process waited for
                known = _read(source, maps)
                text = json.dumps(known, indent=1)
                replace_file(_written_to(key), text.encode())
    return known | {"written_to": _written_to(key)}


def _written_to(key: str) -> Path:
    return data_cache.folder() / f"{key}.json"


def _known(source: Filled, key: str) -> dict[str, Any] | None:
    """What was written down when the images were read; None if the maps are gone."""
    try:
        known = json.loads(_written_to(key).read_text(encoding="utf-8"))
        place = data_cache.place_of(known["fingerprint"], source.resolution)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if opened(place) is not None else None


def _read(source: Filled, maps: Maps) -> dict[str, Any]:
    """Reads all images into maps at the dataset's resolution; returns what is written down."""
    listing = source.listing()
    _agree(source, listing)
    heads = _checked_heads(source, listing)
    splits, labels = _drawn(source, listing)
    span = source.span(listing) if any(head.is_deep for head in heads) else None
    try:
        reading = _rows_into(maps, source, listing, _way(source, span), splits, labels)
    except pictures.UnknownSpanError:  # none of those that were looked at was so deep
        maps.begin_anew()
        span = source.span(listing)
        reading = _rows_into(maps, source, listing, _way(source, span), splits, labels)
    broken = reading.broken
    if broken and (source.broken == "fail" or len(broken) == listing.num_images):
        raise RuntimeError(
            f"dataset.path must hold whole images, got {len(broken)} broken of "
            f"{listing.num_images} in {source.path!r}: {_named(broken)}; mend or remove them, or "
            "leave them out by dataset.broken=skip"
        )
    _check_counts(source, listing, reading.counts)
    pixels = survey(
        maps.splits(),
        len(listing.classes),
        lambda split, place: listing.name(reading.places[split][place]),
    )
    check_pixels(pixels, listing.classes, source.path)
    counts, is_dropping = pixels.counts, source.duplicates == "drop" and pixels.num_copies > 0
    if is_dropping:
        maps.drop(pixels.copies)
        counts = survey(maps.splits(), len(listing.classes)).counts
        _check_counts(source, listing, np.array([counts[name] for name in NAMES]))
    whole = hashlib.sha256(repr((pictures.VERSION, _way(source, span), is_dropping)).encode())
    for digest in reading.digests:
        whole.update(digest.digest())
    found = whole.hexdigest()
    maps.keep(data_cache.place_of(found, source.resolution))
    described = _described(source, listing, heads, counts, mean=pixels.mean)
    more = warnings_of(pixels, listing.classes, are_dropped=is_dropping)
    notes = described.notes + tuple(_notes(source, span, heads))
    left_out = described.left_out
    if broken:
        left_out += (f"{len(broken):,} broken images: {_named(broken)}",)
    described = replace(described, notes=notes, left_out=left_out, warnings=tuple(more))
    return {
        "fingerprint": found,
        "num_images": listing.num_images,
        "broken": broken,
        "description": described.row(),
    }


@dataclass
class _Reading:
    """What came of images while they went into maps.

    Attributes:
        broken: Those that could not be read.
        counts: Whole images of each class, (splits, classes).
        digests: Of each split's labels and files, in their order.
        places: Of the images in each split's maps: which of all they are.
    """

    counts: NDArray[np.int64]
    broken: list[Broken] = field(default_factory=list)
    digests: Any = field(default_factory=lambda: [hashlib.sha256() for _ in NAMES])
    places: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in NAMES})


def _rows_into(
    maps: Maps,
    source: Filled,
    listing: Listing,
    way: Way,
    splits: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> _Reading:
    """Reads all images that no process before this one has read."""
    reading = _Reading(np.zeros((len(NAMES), len(listing.classes)), np.int64))
    noted = _taken_over(maps)
    _check_room(source, listing.num_images - len(noted))
    with (
        pictures.quiet(),
        contextlib.closing(source.rows(listing, way, first=len(noted))) as rows,
        contextlib.closing(_saved(maps, _watched(rows, listing.num_images, len(noted)))) as saved,
    ):
        numbered = enumerate(zip(splits, labels, chain(noted, saved), strict=True))
        for number, (split, label, row) in numbered:
            if isinstance(row, Broken):
                reading.broken.append(row)
                continue
            if isinstance(row, Row):
                maps.add(NAMES[split], row.pixels[None], np.array([label]))
            read_from = row.digest if isinstance(row, Row) else row
            reading.digests[split].update(int(label).to_bytes(8, "little") + read_from)
            reading.counts[split, label] += 1
            reading.places[NAMES[split]].append(number)
    return reading


def _way(source: Filled, span: tuple[int, int] | None) -> Way:
    """How images become pixels."""
    return Way(source.in_channels, source.resolution, source.background, source.aspect, span)


def _described(
    source: Filled,
    listing: Listing,
    heads: Sequence[Head],
    counts: Mapping[str, tuple[int, ...]],
    *,
    mean: float,
) -> Description:
    """The description without what only pixels tell."""
    is_whole = not listing.ready
    origins = {
        name: f"given as {listing.ready[name]!r}" if name in listing.ready else "" for name in NAMES
    }
    for name in NAMES:
        if not origins[name]:
            share = "" if name == "train" else f"{getattr(source, f'{name}_share'):g} of "
            whole = "all" if is_whole else "train"
            origins[name] = f"drawn, {share}{whole}" if share else f"what is left of {whole}"
    return Description(
        classes=listing.classes,
        counts=counts,
        origins=origins,
        channels=source.in_channels,
        resolution=source.resolution,
        shapes=shapes_of((head.height, head.width) for head in heads),
        mean=mean,
        notes=listing.notes,
        left_out=listing.left_out,
    )


def _notes(source: Filled, span: tuple[int, int] | None, heads: Sequence[Head]) -> Iterator[str]:
    """Sentences about pixels that were mapped."""
    if span is not None:
        yield (
            f"Values of more than 8 bits are scaled from {span[0]:,} to {span[1]:,}, the range of "
            "all such images, to 0 to 255."
        )
    if odd := sum(head.height != head.width for head in heads):
        done = "their centres are cropped"
        if source.aspect == "stretch":
            done = "they are stretched"
        yield f"{odd} of {len(heads)} images looked at are not square: {done} (dataset.aspect)."
    if source.in_channels == 1 and (coloured := sum(head.channels == 3 for head in heads)):
        yield f"{coloured} of {len(heads)} images looked at are coloured and become grey."


def _taken_over(maps: Maps) -> list[bytes | Broken]:
    """Of each image that a stopped process had read: its digest, or why it is broken."""
    notes = maps.taken_over()
    if notes:
        log.info("%d images have been read before; going on from there", len(notes))
    return [bytes.fromhex(note) if isinstance(note, str) else Broken(*note) for note in notes]


def _saved(maps: Maps, rows: Iterable[Row | Broken]) -> Rows:
    """The rows; what was made of those before is saved every now and then, so nothing is lost.

    Raises:
        OSError: It cannot be written.
    """
    notes: list[object] = []
    since = time.monotonic()
    for row in rows:
        yield row
        notes.append(row.digest.hex() if isinstance(row, Row) else list(row))
        if time.monotonic() - since > SAVE_SECONDS:
            maps.save(notes)
            notes, since = [], time.monotonic()


def _named(broken: Iterable[Iterable[str]]) -> str:
    """The first few, for people; a name may hold anything, so it is quoted."""
    listed = [f"{name!r} ({reason})" for name, reason in broken]
    more = len(listed) - NUM_NAMED
    return ", ".join(listed[:NUM_NAMED]) + (f" and {more} more" if more > 0 else "")


def _watched(rows: Iterable[Row | Broken], total: int, done: int) -> Iterator[Row | Broken]:
    """The rows, and a bar on a terminal once they take a while."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    task = progress.add_task("reading images", total=total, completed=done)
    started, shown = time.monotonic(), False
    try:
        for row in rows:
            yield row
            progress.advance(task)
            if not shown and time.monotonic() - started > SILENT_SECONDS:
                progress.start()
                shown = True
    finally:
        progress.stop()


def _agree(source: Filled, listing: Listing) -> None:
    """Looks whether the classes are those that the options say."""
    if len(listing.classes) < 2:
        raise ValueError(
            f"dataset.path must hold 2 classes or more, got {len(listing.classes)} in "
            f"{source.path!r}; there is nothing to tell apart"
        )
    if len(listing.classes) != source.num_classes:
        raise refused("num_classes", source, len(listing.classes))
    highest = max(int(labels.max(initial=0)) for labels in listing.labels.values())
    if highest >= len(listing.classes):
        raise ValueError(
            f"dataset.path must hold labels below {len(listing.classes)}, got {highest} in "
            f"{source.path!r}; mend them or leave such images out"
        )


def _drawn(source: Source, listing: Listing) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The split of each image as its place in `NAMES`, and its label."""
    splits = [np.full(len(of), NAMES.index(name)) for name, of in listing.labels.items()]
    train = listing.labels["train"]
    shares = {"test": source.test_share, "val": source.val_share}
    wanted = [0 if n in listing.labels else round(s * len(train)) for n, s in shares.items()]
    # Test comes first, so that what is chosen on does not move what is reported on.
    drawn = images.stratified(torch.from_numpy(train), wanted, seed=source.split_seed)
    for name, indices in zip(shares, drawn, strict=True):
        splits[0][indices.numpy()] = NAMES.index(name)
    labels = np.concatenate(list(listing.labels.values()))
    counts = np.zeros((len(NAMES), len(listing.classes)), np.int64)
    np.add.at(counts, (np.concatenate(splits), labels), 1)
    _check_counts(source, listing, counts)
    return np.concatenate(splits), labels


def _check_counts(source: Source, listing: Listing, counts: NDArray[np.int64]) -> None:
    """Looks whether each split has each class; ``counts`` is (splits, classes)."""
    for name, of_split in zip(NAMES, counts, strict=True):
        if (lacking := np.flatnonzero(of_split == 0)).size == 0:
            continue
        label = int(lacking[0])
        total = int(counts[:, label].sum())
        what = f"none of {listing.classes[label]!r}, which has {total} in all"
        if name in listing.labels or name == "train":
            raise ValueError(
                f"the {name} split must have images of each class, got {what} in "
                f"{source.path!r}; add images, or leave the class out"
            )
        raise ValueError(
            f"dataset.{name}_share must give the {name} split images of each class, got {what}, by "
            f"{getattr(source, f'{name}_share')}; enlarge it, add images, or leave the class out"
        )


def _checked_heads(source: Filled, listing: Listing) -> list[Head]:
    """Some images' sizes, after a look whether they have the pixels.

    Raises:
        ValueError: More than half of them are smaller than the resolution.
    """
    heads = list(source.heads(listing, NUM_SAMPLED))
    if heads and (middle := _middle(heads)) < source.resolution:
        raise ValueError(
            f"dataset.resolution must be at most {middle}, the shorter side of half of "
            f"{len(heads)} images in {source.path!r}, got {source.resolution}: more pixels "
            f"would be blown up; leave it out or add dataset.resolution={middle}"
        )
    return heads


def _middle(heads: Sequence[Head]) -> int:
    """The shorter side that half of the images have at least."""
    return sorted(head.shorter for head in heads)[len(heads) // 2]


def _check_room(source: Filled, num_images: int) -> None:
    needed = num_images * source.in_channels * source.resolution**2
    free = _free()
    if needed > free:
        raise RuntimeError(
            f"images must find room in {data_cache.folder()}, got {free / 1e9:,.1f} GB for "
            f"{needed / 1e9:,.1f} GB; make room, set SCALING_SEARCH_CACHE to another folder, or "
            "take a smaller dataset.resolution"
        )


def _free() -> int:
    """Bytes that are free where maps are kept; the folder may not be there yet."""
    place = data_cache.folder().absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
