"""What all pixels say: copies, constant pictures, counts and the mean, by known images."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.core.dataset import Split, Splits
from scaling_search.data.description import (
    Description,
    Survey,
    check_pixels,
    shapes_of,
    survey,
    warnings_of,
)

CLASSES = ("cat", "dog")


def split_of(*images: tuple[int, int]) -> Split:
    """Images by their number and label; equal numbers are equal pixels, none is constant."""
    numbers, labels = zip(*images, strict=True) if images else ((), ())
    pixels = [np.random.default_rng(number).integers(0, 256, (1, 4, 4)) for number in numbers]
    stacked = np.array(pixels, np.uint8).reshape(-1, 1, 4, 4)
    return Split(torch.from_numpy(stacked), torch.tensor(labels, dtype=torch.int64))


def surveyed(train: Split, val: Split, test: Split) -> Survey:
    return survey(Splits(train, val, test), 2)


def test_a_data_set_without_faults_has_none() -> None:
    found = surveyed(
        split_of((0, 0), (1, 1), (2, 0)), split_of((3, 0), (4, 1)), split_of((5, 0), (6, 1))
    )
    assert found.counts == {"train": (2, 1), "val": (1, 1), "test": (1, 1)}
    assert found.num_copies == found.contradicting == 0
    check_pixels(found, CLASSES, "photos")
    assert list(warnings_of(found, CLASSES, are_dropped=False)) == []


def test_copies_are_counted_and_those_of_test_stay() -> None:
    found = surveyed(
        split_of((0, 0), (1, 1), (0, 0), (7, 0), (8, 1)),
        split_of((7, 0), (4, 1)),
        split_of((8, 1), (6, 1), (9, 0)),
    )
    assert found.copies == {"test": (), "val": (), "train": (2, 3, 4)}
    assert found.shared == {("val", "train"): 1, ("test", "train"): 1, ("test", "val"): 0}
    said = list(warnings_of(found, CLASSES, are_dropped=False))
    assert said == [
        "1 of 2 images of val are in train too.",
        "1 of 3 images of test are in train too.",
        (
            "Exact copies of other images are kept; dataset.duplicates=drop removes them: 3 in "
            "train, for instance 'train 2' equals 'train 0', 'train 3' equals 'val 0', 'train 4' "
            "equals 'test 0'."
        ),
    ]


def test_a_copied_test_split_is_said_in_capital_letters() -> None:
    images = split_of((0, 0), (1, 1), (2, 0))
    found = surveyed(images, split_of((3, 0), (4, 1)), images)
    first = next(iter(warnings_of(found, CLASSES, are_dropped=False)))
    assert first.startswith("THE TEST SPLIT IS A COPY OF TRAIN: 3 OF ITS 3 IMAGES ARE IN BOTH")
    dropped = list(warnings_of(found, CLASSES, are_dropped=True))
    assert len(dropped) == 1
    assert "are dropped: 3 in train" in dropped[0]


def test_one_image_under_two_labels_is_said() -> None:
    found = surveyed(split_of((0, 0), (0, 1), (1, 1)), split_of((3, 0), (4, 1)), split_of((5, 0)))
    assert found.contradicting == 1
    said = [list(warnings_of(found, CLASSES, are_dropped=dropped)) for dropped in (False, True)]
    assert "1 image has more than one label, which no network can learn." in said[0]
    assert "1 image had more than one label; one copy of each was kept. Check its label." in said[1]


def test_imbalance_is_said_with_what_guessing_would_reach() -> None:
    train = split_of(*((k, 0) for k in range(30)), (99, 1))
    found = surveyed(train, split_of((101, 0), (102, 1)), split_of((103, 0), (104, 1)))
    (said,) = warnings_of(found, CLASSES, are_dropped=False)
    assert said == (
        "Classes are imbalanced: train has 30 images of 'cat' and 1 of 'dog'; always answering "
        "'cat' would have an accuracy of 96.8 %."
    )


def constant(values: list[int], labels: list[int]) -> Split:
    images = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
    return Split(images.contiguous(), torch.tensor(labels))


def painted(values: list[int], labels: list[int]) -> Split:
    """Pictures of one strong colour each, whose channels differ widely."""
    images = torch.full((len(values), 3, 4, 4), 200, dtype=torch.uint8)
    images[:, 1:] = torch.tensor(values, dtype=torch.uint8)[:, None, None, None]
    return Split(images, torch.tensor(labels))


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (constant([0, 0, 9, 9], [0, 1, 0, 1]), "all images nearly one colour in 'photos'"),
        (split_of((0, 0), (0, 0), (1, 1), (2, 1)), "all 2 of 'cat' the same in 'photos'"),
        (split_of((0, 0), (0, 0), (1, 1), (1, 1)), "all images of each class the same in 'photos'"),
        (painted([0, 1, 2, 3], [0, 1, 0, 1]), "all images nearly one colour in 'photos'"),
    ],
)
def test_images_that_show_nothing_are_refused(train: Split, said: str) -> None:
    none = Split(
        torch.empty((0, *train.images.shape[1:]), dtype=torch.uint8),
        torch.empty(0, dtype=torch.int64),
    )
    with pytest.raises(ValueError, match=r"must hold images that differ, got ") as error:
        check_pixels(survey(Splits(train, none, none), 2), CLASSES, "photos")
    assert said in str(error.value)


def test_some_constant_images_are_said_and_no_more() -> None:
    ours = split_of((0, 0), (1, 1), (2, 0), (3, 1))
    flat = constant([7], [0])
    train = Split(torch.cat([ours.images, flat.images]), torch.cat([ours.labels, flat.labels]))
    found = surveyed(train, split_of((5, 0), (6, 1)), split_of((7, 0), (8, 1)))
    check_pixels(found, CLASSES, "photos")
    assert list(warnings_of(found, CLASSES, are_dropped=False)) == ["1 image is nearly one colour."]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=12),
        min_size=3,
        max_size=3,
    )
)
def test_without_the_copies_no_two_images_are_equal(drawn: list[list[tuple[int, int]]]) -> None:
    splits = [split_of(*images) for images in drawn]
    found = surveyed(*splits)
    left: list[int] = []
    for name, images in zip(("train", "val", "test"), drawn, strict=True):
        left += [n for place, (n, _) in enumerate(images) if place not in found.copies[name]]
    assert len(left) == len(set(left))
    assert set(left) == {n for images in drawn for n, _ in images}
    # Ready test images stay, but for copies among themselves.
    test = [n for n, _ in drawn[2]]
    assert len(found.copies["test"]) == len(test) - len(set(test))


def test_the_mean_is_that_of_train_alone() -> None:
    other = split_of((3, 0), (4, 1))
    train = split_of((0, 0), (1, 1))
    assert surveyed(train, other, other).mean == pytest.approx(train.images.double().mean().item())


def test_a_description_survives_being_written() -> None:
    made = Description(
        classes=CLASSES,
        counts={"train": (1, 2), "val": (3, 4), "test": (5, 6)},
        origins=dict.fromkeys(("train", "val", "test"), "given"),
        channels=3,
        resolution=28,
        shapes="28 x 28 px",
        mean=1.5,
        notes=("a",),
        warnings=("b", "c"),
    )
    assert Description.of_row(made.row()) == made


def test_sizes_are_said_from_the_smallest_to_the_largest() -> None:
    assert shapes_of([(28, 28)] * 3) == "28 x 28 px"
    assert shapes_of([(10, 20), (5, 5), (30, 40)]) == ("5 x 5 to 30 x 40 px, median 10 x 20")
