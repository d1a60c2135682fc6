"""Augmentation of batches on a device, with random numbers that were drawn before.

No value is read on the host and all shapes are static, so that a step can be captured.
"""

import torch
from torch import Tensor

from scaling_search.core.recipe import Recipe
from scaling_search.training.draws import Draws
from scaling_search.training.rand_augment import blended, grey, mean_grey, rand_augmented


def resized_parts(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Boxes (B, 4) of square images (B, C, H, W), resized with antialiasing to a size.

    A box of the whole image gives what torch's ``interpolate`` makes of it, but for rounding.
    """
    batch, channels, source = images.shape[:3]
    down = _weights(boxes[:, 0], boxes[:, 2], source, size)
    right = _weights(boxes[:, 1], boxes[:, 3], source, size)
    narrow = images.reshape(batch, channels * source, source) @ right.mT
    narrow = narrow.view(batch, channels, source, size).transpose(1, 2)
    found = down @ narrow.reshape(batch, source, channels * size)
    return found.view(batch, size, channels, size).transpose(1, 2)


def _weights(first: Tensor, last: Tensor, source: int, size: int) -> Tensor:
    """Weights (B, size, source) of an image's pixels in those of its resized part.

    A triangle as wide as the distance of two new pixels, or of two old ones if that is more.
    """
    scale = ((last - first) * (source / size))[:, None]
    places = torch.arange(size, device=first.device) + 0.5
    middle = first[:, None] * source + places * scale
    away = (torch.arange(source, device=first.device) + 0.5 - middle[:, :, None]).abs()
    weights = (1 - away / scale.clamp(min=1)[:, :, None]).clamp(min=0)
    return weights / weights.sum(2, keepdim=True)


def covered(boxes: Tensor, size: int) -> Tensor:
    """The part (B, 1, size, size) of each pixel that lies in a box (B, 4).

    A box covers the same part of the image at every size.
    """
    pixels = torch.arange(size, device=boxes.device)
    top, left, bottom, right = (boxes * size).unbind(1)

    def along(first: Tensor, last: Tensor) -> Tensor:
        end, begin = last[:, None].minimum(pixels + 1), first[:, None].maximum(pixels)
        return (end - begin).clamp(min=0)

    return along(top, bottom)[:, None, :, None] * along(left, right)[:, None, None, :]


def recoloured(images: Tensor, draws: Draws, places: slice | Tensor, recipe: Recipe) -> Tensor:
    """Images (B, C, H, W) of 0-255 after colour jitter and random operations, if asked."""
    if recipe.color_jitter:
        brightness, contrast, saturation = draws.factors[places][:, :, None, None, None].unbind(1)
        images = (brightness * images).clamp(0, 255)
        images = blended(images, mean_grey(images), contrast)
        images = blended(images, grey(images), saturation)
    if recipe.rand_augment is not None:
        _, magnitude = recipe.rand_augment
        operations, signs = draws.operations[places], draws.signs[places]
        images = rand_augmented(images, operations, signs, magnitude)
    return images


def erased(images: Tensor, boxes: Tensor) -> Tensor:
    """Normalised images with boxes (B, 4) set to 0, the mean."""
    return images * (1 - covered(boxes, images.shape[-1]))


def mixed(
    images: Tensor, labels: Tensor, kept: Tensor, boxes: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Each image with the one before it in the batch, and the probabilities (B, C) of its classes.

    Args:
        images: Images (B, C, H, W).
        labels: Their classes (B,).
        kept: Part (B,) of the own image.
        boxes: Boxes (B, 4) that the other image fills.
        num_classes: Number of classes.
    """
    own = kept[:, None, None, None] * (1 - covered(boxes, images.shape[-1]))
    images = own * images + (1 - own) * images.roll(1, 0)
    top, left, bottom, right = boxes.unbind(1)
    share = (kept * (1 - (bottom - top) * (right - left)))[:, None]
    classes = probabilities(labels, num_classes)
    return images, share * classes + (1 - share) * classes.roll(1, 0)


def probabilities(labels: Tensor, num_classes: int) -> Tensor:
    """The probabilities (B, C) of labels (B,): 1 for the class, else 0."""
    classes = torch.arange(num_classes, device=labels.device)
    return (labels[:, None] == classes).float()
