"""From a dataset to augmented batches on the device."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scaling_search import data_cache
from scaling_search.protocols import Dataset, Splits

STATISTICS_AT_ONCE = 2048
"""Images whose pixels are floats at a time; all of a large split would not fit beside it."""


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
    for chunk in splits.train.images.split(STATISTICS_AT_ONCE):  # type: ignore[no-untyped-call]  # torch's
        pixels = chunk.double()
        total = total + pixels.sum((0, 2, 3))
        square = square + pixels.square().sum((0, 2, 3))
    count = len(splits.train.labels) * resolution**2
    mean = (total / count)[None, :, None, None]
    variance = ((square / count)[None, :, None, None] - mean**2) * count / (count - 1)
    return Loaded(splits, mean.float(), variance.clamp(min=0).sqrt().float().clamp(min=1e-6))


def augmented_batches(
    data: Loaded, seed: int, epoch: int, *, batch_size: int, crop: float, flip: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch: float images (B, C, H, W), normalised, channels last, and labels.

    Order, mirrors and crops depend on seed and epoch alone, crops as fractions of the size, so
    that every network of a seed sees the same images in the same way. Images that fill no batch
    are left out.

    Args:
        data: The splits on their device.
        seed: Of the trial.
        epoch: Counted from 0.
        batch_size: Images in a batch, at most those of the split.
        crop: Zero padding before the random crop, a fraction of the size.
        flip: Whether half of the images are mirrored.
    """
    images, labels = data.splits.train.images, data.splits.train.labels
    size, device = images.shape[-1], images.device
    padding = round(crop * size)
    stream = np.random.default_rng([seed, epoch])
    order = torch.from_numpy(stream.permutation(len(labels))).to(device)
    mirrored = torch.from_numpy(stream.random(len(labels)) < (0.5 if flip else 0.0)).to(device)
    corners = torch.from_numpy(stream.random((len(labels), 2)))
    offsets = (corners * (2 * padding + 1)).long().to(device)
    pixels = torch.arange(size, device=device)
    first = torch.arange(batch_size, device=device)[:, None, None]
    for start in range(0, len(labels) - batch_size + 1, batch_size):
        batch = slice(start, start + batch_size)
        padded = functional.pad(images[order[batch]], (padding,) * 4)
        rows = offsets[batch, 0, None] + pixels
        columns = torch.where(mirrored[batch, None], size - 1 - pixels, pixels)
        columns = columns + offsets[batch, 1, None]
        # Indices around the channels put them last, which is the memory order wanted.
        cropped = padded[first, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        yield data.normalised(cropped), labels[order[batch]]
