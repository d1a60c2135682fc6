"""RandAugment: random operations on a batch of images, each image with its own.

Source: Cubuk et al. 2020, with the operations and ranges of torchvision. All operations are done
for all images and then selected, so that no value is read on the host and all shapes are static.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

IDENTITY, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, ROTATE = range(6)
BRIGHTNESS, COLOR, CONTRAST, SHARPNESS = range(6, 10)
POSTERIZE, SOLARIZE, AUTO_CONTRAST, EQUALIZE = range(10, 14)
NUM_OPERATIONS = 14

MOST_MAGNITUDE = 30

SHEAR, TRANSLATION, DEGREES, ENHANCEMENT, BITS = 0.3, 150 / 331, 30.0, 0.9, 4
"""Ranges at the largest magnitude; translation is a fraction of the size."""

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue. Source: ITU-R BT.601."""


def rand_augmented(images: Tensor, operations: Tensor, signs: Tensor, magnitude: int) -> Tensor:
    """Images (B, C, H, W) of 0-255 after their operations, one after the other.

    Args:
        images: Square images.
        operations: Numbers (B, K) of each image's operations.
        signs: Their directions (B, K), -1 or 1.
        magnitude: From 0 to `MOST_MAGNITUDE`.
    """
    level = magnitude / MOST_MAGNITUDE
    for operation, sign in zip(operations.unbind(1), signs.unbind(1), strict=True):
        images = _applied(images, operation, sign * level, level)
    return images


def _applied(images: Tensor, operation: Tensor, signed: Tensor, level: float) -> Tensor:
    """Images after one operation each; ``signed`` (B,) is the level with a direction."""
    operation = operation[:, None, None, None]
    is_moved = (operation >= SHEAR_X) & (operation <= ROTATE)
    is_blended = (operation >= BRIGHTNESS) & (operation <= SHARPNESS)
    found = torch.where(is_moved, _moved(images, operation[:, 0, 0, 0], signed), images)
    factor = 1 + ENHANCEMENT * signed[:, None, None, None]
    blended_with = torch.where(operation == COLOR, grey(images), torch.zeros_like(images))
    blended_with = torch.where(operation == CONTRAST, mean_grey(images), blended_with)
    blended_with = torch.where(operation == SHARPNESS, _blurred(images), blended_with)
    found = torch.where(is_blended, blended(images, blended_with, factor), found)
    step = 2 ** round(BITS * level)
    found = torch.where(operation == POSTERIZE, (images / step).floor() * step, found)
    inverted = torch.where(images >= 255 * (1 - level), 255 - images, images)
    found = torch.where(operation == SOLARIZE, inverted, found)
    found = torch.where(operation == AUTO_CONTRAST, _auto_contrasted(images), found)
    return torch.where(operation == EQUALIZE, _equalized(images), found)


def blended(images: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    """Images moved away from others, (B, C, H, W) of 0-255; a factor of 1 changes no bit."""
    return (factor * images + (1 - factor) * others).clamp(0, 255)


def grey(images: Tensor) -> Tensor:
    """The brightness (B, 1, H, W) of images; of other than three channels their mean."""
    if images.shape[1] != len(GREY):
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue)[:, None]


def mean_grey(images: Tensor) -> Tensor:
    """The mean brightness (B, 1, 1, 1) of images."""
    return grey(images).mean((2, 3), keepdim=True)


def _moved(images: Tensor, operation: Tensor, signed: Tensor) -> Tensor:
    """Images sheared, translated or rotated around their middle, over black."""

    def only(number: int, most: float) -> Tensor:
        return torch.where(operation == number, most * signed, torch.zeros_like(signed))

    angle = only(ROTATE, math.radians(DEGREES))
    cos, sin = angle.cos(), angle.sin()
    # The image's axes run from -1 to 1.
    right, down = only(TRANSLATE_X, 2 * TRANSLATION), only(TRANSLATE_Y, 2 * TRANSLATION)
    rows = (
        torch.stack([cos, only(SHEAR_X, SHEAR) - sin, right], 1),
        torch.stack([sin + only(SHEAR_Y, SHEAR), cos, down], 1),
    )
    shape = list(images.shape)
    grid = functional.affine_grid(torch.stack(rows, 1), shape, align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _blurred(images: Tensor) -> Tensor:
    """Images smoothed but for their outermost pixels, as Pillow does it."""
    if min(images.shape[2:]) < 3:
        return images
    smooth = (9 * functional.avg_pool2d(images, 3, 1) + 4 * images[:, :, 1:-1, 1:-1]) / 13
    found = images.clone()
    found[:, :, 1:-1, 1:-1] = smooth
    return found


def _auto_contrasted(images: Tensor) -> Tensor:
    """Images whose channels are stretched to 0-255; constant ones stay."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) * (255 / (high - low).clamp(min=1e-6))
    return torch.where(high > low, stretched, images)


def _equalized(images: Tensor) -> Tensor:
    """Images with an even histogram in each channel, as Pillow does it."""
    values = images.round().long().flatten(2).flatten(0, 1)  # (B * C, H * W)
    channel = torch.arange(len(values), device=images.device)[:, None]
    counts = torch.zeros(256 * len(values), dtype=torch.int64, device=images.device)
    # Sums of integers are exact, so that their order does not matter.
    places = (values + 256 * channel).flatten()
    counts.scatter_add_(0, places, torch.ones_like(places[:1]).expand_as(places))
    counts = counts.view(-1, 256)
    of_highest = (values == values.amax(1, keepdim=True)).sum(1, keepdim=True)
    step = (values.shape[1] - of_highest) // 255
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    even = table.gather(1, values).to(images.dtype)
    return torch.where(step > 0, even, values.to(images.dtype)).view(images.shape)
