"""From a dataset to augmented batches on the device."""

import functools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scaling_search.data import cache as data_cache
from scaling_search.protocols import Dataset, Split, Splits

log = logging.getLogger(__name__)

DEVICE_SHARE = 0.5
"""Of a device's free memory that images may take; networks need the rest."""


@dataclass(frozen=True)
class Loaded:
    """Splits on a device and the statistics that normalise them, each (1, C, 1, 1) of 0-255.

    Images that the device's memory does not hold lie in the host's; labels are always there.
    """

    splits: Splits
    mean: Tensor
    std: Tensor

    @property
    def is_resident(self) -> bool:
        """Whether the images lie on the device, so that a step needs nothing of the host."""
        return self.splits.train.images.device == self.mean.device

    def normalised(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), uint8 to float with mean 0 and variance 1 over the train split."""
        return (images.to(self.mean.device, non_blocking=True).float() - self.mean) / self.std


@functools.lru_cache(maxsize=8)
def load(dataset: Dataset, resolution: int, device: str, fingerprint: str = "") -> Loaded:
    """The data of a process at a size, on its device; on a CPU they are a map that all share.

    Raises:
        RuntimeError: They cannot be read, or are not those of the fingerprint.
    """
    on_host = data_cache.mapped(dataset, resolution, fingerprint=fingerprint)
    sums = torch.from_numpy(data_cache.sums(dataset, resolution, on_host)).double()
    # Sums of integers are exact, so that the statistics do not depend on their order.
    total, square = sums[:, None, :, None, None]
    count = len(on_host.train.labels) * resolution**2
    mean = total / count
    variance = (square / count - mean**2) * count / (count - 1)
    std = variance.clamp(min=0).sqrt().float().clamp(min=1e-6)
    splits = placed(on_host, device, free_bytes(device))
    return Loaded(splits, mean.float().to(device), std.to(device))


def free_bytes(device: str) -> float:
    """Memory that a device has left; without end where it is the host's own."""
    return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else math.inf


def placed(splits: Splits, device: str, free: float) -> Splits:
    """The splits with their labels on a device, their images too where there is room.

    Args:
        splits: In the host's memory, or maps.
        device: Where networks are trained.
        free: Bytes of its memory that are left.
    """
    every = (splits.train, splits.val, splits.test)
    needed = sum(split.images.nbytes for split in every)
    if needed <= DEVICE_SHARE * free:
        return splits.to(device)
    log.info(
        "%.1f GB of images stay in the host's memory: %s has %.1f GB left",
        needed / 1e9,
        device,
        free / 1e9,
    )
    return Splits(*(Split(split.images, split.labels.to(device)) for split in every))


class Draws(NamedTuple):
    """What was drawn for an epoch.

    Attributes:
        order: Places (N,) of the images in the split.
        mirrored: Whether the image at each place of the order (N,) is.
        corners: Row and column (N, 2) of its crop in the padded image.
    """

    order: Tensor
    mirrored: Tensor
    corners: Tensor


def drawn(num_images: int, seed: int, epoch: int, *, padding: int, flip: bool) -> Draws:
    """An epoch's draws, in the host's memory.

    They depend on seed and epoch alone, crops as fractions of the size, so that every network of
    a seed sees the same images in the same way.
    """
    stream = np.random.default_rng([seed, epoch])
    order = torch.from_numpy(stream.permutation(num_images))
    mirrored = torch.from_numpy(stream.random(num_images) < (0.5 if flip else 0.0))
    fractions = torch.from_numpy(stream.random((num_images, 2)))
    return Draws(order, mirrored, (fractions * (2 * padding + 1)).long())


def padded_by(data: Loaded, crop: float) -> int:
    """Pixels of zero padding on each side, for a fraction of the size."""
    return round(crop * data.splits.train.images.shape[-1])


def augmented(
    data: Loaded, draws: Draws, places: slice | Tensor, *, padding: int
) -> tuple[Tensor, Tensor]:
    """A batch: float images (B, C, H, W), normalised, channels last, and labels.

    Args:
        data: The splits on their device.
        draws: Of the epoch, on the same device.
        places: Of the batch in the epoch's order.
        padding: Pixels, as `drawn` had it.
    """
    images, labels = data.splits.train.images, data.splits.train.labels
    chosen = draws.order[places]
    padded = functional.pad(_fetched(images, chosen), (padding,) * 4)
    size = images.shape[-1]
    pixels = torch.arange(size, device=chosen.device)
    first = torch.arange(len(chosen), device=chosen.device)[:, None, None]
    corners = draws.corners[places]
    rows = corners[:, 0, None] + pixels
    columns = torch.where(draws.mirrored[places][:, None], size - 1 - pixels, pixels)
    columns = columns + corners[:, 1, None]
    # Indices around the channels put them last, which is the memory order wanted.
    cropped = padded[first, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return data.normalised(cropped), labels[chosen]


def _fetched(images: Tensor, chosen: Tensor) -> Tensor:
    """Some of the images, on the device of their places."""
    found = images[chosen.to(images.device)]
    if chosen.is_cuda and not images.is_cuda:
        found = found.pin_memory()  # so that the device takes it while the host goes on
    return found.to(chosen.device, non_blocking=True)


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
        crop: Zero padding before the random crop, a fraction of the size.
        flip: Whether half of the images are mirrored.
    """
    labels = data.splits.train.labels
    padding = padded_by(data, crop)
    on_host = drawn(len(labels), seed, epoch, padding=padding, flip=flip)
    draws = Draws(*(values.to(labels.device) for values in on_host))
    for start in range(0, len(labels) - batch_size + 1, batch_size):
        yield augmented(data, draws, slice(start, start + batch_size), padding=padding)
