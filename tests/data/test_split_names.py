"""Names that mean train, validation or test, in any case and with any separators."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.data.split_names import Found, split_of, split_words

IN_USE = {
    "train": ["train", "training", "training_set", "trainset", "train_set", "seg_train"],
    "val": ["val", "valid", "validation", "dev", "eval", "val_set", "devset", "evaluation"],
    "test": ["test", "testing", "test_set", "testset", "seg_test", "holdout", "hold-out"],
}
NAMES = [(name, split) for split, names in IN_USE.items() for name in names]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.sampled_from(NAMES), st.data())
def test_names_in_use_are_known_in_any_case_and_with_any_separators(
    pair: tuple[str, str], data: st.DataObject
) -> None:
    name, split = pair
    letters = [
        data.draw(st.sampled_from([letter.lower(), letter.upper()]))
        + data.draw(st.sampled_from(["", "", "", "-", "_", " ", "."]))
        for letter in name
    ]
    assert split_of("".join(letters)) == split


@pytest.mark.parametrize(
    "name",
    ["", "car", "trains", "contest", "latest", "device", "extra", "set", "images", "pretest"],
)
def test_other_names_are_none(name: str) -> None:
    assert split_of(name) is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train2017", "train"),
        ("test1", "test"),
        ("images_val", "val"),
        ("trainval", "train"),
        ("Test Images", "test"),
    ],
)
def test_numbers_and_kinds_of_data_may_stand_beside(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("train-00000-of-00003", {"train"}),
        ("PublicTest", {"test"}),
        ("cifar_hold-out_0", {"test"}),
        ("test_of_train", {"test", "train"}),
        ("0000", set()),
        ("contest-0", set()),
    ],
)
def test_words_of_longer_names_are_told(name: str, splits: set[str]) -> None:
    assert set(split_words(name).values()) == splits


def test_what_is_half_there_is_used() -> None:
    choice = Found("a", {"train": "train", "Test": "test"}).choice(None)
    assert choice.by_split == {"train": ("train",), "test": ("Test",)}
    assert choice.ready == {"train": "train", "test": "Test"}


@pytest.mark.parametrize("option", [None, "given"])
def test_two_names_for_one_split_are_refused(option: str | None) -> None:
    found = Found("a", {"train": "train", "val": "val", "valid": "val"})
    with pytest.raises(ValueError, match=r"one split for val, got 'val', 'valid' in 'a'; .*=drawn"):
        found.choice(option)  # type: ignore[arg-type]  # a literal
