"""Augmentation: shared between networks, as strong as asked, and nothing where not asked."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from scaling_search.core.recipe import Recipe
from scaling_search.training.augmentation import (
    covered,
    erased,
    mixed,
    probabilities,
    resized_parts,
)
from scaling_search.training.batches import augmented, augmented_batches, draws_of, load
from scaling_search.training.draws import Draws, drawn
from tests.tiny import tiny_dataset

always_the_same = settings(derandomize=True, deadline=None, max_examples=25)
ALL: dict[str, Any] = {
    "resized_crop": (0.3, 1.0),
    "flip": True,
    "color_jitter": 0.4,
    "rand_augment": (2, 9),
    "erasing": 0.5,
    "mixup": 0.8,
    "cutmix": 1.0,
}
EVERY = Recipe(batch_size=20, **ALL)


def area(boxes: Tensor) -> Tensor:
    top, left, bottom, right = boxes.double().unbind(1)
    return (bottom - top) * (right - left)


def by_name(recipe: Recipe, number: int = 4000, seed: int = 3, epoch: int = 1) -> Draws:
    return drawn(number, seed, epoch, recipe, padding=0)


def test_no_augmentation_changes_what_another_one_draws() -> None:
    every = by_name(EVERY)
    filled = {
        "resized_crop": ("parts",),
        "color_jitter": ("factors",),
        "rand_augment": ("operations", "signs"),
        "erasing": ("erased",),
        "flip": ("mirrored",),
    }
    for name, fields in filled.items():
        alone = by_name(Recipe(**{name: ALL[name]}))
        for field in fields:
            assert torch.equal(getattr(alone, field), getattr(every, field)), field
        others = {"parts", "factors", "operations", "signs", "erased", "kept", "pasted"}
        assert all(len(getattr(alone, field)) == 0 for field in others - set(fields))
        assert torch.equal(alone.order, every.order)


def test_the_short_recipe_draws_the_order_and_no_more() -> None:
    draws = by_name(Recipe(), number=100)
    assert [len(values) for values in draws] == [100, 100, 100, 0, 0, 0, 0, 0, 0, 0]
    # Source: the stream as it was before there were others.
    stream = np.random.default_rng([3, 1])
    assert draws.order.tolist() == stream.permutation(100).tolist()


def test_draws_are_those_of_seed_and_epoch() -> None:
    first = by_name(EVERY)
    assert all(torch.equal(a, b) for a, b in zip(first, by_name(EVERY), strict=True))
    for other in (by_name(EVERY, seed=4), by_name(EVERY, epoch=2)):
        assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True) if a.any())


def test_boxes_have_the_areas_and_places_that_were_asked() -> None:
    draws = by_name(EVERY)
    for boxes in (draws.parts, draws.erased, draws.pasted):
        assert bool((boxes >= 0).all() & (boxes <= 1 + 1e-6).all())
    parts = area(draws.parts)
    assert 0.3 - 1e-5 < parts.min() < 0.31
    assert 0.99 < parts.max() <= 1 + 1e-5
    # Uniform from 0.3 to 1; of 4000, one standard deviation of the mean is 0.0032.
    assert parts.mean().item() == pytest.approx(0.65, abs=0.013)
    top, left, bottom, right = draws.parts.double().unbind(1)
    ratio = (right - left) / (bottom - top)
    assert 3 / 4 - 1e-4 < ratio.min() < ratio.max() < 4 / 3 + 1e-4
    holes = area(draws.erased)
    is_erased = holes > 0
    # Half of 4000, of which a standard deviation is 32.
    assert abs(int(is_erased.sum()) - 2000) < 128
    assert holes[is_erased].min() > 0.02 - 1e-5
    assert holes.max() < 1 / 3 + 1e-5


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_images_are_mixed_in_the_ways_that_were_asked(mixup: float, cutmix: float) -> None:
    draws = by_name(Recipe(mixup=mixup, cutmix=cutmix))
    is_cut, is_blended = area(draws.pasted) > 0, draws.kept < 1
    assert not bool((is_cut & is_blended).any())
    number = {(True, False): 0, (False, True): 4000}.get((mixup > 0, cutmix > 0), 2000)
    assert abs(int(is_cut.sum()) - number) < 128  # four standard deviations of a half
    assert int(is_blended.sum()) == pytest.approx(4000 - int(is_cut.sum()), abs=5)
    if mixup:
        # A beta distribution of 0.8 twice: mean 1/2, variance 1 / (4 · 2.6).
        kept = draws.kept[is_blended].double()
        assert kept.mean().item() == pytest.approx(0.5, abs=0.03)
        assert kept.var().item() == pytest.approx(1 / 10.4, abs=0.01)


@always_the_same
@given(st.integers(0, 1000), st.sampled_from([8, 20, 22, 28]))
def test_labels_of_mixed_images_sum_to_one(seed: int, size: int) -> None:
    data = load(tiny_dataset(), size, "cpu")
    for images, labels in augmented_batches(data, seed, 0, EVERY):
        assert (images.shape, labels.shape) == ((20, 1, size, size), (20, 10))
        assert torch.allclose(labels.sum(1), torch.ones(20))
        assert bool((labels >= 0).all())
        assert bool(images.isfinite().all())


def test_labels_are_the_same_at_every_resolution_and_images_nearly() -> None:
    # Without operations that depend on single pixels.
    recipe = Recipe(batch_size=20, **{k: v for k, v in ALL.items() if k != "rand_augment"})
    found = []
    for size in (14, 28):
        data = load(tiny_dataset(), size, "cpu")
        images, labels = next(augmented_batches(data, 5, 2, recipe))
        pixels = images * data.std + data.mean
        found.append((functional.interpolate(pixels, 14, mode="area"), labels))
    (small, labels), (large, others) = found
    assert torch.equal(labels, others)
    # Two grids of pixels of the same scene; other draws would be 60 apart.
    assert (small - large).abs().mean() < 6


@pytest.mark.parametrize("size", [7, 16, 28])
def test_a_box_covers_its_area_at_every_size(size: int) -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.45, 0.9], [0.0, 0.0, 1.0, 1.0], [0.3, 0.3, 0.3, 0.3]])
    masks = covered(boxes, size)
    assert masks.shape == (3, 1, size, size)
    assert masks.mean((1, 2, 3)).tolist() == pytest.approx([0.245, 1.0, 0.0], abs=1e-6)
    assert bool((masks >= 0).all() & (masks <= 1 + 1e-5).all())
    holed = erased(torch.ones(3, 2, size, size), boxes)
    assert holed.mean((1, 2, 3)).tolist() == pytest.approx([0.755, 0.0, 1.0], abs=1e-6)


def test_an_image_is_mixed_with_the_one_before_it_by_hand() -> None:
    images = torch.tensor([1.0, 10.0, 100.0])[:, None, None, None].expand(3, 1, 4, 4)
    kept = torch.tensor([0.75, 1.0, 1.0])
    boxes = torch.tensor([[0.0] * 4, [0.0, 0.0, 0.5, 1.0], [0.0] * 4])
    found, labels = mixed(images, torch.tensor([0, 1, 2]), kept, boxes, num_classes=4)
    assert torch.equal(found[0], torch.full((1, 4, 4), 0.75 + 25))
    assert found[1, 0].mean(1).tolist() == [1, 1, 10, 10]
    assert torch.equal(found[2], images[2])
    assert labels.tolist() == [[0.75, 0, 0.25, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0]]
    assert probabilities(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("size", [14, 20, 28, 40])
def test_the_whole_image_is_resized_as_torch_resizes_it(size: int) -> None:
    images = tiny_dataset().load(28, "cpu").train.images[:8].float()
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(8, 4)
    expected = functional.interpolate(images, size, mode="bilinear", antialias=True)
    found = resized_parts(images, whole, size)
    assert (found - expected).abs().max() < 1e-3
    if size == 28:
        assert torch.equal(found, images)


def test_a_part_of_an_image_is_what_is_in_its_box() -> None:
    images = torch.arange(16.0).view(1, 1, 4, 4).repeat(2, 3, 1, 1)
    boxes = torch.tensor([[0.0, 0.5, 0.5, 1.0], [0.5, 0.0, 1.0, 0.5]])
    found = resized_parts(images, boxes, 2)
    assert found[0, 1].tolist() == [[2, 3], [6, 7]]
    assert found[1, 2].tolist() == [[8, 9], [12, 13]]


def test_no_jitter_changes_no_bit_and_its_most_is_what_was_asked() -> None:
    data = load(tiny_dataset(), 20, "cpu")
    plain, jittered = Recipe(batch_size=20), Recipe(batch_size=20, color_jitter=0.3)
    draws = draws_of(data, jittered, 0, 0)
    assert draws.factors.shape == (100, 3)
    assert 0.7 <= draws.factors.min() < 0.72
    assert 1.28 < draws.factors.max() <= 1.3
    still = draws._replace(factors=torch.ones(100, 3))
    first = slice(0, 20)
    expected = augmented(data, draws, first, plain)[0]
    assert torch.equal(augmented(data, still, first, jittered)[0], expected)
    assert not torch.equal(augmented(data, draws, first, jittered)[0], expected)


def test_everything_is_made_without_a_look_at_values() -> None:
    # Tensors of the device "meta" have none; what is recorded as a CUDA graph must not ask either.
    data = load(tiny_dataset(), 20, "meta")
    draws = Draws(*(values.to("meta") for values in draws_of(data, EVERY, 0, 0)))
    places = torch.arange(20, device="meta")
    fetched = torch.empty(20, 1, 28, 28, dtype=torch.uint8, device="meta")
    for images, labels in (
        augmented(data, draws, places, EVERY),
        augmented(data, draws, places, EVERY, fetched=fetched),
    ):
        assert (images.shape, images.device.type) == ((20, 1, 20, 20), "meta")
        assert (labels.shape, labels.device.type) == ((20, 10), "meta")


def test_fetched_images_are_augmented_to_the_same_bits() -> None:
    data = load(tiny_dataset(), 20, "cpu")
    draws, places = draws_of(data, EVERY, 0, 0), torch.arange(20, 40)
    fetched = data.train.images[draws.order[places]]
    held = augmented(data, draws, places, EVERY)
    apart = augmented(data, draws, places, EVERY, fetched=fetched)
    assert all(torch.equal(a, b) for a, b in zip(held, apart, strict=True))
    assert held[0].is_contiguous(memory_format=torch.channels_last)
