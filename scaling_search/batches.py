"""From a dataset to augmented batches on the device."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scaling_search import data_cache
from scaling_search.protocols import Dataset, Splits

STATISTICS_AT_ONCE = 1 << 21
"""Values of pixels that are floats at a time; all of a large split would not fit beside it."""


@dataclass(frozen=True)
class Loaded:
    """Splits on a device and the statistics that normalise them, each (1, C, 1, 1) of 0-255."""

    splits: Splits
    mean: Tensor
    std: Tensor

    def normalised(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), uint8 to float with mean 0 and variance 1 over the train split."""
        return (images.float() - self.mean) / self.std


@functools.lru_cache(maxsize=8)
def load(dataset: Dataset, resolution: int, device: str) -> Loaded:
    """The data of a process at a size, on its device; on a CPU they are a map that all share."""
    splits = data_cache.mapped(dataset, resolution).to(device)
    total = square = torch.zeros(1, dtype=torch.float64, device=device)
    # float64 sums of integers are exact, so that the statistics do not depend on their order.
    at_once = max(1, STATISTICS_AT_ONCE // splits.train.images[0].numel())
    for chunk in splits.train.images.split(at_once):  # type: ignore[no-untyped-call]  # torch's
        pixels = chunk.double()
        total = total + pixels.sum((0, 2, 3))
        square = square + pixels.square().sum((0, 2, 3))
    count = len(splits.train.labels) * resolution**2
    mean = (total / count)[None, :, None, None]
    variance = ((square / count)[None, :, None, None] - mean**2) * count / (count - 1)
    return Loaded(splits, mean.float(), variance.clamp(min=0).sqrt().float().clamp(min=1e-6))


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
    padded = functional.pad(images[chosen], (padding,) * 4)
    size = images.shape[-1]
    pixels = torch.arange(size, device=images.device)
    first = torch.arange(len(chosen), device=images.device)[:, None, None]
    corners = draws.corners[places]
    rows = corners[:, 0, None] + pixels
    columns = torch.where(draws.mirrored[places][:, None], size - 1 - pixels, pixels)
    columns = columns + corners[:, 1, None]
    # Indices around the channels put them last, which is the memory order wanted.
    cropped = padded[first, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return data.normalised(cropped), labels[chosen]


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
