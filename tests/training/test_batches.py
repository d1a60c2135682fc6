"""Batches: which images, in which order, moved how."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scaling_search.core.dataset import Split, Splits
from scaling_search.core.recipe import Recipe
from scaling_search.data import images as data_images
from scaling_search.training.batches import (
    Loaded,
    augmented,
    augmented_batches,
    draws_of,
    load,
    placed,
    room_bytes,
)
from scaling_search.training.device_sharing import share_device
from scaling_search.training.draws import Draws
from scaling_search.training.engine import train_trial
from tests.tiny import tiny_dataset, tiny_network, tiny_recipe, tiny_trial, with_network

always_the_same = settings(derandomize=True, deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)
epochs = st.integers(0, 1000)


def numbered(size: int, *, num_images: int = 12, channels: int = 1) -> Loaded:
    """Images of noise, each labelled with its own number; nothing to normalise."""
    stream = torch.Generator().manual_seed(size)
    shape = (num_images, channels, size, size)
    pixels = torch.randint(1, 256, shape, dtype=torch.uint8, generator=stream)  # 0 is padding
    split = Split(pixels, torch.arange(num_images))
    return Loaded(
        Splits(split, split, split),
        mean=torch.zeros(1, channels, 1, 1),
        std=torch.ones(1, channels, 1, 1),
    )


def moved(batch_size: int, crop: float, *, flip: bool) -> Recipe:
    """A recipe whose images are only cropped and mirrored."""
    return tiny_recipe(batch_size=batch_size, crop=crop, flip=flip)


def batches(
    data: Loaded, seed: int, epoch: int, *, batch_size: int = 4, crop: float, flip: bool
) -> tuple[Tensor, Tensor]:
    """All batches of an epoch as one."""
    images, labels = zip(
        *augmented_batches(data, seed, epoch, moved(batch_size, crop, flip=flip)),
        strict=True,
    )
    return torch.cat(images), torch.cat(labels)


def placement(original: Tensor, augmented: Tensor, padding: int) -> tuple[int, int, bool]:
    """By how many pixels, and whether mirrored, an image (C, H, W) was moved; found by trying."""
    size = original.shape[-1]
    padded = np.pad(original, ((0, 0), (padding, padding), (padding, padding)))
    found = []
    for mirrored in (False, True):
        # Mirroring comes after the crop, as people think of it.
        content = np.asarray(augmented.flip(2) if mirrored else augmented)
        for down in range(-padding, padding + 1):
            for right in range(-padding, padding + 1):
                top, left = padding + down, padding + right
                if np.array_equal(padded[:, top : top + size, left : left + size], content):
                    found.append((down, right, mirrored))
    assert len(found) == 1, found
    return found[0]


def placements(data: Loaded, seed: int, epoch: int, crop: float) -> list[tuple[int, int, bool]]:
    """The placement of each image by the order in which they came."""
    size = data.splits.train.images.shape[-1]
    images, labels = batches(data, seed, epoch, crop=crop, flip=True)
    originals = data.splits.train.images.float()
    return [
        placement(originals[label], image, round(crop * size))
        for image, label in zip(images, labels, strict=True)
    ]


@always_the_same
@given(seeds, epochs, st.sampled_from([8, 20, 28, 32]), st.booleans())
def test_without_augmentation_the_images_come_as_they_are_in_a_new_order(
    seed: int, epoch: int, size: int, crops: bool
) -> None:
    data = load(tiny_dataset(), size, "cpu", crops=crops)
    images, _ = batches(data, seed, epoch, batch_size=20, crop=0.0, flip=False)
    order = np.random.default_rng([seed, epoch]).permutation(100)
    expected = data.normalised(data.splits.train.images)[torch.from_numpy(order)]
    assert torch.equal(images, expected)


@pytest.mark.parametrize(("size", "crop"), [(5, 0.2), (6, 0.34), (8, 0.25)])
def test_every_image_is_moved_as_a_whole_over_zeros(size: int, crop: float) -> None:
    found = placements(numbered(size, num_images=40, channels=3), 0, 0, crop)
    padding = round(crop * size)
    offsets = {offset for down, right, _ in found for offset in (down, right)}
    assert offsets == set(range(-padding, padding + 1))
    assert {mirrored for *_, mirrored in found} == {False, True}


@always_the_same
@given(seeds, epochs, st.sampled_from([0.0, 0.1, 0.5]), st.booleans(), st.integers(2, 12))
def test_every_image_comes_once_an_epoch_but_for_those_that_fill_no_batch(
    seed: int, epoch: int, crop: float, flip: bool, batch_size: int
) -> None:
    _, labels = batches(numbered(4), seed, epoch, batch_size=batch_size, crop=crop, flip=flip)
    assert len(labels) == 12 // batch_size * batch_size
    assert len(set(labels.tolist())) == len(labels)


def test_half_of_the_images_are_mirrored_and_every_offset_is_as_likely() -> None:
    data = numbered(4, num_images=12)
    found = [place for seed in range(40) for place in placements(data, seed, 3, 0.25)]
    # Of 480: one standard deviation of a half is 11, of a third 10; four of them are allowed.
    assert abs(sum(mirrored for *_, mirrored in found) - 240) < 44
    for axis in (0, 1):
        for offset in (-1, 0, 1):
            assert abs(sum(place[axis] == offset for place in found) - 160) < 41


@dataclass(frozen=True)
class Spots:
    """A bright spot on black in the middle of every image, so that crops show as its place."""

    resolution: int
    num_classes: int = 12
    in_channels: int = 1

    def check(self) -> None:
        pass

    def fingerprint(self) -> str:
        return f"spots of {self.resolution} px"

    def load(self, resolution: int, device: str) -> Splits:
        places = (torch.arange(self.resolution) + 0.5) / self.resolution
        bell = torch.exp(-(((places - 0.5) / 0.08) ** 2) / 2)
        image = (bell[:, None] * bell * 255).round().byte().expand(12, 1, -1, -1).clone()
        split = Split(image, torch.arange(12))
        return data_images.prepared(Splits(split, split, split), resolution, device)


def spots_seen(
    native: int, size: int, seed: int, epoch: int, crop: float, *, flip: bool
) -> dict[int, tuple[float, float]]:
    """The spot's row and column in each image of an epoch, fractions of the size, by label."""
    data = load(Spots(native), size, "cpu")
    images, labels = batches(data, seed, epoch, crop=crop, flip=flip)
    light = (images * data.std + data.mean).double()[:, 0]
    places = (torch.arange(size) + 0.5) / size
    total = light.sum((1, 2))
    rows, columns = (light.sum(axis) @ places.double() / total for axis in (2, 1))
    return dict(
        zip(labels.tolist(), zip(rows.tolist(), columns.tolist(), strict=True), strict=True)
    )


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [0.05, 0.1])
def test_networks_of_20_22_and_28_pixels_see_the_same_part_of_the_scene(
    crop: float, *, flip: bool
) -> None:
    for epoch in range(5):
        at_20, at_22, at_28 = (spots_seen(28, n, 1, epoch, crop, flip=flip) for n in (20, 22, 28))
        assert list(at_20) == list(at_22) == list(at_28)
        assert len(set(at_28.values())) > 3
        for label, place in at_28.items():
            assert at_20[label] == pytest.approx(place, abs=0.01)
            assert at_22[label] == pytest.approx(place, abs=0.01)


@always_the_same
@given(
    seeds,
    epochs,
    st.sampled_from([28, 33, 64]),
    st.lists(st.integers(14, 64), min_size=2, max_size=3, unique=True),
    st.floats(0.02, 0.2),
    st.booleans(),
)
def test_networks_of_any_resolution_see_the_same_part_of_the_scene(
    seed: int, epoch: int, native: int, sizes: list[int], crop: float, flip: bool
) -> None:
    first, *others = (spots_seen(native, n, seed, epoch, crop, flip=flip) for n in sizes)
    for other in others:
        assert list(other) == list(first)
        for label, place in first.items():
            assert other[label] == pytest.approx(place, abs=0.01)


@pytest.mark.parametrize("size", [14, 20, 28, 40])
def test_a_crop_is_taken_of_the_native_image_and_resized_as_whole_images_are(size: int) -> None:
    data = load(tiny_dataset(), size, "cpu")
    images, _ = batches(data, 3, 1, batch_size=20, crop=0.1, flip=True)
    draws = draws_of(data, moved(20, 0.1, flip=True), 3, 1)[:3]
    native = np.pad(tiny_dataset().load(28, "cpu").train.images, ((0, 0), (0, 0), (3, 3), (3, 3)))
    for image, place, mirrored, (row, column) in zip(
        images, *map(Tensor.tolist, draws), strict=True
    ):
        crop = torch.from_numpy(native[place, :, row : row + 28, column : column + 28])
        expected = data_images.resize(crop[None], size)
        expected = expected.flip(3) if mirrored else expected
        assert torch.equal(image, data.normalised(expected)[0])


@pytest.mark.parametrize("size", [20, 28])
def test_a_mirrored_image_is_the_mirror_of_what_is_seen_without(size: int) -> None:
    data = load(tiny_dataset(), size, "cpu")
    plain, flipped = (
        batches(data, 0, 0, batch_size=20, crop=0.05, flip=flip)[0] for flip in (False, True)
    )
    same = (flipped == plain).flatten(1).all(1)
    mirrored = (flipped == plain.flip(3)).flatten(1).all(1)
    assert bool((same ^ mirrored).all())
    assert 30 < int(mirrored.sum()) < 70  # of 100: four standard deviations of a half


def test_a_batch_is_made_without_a_look_at_values() -> None:
    # Tensors of the device "meta" have none; what is recorded as a CUDA graph must not ask either.
    data = load(tiny_dataset(), 20, "meta")
    recipe = moved(16, 0.05, flip=True)
    draws = Draws(*(values.to("meta") for values in draws_of(data, recipe, 0, 0)))
    places = torch.arange(16, device="meta")
    images, labels = augmented(data, draws, places, recipe)
    assert (images.shape, images.device.type) == ((16, 1, 20, 20), "meta")
    assert (labels.shape, labels.device.type) == ((16,), "meta")


def test_the_order_does_not_depend_on_whether_images_are_moved_or_how_many_make_a_batch() -> None:
    orders = [
        batches(numbered(4), 5, 6, batch_size=batch_size, crop=crop, flip=flip)[1]
        for batch_size in (2, 6)
        for crop in (0.0, 0.3)
        for flip in (False, True)
    ]
    assert all(torch.equal(order, orders[0]) for order in orders)


def test_whether_images_are_mirrored_does_not_change_how_they_are_cropped() -> None:
    data = numbered(4)
    images, labels = batches(data, 1, 2, crop=0.25, flip=False)
    originals = data.splits.train.images.float()
    unmirrored = [
        placement(originals[label], image, 1)[:2]
        for image, label in zip(images, labels, strict=True)
    ]
    mirrored = placements(data, 1, 2, 0.25)
    assert len(set(unmirrored)) > 1
    assert unmirrored == [(down, right) for down, right, _ in mirrored]


@always_the_same
@given(seeds, epochs)
def test_seed_and_epoch_both_change_the_order(seed: int, epoch: int) -> None:
    data = numbered(2, num_images=60)  # 60! orders: two equal ones are no accident
    order = batches(data, seed, epoch, crop=0.0, flip=False)[1]
    for other in ((seed + 1, epoch), (seed, epoch + 1), (epoch, seed)):
        if other != (seed, epoch):
            assert not torch.equal(order, batches(data, *other, crop=0.0, flip=False)[1])


def draw_from_torch() -> None:
    torch.rand(7)


def draw_from_numpy() -> None:
    np.random.rand(7)  # noqa: NPY002 - the legacy generator is the one that could be shared


def train_another_network() -> None:
    train_trial(with_network(tiny_trial(seed=9), num_layers=(2, 1), resolution=10), "cpu")


@pytest.mark.parametrize("before", [draw_from_torch, draw_from_numpy, train_another_network])
def test_nothing_that_was_drawn_before_changes_a_batch(before: Callable[[], object]) -> None:
    data = load(tiny_dataset(), 8, "cpu")
    first = batches(data, 3, 1, crop=0.2, flip=True)
    before()
    second = batches(data, 3, 1, crop=0.2, flip=True)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_batches_draw_nothing_from_torchs_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches(numbered(4), 0, 0, crop=0.2, flip=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_pixels_are_bytes_in_memory_and_normalised_floats_in_batches() -> None:
    data = load(tiny_dataset(), 8, "cpu")
    assert data.splits.train.images.dtype == torch.uint8
    images, labels = next(augmented_batches(data, 0, 0, moved(20, 0.1, flip=True)))
    assert (images.dtype, images.shape) == (torch.float32, (20, 1, 8, 8))
    assert (labels.dtype, labels.shape) == (torch.int64, (20,))


@pytest.mark.parametrize("resolution", [8, 20, 28])
def test_the_training_split_has_mean_zero_and_variance_one(resolution: int) -> None:
    data = load(tiny_dataset(), resolution, "cpu")
    images = data.normalised(data.splits.train.images).double()
    # Floats have seven digits; the sample's variance is that of 6,400 pixels or more.
    assert images.mean().item() == pytest.approx(0, abs=1e-6)
    assert images.var().item() == pytest.approx(1, abs=1e-6)


def test_statistics_are_those_of_each_channel_of_the_training_split_alone() -> None:
    class Coloured:
        num_classes, in_channels, resolution = 2, 3, 2

        def check(self) -> None:
            pass

        def fingerprint(self) -> str:
            return ""

        def load(self, resolution: int, device: str) -> Splits:
            assert (resolution, device) == (2, "cpu")
            channels = [torch.tensor([[0, 2], [4, 6]]), torch.full((2, 2), 9), torch.eye(2) * 200]
            train = torch.stack([channel.byte() for channel in channels])[None]
            other = Split(train.flip(1), torch.tensor([0]))
            return Splits(Split(train, torch.tensor([0])), other, other)

    data = load(Coloured(), 2, "cpu")
    assert data.mean.flatten().tolist() == [3, 9, 100]
    # Source: by hand, over n - 1 = 3: (9 + 1 + 1 + 9) / 3 and 4 · 100² / 3; equal pixels have none.
    expected = [(20 / 3) ** 0.5, 1e-6, (40_000 / 3) ** 0.5]
    assert data.std.flatten().tolist() == pytest.approx(expected)


def test_threads_do_not_change_the_statistics() -> None:
    threads = torch.get_num_threads()
    data = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            load.cache_clear()
            data.append(load(tiny_dataset(), 28, "cpu"))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(data[0].mean, data[1].mean)
    assert torch.equal(data[0].std, data[1].std)


def test_data_are_read_once_for_each_size() -> None:
    assert load(tiny_dataset(), 8, "cpu") is load(tiny_dataset(), 8, "cpu")
    assert load(tiny_dataset(), 8, "cpu") is not load(tiny_dataset(), 10, "cpu")


def test_batches_lie_in_memory_with_their_channels_last() -> None:
    data = numbered(6, channels=3)
    images, _ = next(augmented_batches(data, 0, 0, moved(4, 0.2, flip=True)))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not images.is_contiguous()


def test_what_a_network_draws_between_two_batches_changes_none() -> None:
    data = numbered(8)
    expected = batches(data, 0, 0, crop=0.2, flip=True)
    network = tiny_network(dropout=0.5).build().train()
    seen = []
    for images, labels in augmented_batches(data, 0, 0, moved(4, 0.2, flip=True)):
        network(images)
        seen.append((images, labels))
    assert torch.equal(torch.cat([images for images, _ in seen]), expected[0])
    assert torch.equal(torch.cat([labels for _, labels in seen]), expected[1])


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Figures of a GPU's memory, as if there were one."""
    said = {"free": 1000, "total": 1000, "allocated": 0}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (said["free"], said["total"]))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: said["allocated"])
    yield said
    share_device(1)


def test_images_of_all_workers_of_a_device_take_half_of_it(memory: dict[str, int]) -> None:
    assert room_bytes("cuda:0") == 500
    share_device(4)
    assert room_bytes("cuda:0") == 125
    memory["allocated"] = 100  # images of another size
    assert room_bytes("cuda:0") == 25


def test_a_worker_that_starts_late_has_as_much_room_as_the_first(memory: dict[str, int]) -> None:
    share_device(4)
    memory["free"] = 1000 - 3 * 125 - 300  # its neighbours' images, and networks
    assert room_bytes("cuda:0") == 125


def test_images_take_no_more_than_half_of_what_is_free(memory: dict[str, int]) -> None:
    memory["free"] = 100
    assert room_bytes("cuda:0") == 50
    assert room_bytes("cpu") == float("inf")


def test_images_stay_in_the_hosts_memory_where_the_device_has_no_room_for_them(
    memory: dict[str, int],
) -> None:
    split = numbered(8).splits.train
    memory["allocated"] = memory["free"] = memory["total"] = 0
    # Labels are moved in any case, which without a GPU cannot be.
    there = Split(split.images, labels=OnAnyDevice(split.labels))
    for found in placed([there, there], "cuda:0"):
        assert found.images is split.images
    found, _ = placed([split, split], "meta")  # a device of torch that every machine has
    assert (found.images.device.type, found.labels.device.type) == ("meta", "meta")
    assert placed([split], "cpu")[0].images is split.images


class OnAnyDevice(Tensor):
    """A tensor that stays where it is, whatever device it is sent to."""

    def __new__(cls, tensor: Tensor) -> "OnAnyDevice":
        return tensor.as_subclass(cls)

    def to(self, *_: object, **__: object) -> "OnAnyDevice":
        return self


def test_no_more_than_two_sizes_are_kept() -> None:
    load.cache_clear()
    kept = [weakref.ref(load(tiny_dataset(), size, "cpu")) for size in (8, 10, 12)]
    assert [loaded() is not None for loaded in kept] == [False, False, True]
    kept.append(weakref.ref(load(tiny_dataset(), 14, "cpu")))
    assert kept[2]() is load(tiny_dataset(), 12, "cpu")
    assert kept[3]() is load(tiny_dataset(), 14, "cpu")


def test_all_sizes_share_the_training_images_of_the_native_size() -> None:
    load.cache_clear()
    images = [load(tiny_dataset(), size, "meta").train.images for size in (8, 10, 12, 28)]
    images += [load(tiny_dataset(), 8, "meta", tiny_dataset().fingerprint()).train.images]
    assert images[0].shape == (100, 1, 28, 28)
    assert all(image is images[0] for image in images)


def test_what_a_recorded_step_needs_of_the_host_is_known() -> None:
    data = numbered(8)
    there = data.mean.to("meta")
    assert data.holds(data.train)
    assert not Loaded(data.splits, there, there).holds(data.train)
    assert Loaded(data.splits, there, there).normalised(data.splits.val.images).is_meta


def test_the_training_images_that_batches_are_made_of_lie_on_the_device() -> None:
    for crops, size in ((True, 28), (False, 20)):
        data = load(tiny_dataset(), 20, "meta", crops=crops)
        assert data.holds(data.train)
        assert data.train.images.shape == (100, 1, size, size)
        assert {s.images.shape[-1] for s in vars(data.splits).values()} == {20}
        assert all(s.labels.is_meta for s in (data.train, *vars(data.splits).values()))
        assert data.splits.val.images.is_meta
        # Images that no step reads take no memory there.
        assert data.splits.train.images.is_meta is not crops
