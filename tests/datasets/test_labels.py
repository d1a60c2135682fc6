"""Labels of every kind in arrays and tables: mapped and told, or refused with a way out."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.pictures_of import arrays_in, hugging_face

pytestmark = pytest.mark.usefixtures("own_cache")

List = Callable[..., Any]
"""Lists labels of splits, which may lie in an array or a table."""


def in_arrays(place: Path, **of_split: list[Any]) -> Any:
    content: dict[str, Any] = {}
    for split, values in of_split.items():
        prefix = "" if split == "all" else f"{split}_"
        content[f"{prefix}images"] = np.zeros((len(values), 6, 6), np.uint8)
        content[f"{prefix}labels"] = np.array(values)
    np.savez(place / "a.npz", **content)
    return arrays_in(place / "a.npz", num_classes=None, resolution=None).listing()


def in_tables(place: Path, **of_split: list[Any]) -> Any:
    datasets = pytest.importorskip("datasets")
    (place / "a").mkdir()
    for split, values in of_split.items():
        rows = {"image": [b"picture"] * len(values), "label": values}
        datasets.Dataset.from_dict(rows).to_parquet(str(place / "a" / f"{split}.parquet"))
    return hugging_face(place / "a", num_classes=None, resolution=None).listing()


@pytest.fixture(params=[in_arrays, in_tables])
def listed(request: pytest.FixtureRequest, tmp_path: Path) -> List:
    return functools.partial(request.param, tmp_path)


@pytest.mark.parametrize(
    ("values", "classes", "note"),
    [
        ([0, 1, 2], ("0", "1", "2"), None),
        ([1, 2, 3, 4], ("1", "2", "3", "4"), "Labels 1, 2, 3, 4 are classes 0 to 3."),
        ([5, 1, 2], ("1", "2", "5"), "Labels 1, 2, 5 are classes 0, 1, 2."),
        ([True, False], ("False", "True"), "Labels False, True are classes 0, 1."),
        (["dog", "cat"], ("cat", "dog"), "Labels 'cat', 'dog' are classes 0, 1."),
        ([b"dog", b"cat"], ("cat", "dog"), "Labels 'cat', 'dog' are classes 0, 1."),
        ([2.0, 1.0], ("1", "2"), "Labels 1, 2 are classes 0, 1."),
        ([0.0, 1.0], ("0", "1"), None),
        ([10**15, 0], ("0", str(10**15)), f"Labels 0, {10**15} are classes 0, 1."),
    ],
)
def test_labels_are_counted_from_0_in_sorted_order(
    listed: List, values: list[Any], classes: tuple[str, ...], note: str | None
) -> None:
    found = listed(all=values * 3)
    assert found.classes == classes
    assert found.labels["train"].tolist() == [sorted(values).index(v) for v in values] * 3
    assert found.notes == (() if note is None else (note,))


def test_many_labels_are_shown_shortened(listed: List) -> None:
    found = listed(all=list(range(1, 201)) * 3)
    assert found.notes == ("Labels 1, 2, 3, ..., 198, 199, 200 are classes 0 to 199.",)


def test_all_splits_have_one_mapping(listed: List) -> None:
    found = listed(train=[7, 3, 5] * 3, test=[5, 3, 7])
    assert found.labels["train"].tolist() == [2, 0, 1] * 3
    assert found.labels["test"].tolist() == [1, 0, 2]


def test_names_that_are_nearly_the_same_are_told(listed: List) -> None:
    assert listed(all=["Cat", "cat ", "dog"] * 3).notes[1:] == (
        "Classes 'Cat', 'cat ' differ in case, spaces or encoding alone.",
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([3] * 6, r"must hold 2 classes or more, got one, '3', in "),
        (
            [0.5, 1.0, 2.25] * 3,
            r"integer, text or boolean .* got real numbers like 0\.5, 6 of 9 in ",
        ),
        ([float("inf"), 1.0, 2.0] * 3, r"got real numbers like inf, 3 of 9 in .*not numbers predi"),
        (list(range(9)), r"got 9 different ones of 9 images in .*; most come once, as numbers of"),
        ([f"{i}.jpg" for i in range(9)], r"got 9 different ones of 9 images in .*names of files"),
        (
            [-1, 1] * 3,
            r"from 0 on, got 3 of 6 below 0, the lowest -1 in .*if -1 is a class, add 1 to",
        ),
        ([-3, 1, 2] * 3, r"must be integers from 0 on, got 3 of 9 below 0, the lowest -3 in "),
        (
            [1.0, float("nan"), 2.0] * 3,
            r"be there for each image, got 3 of 9 images without one in",
        ),
        (
            ["a", "b", ""] * 3,
            r"must be there for each image, got 3 of 9 images without one in .*save",
        ),
        ([[0, 1], [1, 0]] * 3, r"integer, text or boolean .*; one-hot labels become classes by "),
        ([-1] * 6, r"there for the images to train on, got none for "),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_a_way_out(
    listed: List, values: list[Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as error:
        listed(all=values)
    assert "\n" not in str(error.value)


def test_a_split_without_labels_is_left_out_and_drawn(listed: List) -> None:
    found = listed(train=[0, 1] * 6, val=[1, 0], test=[-1] * 5)
    assert set(found.labels) == set(found.ready) == {"train", "val"}
    (told,) = found.left_out
    assert told.startswith("'test")
    assert told.endswith(", 5 images without labels")


def test_classes_in_one_split_alone_are_refused_with_their_numbers(listed: List) -> None:
    said = (
        r"same classes in .*'2' \(6 images\) in '.*' alone and '9' \(1 image\) in '.*' alone, in "
    )
    with pytest.raises(ValueError, match=said):
        listed(train=[0, 1, 2] * 6, test=[0, 1, 9])


def test_labels_of_two_kinds_are_refused(listed: List) -> None:
    with pytest.raises(
        ValueError, match=r"of one kind, got integers in .* and text in .*; save both"
    ):
        listed(train=[0, 1] * 6, test=["0", "1"])


def test_objects_in_arrays_are_told_the_way_to_text(tmp_path: Path) -> None:
    values = np.array(["cat", "dog"] * 3, dtype=object)
    np.savez(tmp_path / "a.npz", images=np.zeros((6, 6, 6), np.uint8), labels=values)
    with pytest.raises(RuntimeError, match=r"pickled \(text becomes an array by astype\(str\)\)"):
        arrays_in(tmp_path / "a.npz").listing()


def test_the_number_of_classes_that_is_given_is_checked_against_the_mapped_ones(
    tmp_path: Path,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=1 + np.arange(24) % 3)
    arrays_in(tmp_path / "a.npz", num_classes=3, resolution=6).check()
    with pytest.raises(
        ValueError, match=r"num_classes must be 3 as in .*, got 4; add .*classes=3$"
    ):
        arrays_in(tmp_path / "a.npz", num_classes=4, resolution=6).check()
