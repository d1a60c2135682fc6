"""Splits and classes of a source before its images are decoded, compared with its options."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from scaling_search.core.dataset import Splits
from scaling_search.data import images
from scaling_search.data.description import Description, shapes_of
from scaling_search.data.maps import NAMES
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import Filled, Listing, Source, refused

NUM_LOOKED_AT = 256
"""Images whose heads are read before all others: how large they are, whether they are grey."""


SHARES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
"""Shares that are tried where others leave a split without images of a class."""


def agree(source: Filled, listing: Listing) -> None:
    """Checks that the classes are those that the options say.

    Raises:
        ValueError: They are not.
    """
    if len(listing.classes) != source.num_classes:
        raise refused("num_classes", source, len(listing.classes))


def drawn(source: Source, listing: Listing) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
    check_counts(source, listing, counts)
    return np.concatenate(splits), labels


def check_counts(source: Source, listing: Listing, counts: NDArray[np.int64]) -> None:
    """Checks that each split has each class; ``counts`` is (splits, classes)."""
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
        enough = _enough(source, listing)
        remedy = f"add {enough}" if enough else "enlarge it"
        raise ValueError(
            f"dataset.{name}_share must give the {name} split images of each class, got {what}, by "
            f"{getattr(source, f'{name}_share')}; {remedy}, add images, or leave the class out"
        )


def _enough(source: Source, listing: Listing) -> str:
    """The smallest shares that give each split each class, as options; empty if there are none."""
    train = listing.labels["train"]
    drawn = [name for name in ("val", "test") if name not in listing.labels]
    for share in SHARES:
        shares = {name: max(share, getattr(source, f"{name}_share")) for name in drawn}
        if sum(shares.values()) >= 1:
            break
        sizes = [round(shares.get(name, 0) * len(train)) for name in ("test", "val")]
        parts = images.stratified(torch.from_numpy(train), sizes, seed=source.split_seed)
        chosen = np.concatenate([part.numpy() for part in parts])
        every = [train[part.numpy()] for part, size in zip(parts, sizes, strict=True) if size]
        if all(
            len(np.unique(of)) == len(listing.classes) for of in (*every, np.delete(train, chosen))
        ):
            return " ".join(f"dataset.{name}_share={value:g}" for name, value in shares.items())
    return ""


def check_kept(
    source: Source, listing: Listing, splits: Splits, copies: Mapping[str, Sequence[int]]
) -> None:
    """Checks that each split still has each class once copies are taken out.

    Raises:
        ValueError: One has not.
    """
    for name in NAMES:
        labels = getattr(splits, name).labels.numpy()
        kept = np.bincount(np.delete(labels, copies[name]), minlength=len(listing.classes))
        if (lacking := np.flatnonzero(kept == 0)).size:
            raise ValueError(
                f"dataset.duplicates must be keep where a class would be lost, got 'drop': all "
                f"images of {listing.classes[lacking[0]]!r} in {name} are copies of others in "
                f"{source.path!r}; remove the copies from val and test, or add "
                "dataset.duplicates=keep"
            )


def checked_heads(source: Filled, listing: Listing) -> list[Head]:
    """Sizes of some images, after a check that they have the pixels.

    Raises:
        ValueError: More than half of them are smaller than the resolution.
    """
    heads = list(source.heads(listing, NUM_LOOKED_AT))
    if heads and (median := median_side(heads)) < source.resolution:
        is_one_size = len({head.shorter for head in heads}) == 1
        half = "the images" if is_one_size else f"half of {len(heads)} images"
        raise ValueError(
            f"dataset.resolution must be at most {median}, the shorter side of {half} in "
            f"{source.path!r}, got {source.resolution}: more pixels would only be upsampled; leave "
            f"it out or add dataset.resolution={median}"
        )
    return heads


def median_side(heads: Sequence[Head]) -> int:
    """The shorter side that half of the images have at least."""
    return sorted(head.shorter for head in heads)[len(heads) // 2]


def way_of(source: Filled, span: tuple[int, int] | None) -> Way:
    """The way from a source's images to pixels."""
    return Way(source.in_channels, source.resolution, source.background, source.aspect, span)


def described(
    source: Filled,
    listing: Listing,
    heads: Sequence[Head],
    counts: Mapping[str, tuple[int, ...]],
    *,
    mean: float,
) -> Description:
    """The description without what only pixels tell."""
    whole = "train" if listing.ready else "all"
    origins = {
        "train": f"what is left of {whole}",
        "val": f"drawn, {source.val_share:g} of {whole}",
        "test": f"drawn, {source.test_share:g} of {whole}",
    } | {name: f"given as {folder!r}" for name, folder in listing.ready.items()}
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


def notes_of(source: Filled, span: tuple[int, int] | None, heads: Sequence[Head]) -> Iterator[str]:
    """Sentences about pixels that were mapped."""
    if span is not None:
        yield (
            f"Values of more than 8 bits are scaled from {span[0]:,} to {span[1]:,}, the range of "
            "all such images, to 0 to 255."
        )
    if cut := sum(head.is_cut for head in heads):
        yield (
            f"{cut} of {len(heads)} checked images have grey and alpha of 16 bits, of which the "
            "upper 8 are kept. Convert them to 8 bits if their values end far below 65,535."
        )
    if odd := sum(head.height != head.width for head in heads):
        done = {"crop": "their centres are cropped", "stretch": "they are stretched"}[source.aspect]
        yield f"{odd} of {len(heads)} checked images are not square: {done} (dataset.aspect)."
    if source.in_channels == 1 and (coloured := sum(head.channels == 3 for head in heads)):
        yield f"{coloured} of {len(heads)} checked images are coloured and become grey."
