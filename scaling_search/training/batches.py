"""From a dataset to augmented batches on the device."""

import functools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scaling_search.core.dataset import Dataset, Split, Splits
from scaling_search.data import cache as data_cache
from scaling_search.training import neighbours

log = logging.getLogger(__name__)

CROPS_ARE_OF = "the native size"
"""Size that a recipe's crop is a fraction of; another one shows other images by equal draws."""

DEVICE_SHARE = 0.5
"""Part of a device's memory that the images of all its workers may take; networks need the rest."""

KEPT_SIZES = 2
"""Sizes of images that a process keeps for its next trainings."""

_native: WeakValueDictionary[tuple[Dataset, str], Split] = WeakValueDictionary()
"""Train splits in their native size, which all sizes of a dataset share."""


@dataclass(frozen=True)
class Loaded:
    """Splits on a device and the statistics that normalise them, each (1, C, 1, 1) of 0-255.

    Images that the device's memory does not hold lie in the host's; labels are always there.

    Attributes:
        splits: At the size that networks see.
        mean: Of the train split at this size.
        std: Of the train split at this size.
        native: The train split in its native size, for crops; None where that is the size that
            networks see, or where no crops are taken.
    """

    splits: Splits
    mean: Tensor
    std: Tensor
    native: Split | None = None

    @property
    def train(self) -> Split:
        """The images that batches are made of."""
        return self.splits.train if self.native is None else self.native

    def holds(self, split: Split) -> bool:
        """True if the device has a split's images, so that nothing needs to be fetched."""
        return split.images.device == self.mean.device

    def normalised(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of 0-255 as floats, of mean 0 and variance 1 over the train split."""
        return (images.to(self.mean.device, non_blocking=True).float() - self.mean) / self.std


@functools.lru_cache(maxsize=KEPT_SIZES)
def load(
    dataset: Dataset, resolution: int, device: str, fingerprint: str = "", *, crops: bool = True
) -> Loaded:
    """The data of a process at a size, on its device; on a CPU they are a map that all share.

    Args:
        dataset: What is read.
        resolution: Height and width that networks see, in pixels.
        device: Where networks are trained.
        fingerprint: What the dataset must have; any will do if empty.
        crops: Whether training takes crops, for which its images are there in their native size.

    Raises:
        RuntimeError: They cannot be read, or are not those of the fingerprint.
    """
    at_size = data_cache.mapped(dataset, resolution, fingerprint=fingerprint)
    is_native = resolution == dataset.resolution
    native = _native_train(dataset, device, fingerprint) if crops or is_native else None
    if load.cache_info().currsize == KEPT_SIZES:
        load.cache_clear()  # now, so that these find the room of those
    sums = torch.from_numpy(data_cache.sums(dataset, resolution, at_size)).double()
    # Sums of integers are exact, so that the statistics do not depend on their order.
    total, square = sums[:, None, :, None, None]
    count = len(at_size.train.labels) * resolution**2
    mean = total / count
    variance = (square / count - mean**2) * count / (count - 1)
    std = variance.clamp(min=0).sqrt().float().clamp(min=1e-6)
    mean, std = mean.float().to(device), std.to(device)
    if native is None:
        [train] = placed([at_size.train], device)
    elif is_native:
        train, native = native, None
    else:
        # No step reads the train split at this size; its images can stay where they are.
        train = Split(at_size.train.images, at_size.train.labels.to(device))
    val, test = placed([at_size.val, at_size.test], device)
    return Loaded(Splits(train, val, test), mean, std, native)


def _native_train(dataset: Dataset, device: str, fingerprint: str) -> Split:
    """The train split in its native size on a device, there once for as long as it is used."""
    found = _native.get((dataset, device))
    if found is None:
        native_size = data_cache.native_size(dataset)
        of_all = data_cache.mapped(dataset, native_size, fingerprint=fingerprint)
        [found] = placed([of_all.train], device)
        _native[dataset, device] = found
    return found


def placed(splits: Sequence[Split], device: str) -> list[Split]:
    """Splits with their labels on a device, their images too where this process has room there.

    Args:
        splits: In the host's memory, or maps.
        device: Where networks are trained.
    """
    needed, room = sum(split.images.nbytes for split in splits), room_bytes(device)
    if needed <= room:
        return [split.to(device) for split in splits]
    log.info(
        "%.1f GB of images stay in the host's memory: of %s they may take %.1f GB more",
        needed / 1e9,
        device,
        room / 1e9,
    )
    return [Split(split.images, split.labels.to(device)) for split in splits]


def room_bytes(device: str) -> float:
    """Memory of a device that more images may take; without end where it is the host's own.

    Each worker of the device may take as much, whenever it starts. Before a training all that a
    process holds are images.
    """
    if not device.startswith("cuda"):
        return math.inf
    free, total = torch.cuda.mem_get_info(device)
    own_share = DEVICE_SHARE * total / neighbours.num_workers()
    return min(own_share - torch.cuda.memory_allocated(device), DEVICE_SHARE * free)


class Draws(NamedTuple):
    """What was drawn for an epoch.

    Attributes:
        order: Places (N,) of the images in the split.
        mirrored: Whether the image at each place of the order (N,) is.
        corners: Row and column (N, 2) of its crop in the padded image of `Loaded.train`.
    """

    order: Tensor
    mirrored: Tensor
    corners: Tensor


def drawn(num_images: int, seed: int, epoch: int, *, padding: int, flip: bool) -> Draws:
    """An epoch's draws, in the host's memory.

    They depend on seed and epoch alone, and crops are drawn for the native size, so that every
    network of a seed sees the same images in the same way.
    """
    stream = np.random.default_rng([seed, epoch])
    order = torch.from_numpy(stream.permutation(num_images))
    mirrored = torch.from_numpy(stream.random(num_images) < (0.5 if flip else 0.0))
    fractions = torch.from_numpy(stream.random((num_images, 2)))
    return Draws(order, mirrored, (fractions * (2 * padding + 1)).long())


def padded_by(data: Loaded, crop: float) -> int:
    """Whole pixels of zero padding on each side of `Loaded.train`, a fraction of its size."""
    return round(crop * data.train.images.shape[-1])


def augmented(
    data: Loaded,
    draws: Draws,
    places: slice | Tensor,
    *,
    padding: int,
    fetched: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A batch: float images (B, C, H, W), normalised, channels last, and labels.

    Crops are taken of native images, then resized as whole images are, so that networks of every
    resolution see the same part of the scene.

    Args:
        data: The splits on their device.
        draws: Of the epoch, on the same device.
        places: Of the batch in the epoch's order.
        padding: Pixels, as `drawn` had it.
        fetched: The batch's images (B, C, H, W) of `Loaded.train`, where the device does not hold
            them all.
    """
    chosen = draws.order[places]
    whole = data.train.images[chosen] if fetched is None else fetched
    images = _cropped(whole, draws.corners[places], padding)
    images = images.to(torch.float32, memory_format=torch.channels_last)
    size = data.splits.train.images.shape[-1]
    if images.shape[-1] != size:
        # To the bit what `data.images.resize` makes of whole images.
        images = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        images = images.round_()
    mirrored = draws.mirrored[places][:, None, None, None]
    images = torch.where(mirrored, images.flip(3), images)
    return data.normalised(images), data.train.labels[chosen]


def _cropped(images: Tensor, corners: Tensor, padding: int) -> Tensor:
    """Parts of square images (B, C, H, W), as large as they, of the images padded by zeros."""
    if padding == 0:
        return images
    size = images.shape[-1]
    padded = functional.pad(images, (padding,) * 4)
    every = padded.unfold(2, size, 1).unfold(3, size, 1)  # a view (B, C, row, column, H, W)
    first = torch.arange(len(images), device=images.device)
    return every[first, :, corners[:, 0], corners[:, 1]]


def augmented_batches(
    data: Loaded, seed: int, epoch: int, *, batch_size: int, crop: float, flip: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch, as `augmented` gives them.

    Images that fill no batch are left out.

    Args:
        data: The splits on their device.
        seed: Of the trial.
        epoch: Counted from 0.
        batch_size: Images in a batch, at most those of the split.
        crop: Zero padding before the random crop, a fraction of the native size.
        flip: Whether half of the images are mirrored.
    """
    labels = data.train.labels
    padding = padded_by(data, crop)
    on_host = drawn(len(labels), seed, epoch, padding=padding, flip=flip)
    draws = Draws(*(values.to(labels.device) for values in on_host))
    for start in range(0, len(labels) - batch_size + 1, batch_size):
        yield augmented(data, draws, slice(start, start + batch_size), padding=padding)
