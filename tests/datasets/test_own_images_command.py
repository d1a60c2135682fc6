"""Whole commands on files of real pictures, and every bad input in one line."""

import io
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scaling_search.experiment.composing import part_of
from scaling_search.record.tables import read_table
from tests.cli import Cli
from tests.composed import composed
from tests.datasets.pictures_of import arrays_of, table, write_tree
from tests.tables import VOLATILE

TINY = (
    "recipe.epochs=1",
    "recipe.batch_size=20",
    "candidates.max_networks=2",
    "executor=inline",
    "dataset.in_channels=1",
    "dataset.resolution=28",
)


def tree(place: Path) -> tuple[str, ...]:
    write_tree(place / "tree")
    return "dataset=imagefolder", "dataset.path=tree"


def npz(place: Path) -> tuple[str, ...]:
    pixels, labels = arrays_of()
    np.savez(place / "a.npz", images=pixels, labels=labels)
    return "dataset=arrays", "dataset.path=a.npz"


def parquet(place: Path) -> tuple[str, ...]:
    table().to_parquet(str(place / "a.parquet"))
    return "dataset=huggingface", "dataset.path=a.parquet"


@pytest.mark.slow
@pytest.mark.parametrize("make", [tree, npz, parquet])
def test_a_whole_search_on_files_of_ones_own(
    cli: Cli, tmp_path: Path, own_cache: Path, make: Callable[[Path], tuple[str, ...]]
) -> None:
    arguments = ("search", *make(tmp_path), *TINY)
    first = cli(*arguments, "limits.trainings=1")
    assert first.code == 0, first.err
    assert "reading images" not in first.err
    maps = {path: path.stat().st_mtime_ns for path in own_cache.rglob("*-28-*/*.npy")}
    assert len(maps) == 7
    second = cli(*arguments)  # goes on, and reads nothing again
    assert second.code == 0, second.err
    assert maps == {path: path.stat().st_mtime_ns for path in maps}
    reported = cli("report", "out=runs/default")
    assert reported.code == 0
    results = pd.read_csv(tmp_path / "runs" / "default" / "results.csv")
    assert (results["state"] == "COMPLETE").all()
    assert len(results) == 3
    uninterrupted = cli(*arguments, "out=runs/again")
    assert uninterrupted.code == 0
    assert cli("report", "out=runs/again").code == 0
    again = pd.read_csv(tmp_path / "runs" / "again" / "results.csv")
    volatile = list(VOLATILE)
    pd.testing.assert_frame_equal(
        results.drop(columns=volatile, errors="ignore"),
        again.drop(columns=volatile, errors="ignore"),
    )


def test_tables_keep_names_of_classes_that_mean_missing_or_a_number_elsewhere(
    cli: Cli, tmp_path: Path, own_cache: Path
) -> None:
    del own_cache
    names = ["007", "1e3", "NA", "None", "nan", "null"]
    write_tree(tmp_path / "tree", num_classes=len(names), suffixes=("png",))
    for number, name in enumerate(names):
        (tmp_path / "tree" / f"class {number}").rename(tmp_path / "tree" / name)
    options = (*TINY, "candidates.max_networks=1", "out=run")
    searched = cli("search", "dataset=imagefolder", "dataset.path=tree", *options)
    assert searched.code == 0, searched.err
    assert all(repr(name) in searched.out for name in names)
    assert cli("report", "out=run").code == 0
    assert read_table(tmp_path / "run" / "data.csv")["class"].tolist() == names


@pytest.mark.slow
def test_worker_processes_train_on_the_maps(cli: Cli, tmp_path: Path, own_cache: Path) -> None:
    arguments = ("search", *tree(tmp_path), *TINY, "executor=processes")
    outcome = cli(*arguments, "executor.device=cpu", "executor.workers_per_device=2")
    assert outcome.code == 0, outcome.err
    assert "failed" not in outcome.out
    assert [path for path in own_cache.iterdir() if path.is_dir()]


@pytest.mark.slow
def test_a_resume_with_other_data_is_refused(cli: Cli, tmp_path: Path) -> None:
    arguments = ("search", *tree(tmp_path), *TINY, "limits.trainings=1")
    assert cli(*arguments).code == 0
    first = min((tmp_path / "tree" / "class 0").glob("*.png"))
    Image.new("L", (28, 28), 7).save(first)
    other = cli(*arguments)
    assert other.code == 2
    assert "dataset" in other.err
    assert other.err.count("\n") == 1
    seed = cli(*arguments, "dataset.split_seed=1")
    assert seed.code == 2


def pickled(place: Path) -> None:
    labels = np.array([{}] * 120, dtype=object)
    np.savez(place / "a.npz", images=arrays_of()[0], labels=labels)


def fewer_labels(place: Path) -> None:
    pixels, labels = arrays_of()
    np.savez(place / "a.npz", images=pixels, labels=labels[:-1])


def floats(place: Path) -> None:
    pixels, labels = arrays_of()
    np.savez(place / "a.npz", images=pixels / 255, labels=labels)


def colours(place: Path) -> None:
    pixels, labels = arrays_of()
    np.savez(place / "a.npz", images=np.stack([pixels] * 3, -1), labels=labels)


def one_class(place: Path) -> None:
    for folder in (place / "tree").glob("class [1-9]"):
        shutil.rmtree(folder)


def few_images(place: Path) -> None:
    for path in sorted((place / "tree" / "class 3").iterdir())[2:]:
        path.unlink()


def all_broken(place: Path) -> None:
    for path in (place / "tree").glob("*/*.*"):
        path.write_bytes(path.read_bytes()[:20])


def one_broken(place: Path) -> None:
    min((place / "tree").glob("*/*.png")).write_bytes(b"")


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("kind", "spoil", "options", "said"),
    [
        ("imagefolder", nothing, ("dataset.path=null",), "dataset.path must be given, got null"),
        ("imagefolder", nothing, ("dataset.path=none/at/all",), "must be there, got 'none/at/all'"),
        (
            "imagefolder",
            nothing,
            ("dataset.path=a.npz",),
            "dataset.path must be a folder, got the file ",
        ),
        (
            "imagefolder",
            one_class,
            (),
            "dataset.path must hold 2 classes or more, got one, 'class 0', in ",
        ),
        ("imagefolder", few_images, (), "must give the test split images of each class, got none"),
        ("imagefolder", nothing, ("dataset.in_channels=2",), "dataset.in_channels must be 1 or 3"),
        (
            "imagefolder",
            nothing,
            ("dataset.num_classes=9",),
            "dataset.num_classes must be 10 as in",
        ),
        (
            "imagefolder",
            nothing,
            ("dataset.resolution=64",),
            "dataset.resolution must be at most 28",
        ),
        ("imagefolder", nothing, ("dataset.val_share=2",), "dataset.val_share must be less than 1"),
        (
            "imagefolder",
            all_broken,
            ("dataset.broken=skip",),
            "images that can be read, got none in 'tree': ",
        ),
        ("imagefolder", one_broken, (), "got 1 broken of 120 in 'tree': "),
        ("arrays", nothing, ("dataset.path=b.npz",), "dataset.path must be there, got 'b.npz'"),
        ("arrays", nothing, ("dataset.in_channels=3",), "dataset.in_channels must be 1 as in"),
        ("arrays", colours, (), "dataset.in_channels must be 3 as in 'a.npz', got 1; add"),
        ("arrays", pickled, (), "must hold whole arrays without pickled objects, got"),
        ("arrays", fewer_labels, (), "a label for each of 120 images, got int64 (119,)"),
        ("arrays", floats, (), "must hold images of integers, as uint8 from 0 to 255, got float64"),
        (
            "huggingface",
            nothing,
            ("dataset.path=./none",),
            "dataset.path must be there, got './none'",
        ),
        (
            "huggingface",
            nothing,
            ("dataset.path=a.parquet",),
            "must be there, got 'a.parquet'; give",
        ),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(
    cli: Cli,
    tmp_path: Path,
    own_cache: Path,
    kind: str,
    spoil: Callable[[Path], None],
    options: tuple[str, ...],
    said: str,
) -> None:
    tree(tmp_path)
    npz(tmp_path)
    spoil(tmp_path)
    path = {"imagefolder": "tree", "arrays": "a.npz", "huggingface": "null"}[kind]
    arguments = (f"dataset={kind}", f"dataset.path={path}", *TINY, *options)
    outcome = cli("search", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""
    assert not (tmp_path / "runs").exists()
    assert not list(own_cache.glob("*/"))
    assert not list(own_cache.glob("*.json"))


@pytest.mark.slow
def test_what_was_left_out_is_said_by_every_command(
    cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ("search", *tree(tmp_path), *TINY, "dataset.broken=skip", "limits.trainings=1")
    one_broken(tmp_path)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert cli(*arguments).code == 0
        assert "1 of 120 images are broken and left out: '" in caplog.text


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """A tree of ImageNet's form: a thousand classes, ready train and val, names of theirs."""
    file = io.BytesIO()
    Image.new("RGB", (400, 330), (90, 120, 30)).save(file, "JPEG", quality=30)
    for split, count in (("train", 3), ("val", 1)):
        for label in range(1000):
            folder = tmp_path / "imagenet" / split / f"n{label:08}"
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"n{label:08}_{number}.JPEG").write_bytes(file.getvalue())
    return tmp_path / "imagenet"


@pytest.mark.slow
def test_imagenet_is_planned_from_a_tree_of_its_form(
    cli: Cli, imagenet: Path, own_cache: Path
) -> None:
    shares = ("dataset.test_share=0.34",)  # one of three
    arguments = ("plan", "experiment=imagenet_b0", f"dataset.path={imagenet}", *shares)
    outcome = cli(*arguments)
    assert outcome.code == 0, outcome.err
    sizes = set(re.findall(r" (\d{3}) +[\d-]+$", outcome.out, re.MULTILINE))
    assert {"224"} < sizes <= {"224", "256", "288", "320"}
    options = composed("experiment=imagenet_b0", f"dataset.path={imagenet}", *shares)["dataset"]
    dataset = part_of("dataset", options)
    said = list(dataset.sentences(map(int, sizes)))
    assert said[0].startswith("4,000 images of 1000 classes are decoded once, to 320 px, which ")
    assert said[1].startswith("Their maps at 224, 256, 288, 320 px need 3.6 GB in ")
    with pytest.raises(ValueError, match="must hold images that differ, got all images nearly one"):
        dataset.check()
    assert not list(own_cache.glob("*/"))
    few = cli("plan", "experiment=imagenet_b0", f"dataset.path={imagenet}")
    assert few.code == 2  # three of a class cannot give a test split of 3.9 %
    assert "test split images of each class, got none of 'n00000" in few.err
