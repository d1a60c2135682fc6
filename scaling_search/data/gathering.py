"""Reads a user's own images once: split by class, kept as maps, identified by a hash."""

import contextlib
import hashlib
import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from scaling_search.core.dataset import Dataset, Splits
from scaling_search.data import cache as data_cache
from scaling_search.data import images, pictures, splitting
from scaling_search.data.cache import NotCheckedError, Part
from scaling_search.data.description import Description, imbalance, shapes_of, survey, warnings_of
from scaling_search.data.maps import NAMES, building
from scaling_search.data.opening import opened
from scaling_search.data.pictures import Way
from scaling_search.data.reading import NUM_NAMED, free_bytes, named, read
from scaling_search.data.sources import LARGEST, Broken, Filled, Source, in_order
from scaling_search.data.splitting import NUM_LOOKED_AT, described, notes_of, way_of
from scaling_search.runtime import digests
from scaling_search.runtime.cores import usable_cores
from scaling_search.runtime.files import replace_file

NUM_SAMPLED = 64
"""Images that are decoded to tell how long all of them take."""

PART_BYTES = 4_000_000
"""Bytes of pixels that a thread resizes at a time."""

CHECKED: dict[Source, dict[str, Any]] = {}
"""Records of the sources that this process has checked."""

log = logging.getLogger(__name__)


@runtime_checkable
class Described(Protocol):
    """A dataset that says how it is understood, and what it takes to be read. Optional."""

    def numbers(self) -> Mapping[str, int]:
        """Classes, channels and resolution that its options leave open, read from the data."""

    def outline(self) -> Description:
        """The data as they are understood before all are read."""

    def description(self) -> Description:
        """The data as they were understood, once all have been read."""

    def sentences(self, resolutions: Iterable[int]) -> Iterator[str]:
        """Time and room that images at these sizes take, as text."""


def describe(dataset: Dataset) -> Description:
    """Any dataset as it was understood, after its `check`."""
    if isinstance(dataset, Described):
        return dataset.description()
    resolution = data_cache.native_size(dataset)
    splits = data_cache.mapped(dataset, resolution)
    num_classes, channels = dataset.num_classes or 0, dataset.in_channels or 0
    classes = getattr(dataset, "classes", None) or tuple(map(str, range(num_classes)))
    pixels = survey(splits, num_classes)
    return Description(
        classes=classes,
        counts=pixels.counts,
        origins=dict.fromkeys(NAMES, "given"),
        channels=channels,
        resolution=resolution,
        shapes=shapes_of([(resolution, resolution)]),
        mean=pixels.mean,
        warnings=tuple(warnings_of(pixels, classes, are_dropped=False)),
    )


def check(source: Source) -> None:
    """Reads all images into maps unless they are there, and says which are left out.

    Raises:
        ValueError: An option is not what lies there, or the images show nothing.
        RuntimeError: Images are missing, broken or changed meanwhile, or there is no room.
    """
    filled = _filled(source)
    key = _key(filled)
    if (known := _known(filled, key)) is None:
        with building(data_cache.folder(), key) as maps:
            if (known := _known(filled, key)) is None:  # nor by whom this process waited for
                known = read(filled, maps)
                if _key(filled) != key:
                    raise RuntimeError(
                        "dataset.path must stay as it is while it is read, got other files in "
                        f"{source.path!r} than at the beginning; run the same command again"
                    )
                replace_file(_written_to(key), digests.sealed_json(known))
    CHECKED[source] = known
    if broken := known["broken"]:
        log.warning(
            "%d of %d images are broken and left out: %s; %s names all",
            *(len(broken), known["num_images"], named(broken), _written_to(key)),
        )


def checked(source: Source) -> dict[str, Any]:
    """The record that `check` has written, here or in an earlier process.

    Raises:
        NotCheckedError: There is none, or what lies there has changed since.
    """
    if source not in CHECKED:
        filled = _filled(source)
        if (known := _known(filled, _key(filled))) is None:
            raise NotCheckedError(
                f"dataset must be read before it is used, got {source.path!r} unread; call check()"
            )
        CHECKED[source] = known
    return CHECKED[source]


def numbers(source: Source) -> Mapping[str, int]:
    """Classes, channels and resolution that a source leaves open, by its data.

    Classes are counted; images are grey if all that are looked at are, and as large as half of
    them allow, up to `LARGEST`.

    Raises:
        ValueError: An option is not what lies there.
        RuntimeError: There are no images that can be read.
    """
    if None not in (source.num_classes, source.in_channels, source.resolution):
        return {}
    listing = source.listing()
    heads = list(source.heads(listing, NUM_LOOKED_AT))
    if not heads:
        few = itertools.islice(source.rows(listing, Way(channels=1, resolution=1)), NUM_NAMED)
        raise RuntimeError(
            f"dataset.path must hold images that can be read, got none in {source.path!r}: "
            f"{named(row for row in few if isinstance(row, Broken))}; repair or replace them"
        )
    found = {
        "num_classes": len(listing.classes),
        "in_channels": max(head.channels for head in heads),
        "resolution": min(LARGEST, splitting.median_side(heads)),
    }
    return {key: value for key, value in found.items() if getattr(source, key) is None}


def _filled(source: Source) -> Filled:
    given: Any = source
    known: Filled = replace(given, **numbers(source))
    return known


def fingerprint(source: Source) -> str:
    """A hash of what all images of all splits were read from and of how, after `check`."""
    return str(checked(source)["fingerprint"])


def description(source: Source) -> Description:
    """The images as they were understood, after `check`."""
    return Description.of_row(checked(source)["description"])


def outline(source: Source) -> Description:
    """The images as they are understood before any is decoded; copies and mean are not known.

    Raises:
        ValueError: An option is not what lies there.
        RuntimeError: There are no images that can be read.
    """
    filled = _filled(source)
    listing = filled.listing()
    splitting.agree(filled, listing)
    heads = splitting.checked_heads(filled, listing)
    splits, labels = splitting.drawn(filled, listing)
    counts = np.zeros((len(NAMES), len(listing.classes)), np.int64)
    np.add.at(counts, (splits, labels), 1)
    by_split = dict(zip(NAMES, map(tuple, counts.tolist()), strict=True))
    about = described(filled, listing, heads, by_split, mean=math.nan)
    return replace(
        about,
        notes=about.notes + tuple(notes_of(filled, None, heads)),
        warnings=tuple(imbalance(about.counts["train"], about.classes)),
    )


def native(source: Source) -> Splits:
    """The maps at the dataset's own resolution, read again if they are gone."""
    before = fingerprint(source)
    place = data_cache.place_of(before, _filled(source).resolution)
    found = opened(place)
    if found is None:
        check(source)
        if fingerprint(source) != before:
            raise RuntimeError(
                f"dataset.path must stay as it is while it is used, got other files in "
                f"{source.path!r} than at the beginning; put them back, or start again with "
                "another out"
            )
        found = opened(place)
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


def load(source: Dataset, resolution: int, device: str) -> Splits:
    """The splits at a size, on a device; memory maps on a CPU."""
    return data_cache.mapped(source, resolution).to(device)


def sentences(source: Source, resolutions: Iterable[int]) -> Iterator[str]:
    """Sentences on the time to read the images and on the room of their maps at these sizes.

    Measured on some of the images, unless all have been read.
    """
    filled = _filled(source)
    if _known(filled, _key(filled)) is not None:
        yield "The images have been read; nothing is decoded again."
        return
    listing = source.listing()
    splitting.agree(filled, listing)
    splitting.checked_heads(filled, listing)
    started, free = time.perf_counter(), free_bytes()
    way = way_of(filled, (0, 2**16 - 1))  # any span takes as long
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


def _written_to(key: str) -> Path:
    return data_cache.folder() / f"{key}.json"


def _known(source: Filled, key: str) -> dict[str, Any] | None:
    """The record of an earlier reading; None if there is none or its maps are gone."""
    try:
        known = digests.unsealed_json(_written_to(key).read_bytes())
        place = data_cache.place_of(known["fingerprint"], source.resolution)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if opened(place) is not None else None
