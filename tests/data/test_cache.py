"""Data kept as memory maps: equal to what was read, shared, mended, never half."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scaling_search
from scaling_search.core.dataset import Splits
from scaling_search.data import cache as data_cache
from scaling_search.data import maps
from scaling_search.data.maps import NAMES, SUMS, sums_of
from scaling_search.data.opening import opened
from scaling_search.training.batches import load
from scaling_search.training.engine import train_trial
from tests.cli import TINY, Cli
from tests.flips import flipped
from tests.tiny import tiny_dataset, tiny_trial


@dataclass
class Counting:
    """The tiny images; counts how often they are read."""

    name: str = "counted"
    num_loads: list[int] = field(default_factory=list)
    num_classes: int = 10
    in_channels: int = 1
    resolution: int = 28

    def __hash__(self) -> int:
        return hash(self.name)

    def check(self) -> None:
        pass

    def fingerprint(self) -> str:
        return self.name

    def load(self, resolution: int, device: str) -> Splits:
        self.num_loads.append(resolution)
        return tiny_dataset().load(resolution, device)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALING_SEARCH_CACHE", str(tmp_path))
    return tmp_path


def assert_equal(one: Splits, other: Splits) -> None:
    for name in ("train", "val", "test"):
        for what in ("images", "labels"):
            ours, theirs = (getattr(getattr(s, name), what) for s in (one, other))
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)


@pytest.mark.usefixtures("cache")
def test_the_maps_are_what_was_read_and_are_read_once_for_each_size() -> None:
    dataset = Counting()
    for resolution in (8, 10, 8, 10, 8):
        expected = tiny_dataset().load(resolution, "cpu")
        assert_equal(data_cache.mapped(dataset, resolution), expected)
    assert dataset.num_loads == [8, 10]


def test_other_data_have_other_maps(cache: Path) -> None:
    for name in ("one", "another"):
        dataset = Counting(name)
        data_cache.mapped(dataset, 8)
        assert dataset.num_loads == [8]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.usefixtures("cache")
def test_whoever_writes_into_the_images_changes_nobody_elses() -> None:
    data_cache.mapped(Counting(), 8).train.images.fill_(7)
    assert_equal(data_cache.mapped(Counting(), 8), tiny_dataset().load(8, "cpu"))


FILES = ("val-images.npy", "train-labels.npy", SUMS, "SHA256SUMS")


@pytest.mark.parametrize("kept", FILES)
@pytest.mark.parametrize("damage", ["cut", "gone", "empty", "pickle", "other", "flipped"])
def test_damaged_maps_are_named_and_written_anew(
    cache: Path, caplog: pytest.LogCaptureFixture, kept: str, damage: str
) -> None:
    data_cache.mapped(Counting(), 8)
    (file,) = cache.glob(f"*/{kept}")
    written = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "pickle":
        with file.open("wb") as other:
            np.save(other, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif damage == "other":
        with file.open("wb") as other:
            np.save(other, np.zeros(100, np.int64))
    elif damage == "flipped":
        next(flipped(file, 1))
    else:
        os.truncate(file, len(written) // 2 if damage == "cut" else 0)
    for dataset in (Counting(), Parted()):
        assert_equal(data_cache.mapped(dataset, 8), tiny_dataset().load(8, "cpu"))
        assert dataset.num_loads == ([8] if type(dataset) is Counting else [])
    assert file.read_bytes() == written
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("maps are not used and made again: ")
    assert caplog.messages[0].endswith(f" in {file.parent}")
    if damage not in {"gone", "pickle"}:
        assert kept in caplog.messages[0]


def test_a_search_on_damaged_maps_is_the_one_on_whole_maps(
    cli: Cli, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losses = []
    for out in ("first", "second"):
        load.cache_clear()
        outcome = cli("search", *TINY, "limits.trainings=1", f"out={out}")
        assert outcome.code == 0, outcome.err
        losses.append(scaling_search.load(out).results["val_loss"].tolist())
        assert caplog.text.count("maps are not used and made again: ") == len(losses) - 1
        for file in cache.glob("*-20-1/*-labels.npy"):
            labels = np.load(file)
            np.save(file, 0 * labels)
    assert losses[0] == losses[1] != []


@pytest.mark.parametrize("kept", FILES)
def test_every_flipped_bit_of_a_map_is_noticed(cache: Path, kept: str) -> None:
    data_cache.mapped(Counting(), 8)
    (file,) = cache.glob(f"*/{kept}")
    for flip in flipped(file):
        assert opened(file.parent) is None, flip
    assert opened(file.parent) is not None


def test_maps_of_older_versions_are_made_again_and_said(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data_cache.mapped(Counting(), 8)
    (sums,) = cache.glob("*/SHA256SUMS")
    sums.unlink()
    for loads in ([8], []):
        dataset = Counting()
        data_cache.mapped(dataset, 8)
        assert dataset.num_loads == loads
    (said,) = caplog.messages
    assert said.startswith("maps are not used and made again: there is no SHA256SUMS, as in maps ")
    assert said.endswith(f" in {sums.parent}")


def test_any_program_can_compare_the_digests(cache: Path) -> None:
    data_cache.mapped(Parted(), 8)
    (sums,) = cache.glob("*/SHA256SUMS")
    found = {
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
        for path in sums.parent.glob("*.npy")
    }
    assert set(sums.read_text("ascii").splitlines()) == found
    assert len(found) == 7


def test_what_cannot_be_kept_is_used_all_the_same_and_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (cache / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("SCALING_SEARCH_CACHE", str(cache / "file" / "below"))
    with caplog.at_level(logging.WARNING):
        found = data_cache.mapped(Counting(), 8)
    assert_equal(found, tiny_dataset().load(8, "cpu"))
    assert "data are not kept in" in caplog.text


def test_what_is_given_comes_first_and_is_forgotten(cache: Path) -> None:
    dataset, given = Counting(), tiny_dataset().load(10, "cpu")
    with data_cache.given(dataset, 8, given):
        assert data_cache.mapped(dataset, 8) is given
        assert dataset.num_loads == []
        assert list(cache.iterdir()) == []
        assert data_cache.mapped(dataset, 10) is not given
    assert_equal(data_cache.mapped(dataset, 8), tiny_dataset().load(8, "cpu"))
    assert dataset.num_loads == [10, 8]


def test_nothing_unfinished_is_left_behind(cache: Path) -> None:
    data_cache.mapped(Counting(), 8)
    (folder,) = cache.iterdir()
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        ["SHA256SUMS", "train-sums.npy"]
        + [f"{split}-{what}.npy" for split in NAMES for what in ("images", "labels")]
    )


@dataclass
class Parted(Counting):
    """The same, a part at a time; what the last part is can be an error."""

    ending: BaseException | None = None

    def __hash__(self) -> int:
        return hash(self.name)

    def parts(self, resolution: int) -> Iterator[data_cache.Part]:
        splits = self.load(resolution, "cpu")
        for name in NAMES:
            split = getattr(splits, name)
            for start in range(0, len(split.labels), 7):
                images = split.images[start : start + 7].numpy()
                yield name, images, split.labels[start : start + 7].numpy()
            if self.ending is not None:
                raise self.ending


@pytest.mark.usefixtures("cache")
def test_parts_become_the_maps_of_the_whole() -> None:
    dataset = Parted()
    for _ in range(2):
        found = data_cache.mapped(dataset, 8)
        assert_equal(found, tiny_dataset().load(8, "cpu"))
    assert dataset.num_loads == [8]
    assert_equal(data_cache.mapped(Counting(), 8), found)  # they are the same files


def test_the_files_are_those_that_numpy_writes(cache: Path) -> None:
    data_cache.mapped(Parted(), 8)
    splits = tiny_dataset().load(8, "cpu")
    for name in NAMES:
        for what in ("images", "labels"):
            np.save(cache / "known.npy", getattr(getattr(splits, name), what).numpy())
            (file,) = cache.glob(f"*/{name}-{what}.npy")
            assert file.read_bytes() == (cache / "known.npy").read_bytes()


@pytest.mark.parametrize(
    ("ending", "raised", "said"),
    [
        (
            OSError(28, "No space left on device"),
            RuntimeError,
            r"got 'No space left on device'; free",
        ),
        (KeyboardInterrupt("by hand"), KeyboardInterrupt, "by hand"),
        (RuntimeError("a file is gone"), RuntimeError, "a file is gone"),
    ],
)
def test_parts_that_end_early_leave_nothing(
    cache: Path, ending: BaseException, raised: type[BaseException], said: str
) -> None:
    with pytest.raises(raised, match=said):
        data_cache.mapped(Parted(ending=ending), 8)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("kind", [Counting, Parted])
def test_the_disk_has_every_file_before_the_folder_has_its_name(
    cache: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Counting]
) -> None:
    synced: list[str] = []
    at_rename: list[list[str]] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def watched_rename(path: Path, target: Path) -> Path:
        at_rename.append(list(synced))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    data_cache.mapped(kind(), 8)
    (before,) = at_rename
    assert len([name for name in before if name.endswith((".npy", "SHA256SUMS"))]) == 8
    assert synced[-1] == cache.name


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as two users")
def test_users_share_a_folder_as_their_umasks_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads_of(user: int, dataset: Counting, umask: int = 0o022) -> list[int]:
        before = os.umask(umask)
        os.seteuid(user)
        try:
            assert_equal(data_cache.mapped(dataset, 8), tiny_dataset().load(8, "cpu"))
        finally:
            os.seteuid(0)
            os.umask(before)
        return dataset.num_loads

    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setenv("SCALING_SEARCH_CACHE", folder)
        assert loads_of(1, Parted("open")) == [8]
        assert loads_of(2, Parted("open")) == []
        # Whoever made the lock, others take it.
        (place,) = Path(folder).glob("*-8-1")
        shutil.rmtree(place)
        assert loads_of(2, Parted("open")) == [8]
        assert loads_of(1, Parted("open")) == []
        # What is shut to others is each user's own, unless it needs the place.
        assert loads_of(1, Counting("shut"), 0o077) == [8]
        assert loads_of(2, Counting("shut"), 0o077) == [8]
        assert loads_of(1, Parted("parted"), 0o077) == [8]
        with pytest.raises(RuntimeError, match="got 'Permission denied'; free some space, or set"):
            loads_of(2, Parted("parted"), 0o077)


def test_the_folder_is_the_users_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCALING_SEARCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert data_cache.folder() == Path("/caches/scaling_search")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_cache.folder() == Path.home() / ".cache" / "scaling_search"


def in_float64(splits: Splits) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel over the train split, (1, C, 1, 1)."""
    pixels = splits.train.images.double()
    count = pixels[:, 0].numel()
    mean = pixels.sum((0, 2, 3))[None, :, None, None] / count
    squares = pixels.square().sum((0, 2, 3))[None, :, None, None] / count
    variance = (squares - mean**2) * count / (count - 1)
    return mean.float(), variance.clamp(min=0).sqrt().float().clamp(min=1e-6)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("kind", [Counting, Parted])
def test_the_statistics_are_bit_for_bit_those_of_the_pixels(kind: type[Counting]) -> None:
    for resolution in (8, 28, 8):
        load.cache_clear()
        loaded = load(kind(), resolution, "cpu")
        mean, std = in_float64(tiny_dataset().load(resolution, "cpu"))
        assert torch.equal(loaded.mean, mean)
        assert torch.equal(loaded.std, std)
        assert loaded.holds(loaded.train)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**31), st.integers()
)
def test_sums_are_exact_whatever_is_read_at_a_time(
    channels: int, num_images: int, size: int, seed: int, at_once: int
) -> None:
    stream = np.random.default_rng(seed)
    pixels = stream.integers(0, 256, (num_images, channels, size, size), dtype=np.uint8)
    expected = [
        [sum(int(v) ** power for v in pixels[:, c].ravel()) for c in range(channels)]
        for power in (1, 2)
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(maps, "VALUES_AT_ONCE", at_once % 200 + 1)
        assert sums_of(pixels).tolist() == expected
    assert sums_of(torch.from_numpy(pixels)).tolist() == expected


def test_a_new_worker_reads_no_pixels_for_its_statistics(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = data_cache.mapped(Counting(), 8)
    (file,) = cache.glob(f"*/{SUMS}")
    written = file.read_bytes()
    expected = sums_of(splits.train.images)
    monkeypatch.setattr(data_cache, "sums_of", None)  # which is then not called
    assert np.array_equal(data_cache.sums(Counting(), 8, splits), expected)
    assert file.read_bytes() == written


def test_damaged_sums_are_counted_from_the_pixels(cache: Path) -> None:
    splits = data_cache.mapped(Counting(), 8)
    (file,) = cache.glob(f"*/{SUMS}")
    expected = np.load(file)
    np.save(file, 2 * expected)
    assert np.array_equal(data_cache.sums(Counting(), 8, splits), expected)


def test_other_data_than_those_of_the_record_are_refused(cache: Path) -> None:
    data_cache.mapped(Counting("one"), 8, fingerprint="one")
    with pytest.raises(RuntimeError, match="'another', got 'one': its files have changed; put"):
        data_cache.mapped(Counting("one"), 8, fingerprint="another")
    assert len(list(cache.iterdir())) == 1
    # What was given is the coordinator's own.
    splits = tiny_dataset().load(8, "cpu")
    with data_cache.given(Counting("one"), 8, splits):
        assert data_cache.mapped(Counting("one"), 8, fingerprint="another") is splits
        assert np.array_equal(
            data_cache.sums(Counting("one"), 8, splits), sums_of(splits.train.images)
        )


@pytest.mark.usefixtures("cache")
def test_a_training_on_maps_gives_the_bits_of_one_on_what_was_read() -> None:
    results = []
    for _ in range(2):  # the first writes the maps and looks at them, as the second does
        load.cache_clear()
        results.append(train_trial(tiny_trial(1), "cpu").curve)
    load.cache_clear()
    assert results[0] == results[1]
