"""Splits, labels and links of real pictures on the command line: understood, or one line."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.cli import Cli, Outcome
from tests.datasets.pictures_of import arrays_of, table, write_tree

QUICK = ("candidates.max_networks=2", "timed=false")


def plan(cli: Cli, *options: str) -> Outcome:
    return cli("plan", *options, *QUICK)


def words(outcome: Outcome) -> str:
    """What was said, however its lines are wrapped."""
    assert outcome.code == 0, outcome.err
    return " ".join(outcome.out.split())


def refused(outcome: Outcome) -> str:
    """The one line of an error."""
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    return line


def test_the_option_that_an_error_names_decides(cli: Cli, tmp_path: Path) -> None:
    write_tree(tmp_path / "a", 20, 2)
    write_tree(tmp_path / "a" / "train", 20, 3)
    folder = ("dataset=imagefolder", "dataset.path=a")
    line = refused(plan(cli, *folder))
    assert "got 'train' beside 'class 0', 'class 1' in " in line
    assert "dataset.splits=given" in line
    assert "dataset.splits=drawn" in line
    given = words(plan(cli, *folder, "dataset.splits=given"))
    assert "60 images of 3 classes" in given
    assert "Left out: folder 'class 0' with 20 pictures, no split's;" in given
    assert "100 images of 3 classes" in words(plan(cli, *folder, "dataset.splits=drawn"))


def test_the_path_that_an_error_names_can_be_pasted(cli: Cli, tmp_path: Path) -> None:
    write_tree(tmp_path / "my photos (1)" / "Pets", 20, 2)
    line = refused(plan(cli, "dataset=imagefolder", 'dataset.path="my photos (1)"'))
    (named,) = shlex.split(line.rpartition("; add ")[2])
    assert named.startswith("dataset.path=")
    assert "40 images of 2 classes" in words(plan(cli, "dataset=imagefolder", named))


def test_a_class_that_is_a_link_to_another_is_one_line(cli: Cli, tmp_path: Path) -> None:
    write_tree(tmp_path / "a", 20, 2)
    (tmp_path / "a" / "class 2").symlink_to("class 1")
    line = refused(plan(cli, "dataset=imagefolder", "dataset.path=a"))
    assert "which are the same folder" in line


def test_labels_from_1_are_mapped_and_told(cli: Cli, tmp_path: Path) -> None:
    pixels, labels = arrays_of(20, 4)
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels + 1)
    told = words(plan(cli, "dataset=arrays", "dataset.path=a.npz"))
    assert "80 images of 4 classes" in told
    assert "Labels 1, 2, 3, 4 are classes 0 to 3." in told
    wrong = refused(plan(cli, "dataset=arrays", "dataset.path=a.npz", "dataset.num_classes=5"))
    assert wrong.endswith("; add dataset.num_classes=4")
    right = plan(cli, "dataset=arrays", "dataset.path=a.npz", "dataset.num_classes=4")
    assert right.code == 0


@pytest.mark.parametrize("name", ["Training", "train_set-00000"])
def test_test_images_beside_training_images_are_used(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    table(20, 2).to_parquet(str(tmp_path / "a" / f"{name}.parquet"))
    table(5, 2).to_parquet(str(tmp_path / "a" / "Testing.parquet"))
    told = words(plan(cli, "dataset=huggingface", "dataset.path=a"))
    assert f"train: given as '{name}.parquet'. val: drawn, 0.1 of train. test: given as" in told
    assert "50 images of 2 classes" in told


@pytest.mark.slow
def test_a_whole_search_reports_on_the_test_folder_under_its_own_name(
    cli: Cli, tmp_path: Path, own_cache: Path
) -> None:
    write_tree(tmp_path / "a" / "Training", 20, 2, suffixes=("bmp", "tif", "gif"))
    write_tree(tmp_path / "a" / "Testing", 5, 2, suffixes=("png",))
    options = ("dataset=imagefolder", "dataset.path=a", "executor=inline", "recipe.epochs=1")
    outcome = cli("search", *options, *QUICK, "recipe.batch_size=10", "limits.trainings=1")
    assert outcome.code == 0, outcome.err
    (place,) = own_cache.glob("*-28-1")
    assert len(np.load(place / "test-labels.npy")) == 10
    assert len(np.load(place / "train-labels.npy")) == 36
