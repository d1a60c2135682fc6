"""Folders of pictures as they come: odd names, links, splits, broken files."""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import torch
from PIL import Image

from scaling_search.data import gathering
from tests.datasets.pictures_of import arrays_of, fingerprint_of, folder_of, write_tree

pytestmark = pytest.mark.usefixtures("own_cache")


def small(root: Path, **changes: Any) -> Any:
    """Two classes and no more."""
    return folder_of(root, num_classes=2, **changes)


def two_classes(root: Path, of_each: int = 8) -> Path:
    return write_tree(root, of_each, 2, suffixes=("png",))


@pytest.mark.parametrize(
    "options",
    [
        {"val_share": 0.0},
        {"test_share": 1.0},
        {"split_seed": -1},
        {"broken": "ignore"},
        {"num_classes": 1},
        {"in_channels": 2},
        {"resolution": 0},
        {"path": Path("data")},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        folder_of(tmp_path, **options)


def test_formats_and_names_in_any_case_are_read(tmp_path: Path) -> None:
    write_tree(tmp_path / "a", suffixes=("JPG", "jpeg", "PNG", "webp"))
    splits = folder_of(tmp_path / "a").load(28, "cpu")
    assert sum(len(s.labels) for s in (splits.train, splits.val, splits.test)) == 120


def test_what_is_no_picture_and_what_is_hidden_is_left_out(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "a")
    before = fingerprint_of(small(root))
    for name in ("notes.txt", "class 0/Thumbs.db", "class 0/.hidden.png", "class 1/x.png.part"):
        (root / name).write_text("no picture", encoding="utf-8")
    (root / ".ipynb_checkpoints").mkdir()
    shutil.copytree(root / "class 0", root / "class 1" / ".cache")
    shutil.copy(next((root / "class 0").glob("0*.png")), root / "stray.png")
    os.mkfifo(root / "class 1" / "pipe.png")
    small(root).check()
    assert fingerprint_of(small(root)) == before


def test_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "a")
    for number, path in enumerate(sorted((root / "class 1").iterdir())):
        deeper = root / "class 1" / "a" / f"b{number % 2}" / path.name
        deeper.parent.mkdir(parents=True, exist_ok=True)
        path.rename(deeper)
    splits = small(root).load(28, "cpu")
    assert splits.train.labels.bincount().tolist() == [4, 4]


def test_links_are_followed_and_circles_left(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "real")
    before = fingerprint_of(small(root))
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "class 0").symlink_to(root / "class 0", target_is_directory=True)
    (linked / "class 1").mkdir()
    for path in (root / "class 1").iterdir():
        (linked / "class 1" / path.name).symlink_to(path)
    (linked / "class 1" / "up").symlink_to(linked / "class 1", target_is_directory=True)
    (linked / "class 1" / "self").symlink_to("self")
    (tmp_path / "way").symlink_to(linked, target_is_directory=True)
    assert fingerprint_of(small(tmp_path / "way")) == before


def test_names_may_hold_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = two_classes(tmp_path / "bilder ü 漢字")
    (root / "class 0").rename(root / "Löwe 🦁\n")
    for path, name in zip(
        sorted((root / "class 1").iterdir()), ("é.png", "\x1b[31m.png", "a b.png"), strict=False
    ):
        path.rename(path.with_name(name))
    Path(os.fsdecode(os.fsencode(root / "class 1") + b"/\xff.png")).write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    dataset = small(Path("bilder ü 漢字"), broken="skip")
    with caplog.at_level(logging.WARNING):
        dataset.check()
    assert "1 of 17 images are broken and left out" in caplog.text
    assert caplog.text.count("\n") == 1
    caplog.text.encode()  # a name that is not UTF-8 can be printed all the same
    assert fingerprint_of(dataset) == fingerprint_of(small(root, broken="skip"))


def test_labels_follow_the_sorted_names_whatever_the_listings_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    root = write_tree(tmp_path / "a", 6)
    before = fingerprint_of(folder_of(root))
    shutil.rmtree(own_cache)
    forwards = os.scandir

    @contextlib.contextmanager
    def backwards(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with forwards(folder) as entries:
            yield reversed(list(entries))

    monkeypatch.setattr(os, "scandir", backwards)
    gathering.CHECKED.clear()
    assert fingerprint_of(folder_of(root)) == before
    train = folder_of(root).load(28, "cpu").train
    found = {
        (i.numpy().tobytes(), int(label))
        for i, label in zip(train.images, train.labels, strict=True)
    }
    pixels, labels = arrays_of(6)
    known = {(p.tobytes(), int(label)) for p, label in zip(pixels, labels, strict=True)}
    assert len(found & known) >= 8  # PNG is a third of the files, and keeps every pixel
    (about,) = own_cache.glob("*.json")
    assert json.loads(about.read_text())["description"]["classes"] == [
        f"class {k}" for k in range(10)
    ]


def test_another_picture_is_another_data_set_and_another_name_is_not(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "a")
    before = fingerprint_of(small(root))
    first = min((root / "class 0").iterdir())
    first.rename(first.with_name("0000x.png"))  # still the first
    small(root).check()
    assert fingerprint_of(small(root)) == before
    Image.new("L", (28, 28), 7).save(root / "class 0" / "0000x.png")
    small(root).check()
    assert fingerprint_of(small(root)) != before


def test_ready_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    for name, of_each in (("train", 6), ("valid", 3), ("test", 2)):
        two_classes(tmp_path / "a" / name, of_each)
    (tmp_path / "a" / "devkit").mkdir()
    splits = small(tmp_path / "a").load(28, "cpu")
    assert [s.labels.tolist() for s in (splits.val, splits.test)] == [
        [0] * 3 + [1] * 3,
        [0, 0, 1, 1],
    ]
    assert splits.train.labels.tolist() == [0] * 6 + [1] * 6


def test_what_is_not_ready_is_drawn_from_train(tmp_path: Path) -> None:
    for name, of_each in (("train", 8), ("val", 3)):
        two_classes(tmp_path / "a" / name, of_each)
    splits = small(tmp_path / "a").load(28, "cpu")
    assert splits.train.labels.bincount().tolist() == [6, 6]
    assert splits.val.labels.bincount().tolist() == [3, 3]
    assert splits.test.labels.bincount().tolist() == [2, 2]


def test_rare_classes_are_in_every_split(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "a", 40)
    for path in sorted((root / "class 1").iterdir())[6:]:
        path.unlink()
    splits = small(root).load(28, "cpu")
    found = [s.labels.bincount().tolist() for s in (splits.train, splits.val, splits.test)]
    assert np.sum(found, axis=0).tolist() == [40, 6]
    assert [of_split[1] for of_split in found] in ([3, 2, 1], [3, 1, 2], [4, 1, 1], [2, 2, 2])


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_become_what_is_asked_for(tmp_path: Path, channels: int) -> None:
    for name, mode in (("grey", "L"), ("colour", "RGB")):
        write_tree(tmp_path / name, 8, 2, suffixes=("png",), mode=mode)
    grey, colour = (
        small(tmp_path / name, in_channels=channels).load(28, "cpu") for name in ("grey", "colour")
    )
    assert grey.train.images.shape[1] == channels
    assert torch.equal(grey.train.images, colour.train.images)
    if channels == 3:
        assert torch.equal(grey.train.images[:, 0], grey.train.images[:, 2])


def broken_in(root: Path) -> list[Path]:
    """Adds to sixteen pictures one that is cut off, a page, a link to nowhere, a terabyte."""
    two_classes(root)
    paths = [root / "class 0" / "a.png", root / "class 0" / "b.jpg", root / "class 1" / "c.webp"]
    paths.append(root / "class 1" / "d.png")
    whole = min((root / "class 0").iterdir())
    paths[0].write_bytes(whole.read_bytes()[:-100])
    paths[1].write_text("<html>not found</html>", encoding="utf-8")
    paths[2].symlink_to("nowhere")
    with paths[3].open("wb") as file:  # of no bytes on the disk
        file.truncate(2**40)
    return paths


def test_broken_pictures_end_the_command_and_are_named(tmp_path: Path, own_cache: Path) -> None:
    paths = broken_in(tmp_path / "a")
    with pytest.raises(RuntimeError, match="must hold whole images, got 4 broken of 20") as error:
        small(tmp_path / "a").check()
    assert all(repr(str(path)) in str(error.value) for path in paths[:3])
    assert "and 1 more" in str(error.value)
    assert str(error.value).endswith("or add dataset.broken=skip")
    assert not list(own_cache.glob("*/"))


def test_broken_pictures_are_left_out_if_asked_and_listed(
    tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = broken_in(tmp_path / "a")
    dataset = small(tmp_path / "a", broken="skip")
    for _ in range(2):  # the second time from what was written down
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            dataset.check()
        assert "4 of 20 images are broken and left out: " in caplog.text
    splits = dataset.load(28, "cpu")
    assert sum(len(s.labels) for s in (splits.train, splits.val, splits.test)) == 16
    (about,) = own_cache.glob("*.json")
    listed = json.loads(about.read_text())["broken"]
    assert [name for name, _ in listed] == [str(path) for path in paths]
    assert listed[-1][1] == "File too large"


def test_a_class_whose_name_is_not_utf_8_is_refused_by_it(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "a")
    (root / "class 1").rename(root / os.fsdecode(b"caf\xe9"))
    with pytest.raises(
        ValueError, match=r"name its classes in UTF-8, got 'caf\\udce9' in .*rename"
    ):
        small(root).check()


def test_where_all_are_broken_nothing_is_left(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "a")
    for path in root.glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(RuntimeError, match=r"got 16 broken of 16 .* and 13 more; repair or remove"):
        small(root, broken="skip").check()


def test_a_class_that_is_broken_in_a_split_is_told(tmp_path: Path) -> None:
    for name, of_each in (("train", 6), ("val", 3), ("test", 1)):
        two_classes(tmp_path / "a" / name, of_each)
    next((tmp_path / "a" / "test" / "class 1").iterdir()).write_bytes(b"")
    with pytest.raises(ValueError, match="the test split must have images of each class, got none"):
        small(tmp_path / "a", broken="skip").check()


def empty_class(root: Path) -> None:
    (root / "class 2").mkdir()


def one_class(root: Path) -> None:
    shutil.rmtree(root / "class 1")


def no_class(root: Path) -> None:
    for path in root.glob("class *"):
        shutil.rmtree(path)


def one_folder(root: Path) -> None:
    shutil.move(root / "class 0", root / "inner" / "class 0")
    shutil.move(root / "class 1", root / "inner" / "class 1")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (empty_class, r"must hold pictures of each class, got none in '.*class 2'; put JPEG"),
        (
            one_class,
            r"2 classes or more, got one, 'class 0', in .*; there is nothing to tell apart",
        ),
        (no_class, r"must hold a folder for each class, got none in .*; put the pictures of each"),
        (
            one_folder,
            r"one folder 'inner' in .*, which holds 'class 0', 'class 1'; add .*path=.*/a/inner$",
        ),
    ],
)
def test_a_folder_of_another_form_is_told(
    tmp_path: Path, own_cache: Path, spoil: Callable[[Path], None], said: str
) -> None:
    root = two_classes(tmp_path / "a")
    spoil(root)
    with pytest.raises((RuntimeError, ValueError), match=said):
        small(root).check()
    assert not list(own_cache.glob("*/"))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(RuntimeError, match=r"must be a folder, got the file .*a\.png"):
        small(tmp_path / "a.png").check()


def test_sizes_may_differ_and_half_must_have_the_pixels(tmp_path: Path) -> None:
    write_tree(tmp_path / "a", 8, 2, size=(40, 33))
    small(tmp_path / "a", resolution=33).check()
    with pytest.raises(
        ValueError, match=r"at most 33, the shorter side of the images in .* got 34: more"
    ):
        small(tmp_path / "a", resolution=34).check()
