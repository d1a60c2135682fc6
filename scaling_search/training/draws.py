"""The random numbers of an epoch's images, drawn in the host's memory."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scaling_search.core.recipe import Recipe
from scaling_search.training.rand_augment import NUM_OPERATIONS
from scaling_search.training.seeds import epoch_stream

Numbers = NDArray[np.float64]

CROP_RATIOS = (3 / 4, 4 / 3)
"""Width over height of a resized crop. Source: Szegedy et al. 2015, section 6."""

ERASED_AREAS, ERASED_RATIOS = (0.02, 1 / 3), (0.3, 1 / 0.3)
"""Area and shape of an erased box. Source: Zhong et al. 2020, as torchvision has them."""

RESIZED_CROP, COLOR_JITTER, RAND_AUGMENT, ERASING, MIXING = range(1, 6)
"""Purposes of an epoch's streams, so that no augmentation changes another one's draws."""


class Draws(NamedTuple):
    """Random numbers of an epoch; those of an augmentation that is not asked for are empty.

    Boxes (N, 4) are top, left, bottom and right, as fractions of the image.

    Attributes:
        order: Indices (N,) of the images in the split.
        mirrored: True (N,) for images in this order that are mirrored.
        corners: Row and column (N, 2) of their crops in padded native images.
        parts: Boxes of native images that are seen.
        factors: Factors (N, 3) of brightness, contrast and saturation.
        operations: Numbers (N, K) of the random operations.
        signs: Their directions (N, K), -1 or 1.
        erased: Boxes that are erased, of no size in most images.
        kept: Part (N,) of the own image in a mixture.
        pasted: Boxes that another image fills, of no size in mixtures.
    """

    order: Tensor
    mirrored: Tensor
    corners: Tensor
    parts: Tensor
    factors: Tensor
    operations: Tensor
    signs: Tensor
    erased: Tensor
    kept: Tensor
    pasted: Tensor


def drawn(num_images: int, seed: int, epoch: int, recipe: Recipe, *, padding: int) -> Draws:
    """An epoch's draws, in the host's memory.

    They depend on seed, epoch and recipe alone, and crops on the native size, so that all networks
    of a seed see the same images in the same way.

    Args:
        num_images: Number of images in the split.
        seed: The training's.
        epoch: Number of the epoch, from 0.
        recipe: Its augmentation.
        padding: Pixels on each side of a native image from which `Recipe.crop` is taken.
    """
    stream = epoch_stream(seed, epoch)
    order = torch.from_numpy(stream.permutation(num_images))
    mirrored = torch.from_numpy(stream.random(num_images) < (0.5 if recipe.flip else 0.0))
    fractions = torch.from_numpy(stream.random((num_images, 2)))
    corners = (fractions * (2 * padding + 1)).long()

    def own(purpose: int, *, is_asked: bool) -> tuple[np.random.Generator, int]:
        return epoch_stream(seed, epoch, purpose), num_images if is_asked else 0

    parts = _boxes(
        *own(RESIZED_CROP, is_asked=recipe.resized_crop is not None),
        recipe.resized_crop or (1.0, 1.0),
        CROP_RATIOS,
    )
    stream, number = own(COLOR_JITTER, is_asked=recipe.color_jitter > 0)
    factors = 1 + recipe.color_jitter * stream.uniform(-1, 1, (number, 3))
    stream, number = own(RAND_AUGMENT, is_asked=recipe.rand_augment is not None)
    shape = number, (recipe.rand_augment or (0, 0))[0]
    operations = torch.from_numpy(stream.integers(NUM_OPERATIONS, size=shape))
    signs = stream.choice([-1.0, 1.0], size=shape)
    stream, number = own(ERASING, is_asked=recipe.erasing > 0)
    is_erased = stream.random((number, 1)) < recipe.erasing
    erased = _boxes(stream, number, ERASED_AREAS, ERASED_RATIOS) * is_erased
    kept, pasted = _mixing(*own(MIXING, is_asked=recipe.is_mixed), recipe)
    return Draws(
        order,
        mirrored,
        corners,
        parts=_float(parts),
        factors=_float(factors),
        operations=operations,
        signs=_float(signs),
        erased=_float(erased),
        kept=_float(kept),
        pasted=_float(pasted),
    )


def _boxes(
    stream: np.random.Generator,
    number: int,
    areas: tuple[float, float],
    ratios: tuple[float, float],
) -> Numbers:
    """Boxes within the image, uniform in area, in the logarithm of their shape and in place."""
    area = stream.uniform(*areas, number)
    low, high = map(math.log, ratios)
    ratio = np.exp(stream.uniform(low, high, number))
    ratio = np.clip(ratio, area, 1 / area)  # else a side would be longer than the image
    sides = np.sqrt(np.stack([area / ratio, area * ratio], axis=1)).clip(max=1)
    first = stream.random((number, 2)) * (1 - sides)
    return np.concatenate([first, first + sides], axis=1)


def _mixing(stream: np.random.Generator, number: int, recipe: Recipe) -> tuple[Numbers, Numbers]:
    """Each image's own part in a mixture, and boxes that another image fills.

    Source: Zhang et al. 2018, equation 1; Yun et al. 2019, equation 3, whose boxes may reach over
    the edge and are cut there.
    """
    is_cut = stream.random(number) < {(True, False): 0.0, (False, True): 1.0}.get(
        (recipe.mixup > 0, recipe.cutmix > 0), 0.5
    )
    kept = _beta(stream, recipe.mixup, number)
    side = np.sqrt(1 - _beta(stream, recipe.cutmix, number))[:, None]
    middle = stream.random((number, 2))
    boxes = np.concatenate([middle - side / 2, middle + side / 2], axis=1).clip(0, 1)
    return np.where(is_cut, 1.0, kept), np.where(is_cut[:, None], boxes, 0.0)


def _beta(stream: np.random.Generator, alpha: float, number: int) -> Numbers:
    return stream.beta(alpha, alpha, number) if alpha else np.ones(number)


def _float(numbers: Numbers) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))
