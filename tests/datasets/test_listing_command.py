"""Splits, labels and links of real pictures on the command line: understood, or one line."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.conftest import Cli
from tests.datasets.pictures_of import arrays_of, table, write_tree

NUMBERS = (
    "dataset.in_channels=1",
    "dataset.resolution=28",
    "candidates.max_networks=2",
    "timed=false",
)


def folder(path: str, num_classes: int, *options: str) -> tuple[str, ...]:
    more = ("dataset=imagefolder", f"dataset.path={path}", f"dataset.num_classes={num_classes}")
    return ("plan", *more, *NUMBERS, *options)


def test_the_option_that_an_error_names_decides(cli: Cli, tmp_path: Path) -> None:
    write_tree(tmp_path / "a", 20, 2)
    write_tree(tmp_path / "a" / "train", 20, 3)
    outcome = cli(*folder("a", 3))
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "got 'train' beside 'class 0', 'class 1' in " in line
    assert "dataset.splits=given" in line
    assert "dataset.splits=drawn" in line
    given = cli(*folder("a", 3, "dataset.splits=given"))
    assert given.code == 0, given.err
    assert "60 images of 3 classes are decoded once" in " ".join(given.out.split())
    drawn = cli(*folder("a", 3, "dataset.splits=drawn"))
    assert drawn.code == 0, drawn.err
    assert "100 images of 3 classes are decoded once" in " ".join(drawn.out.split())


def test_the_path_that_an_error_names_can_be_pasted(cli: Cli, tmp_path: Path) -> None:
    write_tree(tmp_path / "my photos (1)" / "Pets", 20, 2)
    outcome = cli(*folder("'my photos (1)'", 2))
    assert outcome.code == 2
    named = outcome.err.strip().rpartition("; add ")[2]
    assert named.startswith("dataset.path='")
    found = cli("plan", "dataset=imagefolder", named, "dataset.num_classes=2", *NUMBERS)
    assert found.code == 0, found.err


def test_a_class_that_is_a_link_to_another_is_one_line(cli: Cli, tmp_path: Path) -> None:
    write_tree(tmp_path / "a", 20, 2)
    (tmp_path / "a" / "class 2").symlink_to("class 1")
    outcome = cli(*folder("a", 3))
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "which are the same folder" in line


def test_labels_from_1_need_no_other_number(cli: Cli, tmp_path: Path) -> None:
    pixels, labels = arrays_of(20, 4)
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels + 1)
    outcome = cli("plan", "dataset=arrays", "dataset.path=a.npz", "dataset.num_classes=4", *NUMBERS)
    assert outcome.code == 0, outcome.err
    assert "80 images of 4 classes" in " ".join(outcome.out.split())


@pytest.mark.parametrize("name", ["Training", "train_set-00000"])
def test_test_images_beside_training_images_are_used(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    table(20, 2).to_parquet(str(tmp_path / "a" / f"{name}.parquet"))
    table(5, 2).to_parquet(str(tmp_path / "a" / "Testing.parquet"))
    outcome = cli(
        "plan", "dataset=huggingface", "dataset.path=a", "dataset.num_classes=2", *NUMBERS
    )
    assert outcome.code == 0, outcome.err
    assert "50 images of 2 classes" in " ".join(outcome.out.split())
