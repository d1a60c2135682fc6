"""What holds for every data set of people's own images, whatever files it lies in."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scaling_search.core.dataset import Dataset
from scaling_search.data import gathering, images
from scaling_search.data.cache import InParts
from scaling_search.data.gathering import Described
from scaling_search.data.maps import NAMES
from scaling_search.datasets import arrays, huggingface, imagefolder
from tests.datasets.pictures_of import (
    arrays_in,
    arrays_of,
    fingerprint_of,
    folder_of,
    hugging_face,
    table,
    write_tree,
)

Make = Callable[..., Any]


def tree(place: Path, **changes: Any) -> Any:
    if not place.exists():
        write_tree(place, suffixes=("png",))
    return folder_of(place, **changes)


def npz(place: Path, **changes: Any) -> Any:
    place.mkdir(exist_ok=True)
    path = place / "data.npz"
    if not path.exists():
        pixels, labels = arrays_of()
        np.savez(path, images=pixels, labels=labels)
    return arrays_in(path, **changes)


def npy(place: Path, **changes: Any) -> Any:
    if not place.exists():
        place.mkdir()
        pixels, labels = arrays_of()
        np.save(place / "images.npy", pixels)
        np.save(place / "labels.npy", labels)
    return arrays_in(place, **changes)


def parquet(place: Path, **changes: Any) -> Any:
    place.mkdir(exist_ok=True)
    if not (place / "data.parquet").exists():
        table().to_parquet(str(place / "data.parquet"))
    return hugging_face(place / "data.parquet", **changes)


def saved(place: Path, **changes: Any) -> Any:
    if not place.exists():
        table().save_to_disk(str(place))
    return hugging_face(place, **changes)


@pytest.fixture(params=[tree, npz, npy, parquet, saved])
def make(request: pytest.FixtureRequest, own_cache: Path) -> Make:
    """Makes a data set of 120 real pictures at a place."""
    assert not own_cache.exists()
    made: Make = request.param
    return made


def rows_of(dataset: Dataset, resolution: int = 28) -> list[list[tuple[bytes, int]]]:
    """Pixels and label of each image, split by split."""
    splits = dataset.load(resolution, "cpu")
    return [
        [(image.numpy().tobytes(), int(label)) for image, label in zip(*pair, strict=True)]
        for pair in ((s.images, s.labels) for s in (splits.train, splits.val, splits.test))
    ]


def test_it_is_a_dataset_that_travels(make: Make, tmp_path: Path) -> None:
    dataset = make(tmp_path / "a")
    assert isinstance(dataset, Dataset)
    assert isinstance(dataset, InParts)
    assert isinstance(dataset, Described)
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    assert len(pickle.dumps(dataset)) < 1000
    assert len({dataset, make(tmp_path / "a"), make(tmp_path / "a", split_seed=1)}) == 2


def test_every_picture_is_in_one_split_with_its_label(make: Make, tmp_path: Path) -> None:
    dataset = make(tmp_path / "a")
    dataset.check()
    rows = rows_of(dataset)
    pixels, labels = arrays_of()
    expected = [(p.tobytes(), int(label)) for p, label in zip(pixels, labels, strict=True)]
    assert [len(split) for split in rows] == [60, 30, 30]
    assert sorted(row for split in rows for row in split) == sorted(expected)


def test_every_split_has_its_share_of_each_class(make: Make, tmp_path: Path) -> None:
    splits = make(tmp_path / "a").load(28, "cpu")
    assert splits.train.labels.bincount().tolist() == [6] * 10
    assert splits.val.labels.bincount().tolist() == [3] * 10
    assert splits.test.labels.bincount().tolist() == [3] * 10


@pytest.mark.parametrize("resolution", [20, 28, 30])
def test_splits_have_the_size_that_is_asked_for(
    make: Make, tmp_path: Path, resolution: int
) -> None:
    dataset = make(tmp_path / "a")
    native, splits = dataset.load(28, "cpu"), dataset.load(resolution, "cpu")
    for name in NAMES:
        of_split, of_native = getattr(splits, name), getattr(native, name)
        assert of_split.images.dtype == torch.uint8
        assert of_split.labels.dtype == torch.int64
        assert torch.equal(of_split.images, images.resize(of_native.images, resolution))
        assert torch.equal(of_split.labels, of_native.labels)


def test_the_same_data_elsewhere_are_the_same(make: Make, tmp_path: Path) -> None:
    one = make(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert fingerprint_of(make(tmp_path / "b")) == fingerprint_of(one)


def test_other_shares_and_seeds_are_other_data(make: Make, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{}, {"split_seed": 1}, {"val_share": 0.3}, {"test_share": 0.3}]
    found = {fingerprint_of(make(tmp_path / "a", **change)) for change in changes}
    assert len(found) == 4


def test_what_is_chosen_on_does_not_move_what_is_reported_on(make: Make, tmp_path: Path) -> None:
    small, large = (rows_of(make(tmp_path / "a", val_share=share)) for share in (0.2, 0.4))
    assert small[2] == large[2]


def test_a_second_process_knows_the_data_without_reading_them(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(tmp_path / "a")
    dataset.check()
    known = fingerprint_of(dataset)

    def read_again(*_: object) -> None:
        raise AssertionError

    gathering.CHECKED.clear()
    for module in (arrays, huggingface, imagefolder):
        for name in ("Arrays", "HuggingFace", "ImageFolder"):
            if hasattr(module, name):
                monkeypatch.setattr(getattr(module, name), "rows", read_again)
                monkeypatch.setattr(getattr(module, name), "listing", read_again)
    dataset.check()
    assert fingerprint_of(dataset) == known
    assert len(rows_of(dataset)[0]) == 60


def test_maps_that_are_gone_are_made_again(make: Make, tmp_path: Path, own_cache: Path) -> None:
    dataset = make(tmp_path / "a")
    before = rows_of(dataset), rows_of(dataset, 20)
    for place in own_cache.glob("*/"):
        shutil.rmtree(place)
    assert (rows_of(dataset), rows_of(dataset, 20)) == before


def test_files_that_are_only_newer_are_the_same_data(make: Make, tmp_path: Path) -> None:
    dataset = make(tmp_path / "a")
    before = fingerprint_of(dataset)
    for path in (tmp_path / "a").rglob("*.*"):
        os.utime(path, (1, 1))
    dataset.check()
    assert fingerprint_of(dataset) == before


def test_nothing_unfinished_is_left_in_the_cache(
    make: Make, tmp_path: Path, own_cache: Path
) -> None:
    dataset = make(tmp_path / "a")
    dataset.check()
    dataset.load(20, "cpu")
    folders = [path for path in own_cache.iterdir() if path.is_dir()]
    assert sorted(path.name.split("-")[1] for path in folders) == ["20", "28"]
    assert all(len(list(path.iterdir())) == 8 for path in folders)


def test_what_it_takes_is_said_beforehand(make: Make, tmp_path: Path, own_cache: Path) -> None:
    dataset = make(tmp_path / "a")
    first, second = dataset.sentences([20, 28])
    assert first.startswith("120 images of 10 classes are decoded once, to 28 px, which takes ")
    assert "images a second, measured on 60 of them" in first or "on 64 of them" in first
    assert second.startswith(f"Their maps at 20, 28 px need 0.0 GB in {own_cache}, where ")
    assert not own_cache.exists()
    dataset.check()
    assert list(dataset.sentences([20])) == ["The images have been read; nothing is decoded again."]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": None}, r"dataset\.path must be given, got null; add dataset\.path="),
        ({"path": "/nowhere/at/all"}, r"dataset\.path must be there, got '/nowhere/at/all'; give"),
        (
            {"num_classes": 7},
            r"num_classes must be 10 as in .*, got 7; add dataset\.num_classes=10",
        ),
        ({"resolution": 40}, r"resolution must be .*28.*, got 40.* add dataset\.resolution=28$"),
        ({"test_share": 0.01}, r"test_share must give the test split .* none of '.*', which has"),
        ({"val_share": 0.03}, r"val_share must give the val split images of each class"),
    ],
)
def test_an_option_that_is_not_what_lies_there_is_refused(
    make: Make, tmp_path: Path, own_cache: Path, change: dict[str, Any], said: str
) -> None:
    make(tmp_path / "a")
    with pytest.raises((ValueError, RuntimeError), match=said) as error:
        make(tmp_path / "a", **change).check()
    assert "\n" not in str(error.value)
    assert not list(own_cache.glob("*/"))


def test_a_plan_says_what_is_wrong_and_ends(make: Make, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"path": None}, {"num_classes": 7}]
    for change in changes:
        with pytest.raises((ValueError, RuntimeError), match=r"^dataset\."):
            list(make(tmp_path / "a", **change).sentences([20]))


def test_shares_leave_something_to_train_on(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must sum to less than 1, got 0\.5 and 0\.5; make one"):
        make(tmp_path / "a", val_share=0.5, test_share=0.5)


def test_a_full_disk_is_told_before_anything_is_read(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(tmp_path / "a")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(RuntimeError, match=r"got 0\.0 GB for 0\.0 GB; free some space"):
        dataset.check()


def test_a_cache_that_cannot_be_written_is_told_in_one_line(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(tmp_path / "a")
    (tmp_path / "file").touch()
    monkeypatch.setenv("SCALING_SEARCH_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(
        RuntimeError, match=r"must have room for the images, got 'Not a directory'; free some"
    ):
        dataset.check()
