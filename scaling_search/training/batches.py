"""Augmented batches of a dataset on a device."""

import functools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.nn import functional

from scaling_search.core.dataset import Dataset, Split, Splits
from scaling_search.core.recipe import Recipe
from scaling_search.data import cache as data_cache
from scaling_search.training import device_sharing
from scaling_search.training.augmentation import erased, mixed, recoloured, resized_parts
from scaling_search.training.draws import Draws, drawn

log = logging.getLogger(__name__)

CROPS_ARE_OF = "the native size"
"""The size that a recipe's crop is a fraction of, which decides the images of a seed."""

DEVICE_SHARE = 0.5
"""Part of a device's memory for images of all its workers; networks need the rest."""

KEPT_SIZES = 2
"""Number of image sizes that a process keeps for its next trainings."""

_native: WeakValueDictionary[tuple[Dataset, str], Split] = WeakValueDictionary()
"""Train splits in their native size, which all sizes of a dataset share."""


@dataclass(frozen=True)
class Loaded:
    """Splits on a device and the statistics that normalise them, each (1, C, 1, 1) of 0-255.

    Images that do not fit the device's memory lie in the host's; labels are on the device.

    Attributes:
        splits: Splits at the size that networks see.
        mean: Mean of the train split at this size.
        std: Standard deviation of the train split at this size.
        native: The train split in its native size, for crops; None if that is the size that
            networks see, or without crops.
        num_classes: Number of classes, for labels of mixed images.
    """

    splits: Splits
    mean: Tensor
    std: Tensor
    native: Split | None = None
    num_classes: int = 0

    @property
    def train(self) -> Split:
        """The split that batches are taken from."""
        return self.splits.train if self.native is None else self.native

    def holds(self, split: Split) -> bool:
        """True if a split's images are on the device."""
        return split.images.device == self.mean.device

    def normalised(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of 0-255 as floats, of mean 0 and variance 1 over the train split."""
        return (images.to(self.mean.device, non_blocking=True).float() - self.mean) / self.std


@functools.lru_cache(maxsize=KEPT_SIZES)
def load(
    dataset: Dataset, resolution: int, device: str, fingerprint: str = "", *, crops: bool = True
) -> Loaded:
    """The data at a size on a device; on a CPU a memory map that all processes share.

    Args:
        dataset: The dataset.
        resolution: Height and width that networks see, in pixels.
        device: Device that trains.
        fingerprint: Fingerprint that the dataset must have; empty for any.
        crops: True to load the train split in its native size too.

    Raises:
        RuntimeError: They cannot be read, or have another fingerprint.
    """
    at_size = data_cache.mapped(dataset, resolution, fingerprint=fingerprint)
    is_native = resolution == dataset.resolution
    native = _native_train(dataset, device, fingerprint) if crops or is_native else None
    if load.cache_info().currsize == KEPT_SIZES:
        load.cache_clear()  # now, so that these find room
    sums = torch.from_numpy(data_cache.sums(dataset, resolution, at_size)).double()
    # Sums of integers are exact, so that the statistics do not depend on their order.
    total, square = sums[:, None, :, None, None]
    count = len(at_size.train.labels) * resolution**2
    mean = total / count
    variance = (square / count - mean**2) * count / (count - 1)
    std = variance.clamp(min=0).sqrt().float().clamp(min=1e-6)
    mean, std = mean.float().to(device), std.to(device)
    num_classes = dataset.num_classes or int(at_size.train.labels.max()) + 1
    if native is None:
        [train] = placed([at_size.train], device)
    elif is_native:
        train, native = native, None
    else:
        # No step reads the train split at this size; its images can stay where they are.
        train = Split(at_size.train.images, at_size.train.labels.to(device))
    val, test = placed([at_size.val, at_size.test], device)
    return Loaded(Splits(train, val, test), mean, std, native, num_classes)


def _native_train(dataset: Dataset, device: str, fingerprint: str) -> Split:
    """The train split in its native size on a device, shared by all that use it."""
    found = _native.get((dataset, device))
    if found is None:
        native_size = data_cache.native_size(dataset)
        of_all = data_cache.mapped(dataset, native_size, fingerprint=fingerprint)
        [found] = placed([of_all.train], device)
        _native[dataset, device] = found
    return found


def placed(splits: Sequence[Split], device: str) -> list[Split]:
    """Splits with their labels on a device, and their images too if there is room."""
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
    """Bytes of a device that more images may take; infinite if its memory is the host's own.

    All workers of the device have equal parts. Before a training a process holds only images.
    """
    if not device.startswith("cuda"):
        return math.inf
    free, total = torch.cuda.mem_get_info(device)
    own_share = DEVICE_SHARE * total / device_sharing.num_workers()
    return min(own_share - torch.cuda.memory_allocated(device), DEVICE_SHARE * free)


def padded_by(data: Loaded, crop: float) -> int:
    """Whole pixels of zero padding on each side of `Loaded.train`, a fraction of its size."""
    return round(crop * data.train.images.shape[-1])


def draws_of(data: Loaded, recipe: Recipe, seed: int, epoch: int) -> Draws:
    """An epoch's draws for the images that batches are taken from, in the host's memory."""
    padding = padded_by(data, recipe.crop)
    return drawn(len(data.train.labels), seed, epoch, recipe, padding=padding)


def augmented(
    data: Loaded,
    draws: Draws,
    places: slice | Tensor,
    recipe: Recipe,
    *,
    fetched: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A batch: float images (B, C, H, W), normalised, channels last, and labels.

    Labels are classes (B,), or probabilities (B, C) of classes if images are mixed. Crops are taken
    of native images, then resized as whole images are, so that networks of every resolution see the
    same part of the scene.

    Args:
        data: The splits on their device.
        draws: Draws of the epoch, on the same device.
        places: Places of the batch in the epoch's order.
        recipe: The augmentation.
        fetched: The batch's images (B, C, H, W) of `Loaded.train`, if these are not on the device.
    """
    chosen = draws.order[places]
    labels = data.train.labels[chosen]
    whole = data.train.images[chosen] if fetched is None else fetched
    images = recoloured(_seen(data, whole, draws, places, recipe), draws, places, recipe)
    images = data.normalised(images)
    if recipe.erasing:
        images = erased(images, draws.erased[places])
    if recipe.is_mixed:
        kept, pasted = draws.kept[places], draws.pasted[places]
        images, labels = mixed(images, labels, kept, pasted, data.num_classes)
    return images, labels


def _seen(
    data: Loaded, whole: Tensor, draws: Draws, places: slice | Tensor, recipe: Recipe
) -> Tensor:
    """Images cropped, resized and mirrored: floats of 0-255, channels last."""
    images = _cropped(whole, draws.corners[places], padded_by(data, recipe.crop))
    images = images.to(torch.float32, memory_format=torch.channels_last)
    size = data.splits.train.images.shape[-1]
    if recipe.resized_crop is not None:
        images = resized_parts(images, draws.parts[places], size).round_()
        images = images.contiguous(memory_format=torch.channels_last)
    elif images.shape[-1] != size:
        # To the bit what `data.images.resize` makes of whole images.
        images = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        images = images.round_()
    if not recipe.flip:
        return images
    return torch.where(draws.mirrored[places][:, None, None, None], images.flip(3), images)


def _cropped(images: Tensor, corners: Tensor, padding: int) -> Tensor:
    """Crops of images (B, C, H, W) that are padded by zeros; of the images' own size."""
    if padding == 0:
        return images
    size = images.shape[-1]
    padded = functional.pad(images, (padding,) * 4)
    every = padded.unfold(2, size, 1).unfold(3, size, 1)  # a view (B, C, row, column, H, W)
    first = torch.arange(len(images), device=images.device)
    return every[first, :, corners[:, 0], corners[:, 1]]


def augmented_batches(
    data: Loaded, seed: int, epoch: int, recipe: Recipe
) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole batches of an epoch, counted from 0, as from `augmented`."""
    labels, size = data.train.labels, recipe.batch_size
    on_host = draws_of(data, recipe, seed, epoch)
    draws = Draws(*(values.to(labels.device) for values in on_host))
    for start in range(0, len(labels) - size + 1, size):
        yield augmented(data, draws, slice(start, start + size), recipe)
