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
from PIL import Image

from scaling_search.data.pictures import Way
from tests.datasets.pictures_of import fingerprint_of, folder_of, hugging_face, table, write_tree

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
    assert len({fingerprint_of(hugging_face(tmp_path / path)) for path in paths}) == 1


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


def test_suffixes_may_be_of_any_case(tmp_path: Path) -> None:
    parquets(tmp_path / "a", train=4, more=3)
    (tmp_path / "a" / "more.parquet").rename(tmp_path / "a" / "Test.PARQUET")
    assert counts(tmp_path / "a") == {"train": 8, "test": 6}
    assert counts(tmp_path / "a" / "Test.PARQUET", splits="drawn") == {"train": 6}


def test_pictures_beside_tables_are_not_said_to_be_unread(tmp_path: Path) -> None:
    parquets(tmp_path / "a", train=4)
    for number in range(3):
        (tmp_path / "a" / f"{number}.png").touch()
    said = "3 pictures beside the tables, unless a row names them"
    assert listed(tmp_path / "a").left_out == (said,)


def test_a_saved_dictionary_has_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.DatasetDict({"train": table(6, 2), "test": table(3, 2)})
    made.save_to_disk(str(tmp_path / "a"))
    splits = hugging_face(tmp_path / "a", num_classes=2).load(28, "cpu")
    assert [len(s.labels) for s in (splits.train, splits.val, splits.test)] == [9, 3, 6]


def listed(path: Path, **changes: Any) -> Any:
    return hugging_face(path, num_classes=None, **changes).listing()


def counts(path: Path, **changes: Any) -> dict[str, int]:
    return {split: len(of) for split, of in listed(path, **changes).labels.items()}


def parquets(root: Path, **of_each: int) -> Path:
    """Files of two classes; ``a__b`` is ``a/b.parquet``."""
    for name, count in of_each.items():
        to_parquet(root / f"{name.replace('__', '/')}.parquet", count, 2)
    return root


def in_dictionary(path: Path, **of_each: int) -> Path:
    datasets = pytest.importorskip("datasets")
    splits = {name: table(count, 2) for name, count in of_each.items()}
    datasets.DatasetDict(splits).save_to_disk(str(path))
    return path


def labelled(names: list[str], labels: list[int | None]) -> Any:
    """Pictures whose labels are names of classes."""
    datasets = pytest.importorskip("datasets")
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    rows = {"image": table(10, 2)["image"][: len(labels)], "label": labels}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Testing"),
        ("train_set-00000-of-00001", "hold-out-00000-of-00001"),
        ("trainset__0", "seg_test__0"),
        ("data__train__0000", "data__TEST__0000"),
    ],
)
def test_files_of_splits_are_known_by_the_names_in_use(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    root = parquets(tmp_path / "a", **{names[0]: 4, names[1]: 2})
    assert counts(root) == {"train": 8, "test": 4}
    assert counts(root, splits="drawn") == {"train": 12}


def test_splits_of_a_dictionary_are_known_by_the_names_in_use(tmp_path: Path) -> None:
    root = in_dictionary(tmp_path / "a", Training=4, dev=3, holdout=2)
    assert counts(root) == {"train": 8, "val": 6, "test": 4}
    assert listed(root).ready == {"train": "Training", "val": "dev", "test": "holdout"}


def test_splits_of_other_names_are_left_out_with_their_images(tmp_path: Path) -> None:
    root = in_dictionary(tmp_path / "a", train=4, extra=3, unsupervised=2)
    assert counts(root) == {"train": 8}
    assert listed(root).left_out == (
        "'extra' with 6 images, whose name means no split",
        "'unsupervised' with 4 images, whose name means no split",
    )
    assert counts(root, splits="drawn") == {"train": 18}


def test_a_split_whose_name_only_resembles_one_has_two_readings(tmp_path: Path) -> None:
    root = in_dictionary(tmp_path / "a", Training=4, PublicTest=3)
    with pytest.raises(ValueError, match=r"got 'Training' beside 'PublicTest' in .*given.*drawn"):
        listed(root)
    assert counts(root, splits="given") == {"train": 8}
    assert counts(root, splits="drawn") == {"train": 14}


def test_a_split_of_another_name_is_train_if_so_told(tmp_path: Path) -> None:
    root = in_dictionary(tmp_path / "a", full=4, test=2)
    with pytest.raises(
        ValueError, match=r"; rename .*=given if 'full' is to train on, or .*drawn if"
    ):
        listed(root)
    assert counts(root, splits="given") == {"train": 8, "test": 4}


def test_one_split_of_any_name_is_the_whole(tmp_path: Path) -> None:
    assert counts(in_dictionary(tmp_path / "a", everything=4)) == {"train": 8}
    assert listed(tmp_path / "a").ready == {}


@pytest.mark.parametrize(
    ("of_each", "said"),
    [
        ({"train": 3, "val": 2, "validation": 2}, r"one split for val, got 'val', 'validation' in"),
        ({"test": 3}, r"must hold splits to train on, got 'test' alone in .*=drawn if all"),
        (
            {"easy": 3, "hard": 3},
            r"must hold splits to train on, got 'easy', 'hard' alone in",
        ),
    ],
)
def test_splits_that_leave_train_open_are_refused(
    tmp_path: Path, of_each: dict[str, int], said: str
) -> None:
    root = in_dictionary(tmp_path / "a", **of_each)
    with pytest.raises(ValueError, match=said) as error:
        listed(root)
    assert "\n" not in str(error.value)
    assert counts(root, splits="drawn") == {"train": 2 * sum(of_each.values())}


def test_files_with_and_without_names_of_splits_have_two_readings(tmp_path: Path) -> None:
    root = parquets(tmp_path / "a", train=4, more__0=3, more__1=2)
    said = r"'train\.parquet' beside 'more/0\.parquet and 1 more' in .*=given if .*left out\)"
    with pytest.raises(ValueError, match=said):
        listed(root)
    assert counts(root, splits="given") == {"train": 8}
    assert counts(root, splits="drawn") == {"train": 18}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train", "test__train_0"), r"mean one split each, got 'test/train_0\.parquet' in"),
        (("train", "val_or_test"), r"mean one split each, got 'val_or_test\.parquet' in"),
        (("train", "dev", "valid"), r"one file for val, got 'dev\.parquet', 'valid\.parquet' in"),
    ],
)
def test_names_of_files_that_mean_two_things_are_refused(
    tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    root = parquets(tmp_path / "a", **dict.fromkeys(names, 2))
    with pytest.raises(ValueError, match=said):
        listed(root)
    assert counts(root, splits="drawn") == {"train": 4 * len(names)}


def test_the_name_of_a_file_counts_before_those_of_its_folders_if_so_told(tmp_path: Path) -> None:
    root = parquets(tmp_path / "a", **{"a-test-run__train-0": 4, "a-test-run__test-0": 2})
    with pytest.raises(
        ValueError, match=r"got 'a-test-run/train-0\.parquet' in .*=given if the file"
    ):
        listed(root)
    assert counts(root, splits="given") == {"train": 8, "test": 4}


def test_names_of_classes_are_matched_by_name_between_files_and_splits(tmp_path: Path) -> None:
    root = tmp_path / "a"
    root.mkdir()
    labelled(["a", "b", "c"], [0, 1, 2, 0]).to_parquet(str(root / "train-0.parquet"))
    labelled(["c", "a", "b"], [0, 1, 2, 0]).to_parquet(str(root / "train-1.parquet"))
    labelled(["b", "c", "a"], [0, 1, 2]).to_parquet(str(root / "test.parquet"))
    found = listed(root)
    assert found.classes == ("a", "b", "c")
    assert found.labels["train"].tolist() == [0, 1, 2, 0, 2, 0, 1, 2]
    assert found.labels["test"].tolist() == [1, 2, 0]
    (note,) = found.notes
    assert note == (
        "Labels of 'label' of 'train-1.parquet', 'label' of 'test.parquet' are matched by name "
        "with those of 'label' of 'train-0.parquet', which have another order."
    )


def test_names_of_classes_are_matched_in_a_dictionary_and_in_arrow_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    train, test = labelled(["a", "b"], [0, 0, 1]), labelled(["b", "a"], [0, 0, 1])
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    for name in ("train", "test"):
        (arrow,) = (tmp_path / "a" / name).glob("*.arrow")
        shutil.copy(arrow, tmp_path / "b" / f"{name}.arrow")
    for place in ("a", "b"):
        found = listed(tmp_path / place)
        assert found.labels["train"].tolist() == [0, 0, 1]
        assert found.labels["test"].tolist() == [1, 1, 0]


def test_other_names_of_classes_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    labelled(["a", "b"], [0, 1]).to_parquet(str(tmp_path / "a" / "train.parquet"))
    labelled(["a", "B"], [0, 1]).to_parquet(str(tmp_path / "a" / "test.parquet"))
    with pytest.raises(
        ValueError, match=r"got 'b' in .*train.parquet' alone and 'B' in .* alone; cl"
    ):
        listed(tmp_path / "a")


def test_names_of_classes_without_images_are_left_out(tmp_path: Path) -> None:
    labelled(["a", "b", "c", "d"], [0, 2, 0, 2]).to_parquet(str(tmp_path / "a.parquet"))
    found = listed(tmp_path / "a.parquet")
    assert found.classes == ("a", "c")
    assert found.labels["train"].tolist() == [0, 1, 0, 1]
    assert found.left_out == ("2 classes 'b', 'd', which no image has",)


def test_a_test_split_without_labels_is_left_out_and_drawn(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    splits = {"train": labelled(["a", "b"], [0, 1] * 6), "test": labelled(["a", "b"], [-1] * 4)}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "a"))
    assert counts(tmp_path / "a") == {"train": 12}
    assert listed(tmp_path / "a").left_out == ("'test', 4 images without labels",)
    made = hugging_face(tmp_path / "a", num_classes=2).load(28, "cpu")
    assert [len(s.labels) for s in (made.train, made.val, made.test)] == [6, 3, 3]


@pytest.mark.parametrize("missing", [None, -1])
def test_some_missing_labels_are_counted_and_the_way_on_works(
    tmp_path: Path, missing: int | None
) -> None:
    made = labelled(["a", "b"], [0, 1, missing, 1, 0, missing])
    made.to_parquet(str(tmp_path / "a.parquet"))
    with pytest.raises(ValueError, match=r"got 2 of 6 images without one in .*; save the") as error:
        listed(tmp_path / "a.parquet")
    advised = str(error.value).split("as by ")[1]
    namespace = {"table": made}
    exec(advised.replace("labelled.parquet", str(tmp_path / "b.parquet")), namespace)
    assert counts(tmp_path / "b.parquet") == {"train": 4}


def test_a_value_beyond_the_names_of_classes_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = labelled(["a", "b"], [0, 1, 1, 0]).cast_column("label", datasets.Value("int64"))
    spoilt = made.map(lambda row: {"label": 5 * row["label"]})
    features = labelled(["a", "b"], [0]).features
    arrow = spoilt.data.table.replace_schema_metadata(features.arrow_schema.metadata)
    from pyarrow import parquet  # noqa: PLC0415 - comes with datasets

    parquet.write_table(arrow, tmp_path / "a.parquet")
    with pytest.raises(
        ValueError, match=r"must be below 2, the number of names of classes, got 5 in"
    ):
        listed(tmp_path / "a.parquet")


def test_sizes_are_looked_at_everywhere_in_sorted_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = []
    for side in (10, 20, 30, 40):
        for _ in range(30):
            file = io.BytesIO()
            Image.new("L", (side, side)).save(file, "PNG")
            rows.append({"bytes": file.getvalue(), "path": None})
    labels = [number % 2 for number in range(len(rows))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    made = datasets.Dataset.from_dict({"image": rows, "label": labels}, features=features)
    made.to_parquet(str(tmp_path / "one.parquet"), batch_size=len(rows))
    made.to_parquet(str(tmp_path / "groups.parquet"), batch_size=7)
    made.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "shards").mkdir()
    for number in range(4):
        piece = made.select(range(30 * number, 30 * number + 30))
        piece.to_parquet(str(tmp_path / "shards" / f"{number}.parquet"))
    for name in ("one.parquet", "groups.parquet", "saved", "shards"):
        dataset = hugging_face(tmp_path / name)
        heads = list(dataset.heads(dataset.listing(), 16))
        assert {head.height for head in heads} == {10, 20, 30, 40}, name
        assert 12 <= len(heads) <= 24, name


@pytest.mark.parametrize("kind", ["struct", "text", "arrow"])
def test_paths_of_pictures_begin_at_the_folder_of_the_file_that_names_them(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "tree", suffixes=("png",))
    by_name(tmp_path / "table", kind, is_relative=True)
    expected = folder_of(tmp_path / "tree").load(28, "cpu")
    monkeypatch.chdir("/")
    found = hugging_face(tmp_path / "table").load(28, "cpu")
    for name in ("train", "val", "test"):
        of_split, wanted = getattr(found, name), getattr(expected, name)
        assert torch.equal(of_split.images, wanted.images)
        assert torch.equal(of_split.labels, wanted.labels)


def by_name(folder: Path, kind: str, *, is_relative: bool = False) -> None:
    """A table that only names the pictures of the tree beside it."""
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    paths = sorted((folder.parent / "tree").rglob("*.png"))
    named = [os.path.relpath(path, folder) if is_relative else str(path) for path in paths]
    values = named if kind == "text" else [{"bytes": None, "path": name} for name in named]
    labels = [int(path.parent.name.removeprefix("class ")) for path in paths]
    picture = (
        pa.string() if kind == "text" else pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    made = pa.table({"image": pa.array(values, picture), "label": labels})
    folder.mkdir()
    if kind == "arrow":
        with pa.ipc.new_stream(folder / "a.arrow", made.schema) as file:
            file.write_table(made, max_chunksize=50)
    else:
        pa.parquet.write_table(made, folder / "a.parquet", row_group_size=50)


@pytest.mark.parametrize("kind", ["struct", "text", "arrow"])
def test_a_picture_behind_a_path_that_changes_is_read_again(tmp_path: Path, kind: str) -> None:
    write_tree(tmp_path / "tree", suffixes=("png",))
    by_name(tmp_path / "table", kind)
    dataset = hugging_face(tmp_path / "table")
    before = fingerprint_of(dataset)
    picture, other = sorted((tmp_path / "tree").rglob("*.png"))[:2]
    replaced_in_place(picture, other.read_bytes())
    dataset.check()
    assert fingerprint_of(dataset) != before
    picture.unlink()
    with pytest.raises(
        RuntimeError, match=r"got 1 broken of 120 .*'train 0' \('.*png': No such file"
    ):
        dataset.check()


def replaced_in_place(path: Path, content: bytes) -> None:
    """Other bytes in a file, of the same time."""
    about = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_row_that_names_no_file_is_a_broken_picture(tmp_path: Path, kind: str) -> None:
    """Reading a pipe waits for a writer, reading a device may never end."""
    write_tree(tmp_path / "tree", suffixes=("png",))
    first = min((tmp_path / "tree").rglob("*.png"))
    by_name(tmp_path / "table", "struct")
    first.unlink()
    if kind == "pipe":
        os.mkfifo(first)
    else:
        first.symlink_to("/dev/zero")
    with pytest.raises(RuntimeError, match=r"got 1 broken of 120 .*'train 0' \('.*png': not a f"):
        hugging_face(tmp_path / "table").check()


@pytest.mark.parametrize(
    ("kind", "columns"), [("numpy", None), ("arrow", ["label"]), (None, ["image"])]
)
def test_the_format_that_a_table_was_saved_with_changes_nothing(
    tmp_path: Path, kind: str | None, columns: list[str] | None
) -> None:
    table().save_to_disk(str(tmp_path / "plain"))
    table().with_format(kind, columns=columns).save_to_disk(str(tmp_path / "formatted"))
    assert fingerprint_of(hugging_face(tmp_path / "formatted")) == fingerprint_of(
        hugging_face(tmp_path / "plain")
    )


@pytest.mark.parametrize(
    "said",
    [
        "null",
        '{"info": {"features": "abc"}}',
        '{"info": {"features": {"label": {"_type": "Array2D"}}}}',
        '{"info": {"features": {"label": {"_type": "List"}}}}',
        "[" * 100_000,
    ],
)
def test_a_table_s_own_words_on_its_columns_that_cannot_be_taken_are_told(
    tmp_path: Path, said: str
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = table().data.table.replace_schema_metadata({"huggingface": said})
    parquet.write_table(arrow, tmp_path / "a.parquet")
    with pytest.raises(
        RuntimeError, match=r"^dataset\.path must be a data set that can be read"
    ) as e:
        hugging_face(tmp_path / "a.parquet").check()
    assert "\n" not in str(e.value)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    made = table().data.table
    twice = made.append_column("label", made.column("label").combine_chunks()[::-1])
    parquet.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(RuntimeError, match=r"'a.parquet' has several columns called 'label'"):
        hugging_face(tmp_path / "a.parquet").check()


REVISION = "0123456789abcdef0123456789abcdef01234567"


def read_before(parquet: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves a file where ``someone/clothes`` of the hub lies, of which nothing more is asked."""
    datasets = pytest.importorskip("datasets")
    made = datasets.load_dataset_builder("parquet", data_files=str(parquet), cache_dir=str(hub))
    made.download_and_prepare()
    place = hub / "someone___clothes" / "default" / "0.0.0" / REVISION
    shutil.copytree(made.cache_dir, place)
    for file in place.glob("*.arrow"):
        file.rename(place / file.name.replace("parquet", "clothes"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", hub)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_another_revision_than_the_one_asked_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache answers for a hub that cannot be asked, whatever revision is asked for."""
    read_before(to_parquet(tmp_path / "a.parquet"), tmp_path / "hub", monkeypatch)
    fingerprint_of(hugging_face("someone/clothes", revision=REVISION))
    with pytest.raises(RuntimeError, match=f"^dataset.revision must .* got '{REVISION}' .*'v2'; "):
        hugging_face("someone/clothes", revision="v2").check()


def test_a_table_of_the_hub_names_no_picture_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "tree", suffixes=("png",))
    by_name(tmp_path / "table", "struct")
    read_before(tmp_path / "table" / "a.parquet", tmp_path / "hub", monkeypatch)
    with pytest.raises(RuntimeError, match=r"'train 0' \(.*: outside of what comes from the hub"):
        hugging_face("someone/clothes").check()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "tree"))
    hugging_face("someone/clothes").check()


def test_integers_and_names_are_labels_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = table(named=False)
    made.to_parquet(str(tmp_path / "a.parquet"))
    names = [f"class {label}" for label in made["label"]]
    named = made.remove_columns("label").add_column("label", names)
    named.cast_column("label", datasets.Value("string")).to_parquet(str(tmp_path / "b.parquet"))
    to_parquet(tmp_path / "c.parquet")
    paths = ("a.parquet", "b.parquet", "c.parquet")
    assert len({fingerprint_of(hugging_face(tmp_path / path)) for path in paths}) == 1


def test_columns_may_have_other_names_and_pictures_be_plain_bytes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = table().cast_column("image", datasets.Image(decode=False))
    rows = {"img": [row["bytes"] for row in made["image"]], "kind": made["label"]}
    datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "a.parquet"))
    to_parquet(tmp_path / "b.parquet")
    other = hugging_face(tmp_path / "a.parquet", image="img", label="kind")
    assert fingerprint_of(other) == fingerprint_of(hugging_face(tmp_path / "b.parquet"))


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


def test_a_command_asks_the_hub_once_and_says_what_it_takes_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_before(to_parquet(tmp_path / "a.parquet"), tmp_path / "hf" / "datasets", monkeypatch)
    planned = subprocess.run(
        [
            *(Path(sys.executable).with_name("scaling-search"), "plan", "dataset=huggingface"),
            *("dataset.path=someone/clothes", "timed=false"),
        ],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert planned.returncode == 0, planned.stderr
    assert planned.stderr.count("Using the latest cached version of the dataset since") == 1


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
    (line,) = searched.stderr.splitlines()
    assert line.startswith("scaling-search: dataset.path must be a data set that can be read, got ")
    assert (
        "for 'someone/clothes'; look at the name, dataset.config and the connection, or give a name"
        in line
    )
    assert not (tmp_path / "run").exists()
