"""Pictures that change while a search trains, and readings of them that are stopped."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import scaling_search
from scaling_search.core.dataset import Dataset
from scaling_search.core.trial import TrialResult
from scaling_search.data import cache as data_cache
from scaling_search.data import gathering, reading
from scaling_search.data.cache import NotCheckedError
from scaling_search.data.maps import NOTES, SAVED, Maps
from scaling_search.data.pictures import Way
from scaling_search.data.sources import Broken, Row
from scaling_search.datasets import imagefolder
from scaling_search.training.batches import load
from scaling_search.training.engine import train_trial
from tests.datasets.pictures_of import fingerprint_of, folder_of, write_tree
from tests.flips import flipped
from tests.reliability.searches import SEARCH, done, rows_of, started
from tests.tiny import tiny_trial

ROOT = Path(scaling_search.__file__).parent.parent


def of_new_worker() -> None:
    """Forgets what this process knows, as one that has just started knows nothing."""
    gathering.CHECKED.clear()
    load.cache_clear()


def trained(dataset: Dataset, fingerprint: str) -> TrialResult:
    trial = tiny_trial(epochs=1)
    return train_trial(replace(trial, dataset=dataset, fingerprint=fingerprint), "cpu")


def test_a_picture_that_changes_between_two_trainings_fails_the_second_in_one_line(
    own_cache: Path, tmp_path: Path
) -> None:
    dataset = folder_of(write_tree(tmp_path / "a", suffixes=("png",)))
    dataset.check()
    before = dataset.fingerprint()
    first = trained(dataset, before)
    assert first.state == "COMPLETE"
    picture, other = sorted((tmp_path / "a").rglob("*.png"))[:2]
    content = picture.read_bytes()
    shutil.copy(other, picture)
    # Who has the data goes on with them, another size too: its maps are those of the first.
    assert trained(dataset, before).curve == first.curve
    of_new_worker()
    result = trained(dataset, before)
    assert result.state == "FAIL"
    assert result.reason.startswith(
        f"RuntimeError: dataset must be the one that the record began with, {before[:16]!r}, got "
    )
    assert result.reason.endswith(
        "its files have changed; put them back, or start again with another out"
    )
    assert own_cache.is_dir()
    # Put back, be it with another time, they are the same data again.
    picture.write_bytes(content)
    of_new_worker()
    assert trained(dataset, before).curve == first.curve


def test_a_training_of_no_record_takes_whatever_lies_there(own_cache: Path, tmp_path: Path) -> None:
    assert not own_cache.exists()
    assert trained(folder_of(write_tree(tmp_path / "a", suffixes=("png",))), "").state == "COMPLETE"


@pytest.mark.parametrize("change", ["link", "file"])
def test_files_that_change_while_they_are_read_are_refused(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    for name in ("one", "other"):
        write_tree(tmp_path / name, suffixes=("png",))
    first, *_, last = sorted((tmp_path / "other").rglob("*.png"))
    shutil.copy(last, first)
    link = tmp_path / "data"
    link.symlink_to("one")
    row, listing = imagefolder._row, imagefolder.ImageFolder.listing  # noqa: SLF001  # to act between

    def linked(self: Any) -> Any:
        link.unlink()
        link.symlink_to("other")
        return listing(self)

    def written(way: Way, path: str) -> Row | Broken:
        new = tmp_path / f"new {threading.get_ident()}"  # whole at once: other threads read it
        Path(shutil.copy(last, new)).replace(min((tmp_path / "one").rglob("*.png")))
        return row(way, path)

    with monkeypatch.context() as patched:
        if change == "link":
            patched.setattr(imagefolder.ImageFolder, "listing", linked)
        else:
            patched.setattr(imagefolder, "_row", written)
        with pytest.raises(
            RuntimeError, match=r"dataset\.path must stay as it is while it is read"
        ):
            folder_of(link).check()
    assert not list(own_cache.glob("*.json"))
    link.unlink()
    link.symlink_to("one")
    expected, found = folder_of(tmp_path / "one"), folder_of(link)
    expected.check()
    found.check()
    assert found.fingerprint() == expected.fingerprint()


STOPPED = """
import sys
from scaling_search.data import reading
from tests.datasets.pictures_of import folder_of
reading.SAVE_SECONDS = 0.0
folder_of(sys.argv[1], broken='skip').check()
"""
"""Reads a folder of pictures, and saves after each of them."""


def saved_notes(cache: Path) -> int:
    """Pictures that a process under way has saved."""
    with contextlib.suppress(OSError, ValueError):
        for place in cache.glob(f"*/{SAVED}"):
            state = json.loads(place.read_text(encoding="utf-8"))
            with (place.parent / NOTES).open("rb") as notes:
                return notes.read(state["notes_bytes"]).count(b"\n")
    return 0


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_what_was_decoded_before_a_process_was_stopped_is_not_decoded_again(
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: signal.Signals,
) -> None:
    place = write_tree(tmp_path / "a", of_each=30)
    (place / "class 3" / "broken.png").write_bytes(b"no picture")
    dataset = folder_of(place, broken="skip")
    undisturbed = tmp_path / "undisturbed"
    counts = []
    for wanted in (40, 120, 230):
        environment = os.environ | {"SCALING_SEARCH_CACHE": str(own_cache), "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            [sys.executable, "-c", STOPPED, str(place)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while saved_notes(own_cache) < wanted and process.poll() is None:
                pass
            process.send_signal(kind)
        counts.append(saved_notes(own_cache))
    assert all(count >= wanted for count, wanted in zip(counts, (40, 120, 230), strict=True))
    assert counts[-1] < 301  # it was stopped before its end
    with caplog.at_level(logging.INFO):
        dataset.check()
    assert f"{counts[-1]} images have been read before; going on from there" in caplog.text
    assert "1 of 301 images are broken and left out" in caplog.text
    of_new_worker()
    monkeypatch.setenv("SCALING_SEARCH_CACHE", str(undisturbed))
    again = folder_of(place, broken="skip")
    again.check()
    assert files_of(undisturbed) == files_of(own_cache)


@pytest.mark.parametrize("damage", ["images", "notes", "saved", "empty"])
def test_a_stopped_reading_whose_rest_is_damaged_begins_anew(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    place = write_tree(tmp_path / "a", suffixes=("png",))
    whole = folder_of(place)
    whole.check()
    expected = files_of(own_cache)
    shutil.rmtree(own_cache)
    of_new_worker()
    left = stopped_after(whole, 70, monkeypatch)
    file = {
        "images": left / "train-images.npy",
        "notes": left / NOTES,
        "saved": left / SAVED,
        "empty": left / SAVED,
    }[damage]
    os.truncate(file, 0 if damage == "empty" else file.stat().st_size // 2)
    whole.check()
    assert files_of(own_cache) == expected


@pytest.mark.parametrize("kept", ["train-images.npy", "test-images.npy", NOTES, SAVED])
def test_every_flipped_bit_of_a_stopped_reading_is_noticed(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    whole = folder_of(write_tree(tmp_path / "a", suffixes=("png",)))
    left = stopped_after(whole, 70, monkeypatch)

    def num_taken_over() -> int:
        copy = tmp_path / "copy" / left.name
        shutil.copytree(left, copy)
        with Maps(copy.parent, "taken", copy) as maps:
            return len(maps.taken_over())

    assert num_taken_over() == 70
    for flip in flipped(left / kept):
        assert num_taken_over() == 0, flip
    assert left.is_relative_to(own_cache)


def test_a_record_of_what_was_read_with_a_flipped_bit_is_not_believed(
    own_cache: Path, tmp_path: Path
) -> None:
    dataset = folder_of(write_tree(tmp_path / "a", suffixes=("png",)))
    dataset.check()
    (record,) = own_cache.glob("*.json")
    for flip in flipped(record):
        of_new_worker()
        with pytest.raises(NotCheckedError):
            pytest.fail(f"{flip} was not noticed: {dataset.fingerprint()}")
    next(flipped(record, 1))
    expected = files_of(own_cache)
    of_new_worker()
    dataset.check()
    assert {*files_of(own_cache)} == {*expected}
    assert dataset.description().counts["train"] == (6,) * 10


def test_a_stopped_reading_goes_on_where_it_was(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_tree(tmp_path / "a", suffixes=("png",))
    whole = folder_of(place)
    whole.check()
    expected = files_of(own_cache)
    shutil.rmtree(own_cache)
    of_new_worker()
    left = stopped_after(whole, 70, monkeypatch)
    # What was appended after the last time is cut off, as a killed process would leave it.
    with (left / "train-images.npy").open("ab") as file:
        file.write(b"half of an image")
    first = whole.listing().items[0]
    read: list[str] = []
    row = imagefolder._row  # noqa: SLF001  # to see which pictures are opened

    def watched(way: Way, path: str) -> Row | Broken:
        read.append(path)
        return row(way, path)

    monkeypatch.setattr(imagefolder, "_row", watched)
    whole.check()
    assert first not in read
    assert len(read) == 120 - 70
    assert files_of(own_cache) == expected


def stopped_after(dataset: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that an interrupted reading leaves after so many pictures."""

    def interrupted(self: Maps, notes: Sequence[object]) -> None:
        save(self, notes)
        if (num_saved := num_noted(self)) == count:
            raise KeyboardInterrupt(num_saved)

    def num_noted(maps: Maps) -> int:
        (place,) = data_cache.folder().glob(f"*/{NOTES}")
        assert maps is not None
        return place.read_bytes().count(b"\n")

    save = Maps.save
    with monkeypatch.context() as patched:
        patched.setattr(Maps, "save", interrupted)
        patched.setattr(reading, "SAVE_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            dataset.check()
    (left,) = data_cache.folder().glob(f"*/{SAVED}")
    return left.parent


@pytest.mark.slow
def test_a_picture_that_changes_while_a_search_runs_fails_the_trainings_of_new_workers(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "folder"
    write_tree(folder / "a", of_each=30, suffixes=("png",))
    own = ["dataset=imagefolder", "dataset.path=a", "dataset.num_classes=10"]
    own += ["dataset.in_channels=1", "dataset.resolution=28", "executor.retries=0"]
    options = [option for option in SEARCH if not option.startswith("dataset.")]
    environment = {"SCALING_SEARCH_CACHE": str(tmp_path / "cache")}
    command = started(folder, *options, *own, "limits.failed_share=1", **environment)
    try:
        command.until_trained(2)
        picture, other = sorted((folder / "a").rglob("*.png"))[:2]
        content = picture.read_bytes()
        shutil.copy(other, picture)
        for _ in range(2):
            os.kill(command.at_work(), signal.SIGKILL)
        assert command.ended() in {0, 2}, (command.out, command.err)
    finally:
        command.end()
    failed = [row for row in rows_of(folder / "run" / "study.db") if row["state"] == "FAIL"]
    changed = [row for row in failed if "the record began with" in str(row["reason"])]
    assert changed, failed
    # As it lies there now it is refused at once; put back, the same command does what is left.
    refused = started(folder, *options, *own, **environment)
    try:
        assert refused.ended() == 2
    finally:
        refused.end()
    assert "dataset must be " in refused.err
    assert refused.err.count("\n") == 1
    picture.write_bytes(content)
    done(folder, *options, *own[:-1], "executor.retries=5", **environment)
    last = {
        (row["candidate"], row["seed"]): row["state"]
        for row in rows_of(folder / "run" / "study.db")
    }
    assert set(last.values()) == {"COMPLETE"}


def test_maps_that_are_gone_are_not_made_again_of_other_files(
    tmp_path: Path, own_cache: Path
) -> None:
    write_tree(tmp_path / "a")
    dataset = folder_of(tmp_path / "a")
    before = fingerprint_of(dataset)
    data_cache.mapped(dataset, 20, fingerprint=before)
    shutil.rmtree(own_cache)
    first, second = sorted((tmp_path / "a").rglob("*.png"))[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(RuntimeError, match=r"must stay as it is while it is used, got other files"):
        data_cache.mapped(dataset, 20, fingerprint=before)
    assert not data_cache.place_of(before, 20).exists()
