import gzip
import hashlib
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from scaling_search.core.dataset import Dataset
from scaling_search.datasets import fashion_mnist_small
from scaling_search.datasets.fashion_mnist import DEBIAN_FOLDER, FashionMnist
from scaling_search.datasets.fashion_mnist_small import FOLDER, FashionMnistSmall

FINGERPRINT = "406db154d0a6167c5a5eb8650d031bbb9fe778fad4a26ebca8490684943ae847"
"""Of the subset as it was first drawn: what is trained on it stays comparable."""


def small(num_train: int | None = None, num_val: int | None = None) -> FashionMnistSmall:
    return FashionMnistSmall(num_train=num_train, num_val=num_val)


@pytest.fixture
def dataset() -> FashionMnistSmall:
    return small()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's folder, to be damaged."""
    folder = shutil.copytree(FOLDER, tmp_path / "data")
    monkeypatch.setattr(fashion_mnist_small, "FOLDER", folder)
    return folder


def test_the_subset_is_a_dataset_that_travels(dataset: FashionMnistSmall) -> None:
    assert isinstance(dataset, Dataset)
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    assert len(pickle.dumps(dataset)) < 1000
    assert len({dataset, small()}) == 1


def test_the_subset_is_always_the_same(dataset: FashionMnistSmall) -> None:
    dataset.check()
    assert dataset.fingerprint() == FINGERPRINT


def test_the_subset_is_the_one_drawn_from_the_whole(dataset: FashionMnistSmall) -> None:
    if not DEBIAN_FOLDER.is_dir():
        pytest.skip(f"the whole set is not in {DEBIAN_FOLDER}")
    drawn = FashionMnist(
        root=str(DEBIAN_FOLDER),
        num_train=10_000,
        num_val=5_000,
        num_test=5_000,
        split_seed=0,
        num_classes=10,
        in_channels=1,
        resolution=28,
    )
    assert dataset.fingerprint() == drawn.fingerprint()


def test_every_class_has_its_tenth_of_each_split(dataset: FashionMnistSmall) -> None:
    splits = dataset.load(28, "cpu")
    assert splits.train.labels.bincount().tolist() == [1000] * 10
    assert splits.val.labels.bincount().tolist() == [500] * 10
    assert splits.test.labels.bincount().tolist() == [500] * 10


@pytest.mark.parametrize("resolution", [20, 28])
def test_splits_have_the_size_that_is_asked_for(
    dataset: FashionMnistSmall, resolution: int
) -> None:
    splits = dataset.load(resolution, "cpu")
    for split, num_images in ((splits.train, 10_000), (splits.val, 5_000), (splits.test, 5_000)):
        assert split.images.shape == (num_images, 1, resolution, resolution)
        assert split.images.dtype == torch.uint8
        assert split.labels.shape == (num_images,)
        assert split.labels.dtype == torch.int64


def test_a_damaged_file_is_found(dataset: FashionMnistSmall, copy: Path) -> None:
    path = copy / "val-labels.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RuntimeError, match=r"val-labels\.gz must be whole, .*; install scaling-"):
        dataset.check()


@pytest.mark.parametrize("name", ["SHA256SUMS", "test-images.gz"])
def test_a_missing_file_is_found(dataset: FashionMnistSmall, copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(RuntimeError, match=f"{name} must be readable, .*No such file"):
        dataset.check()


def test_a_file_without_its_checksum_is_not_trusted(dataset: FashionMnistSmall, copy: Path) -> None:
    (copy / "SHA256SUMS").write_text("\n?\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"train-images\.gz must have the SHA-256"):
        dataset.load(28, "cpu")


def test_the_files_are_small_and_bear_their_licence() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert max(sizes.values()) < 12_000_000
    assert {"LICENSE", "README.md", "SHA256SUMS"} < set(sizes)
    # Of what sha256sum reads after gunzip; the time of writing is not in the header.
    for line in (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        sha256, name = line.split()
        compressed = (FOLDER / f"{name}.gz").read_bytes()
        assert compressed[4:8] == bytes(4)
        assert hashlib.sha256(gzip.decompress(compressed)).hexdigest() == sha256


def test_fewer_images_hold_every_class_alike_and_have_a_fingerprint_of_their_own(
    dataset: FashionMnistSmall,
) -> None:
    few = small(num_train=200, num_val=50)
    splits = few.load(28, "cpu")
    assert splits.train.labels.bincount().tolist() == [20] * 10
    assert splits.val.labels.bincount().tolist() == [5] * 10
    assert few.fingerprint() != dataset.fingerprint()
