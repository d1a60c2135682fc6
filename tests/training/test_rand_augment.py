"""Random operations, compared with Pillow's, and images that have none."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from scaling_search.training import rand_augment
from scaling_search.training.rand_augment import NUM_OPERATIONS, rand_augmented


def pictures(channels: int = 3, size: int = 24) -> Tensor:
    """Smooth pictures (4, C, H, W) of whole numbers that reach neither black nor white."""
    stream = torch.Generator().manual_seed(channels)
    coarse = torch.randint(20, 230, (4, channels, 6, 6), generator=stream).float()
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic").round().clamp(5, 240)


def applied(images: Tensor, operation: int, magnitude: int, sign: float = 1.0) -> Tensor:
    number = len(images)
    operations = torch.full((number, 1), operation)
    return rand_augmented(images, operations, torch.full((number, 1), sign), magnitude)


def by_pillow(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    pixels = images.permute(0, 2, 3, 1).byte().numpy()
    changed = [np.asarray(change(Image.fromarray(one))) for one in pixels]
    return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2).float()


ENHANCERS = {
    rand_augment.BRIGHTNESS: ImageEnhance.Brightness,
    rand_augment.COLOR: ImageEnhance.Color,
    rand_augment.CONTRAST: ImageEnhance.Contrast,
    rand_augment.SHARPNESS: ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("operation", ENHANCERS)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_enhancements_are_pillows_but_for_rounding(operation: int, sign: float) -> None:
    images = pictures()
    factor = 1 + sign * 0.9 * 20 / 30
    expected = by_pillow(images, lambda one: ENHANCERS[operation](one).enhance(factor))
    # Pillow rounds the picture to blend with, and the result, to whole numbers.
    assert (applied(images, operation, 20, sign) - expected).abs().max() <= 2
    assert (images - expected).abs().max() > 3


@pytest.mark.parametrize(
    ("operation", "change"),
    [
        (rand_augment.EQUALIZE, ImageOps.equalize),
        (rand_augment.SOLARIZE, lambda one: ImageOps.solarize(one, threshold=94)),
        (rand_augment.POSTERIZE, lambda one: ImageOps.posterize(one, 8 - 3)),
    ],
)
def test_equalize_solarize_and_posterize_are_pillows(
    operation: int, change: Callable[[Image.Image], Image.Image]
) -> None:
    images = pictures()
    assert torch.equal(applied(images, operation, 19), by_pillow(images, change))


def test_contrast_is_stretched_as_by_pillow() -> None:
    images = pictures()
    found = applied(images, rand_augment.AUTO_CONTRAST, 20)
    assert (found - by_pillow(images, ImageOps.autocontrast)).abs().max() <= 1
    assert (found.amin((2, 3)) == 0).all()
    assert found.amax((2, 3)).allclose(torch.tensor(255.0))


def test_pixels_move_as_far_as_said_and_black_comes_in() -> None:
    images = torch.full((2, 1, 20, 20), 100.0)
    # 150 / 331 of the size at magnitude 30: 9.06 pixels.
    for operation, axis in ((rand_augment.TRANSLATE_X, 3), (rand_augment.TRANSLATE_Y, 2)):
        found = applied(images, operation, 30)
        assert found.sum() == pytest.approx(100 * 2 * 20 * (20 - 20 * 150 / 331), rel=1e-4)
        other = 5 - axis
        # The same along the other axis, and black at the end that it moved away from.
        assert found.allclose(found.mean(other, keepdim=True), atol=1e-3)
        assert found.select(axis, 19).abs().max() == 0
        back = applied(images, operation, 30, sign=-1.0)
        assert torch.allclose(back, found.flip(axis), atol=1e-3)


def test_a_rotation_by_thirty_degrees_is_pillows() -> None:
    images = pictures(size=48)
    for sign in (-1.0, 1.0):
        found = applied(images, rand_augment.ROTATE, 30, sign)
        turned = partial(Image.Image.rotate, angle=30 * sign, resample=Image.Resampling.BILINEAR)
        expected = by_pillow(images, turned)
        inside = slice(12, 36)
        difference = (found - expected)[:, :, inside, inside].abs()
        assert difference.mean() < 1.5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", range(NUM_OPERATIONS))
def test_each_image_has_its_own_operation_and_others_stay_to_the_bit(
    operation: int, channels: int
) -> None:
    images = pictures(channels)
    operations = torch.zeros((4, 1), dtype=torch.int64)
    operations[2] = operation
    found = rand_augmented(images, operations, torch.ones(4, 1), 20)
    alone = applied(images[2:3], operation, 20)[0]
    assert torch.equal(found[2], alone)
    for place in (0, 1, 3):
        assert torch.equal(found[place], images[place])
    is_same = found[2].allclose(images[2], atol=1e-3)
    is_grey = operation == rand_augment.COLOR and channels == 1
    assert is_same == (operation == rand_augment.IDENTITY or is_grey)


def test_a_constant_image_has_no_contrast_to_stretch() -> None:
    images = torch.full((1, 3, 8, 8), 77.0)
    for operation in (rand_augment.AUTO_CONTRAST, rand_augment.EQUALIZE):
        assert torch.equal(applied(images, operation, 9), images)
