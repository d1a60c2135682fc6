import gzip
import hashlib
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from scaling_search.core.dataset import Split, Splits
from scaling_search.data import images
from scaling_search.datasets.fashion_mnist_small import FashionMnistSmall

# A busy machine's first call into torch is slow; nothing here is about time.
quick = settings(deadline=None, max_examples=40)
resolutions = st.integers(1, 56)
seeds = st.integers(0, 2**32 - 1)

# Without the time in them, which would give each of pytest's workers other names of tests.
packed = partial(gzip.compress, mtime=0)

IDX = bytes.fromhex("00000803 00000002 00000003 00000004") + bytes(range(24))
SHA256 = hashlib.sha256(IDX).hexdigest()


def read(path: Path, sha256: str = SHA256) -> Tensor:
    return images.read_idx(path, shape=(2, 3, 4), sha256=sha256, remedy="copy it anew")


def noise(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("content", [IDX, packed(IDX)], ids=["plain", "gzip"])
def test_an_idx_file_is_read_in_order(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images").write_bytes(content)
    assert torch.equal(
        read(tmp_path / "images"), torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    )


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "must have the SHA-256"),
        (b"<html>", "must have the SHA-256"),
        (packed(b"<html>"), "must have the SHA-256"),
        (IDX.replace(b"\x08\x03", b"\x0d\x03", 1), "must have the SHA-256"),
        (IDX.replace(b"\x02", b"\x03", 1), "must have the SHA-256"),
        (IDX[:-1], "decompressed, 40 bytes, got"),
        (packed(IDX[:-1]), "decompressed, 40 bytes, got"),
        (IDX + b"\0", "of 41 bytes that begin with"),
        (packed(IDX + bytes(10**6)), "of 41 bytes that begin with"),
        (packed(IDX)[:-1], "must be whole"),
        (packed(IDX)[:20], "must be whole"),
        (packed(IDX)[:3], "must be whole"),
        (packed(IDX)[:-8] + bytes(8), "must be whole, got 'CRC check failed"),
        (packed(IDX)[:10] + b"\xff" * 20, "must be whole"),
        (IDX[:-1] + b"\0", "must have the SHA-256"),
    ],
)
def test_a_wrong_file_is_told_in_one_line_with_the_remedy(
    tmp_path: Path, content: bytes, wrong: str
) -> None:
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(RuntimeError) as error:
        read(tmp_path / "images.gz")
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'images.gz'} must ")
    assert wrong in message
    assert message.endswith("; copy it anew")
    assert "\n" not in message


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="must be readable, got 'No such file or directory'; c"):
        read(tmp_path / "images.gz")
    with pytest.raises(RuntimeError, match="must be readable, got 'Is a directory'; copy it anew"):
        read(tmp_path)


labelled = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor)


@given(labels=labelled, fractions=st.tuples(st.floats(0, 1), st.floats(0, 1)), seed=seeds)
@quick
def test_splits_are_disjoint_ascending_and_in_proportion(
    labels: Tensor, fractions: tuple[float, float], seed: int
) -> None:
    first_size = int(fractions[0] * len(labels))
    second_size = int(fractions[1] * (len(labels) - first_size))
    sizes = (first_size, second_size, None)
    drawn = images.stratified(labels, sizes, seed=seed)
    assert torch.equal(torch.cat(drawn).sort().values, torch.arange(len(labels)))
    left = torch.ones(len(labels), dtype=torch.bool)
    for size, indices in zip(sizes, drawn, strict=True):
        assert size is None or len(indices) == size
        assert torch.equal(indices, indices.sort().values)
        share = len(indices) / max(1, int(left.sum()))
        for label in set(labels.tolist()):
            available = int((labels[left] == label).sum())
            assert abs(int((labels[indices] == label).sum()) - share * available) < 1
        left[indices] = False


def test_a_draw_depends_on_the_seed_and_not_on_the_sizes_behind_it() -> None:
    labels = torch.arange(1000) % 10
    val, train = images.stratified(labels, (100, 200), seed=0)
    same_val, larger_train = images.stratified(labels, (100, 300), seed=0)
    other_val, _ = images.stratified(labels, (100, 200), seed=1)
    assert torch.equal(val, same_val)
    assert set(train.tolist()) < set(larger_train.tolist())
    assert not torch.equal(val, other_val)


def test_more_images_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="size must be at most the 4 images left, got 5"):
        images.stratified(torch.zeros(10, dtype=torch.uint8), (6, 5), seed=0)


@given(value=st.integers(0, 255), resolution=resolutions, size=st.tuples(resolutions, resolutions))
@quick
def test_constant_images_stay_constant(value: int, resolution: int, size: tuple[int, int]) -> None:
    resized = images.resize(torch.full((2, 3, *size), value, dtype=torch.uint8), resolution)
    expected = torch.full((2, 3, resolution, resolution), value, dtype=torch.uint8)
    assert torch.equal(resized, expected)


@given(seed=seeds, resolution=resolutions)
@quick
def test_resized_pixels_lie_between_the_darkest_and_the_brightest(
    seed: int, resolution: int
) -> None:
    original = noise(seed, 1, 1, 28, 28) // 2 + 40
    resized = images.resize(original, resolution)
    assert original.min() <= resized.min()
    assert resized.max() <= original.max()


@given(seed=seeds, resolution=st.integers(8, 56))
@quick
def test_resizing_keeps_the_mean(seed: int, resolution: int) -> None:
    original = noise(seed, 4, 1, 28, 28)
    resized = images.resize(original, resolution)
    # Pixels at the border weigh up to a quarter less and those beside it more, which moves the
    # mean of four images of noise by 0.15 of 255 levels (one standard deviation) at 8 px.
    assert abs(resized.double().mean() - original.double().mean()) < 1.5


@given(seed=seeds, resolution=resolutions)
@quick
def test_mirrored_images_give_mirrored_images(seed: int, resolution: int) -> None:
    original = noise(seed, 1, 1, 28, 28)
    there = images.resize(original.flip(3), resolution).int()
    back = images.resize(original, resolution).flip(3).int()
    assert (there - back).abs().max() <= 1  # sums in the other order can round otherwise


@given(seed=seeds, resolution=resolutions)
@quick
def test_native_images_are_unchanged(seed: int, resolution: int) -> None:
    original = noise(seed, 2, 1, resolution, resolution)
    assert images.resize(original, resolution) is original


def test_shrinking_is_antialiased() -> None:
    original = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    original[..., ::2] = 255  # stripes finer than 7 px can show
    resized = images.resize(original, 7)
    plain = functional.interpolate(original.float(), size=(7, 7), mode="bilinear").round()
    assert not torch.equal(resized, plain.byte())
    # Each pixel sees about as much black as white: within 20 levels of grey at the borders.
    assert (resized.int() - 128).abs().max() <= 20


def test_chunks_and_threads_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    original = noise(0, 50, 3, 28, 28)
    whole = images.resize(original, 20)
    monkeypatch.setattr(images, "MAX_CHUNK_ELEMENTS", 3 * 28 * 28 * 7)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        in_chunks = images.resize(original, 20)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(whole, in_chunks)


def test_the_mean_brightness_of_clothes_stays_at_every_size() -> None:
    native = FashionMnistSmall().load(28, "cpu").val.images[:1000]
    mean = native.double().mean().item()
    for resolution in (20, 24, 32):
        resized = images.resize(native, resolution)
        # Of 255 levels; the images' borders are nearly black, so that they can weigh less.
        assert resized.double().mean().item() == pytest.approx(mean, abs=0.3)


def splits(seed: int) -> Splits:
    def split(number: int) -> Split:
        return Split(noise(seed + number, 4, 1, 6, 6), torch.arange(4))

    return Splits(split(0), split(1), split(2))


def test_prepared_splits_have_the_size_and_the_labels() -> None:
    prepared = images.prepared(splits(0), 3, "cpu")
    for before, after in zip(vars(splits(0)).values(), vars(prepared).values(), strict=True):
        assert torch.equal(after.images, images.resize(before.images, 3))
        assert torch.equal(after.labels, before.labels)


def test_the_fingerprint_is_that_of_the_data() -> None:
    original = splits(0)
    swapped = Splits(original.val, original.train, original.test)
    pixels, labels = original.train.images, original.train.labels
    reshaped = Split(pixels.reshape(4, 1, 4, 9), labels)
    relabelled = Split(pixels, labels.flip(0))
    darker = pixels.clone()
    darker[0, 0, 0, 0] ^= 1
    others = [
        swapped,
        *(
            Splits(train, original.val, original.test)
            for train in (reshaped, relabelled, Split(darker, labels))
        ),
    ]
    fingerprints = [images.fingerprint(other) for other in (original, *others)]
    assert len(set(fingerprints)) == len(fingerprints)
    assert images.fingerprint(splits(0)) == fingerprints[0]
