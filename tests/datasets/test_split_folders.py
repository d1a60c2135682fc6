"""Folders whose names mean splits, classes, or could mean either."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scaling_search.data.pictures import SUFFIXES
from tests.datasets.pictures_of import folder_of

pytestmark = pytest.mark.usefixtures("own_cache")


def tree(root: Path, **counts: int) -> Path:
    """Folders ``a__b`` as ``a/b``, each with so many pictures; they are only listed here."""
    for name, count in counts.items():
        folder = root.joinpath(*name.split("__"))
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").touch()
    return root


def listed(root: Path, splits: str | None = None) -> Any:
    return folder_of(root, num_classes=None, splits=splits).listing()


def counts(root: Path, splits: str | None = None) -> dict[str, list[int]]:
    return {s: np.bincount(of).tolist() for s, of in listed(root, splits).labels.items()}


def refused(root: Path, said: str, splits: str | None = None) -> None:
    with pytest.raises((ValueError, RuntimeError), match=said) as error:
        listed(root, splits)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("train", "Test"),
        ("TRAIN_SET", "holdout"),
        ("trainset", "seg.test"),
    ],
)
def test_splits_are_known_by_the_names_in_use(tmp_path: Path, train: str, test: str) -> None:
    for split, count in ((train, 3), (test, 2)):
        tree(tmp_path / split, cats=count, dogs=count)
    found = listed(tmp_path)
    assert found.ready == {"train": train, "test": test}
    assert counts(tmp_path) == {"train": [3, 3], "test": [2, 2]}
    # As one whole their pictures are pooled, class by class.
    assert counts(tmp_path, "drawn") == {"train": [5, 5]}
    assert listed(tmp_path, "drawn").ready == {}


def test_without_names_of_splits_all_are_one(tmp_path: Path) -> None:
    tree(tmp_path, cats=3, dogs__old=2, dogs__young=1)
    assert counts(tmp_path) == counts(tmp_path, "drawn") == {"train": [3, 3]}
    assert listed(tmp_path).ready == {}
    refused(tmp_path, r"dataset\.splits must be null or drawn where .* got 'given'", "given")


def test_a_name_of_a_split_beside_classes_has_two_readings(tmp_path: Path) -> None:
    tree(tmp_path, car=4, plane=4, train__diesel=2, train__steam=3)
    refused(
        tmp_path,
        r"got 'train' beside 'car', 'plane' in '.*'; add dataset\.splits=given if 'train' is a "
        r"split \(then 'car', 'plane' are left out\), or dataset\.splits=drawn if each folder is",
    )
    given = listed(tmp_path, "given")
    assert given.classes == ("diesel", "steam")
    assert given.left_out == tuple(
        f"folder '{name}' with 4 pictures, no split's" for name in ("car", "plane")
    )
    assert listed(tmp_path, "drawn").classes == ("car", "plane", "train")


def test_pictures_directly_in_train_beside_classes_have_two_readings_too(tmp_path: Path) -> None:
    tree(tmp_path, car=4, train=5)
    refused(tmp_path, r"got 'train' beside 'car' .*splits=given .*splits=drawn if each folder is a")
    assert counts(tmp_path, "drawn") == {"train": [4, 5]}
    refused(tmp_path, r"none but 5 pictures in '.*train'; .*=drawn if 'train' is a class", "given")


def test_classes_beside_a_test_split_are_train_if_so_told(tmp_path: Path) -> None:
    tree(tmp_path, cats=4, dogs=4, test__cats=2, test__dogs=1)
    refused(tmp_path, r"'test' is a split \(then 'cats', 'dogs' are train\), or dataset\.splits=dr")
    assert counts(tmp_path, "given") == {"train": [4, 4], "test": [2, 1]}


def test_folders_without_pictures_beside_splits_are_left_out_by_name(tmp_path: Path) -> None:
    tree(tmp_path, train__cats=3, train__dogs=3, test__cats=1, test__dogs=1)
    tree(tmp_path, devkit=0, annotations__xml=0, __MACOSX__train=0)
    (tmp_path / "annotations" / "xml" / "a.xml").touch()
    assert counts(tmp_path) == {"train": [3, 3], "test": [1, 1]}
    told = " ".join(listed(tmp_path).left_out)
    assert "folder 'devkit', which holds no pictures" in told
    assert "folder 'annotations', which holds no pictures" in told


@pytest.mark.parametrize(("one", "two"), [("val", "valid"), ("Val", "val"), ("dev", "validation")])
def test_two_folders_for_one_split_are_refused(tmp_path: Path, one: str, two: str) -> None:
    for split in ("train", one, two):
        tree(tmp_path / split, cats=2, dogs=2)
    refused(
        tmp_path, rf"one folder for val, got '{one}', '{two}' in .*; rename or move one of them"
    )
    assert counts(tmp_path, "drawn") == {"train": [6, 6]}


@pytest.mark.parametrize("names", [("test",), ("Val", "Test")])
def test_without_train_nothing_is_guessed(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        tree(tmp_path / name, cats=2, dogs=2)
    refused(
        tmp_path, r"must hold a folder to train on, got .* alone in .*; rename the one to train"
    )
    assert counts(tmp_path, "drawn") == {"train": [2 * len(names)] * 2}


def test_splits_inside_classes_are_understood(tmp_path: Path) -> None:
    tree(tmp_path, cats__train=3, cats__Test=2, dogs__train=4, dogs__Test=1)
    found = listed(tmp_path)
    assert counts(tmp_path) == {"train": [3, 4], "test": [2, 1]}
    assert found.ready == {"train": "CLASS/train", "test": "CLASS/Test"}
    assert all("/cats/train/" in path for path in found.items[:3])
    assert counts(tmp_path, "drawn") == {"train": [5, 5]}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"dogs": 3},
            r"in all classes or in none, got 'cats/test', 'cats/train' in .*=drawn if all",
        ),
        ({"dogs__train": 3, "dogs__old": 1}, r"in all classes or in none"),
        ({"dogs__train": 3}, r"the same classes in 'CLASS/test' as in .*got 'dogs' \(3 images\)"),
        ({"dogs__a__test": 3}, r"in all classes or in none, got .*'dogs/a/test'"),
        (
            {"dogs__train": 1, "dogs__training": 1},
            r"one folder for train, got 'train' and 'training'",
        ),
    ],
)
def test_splits_in_some_classes_are_refused(
    tmp_path: Path, more: dict[str, int], said: str
) -> None:
    tree(tmp_path, cats__train=3, cats__test=2, **more)
    refused(tmp_path, said)


def test_splits_inside_classes_without_train_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, cats__val=3, dogs__val=2)
    refused(tmp_path, r"a folder to train on in each class, got 'cats/val', 'dogs/val' alone in")


def test_a_split_inside_a_class_of_a_split_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, train__cats__test=3, train__dogs=2)
    refused(tmp_path, r"got 'cats/test' inside classes of 'train' in .*; add dataset\.splits=given")
    assert counts(tmp_path, "given") == {"train": [3, 2]}


def test_a_split_that_wraps_a_folder_of_its_own_name_is_understood(tmp_path: Path) -> None:
    for split, count in (("seg_train", 3), ("seg_test", 1)):
        tree(tmp_path / split / split, forest=count, sea=count)
    assert counts(tmp_path) == {"train": [3, 3], "test": [1, 1]}
    tree(tmp_path, seg_pred__seg_pred=5)
    refused(tmp_path, "got 'seg_test', 'seg_train' beside 'seg_pred'")
    assert counts(tmp_path, "given") == {"train": [3, 3], "test": [1, 1]}
    assert listed(tmp_path, "given").left_out == ("folder 'seg_pred' with 5 pictures, no split's",)


@pytest.mark.parametrize(
    ("names", "path", "inner"),
    [
        (("pets__cat", "pets__dog"), "pets", "'cat', 'dog'"),
        (("a__b__cat", "a__b__dog"), "a/b", "'cat', 'dog'"),
        (("a__train__cat", "a__train__dog"), "a", "'train'"),
        (("train__all__cat", "train__all__dog"), "train/all", "'cat', 'dog'"),
    ],
)
def test_the_folder_that_was_meant_is_named(
    tmp_path: Path, names: tuple[str, ...], path: str, inner: str
) -> None:
    tree(tmp_path, **dict.fromkeys(names, 2))
    (tmp_path / "readme.txt").touch()
    refused(
        tmp_path,
        rf", which holds {inner}; add dataset\.path=.*/{path}(, or move them up into '.*')?$",
    )


def test_classes_that_differ_between_splits_are_named_with_their_numbers(tmp_path: Path) -> None:
    tree(tmp_path, train__Cats=3, train__dogs=3, test__cats=2, test__dogs=1, test__birds=1)
    refused(
        tmp_path,
        r"same classes in 'test' as in 'train', got 'Cats' \(3 images\) in 'train' alone and "
        r"'birds' \(1 image\), 'cats' \(2 images\) in 'test' alone, in .*; classes '[Cc]ats', "
        r"'[Cc]ats' differ in case, spaces or encoding alone: give each class one name",
    )


def test_one_class_is_refused_by_its_name(tmp_path: Path) -> None:
    tree(tmp_path, train__cats=3, test__cats=3)
    refused(tmp_path, r"must hold 2 classes or more, got one, 'cats', in .*; there is nothing to")


def test_pictures_without_a_class_and_other_files_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", train__cats=3, train__dogs=3, test__cats=1, test__dogs=1)
    for name in ("b.png", "c.jpg", "train/d.bmp", "train/cats/e.HEIC", "train/cats/f.heic"):
        (root / name).touch()
    for name in ("test/dogs/notes.txt", "README", "train/dogs/._g.png", "train/dogs/.DS_Store"):
        (root / name).touch()
    (root / "train" / "cats" / ".g").mkdir()
    (root / "train" / "cats" / "._h.png").touch()
    assert set(listed(root).left_out) == {
        "2 pictures directly in 'a', in no folder of a class ('b.png', 'c.jpg')",
        "1 picture directly in 'a/train', in no folder of a class ('d.bmp')",
        "2 files .heic, which Pillow does not read here ('e.HEIC', 'f.heic')",
        "1 file .txt ('notes.txt')",
        "1 file without an ending ('README')",
        "2 hidden pictures ('._h.png', '._g.png')",
        "1 hidden folder ('.g')",
    }


def test_many_kinds_of_files_are_told_in_few_words(tmp_path: Path) -> None:
    tree(tmp_path, cats=1, dogs=1)
    for number in range(30):
        for copy in range(1 if number else 9):
            (tmp_path / "cats" / f"{copy}.x{number}").touch()
    first, *rest = listed(tmp_path).left_out
    assert first == "9 files .x0 ('0.x0', '1.x0', '2.x0', ...)"
    assert len(rest) < 10
    assert rest[-1].startswith("24 files of 24 other endings (")


def test_names_with_line_breaks_are_told_in_one_line(tmp_path: Path) -> None:
    tree(tmp_path, **{"cats": 1, "dogs": 1, "train\n__cats": 1, "train\n__dogs": 1, "ex\ntra": 1})
    (tmp_path / "cats" / "a.b\nc").touch()
    refused(tmp_path, "got 'train\\\\n' beside 'cats', 'dogs', 'ex\\\\ntra' in")
    assert "\n" not in "".join(listed(tmp_path, "given").left_out)


def test_a_class_of_pictures_that_are_not_read_is_told(tmp_path: Path) -> None:
    tree(tmp_path, cats=3, dogs=0)
    (tmp_path / "dogs" / "a.heic").touch()
    refused(tmp_path, r"got none in '.*dogs' but files: 1 \.heic; put JPEG, PNG .*'\.dogs', which")


def test_a_split_of_empty_classes_is_told_as_a_whole(tmp_path: Path) -> None:
    tree(tmp_path, train__cats=3, train__dogs=3, val__cats=0, val__dogs=0)
    refused(tmp_path, r"got none in 'cats', 'dogs' of '.*val'; put .* or remove '.*val' if it is a")


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".tiff", ".gif", ".webp", ".jfif", ".JPG"])
def test_every_format_that_pillow_reads_is_read(tmp_path: Path, suffix: str) -> None:
    assert suffix.lower() in SUFFIXES
    pixels = np.random.default_rng(0).integers(0, 256, (16, 8, 8), dtype=np.uint8)
    kind = {".jfif": "JPEG", ".jpg": "JPEG"}.get(suffix.lower())
    for number, image in enumerate(pixels):
        folder = tmp_path / "a" / "xy"[number % 2]
        folder.mkdir(exist_ok=True, parents=True)
        Image.fromarray(image).save(folder / f"{number}{suffix}", kind)
    splits = folder_of(tmp_path / "a", num_classes=2, resolution=8).load(8, "cpu")
    assert sum(len(s.labels) for s in (splits.train, splits.val, splits.test)) == 16
