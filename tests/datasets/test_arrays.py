"""NumPy's files: every layout that is read, and what is refused."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scaling_search.data import npy
from scaling_search.data.pictures import Way
from tests.datasets.pictures_of import arrays_in, fingerprint_of

pytestmark = pytest.mark.usefixtures("own_cache")

Arrays = dict[str, NDArray[Any]]


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels(count: int) -> NDArray[np.int64]:
    return np.arange(count) % 2


def two(path: Path, **changes: Any) -> Any:
    """Two classes of images of 6 px."""
    return arrays_in(path, num_classes=2, **{"resolution": 6} | changes)


def saved(tmp_path: Path, **content: Any) -> Path:
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
    np.savez(path, **content)
    return path


@pytest.mark.parametrize("options", [{"in_channels": 4}, {"broken": "skip"}, {"num_classes": 0}])
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        arrays_in(tmp_path, **options)


def test_every_layout_of_the_same_images_is_the_same_data(tmp_path: Path) -> None:
    pixels, classes = noise(16, 6, 6, 3), labels(16)
    whole = saved(tmp_path, images=pixels, labels=classes)
    planes = saved(tmp_path, images=pixels.transpose(0, 3, 1, 2), labels=classes.astype(np.uint8))
    fortran = saved(tmp_path, images=np.asfortranarray(pixels), labels=classes[:, None])
    packed = tmp_path / "packed.npz"
    np.savez_compressed(packed, images=pixels, labels=classes, notes=np.array("for people"))
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "images.npy", pixels)
    np.save(folder / "labels.npy", classes)
    found = {
        fingerprint_of(two(path, in_channels=3))
        for path in (whole, planes, fortran, packed, folder)
    }
    assert len(found) == 1
    train = two(planes, in_channels=3).load(6, "cpu").train
    known = {image.transpose(2, 0, 1).tobytes() for image in pixels}
    assert {image.numpy().tobytes() for image in train.images} < known


def test_grey_images_with_and_without_an_axis_are_the_same_data(tmp_path: Path) -> None:
    pixels, classes = noise(16, 6, 6), labels(16)
    flat, deep = (
        two(saved(tmp_path, images=images, labels=classes))
        for images in (pixels, pixels[..., None])
    )
    assert fingerprint_of(flat) == fingerprint_of(deep)


def test_the_centre_of_images_that_are_not_square_is_kept(tmp_path: Path) -> None:
    pixels = noise(16, 6, 9)
    train = two(saved(tmp_path, images=pixels, labels=labels(16))).load(6, "cpu").train
    known = {image[:, 1:7].tobytes() for image in pixels}
    assert {image.numpy().tobytes() for image in train.images} < known


def test_another_pixel_or_label_is_another_data_set(tmp_path: Path) -> None:
    pixels, classes = noise(16, 6, 6), labels(16)
    found = {fingerprint_of(two(saved(tmp_path, images=pixels, labels=classes)))}
    found.add(fingerprint_of(two(saved(tmp_path, images=pixels, labels=1 - classes))))
    pixels[3, 2, 1] ^= 1
    found.add(fingerprint_of(two(saved(tmp_path, images=pixels, labels=classes))))
    assert len(found) == 3


def test_ready_splits_are_taken_and_the_others_drawn(tmp_path: Path) -> None:
    content = {
        f"{name}_{what}": made
        for name, count in (("train", 16), ("test", 6))
        for what, made in (("images", noise(count, 6, 6, seed=count)), ("labels", labels(count)))
    }
    splits = two(saved(tmp_path, **content)).load(6, "cpu")
    assert [len(s.labels) for s in (splits.train, splits.val, splits.test)] == [12, 4, 6]
    assert np.array_equal(splits.test.images[:, 0], content["test_images"])
    assert np.array_equal(splits.test.labels, content["test_labels"])


def pair(images: str, labels_: str, count: int) -> Arrays:
    return {images: noise(count, 6, 6, seed=count), labels_: labels(count)}


def counts(path: Path, splits: str | None = None) -> dict[str, int]:
    return {s: len(of) for s, of in two(path, splits=splits).listing().labels.items()}


@pytest.mark.parametrize(
    ("names", "test"),
    [
        (("Training_images", "Training_labels"), ("testing-images", "testing-labels")),
        (("x_train", "y_train"), ("x_test", "y_test")),
        (("trainImages", "trainLabels"), ("holdout_image", "holdout_target")),
        (("images_train_set", "labels_train_set"), ("X_TEST", "Y_TEST")),
    ],
)
def test_splits_are_known_by_the_names_in_use(
    tmp_path: Path, names: tuple[str, str], test: tuple[str, str]
) -> None:
    path = saved(tmp_path, **pair(*names, 16), **pair(*test, 6))
    found = two(path).listing()
    assert found.ready == {"train": names[0], "test": test[0]}
    assert counts(path) == {"train": 16, "test": 6}
    assert counts(path, "drawn") == {"train": 22}
    splits = two(path, splits="drawn").load(6, "cpu")
    assert sum(len(s.labels) for s in (splits.train, splits.val, splits.test)) == 22


def test_images_beside_train_images_have_two_readings(tmp_path: Path) -> None:
    path = saved(
        tmp_path, **pair("images", "labels", 20), **pair("train_images", "train_labels", 16)
    )
    said = r"got 'train_images' beside 'images' in .*=given if 'train_images' is a split \(then 'im"
    with pytest.raises(
        ValueError, match=said + r".*or dataset\.splits=drawn if 'images' is the whole"
    ):
        two(path).listing()
    assert counts(path, "given") == {"train": 16}
    assert counts(path, "drawn") == {"train": 20}
    assert two(path, splits="given").listing().left_out == (
        "'images' with 20 images, whose name means no split",
    )
    assert two(path, splits="drawn").listing().left_out == (
        "'train_images' with 16 images, beside the whole",
    )


def test_images_beside_test_images_are_train_if_so_told(tmp_path: Path) -> None:
    path = saved(tmp_path, **pair("images", "labels", 16), **pair("test_images", "test_labels", 6))
    with pytest.raises(
        ValueError, match=r"=given if 'test_images' is a split \(then 'images' is tra"
    ):
        two(path).listing()
    assert counts(path, "given") == {"train": 16, "test": 6}


def test_test_images_alone_are_no_train(tmp_path: Path) -> None:
    path = saved(tmp_path, **pair("test_images", "test_labels", 16))
    with pytest.raises(ValueError, match=r"must hold arrays to train on, got 'test_images' al"):
        two(path).listing()
    assert counts(path, "drawn") == {"train": 16}


@pytest.mark.parametrize(
    ("one", "two_", "said"),
    [
        ("x_train", "train_images", r"one array of images for train, got 'train_images' and 'x_tr"),
        (
            "val_images",
            "valid_images",
            r"one array of images for val, got 'val_images' and 'valid_i",
        ),
    ],
)
def test_two_arrays_for_one_purpose_are_refused(
    tmp_path: Path, one: str, two_: str, said: str
) -> None:
    content = pair(one, "y_train", 16) | pair(two_, "labels", 16)
    with pytest.raises(RuntimeError, match=said):
        two(saved(tmp_path, **content)).listing()


def test_arrays_of_other_names_are_left_out_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path, **pair("images", "labels", 16), masks=noise(16, 6, 6), ids=labels(16))
    assert two(path).listing().left_out == ("2 arrays ('ids', 'masks'), no images or labels",)


def test_splits_may_be_folders_of_files(tmp_path: Path) -> None:
    for split, count in (("train", 16), ("Test", 6)):
        (tmp_path / "a" / split).mkdir(parents=True)
        for name, made in pair("images", "labels", count).items():
            np.save(tmp_path / "a" / split / f"{name}.npy", made)
    (tmp_path / "a" / "notes.txt").touch()
    assert counts(tmp_path / "a") == {"train": 16, "test": 6}
    assert two(tmp_path / "a").listing().left_out == ("1 file .txt ('notes.txt')",)
    np.save(tmp_path / "a" / "images.npy", noise(8, 6, 6))
    np.save(tmp_path / "a" / "labels.npy", labels(8))
    with pytest.raises(ValueError, match=r"got 'Test/images', 'train/images' beside 'images' in"):
        two(tmp_path / "a").listing()


def test_images_of_two_shapes_are_refused(tmp_path: Path) -> None:
    content = pair("train_images", "train_labels", 16) | pair("test_images", "test_labels", 6)
    content["test_images"] = noise(6, 6, 6, 3)
    with pytest.raises(
        ValueError, match=r"of one shape, got train_images of \(C, H, W\) = \(1, 6, 6"
    ):
        two(saved(tmp_path, **content), in_channels=None).listing()


def test_integers_of_more_than_8_bits_are_scaled_by_the_range_of_all_splits(tmp_path: Path) -> None:
    content = pair("train_images", "train_labels", 16) | pair("test_images", "test_labels", 8)
    deep = {
        name: made if "labels" in name else made.astype(np.int32) * 100 - 7
        for name, made in content.items()
    }
    content["train_images"][0, 0, 0], content["test_images"][0, 0, 0] = 0, 255
    deep["train_images"][0, 0, 0], deep["test_images"][0, 0, 0] = -7, 25493
    shallow, scaled = (two(saved(tmp_path, **of)).load(6, "cpu") for of in (content, deep))
    assert np.array_equal(shallow.train.images, scaled.train.images)
    assert np.array_equal(shallow.test.images, scaled.test.images)


def test_larger_images_are_resized_whole_to_a_smaller_resolution(tmp_path: Path) -> None:
    pixels = noise(16, 6, 6) // 2 + 100
    pixels[:, 2:4, 2:4] = 0  # all that a crop of 2 px would leave
    train = (
        two(saved(tmp_path, images=pixels, labels=labels(16)), resolution=2).load(2, "cpu").train
    )
    assert train.images.min() > 50


def test_large_arrays_are_read_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, classes = noise(37, 6, 6), labels(37)
    path = saved(tmp_path, images=pixels, labels=classes)
    before = fingerprint_of(two(path))
    monkeypatch.setattr(npy, "AT_ONCE_BYTES", 100)
    os.utime(path, (1, 1))
    dataset = two(path)
    assert [len(row.pixels) for row in dataset.rows(dataset.listing(), Way(1, 6))] == [1] * 37
    dataset.check()
    assert fingerprint_of(dataset) == before


class Exploding:
    """Leaves a file behind where a pickle of it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["images", "labels"])
def test_pickles_are_refused_and_never_run(tmp_path: Path, name: str) -> None:
    content: dict[str, Any] = {"images": noise(16, 6, 6), "labels": labels(16)}
    content[name] = np.array([Exploding(tmp_path / "harm")] * 16, dtype=object)
    path = tmp_path / "a.npz"
    np.savez(path, **content)
    with pytest.raises(RuntimeError, match=f"without pickled objects, got .* for {name} in"):
        two(path).check()
    assert not (tmp_path / "harm").exists()


PIXELS = noise(16, 6, 6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"images": PIXELS / 255.0},
            r"from 0 to 255, got float64 .*; save \(255 \* images\)\.round\(\)\.astype\('uint8'\)",
        ),
        ({"images": PIXELS > 9}, r"got bool for .*; save \(255 \* images\)\.round\(\)"),
        ({"images": PIXELS[0]}, r"of 1 or 3 channels, got \(6, 6\) for images in .*; transpose"),
        (
            {"images": noise(16, 6, 6, 4)},
            r"of 1 or 3 channels, got \(16, 6, 6, 4\) .*; transpose",
        ),
        ({"images": noise(16, 6, 6, 3)}, r"in_channels must be 3 as in .*, got 1; add dataset\.in"),
        ({"images": noise(16, 5, 9)}, r"resolution must be at most 5, .* got 6.*\.resolution=5"),
        (
            {"images": PIXELS[:15]},
            r"a label for each of 15 images, got int64 \(16,\) for labels in",
        ),
        ({"labels": labels(16) * 0 + 1}, r"must hold 2 classes or more, got one, '1', in .*a\.npz"),
        (
            {"labels": None},
            r"must hold an array 'labels' beside 'images', got .* with .*; add it, or leave",
        ),
        (
            {"images": None},
            r"must hold an array 'images' beside 'labels', got .* with .*; add it, or leave",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_told_in_one_line(
    tmp_path: Path, own_cache: Path, content: dict[str, Any], said: str
) -> None:
    arrays: dict[str, Any] = {"images": PIXELS, "labels": labels(16)} | content
    path = tmp_path / "a.npz"
    np.savez(path, **{name: made for name, made in arrays.items() if made is not None})
    with pytest.raises((ValueError, RuntimeError), match=said) as error:
        two(path).check()
    assert "\n" not in str(error.value)
    assert not list(own_cache.glob("*/"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npz", b"", "must hold whole arrays .* 'File is not a zip file' for any array"),
        (
            "a.npy",
            b"",
            r"must hold arrays 'images' and 'labels', got .* with none; give an \.npz file",
        ),
        (
            "a.txt",
            b"",
            r"must hold arrays 'images' and 'labels', got .* with none; give an \.npz file",
        ),
        ("images.npy", b"\x93NUMPY\x09\x00", "version"),
    ],
)
def test_other_files_are_told_in_one_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    path = tmp_path if name == "images.npy" else tmp_path / name
    if path == tmp_path:
        np.save(tmp_path / "labels.npy", labels(16))
    with pytest.raises(RuntimeError, match=said):
        two(path).check()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4))), st.floats(0, 1))
def test_a_damaged_file_is_told_or_read_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[float, bytes]], part: float
) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, images=PIXELS, labels=labels(16))
    content = bytearray(file.getvalue())
    for place, bytes_ in damages:
        start = int(place * len(content))
        content[start : start + len(bytes_)] = bytes_
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    path.write_bytes(content[: int((0.5 + part) * len(content))])
    try:
        dataset = two(path)
        rows = list(dataset.rows(dataset.listing(), Way(1, 6)))
    except (RuntimeError, ValueError) as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right
    else:
        assert len(rows) == 16


def test_an_array_that_is_shorter_than_it_says_is_told(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, PIXELS)
    path = tmp_path / "a.npz"
    np.savez(path, labels=labels(16))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images.npy", file.getvalue()[:-10])
    with pytest.raises(RuntimeError, match="got 'its end is missing' for images in"):
        two(path).check()
