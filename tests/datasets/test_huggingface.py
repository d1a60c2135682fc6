"""What `datasets` reads, from files on this machine alone."""

import functools
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.data.pictures import Way
from tests.datasets.pictures_of import folder_of, hugging_face, table, write_tree

pytestmark = pytest.mark.usefixtures("own_cache")


def to_parquet(path: Path, *of: int, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table(*of, **changes).to_parquet(str(path))
    return path


def test_files_of_every_kind_hold_the_same_data(tmp_path: Path) -> None:
    made = table()
    to_parquet(tmp_path / "a.parquet")
    made.save_to_disk(str(tmp_path / "saved"))
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    shutil.copy(arrow, tmp_path / "b.arrow")
    shards = tmp_path / "shards" / "data"
    shards.mkdir(parents=True)
    for number in range(3):
        piece = made.select(range(40 * number, 40 * number + 40))
        piece.to_parquet(str(shards / f"train-{number:05}-of-00003.parquet"))
    paths = ("a.parquet", "saved", "b.arrow", "shards")
    assert len({hugging_face(tmp_path / path).fingerprint() for path in paths}) == 1


def test_pictures_become_the_pixels_of_a_folder_of_them(tmp_path: Path) -> None:
    to_parquet(tmp_path / "a.parquet")
    write_tree(tmp_path / "tree", suffixes=("png",))
    found = []
    for dataset in (hugging_face(tmp_path / "a.parquet"), folder_of(tmp_path / "tree")):
        splits = dataset.load(28, "cpu")
        images = torch.cat([s.images for s in (splits.train, splits.val, splits.test)])
        found.append(sorted(image.numpy().tobytes() for image in images))
    assert found[0] == found[1]


def test_ready_splits_go_by_the_names_of_files_or_folders(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("train-00000.parquet", "sub/validation/0.parquet", "test.parquet")
    ):
        to_parquet(tmp_path / "a" / name, 4 - number, 2)
    splits = hugging_face(tmp_path / "a", num_classes=2).load(28, "cpu")
    assert [len(s.labels) for s in (splits.train, splits.val, splits.test)] == [8, 6, 4]


def test_a_saved_dictionary_has_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.DatasetDict({"train": table(6, 2), "test": table(3, 2)})
    made.save_to_disk(str(tmp_path / "a"))
    splits = hugging_face(tmp_path / "a", num_classes=2).load(28, "cpu")
    assert [len(s.labels) for s in (splits.train, splits.val, splits.test)] == [9, 3, 6]


def test_integers_and_names_are_labels_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = table(named=False)
    made.to_parquet(str(tmp_path / "a.parquet"))
    names = [f"class {label}" for label in made["label"]]
    named = made.remove_columns("label").add_column("label", names)
    named.cast_column("label", datasets.Value("string")).to_parquet(str(tmp_path / "b.parquet"))
    to_parquet(tmp_path / "c.parquet")
    paths = ("a.parquet", "b.parquet", "c.parquet")
    assert len({hugging_face(tmp_path / path).fingerprint() for path in paths}) == 1


def test_columns_may_have_other_names_and_pictures_be_plain_bytes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = table().cast_column("image", datasets.Image(decode=False))
    rows = {"img": [row["bytes"] for row in made["image"]], "kind": made["label"]}
    datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "a.parquet"))
    to_parquet(tmp_path / "b.parquet")
    other = hugging_face(tmp_path / "a.parquet", image="img", label="kind")
    assert other.fingerprint() == hugging_face(tmp_path / "b.parquet").fingerprint()


def test_broken_pictures_are_named_by_their_row(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = table().cast_column("image", datasets.Image(decode=False))
    rows = made["image"][:]
    rows[3] = {"bytes": rows[3]["bytes"][:50], "path": None}
    rows[7] = None
    content = {"image": rows, "label": made["label"][:]}
    features = table().features
    spoilt = datasets.Dataset.from_dict(content, features=features)
    spoilt.to_parquet(str(tmp_path / "a.parquet"))
    with pytest.raises(RuntimeError, match=r"got 2 broken of 120 .*: 'train 3' \(.*'train 7' \(no"):
        hugging_face(tmp_path / "a.parquet").check()
    hugging_face(tmp_path / "a.parquet", broken="skip").check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"image": "img"},
            r"dataset\.image must be a column .*, got 'img'; in .* there are image, label$",
        ),
        (
            {"label": "y"},
            r"dataset\.label must be a column of .*, got 'y'; in .* are image, label$",
        ),
        ({"num_classes": 3}, r"dataset\.num_classes must be 10 as in .*, got 3"),
        (
            {"label": "image"},
            r"labels must be one integer, text or boolean .*\.label=NAME, .* label$",
        ),
    ],
)
def test_columns_that_are_not_there_are_told(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    to_parquet(tmp_path / "a.parquet")
    with pytest.raises((RuntimeError, ValueError), match=said) as error:
        hugging_face(tmp_path / "a.parquet", **options).check()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "empty", "state"])
def test_files_that_cannot_be_read_are_told_in_one_line(tmp_path: Path, name: str) -> None:
    if "." in name:
        (tmp_path / name).write_bytes(b"PAR1 and no more")
    else:
        (tmp_path / name).mkdir()
        if name == "state":
            (tmp_path / name / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"dataset\.path must ") as error:
        hugging_face(tmp_path / name).check()
    assert "\n" not in str(error.value)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1))
def test_a_damaged_file_is_told_or_read_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[float, bytes]]
) -> None:
    content = bytearray(whole())
    for place, bytes_ in damages:
        start = int(place * len(content))
        content[start : start + len(bytes_)] = bytes_
    path = tmp_path_factory.mktemp("damaged") / "a.parquet"
    path.write_bytes(content)
    try:
        dataset = hugging_face(path)
        rows = list(dataset.rows(dataset.listing(), Way(1, 28)))
    except (RuntimeError, ValueError) as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right
    else:
        assert rows


@functools.cache
def whole() -> bytes:
    file = io.BytesIO()
    table().to_parquet(file)
    return file.getvalue()


def test_labels_that_are_missing_are_told(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = table(named=False)
    content = {"image": made["image"][:], "label": [-1] * 120}
    datasets.Dataset.from_dict(content, features=made.features).to_parquet(
        str(tmp_path / "a.parquet")
    )
    with pytest.raises(
        ValueError, match=r"images to train on, got none for 'a\.parquet' in .*a col"
    ):
        hugging_face(tmp_path / "a.parquet").check()


def test_without_the_package_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_parquet(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(RuntimeError, match=r"run: pip install 'scaling-search\[hf\]'$"):
        hugging_face(tmp_path / "a.parquet").check()


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_is_told_in_one_line(tmp_path: Path) -> None:
    searched = subprocess.run(
        [
            *(Path(sys.executable).with_name("scaling-search"), "search", "dataset=huggingface"),
            *("dataset.path=someone/clothes", f"out={tmp_path / 'run'}"),
        ],
        # Nobody listens there; the package tries five times, in half a minute.
        env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert searched.returncode == 2
    *_, line = searched.stderr.splitlines()
    assert line.startswith("scaling-search: dataset.path must be a data set that can be read, got ")
    assert "for 'someone/clothes'; give a name on the hub" in line
    assert not (tmp_path / "run").exists()
