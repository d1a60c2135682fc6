"""Images of a source on their way into maps, once, some of them by a process that was stopped."""

import contextlib
import hashlib
import logging
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_search.data import cache as data_cache
from scaling_search.data import pictures, splitting
from scaling_search.data.description import check_pixels, counts_of, survey, warnings_of
from scaling_search.data.maps import NAMES, Maps
from scaling_search.data.pictures import Way
from scaling_search.data.sources import Broken, Filled, Listing, Row, Rows
from scaling_search.data.split_names import counted
from scaling_search.data.splitting import described, notes_of, way_of
from scaling_search.runtime.progress import slow_progress

SAVE_SECONDS = 10.0
"""Seconds between saves of decoded images, for a process that goes on after this one stops."""

NUM_NAMED = 3

log = logging.getLogger(__name__)


def read(source: Filled, maps: Maps) -> dict[str, Any]:
    """Reads all images into maps at the dataset's resolution; returns what is written down."""
    listing = source.listing()
    splitting.agree(source, listing)
    heads = splitting.checked_heads(source, listing)
    splits, labels = splitting.drawn(source, listing)
    span = source.span(listing) if any(head.is_deep for head in heads) else None
    try:
        reading = _rows_into(maps, source, listing, way_of(source, span), splits, labels)
    except pictures.UnknownSpanError:  # none of those that were looked at was so deep
        maps.begin_anew()
        span = source.span(listing)
        reading = _rows_into(maps, source, listing, way_of(source, span), splits, labels)
    broken = reading.broken
    if broken and (source.broken == "fail" or len(broken) == listing.num_images):
        raise RuntimeError(
            f"dataset.path must hold whole images, got {len(broken)} broken of "
            f"{listing.num_images} in {source.path!r}: {named(broken)}; repair or remove them"
            + (", or add dataset.broken=skip" if len(broken) < listing.num_images else "")
        )
    splitting.check_counts(source, listing, reading.counts)
    pixels = survey(
        maps.splits(),
        len(listing.classes),
        lambda split, place: listing.name(reading.places[split][place]),
    )
    check_pixels(pixels, listing.classes, source.path)
    counts, is_dropping = pixels.counts, source.duplicates == "drop" and pixels.num_copies > 0
    if is_dropping:
        splitting.check_kept(source, listing, maps.splits(), pixels.copies)
        maps.drop(pixels.copies)
        counts = counts_of(maps.splits(), len(listing.classes))
    whole = hashlib.sha256(repr((pictures.VERSION, way_of(source, span), is_dropping)).encode())
    for digest in reading.digests:
        whole.update(digest.digest())
    found = whole.hexdigest()
    maps.keep(data_cache.place_of(found, source.resolution))
    about = described(source, listing, heads, counts, mean=pixels.mean)
    more = warnings_of(pixels, listing.classes, are_dropped=is_dropping)
    notes = about.notes + tuple(notes_of(source, span, heads))
    left_out = about.left_out
    if broken:
        left_out += (f"{counted(len(broken), 'broken image')}: {named(broken)}",)
    about = replace(about, notes=notes, left_out=left_out, warnings=tuple(more))
    return {
        "fingerprint": found,
        "num_images": listing.num_images,
        "broken": broken,
        "description": about.row(),
    }


@dataclass
class _Reading:
    """A record of images while they went into maps.

    Attributes:
        broken: Those that could not be read.
        counts: Whole images of each class, (splits, classes).
        digests: Digests of each split's labels and files, in their order.
        places: Index among all images of each image in a split's maps.
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
    if notes := maps.taken_over():
        log.info("%d images have been read before; going on from there", len(notes))
    noted = [bytes.fromhex(note) if isinstance(note, str) else Broken(*note) for note in notes]
    _check_room(source, listing.num_images - len(noted))
    with (
        pictures.quiet(),
        contextlib.closing(source.rows(listing, way, first=len(noted))) as rows,
        contextlib.closing(
            slow_progress(rows, "reading images", listing.num_images, len(noted))
        ) as watched,
        contextlib.closing(_saved(maps, watched)) as saved,
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


def _saved(maps: Maps, rows: Iterable[Row | Broken]) -> Rows:
    """The rows; what was made of those before is saved every now and then, so nothing is lost."""
    notes: list[object] = []
    since = time.monotonic()
    for row in rows:
        yield row
        notes.append(row.digest.hex() if isinstance(row, Row) else list(row))
        if time.monotonic() - since > SAVE_SECONDS:
            maps.save(notes)
            notes, since = [], time.monotonic()


def named(broken: Iterable[Iterable[str]]) -> str:
    """The first few, as shown; a name may hold anything, so it is quoted."""
    listed = [f"{name!r} ({reason})" for name, reason in broken]
    more = len(listed) - NUM_NAMED
    return ", ".join(listed[:NUM_NAMED]) + (f" and {more} more" if more > 0 else "")


def _check_room(source: Filled, num_images: int) -> None:
    needed = num_images * source.in_channels * source.resolution**2
    free = free_bytes()
    if needed > free:
        raise RuntimeError(
            f"{data_cache.folder()} must have room for the images, got {free / 1e9:,.1f} GB for "
            f"{needed / 1e9:,.1f} GB; free some space, set SCALING_SEARCH_CACHE to another folder, "
            "or use a smaller dataset.resolution"
        )


def free_bytes() -> int:
    """Bytes that are free where maps are kept; the folder may not be there yet."""
    place = data_cache.folder().absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
