"""Links in folders of pictures: followed once, never into another class, never upwards."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.pictures_of import folder_of

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of three empty pictures each."""
    for name in ("cats", "dogs"):
        filled(tmp_path / "a" / name, 3)
    return tmp_path / "a"


def filled(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.png").touch()
    return folder


def listed(root: Path) -> Any:
    return folder_of(root, num_classes=None).listing()


def counts(root: Path) -> dict[str, list[int]]:
    return {s: np.bincount(of).tolist() for s, of in listed(root).labels.items()}


def refused(root: Path, said: str) -> None:
    with pytest.raises(RuntimeError, match=said) as error:
        listed(root)
    assert "\n" not in str(error.value)


def test_a_class_that_is_a_link_to_another_is_refused(root: Path) -> None:
    (root / "kittens").symlink_to("cats")
    refused(root, r"got '.*/cats' of class 'cats' and '.*/kittens' of class 'kittens', which are")


@pytest.mark.parametrize("target", ["../dogs", "../dogs/young"])
def test_a_link_into_another_class_is_refused(root: Path, target: str) -> None:
    filled(root / "dogs" / "young", 1)
    (root / "cats" / "more").symlink_to(target)
    refused(
        root, r"'.*/dogs.*' of class 'dogs'.* the same folder '.*/dogs.*'; remove one of the li"
    )


def test_one_folder_that_two_classes_lead_to_is_refused(root: Path, tmp_path: Path) -> None:
    filled(tmp_path / "pool" / "x", 2)
    (root / "cats" / "pool").symlink_to(tmp_path / "pool")
    (root / "dogs" / "some").symlink_to(tmp_path / "pool" / "x")
    refused(root, r"'.*cats/pool/x' of class 'cats' and '.*dogs/some' of class 'dogs'")


def test_a_class_that_another_split_has_under_another_name_is_refused(tmp_path: Path) -> None:
    for name in ("train/cats", "train/dogs", "val/dogs"):
        filled(tmp_path / "a" / name, 2)
    (tmp_path / "a" / "val" / "cats").symlink_to("../train/dogs")
    refused(tmp_path / "a", r"of class 'dogs' and '.*val/cats' of class 'cats', which are the same")


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "/"])
def test_links_that_lead_back_up_are_not_followed_and_named(root: Path, target: str) -> None:
    before = listed(root)
    (root / "cats" / "up").symlink_to(target)
    after = listed(root)
    assert after.items == before.items
    assert len(after.left_out) == 1
    assert after.left_out[0].startswith("1 link ('cats/up' ")


def test_links_beside_the_classes_that_lead_back_up_are_not_followed(root: Path) -> None:
    before = listed(root)
    (root / "all").symlink_to(".")
    assert listed(root).items == before.items
    assert listed(root).left_out == ("1 link ('all' leads back up)",)


def test_links_in_a_split_that_lead_back_up_are_not_followed(tmp_path: Path) -> None:
    for name in ("train/cats", "train/dogs", "val/cats", "val/dogs"):
        filled(tmp_path / "a" / name, 2)
    (tmp_path / "a" / "train" / "cats" / "split").symlink_to("..")
    (tmp_path / "a" / "train" / "dogs" / "val").symlink_to("../../val")
    assert counts(tmp_path / "a") == {"train": [2, 2], "val": [2, 2]}
    (told,) = listed(tmp_path / "a").left_out
    assert told.startswith("2 links ('train/cats/split' leads back up to 'train', 'train/dogs/val'")


def test_links_out_of_a_class_are_followed_once(root: Path, tmp_path: Path) -> None:
    filled(tmp_path / "pool" / "deep", 2)
    (root / "cats" / "one").symlink_to(tmp_path / "pool")
    (root / "cats" / "two").symlink_to(tmp_path / "pool")
    (root / "cats" / "three").symlink_to(tmp_path / "pool" / "deep")
    (tmp_path / "pool" / "loop").symlink_to(tmp_path / "pool")
    assert counts(root) == {"train": [5, 3]}
    (told,) = listed(root).left_out
    assert told.startswith("3 links (")
    assert "'cats/two' is 'cats/one' again" in told


def test_one_class_may_lie_in_one_folder_for_two_splits(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        filled(tmp_path / "a" / "train" / name, 2)
        (tmp_path / "a" / "test").mkdir(exist_ok=True)
        (tmp_path / "a" / "test" / name).symlink_to(f"../train/{name}")
    assert counts(tmp_path / "a") == {"train": [2, 2], "test": [2, 2]}


def test_links_to_files_are_pictures_and_links_to_nowhere_are_missing_ones(root: Path) -> None:
    (root / "cats" / "linked.png").symlink_to("../dogs/0.png")
    (root / "cats" / "missing.png").symlink_to("nowhere")
    assert counts(root) == {"train": [5, 3]}


def test_a_class_that_is_a_link_to_nowhere_is_refused(root: Path) -> None:
    (root / "mice").symlink_to("/nowhere/at/all")
    refused(root, r"got '.*/mice', a link to nowhere; repair or remove it")


def test_classes_may_be_links_to_folders_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "a" / name).symlink_to(filled(tmp_path / "elsewhere" / f"of {name}", 2))
    assert listed(tmp_path / "a").classes == ("cats", "dogs")
    assert counts(tmp_path / "a") == {"train": [2, 2]}
