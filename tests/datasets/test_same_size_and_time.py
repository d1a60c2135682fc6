"""Other bytes are other data, even where path, size and time are those of before."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.cli import Cli
from tests.datasets.pictures_of import arrays_in, arrays_of, folder_of, hugging_face

pytestmark = pytest.mark.usefixtures("own_cache")

TIME = (1_577_836_800, 1_577_836_800)


def bmp(pixels: NDArray[np.uint8]) -> bytes:
    """A picture whose number of bytes depends on its size alone."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


def tree(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Any:
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / f"class {label}" / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bmp(image))
    return folder_of


def npz(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Any:
    folder.mkdir()
    np.savez(folder / "a.npz", images=pixels, labels=labels)
    return lambda place, **changes: arrays_in(place / "a.npz", **changes)


def npy(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Any:
    folder.mkdir()
    np.save(folder / "images.npy", pixels)
    np.save(folder / "labels.npy", labels)
    return arrays_in


def parquet(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Any:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    folder.mkdir()
    made = pa.table({"image": [bmp(image) for image in pixels], "label": labels})
    options = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
    pa.parquet.write_table(made, folder / "a.parquet", **options)
    return hugging_face


def arrow(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Any:
    pa = pytest.importorskip("pyarrow")
    folder.mkdir()
    made = pa.table({"image": [bmp(image) for image in pixels], "label": labels})
    with pa.ipc.new_stream(folder / "a.arrow", made.schema) as file:
        file.write_table(made)
    return hugging_face


Write = Callable[[Path, NDArray[np.uint8], NDArray[np.int64]], Any]


@pytest.fixture(params=[tree, npz, npy, parquet, arrow])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Folders ``one`` and ``other`` whose files have one size and time; the pixels are inverted."""
    write: Write = request.param
    pixels, labels = arrays_of()
    write(tmp_path / "one", pixels, labels)
    make = write(tmp_path / "other", 255 - pixels, labels)
    states = []
    for name in ("one", "other"):
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        for path in files:
            os.utime(path, TIME)
        states.append([(path.stat().st_size, path.stat().st_mtime_ns) for path in files])
    assert states[0] == states[1]
    return make


def pixels_of(dataset: Any) -> list[bytes]:
    dataset.check()
    splits = dataset.load(28, "cpu")
    images = np.concatenate([s.images for s in (splits.train, splits.val, splits.test)])
    return sorted(image.tobytes() for image in images)


def inverted(pixels: list[bytes]) -> list[bytes]:
    return sorted((255 - np.frombuffer(image, np.uint8)).tobytes() for image in pixels)


def test_files_that_are_written_anew_in_place(two: Any, tmp_path: Path) -> None:
    before = pixels_of(two(tmp_path / "one"))
    for path in (tmp_path / "other").rglob("*"):
        if path.is_file():
            place = tmp_path / "one" / path.relative_to(tmp_path / "other")
            place.write_bytes(path.read_bytes())
            os.utime(place, TIME)
    assert pixels_of(two(tmp_path / "one")) == inverted(before)


def test_files_that_are_renamed_into_place(two: Any, tmp_path: Path) -> None:
    before = pixels_of(two(tmp_path / "one"))
    for path in list((tmp_path / "other").rglob("*")):
        if path.is_file():
            path.replace(tmp_path / "one" / path.relative_to(tmp_path / "other"))
    assert pixels_of(two(tmp_path / "one")) == inverted(before)


def test_a_folder_that_is_renamed_into_place(two: Any, tmp_path: Path) -> None:
    before = pixels_of(two(tmp_path / "one"))
    (tmp_path / "one").rename(tmp_path / "old")
    (tmp_path / "other").rename(tmp_path / "one")
    assert pixels_of(two(tmp_path / "one")) == inverted(before)


def test_a_link_that_leads_elsewhere(two: Any, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("one")
    before = pixels_of(two(tmp_path / "data"))
    (tmp_path / "data").unlink()
    (tmp_path / "data").symlink_to("other")
    assert pixels_of(two(tmp_path / "data")) == inverted(before)


def test_links_to_files_that_lead_elsewhere(two: Any, tmp_path: Path) -> None:
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    found = []
    for name in ("one", "other"):
        shutil.rmtree(tmp_path / "linked", ignore_errors=True)
        for path in files:
            link = tmp_path / "linked" / path.relative_to(tmp_path / "one")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(tmp_path / name / path.relative_to(tmp_path / "one"))
        found.append(pixels_of(two(tmp_path / "linked")))
    assert found[1] == inverted(found[0])


def test_one_path_that_is_typed_in_two_folders(
    two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("one", "other"):
        (tmp_path / f"in {name}").mkdir()
        (tmp_path / name).rename(tmp_path / f"in {name}" / "data")
        monkeypatch.chdir(tmp_path / f"in {name}")
        found.append(pixels_of(two(Path("data"))))
    assert found[1] == inverted(found[0])


def test_a_saved_table_that_names_another_file(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pixels, labels = arrays_of()
    for name, images in (("one", pixels), ("other", 255 - pixels)):
        rows = {"image": [bmp(image) for image in images], "label": labels}
        datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / name))
    name = "data-00000-of-00001.arrow"
    other = name.replace("data", "also")
    shutil.copy(tmp_path / "other" / name, tmp_path / "one" / other)
    before = pixels_of(hugging_face(tmp_path / "one"))
    state = tmp_path / "one" / "state.json"
    times = state.stat()
    state.write_text(state.read_text("utf-8").replace(name, other), "utf-8")
    os.utime(state, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert pixels_of(hugging_face(tmp_path / "one")) == inverted(before)


def test_what_has_not_changed_is_not_read_again(two: Any, tmp_path: Path, own_cache: Path) -> None:
    pixels_of(two(tmp_path / "one"))
    before = {path: path.stat().st_mtime_ns for path in own_cache.glob("*.json")}
    assert len(before) == 1
    pixels_of(two(tmp_path / "one"))
    assert {path: path.stat().st_mtime_ns for path in own_cache.glob("*.json")} == before


@pytest.mark.slow
def test_a_search_in_each_of_two_folders_reads_its_own_images(
    cli: Cli, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, labels = arrays_of(30, 2)
    for name, images in (("one", pixels), ("other", 255 - pixels)):
        npz(tmp_path / name, images, labels)
        os.utime(tmp_path / name / "a.npz", TIME)
        monkeypatch.chdir(tmp_path / name)
        options = ["dataset=arrays", "dataset.path=a.npz", "recipe.epochs=1"]
        options += ["recipe.batch_size=10", "candidates.max_networks=2", "limits.trainings=1"]
        outcome = cli("search", *options, "executor=inline", "out=run", "timed=false")
        assert outcome.code == 0, outcome.err
    means = [np.load(place / "train-images.npy").mean() for place in own_cache.glob("*-28-1")]
    assert sorted(mean < 128 for mean in means) == [False, True]
