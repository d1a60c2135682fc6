"""Reading once: in order, with few in memory, by one process, and seen on a terminal."""

import io
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_search.data import gathering
from scaling_search.data.opening import opened
from scaling_search.data.sources import in_order
from scaling_search.runtime import progress
from tests.datasets.pictures_of import arrays_in, folder_of, write_tree


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALING_SEARCH_CACHE", str(tmp_path / "cache"))
    gathering.CHECKED.clear()
    return tmp_path / "cache"


def test_threads_keep_the_order_and_take_few_at_a_time() -> None:
    taken = 0

    def items() -> Any:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    found = in_order(lambda number: 2 * number, items())
    for number in range(100):
        assert next(found) == 2 * number
        assert taken < number + 200
    found.close()
    assert taken < 300
    assert list(in_order(str, range(500))) == [str(number) for number in range(500)]


def test_no_thread_is_left_where_reading_ends_early() -> None:
    before = threading.active_count()
    for ending in (ValueError, KeyboardInterrupt):

        def make(number: int, ending: type[BaseException] = ending) -> int:
            if number == 7:
                raise ending
            return number

        with pytest.raises(ending):
            list(in_order(make, range(100)))
    assert threading.active_count() == before


def large(path: Path, count: int) -> Any:
    """Images of 64 px, 4 kB each."""
    images = np.lib.format.open_memmap(
        path / "images.npy", mode="w+", dtype=np.uint8, shape=(count, 64, 64)
    )
    for number in range(count):
        images[number] = number % 251
        images[number, :32] += number // 251 + 3
    np.save(path / "labels.npy", np.arange(count) % 2)
    return arrays_in(path, num_classes=2, resolution=64)


def test_more_data_than_memory_pass_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaling_search.data.npy.AT_ONCE_BYTES", 100_000)
    monkeypatch.setattr(gathering, "PART_BYTES", 100_000)
    (tmp_path / "data").mkdir()
    dataset = large(tmp_path / "data", 5000)
    num_bytes = 5000 * 64 * 64
    tracemalloc.start()
    try:
        dataset.check()
        splits = dataset.load(48, "cpu")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(splits.train.labels) == 2500
    assert most < num_bytes / 4


def test_a_terminal_sees_a_bar_and_a_file_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    folder_of(write_tree(tmp_path / "a")).check()
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.0)
    folder_of(write_tree(tmp_path / "b")).check()
    assert capfd.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    folder_of(write_tree(tmp_path / "c")).check()
    for done in ("reading images", "comparing digests"):
        assert done in terminal.getvalue()
    quick = Terminal()
    monkeypatch.setattr("sys.stderr", quick)
    monkeypatch.setattr(progress, "SILENT_SECONDS", 1000.0)
    folder_of(write_tree(tmp_path / "d")).check()
    assert quick.getvalue() == ""
    assert capfd.readouterr().out == ""


CHECK = """
import sys
from tests.datasets.pictures_of import folder_of
dataset = folder_of(sys.argv[1])
dataset.check()
dataset.load(20, "cpu")
print(dataset.fingerprint())
"""


def started(root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHECK, str(root)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
def test_processes_that_begin_together_share_one_reading(tmp_path: Path, own_cache: Path) -> None:
    root = write_tree(tmp_path / "a", 100)
    processes = [started(root) for _ in range(3)]
    found = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert found == {f"{folder_of(root).fingerprint()}\n"}
    assert len(list(own_cache.glob("*/"))) == 2


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed(tmp_path: Path, own_cache: Path) -> None:
    root = write_tree(tmp_path / "a", 100)
    process = started(root)
    while not list(own_cache.glob("*/*.npy")):
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert len(list(own_cache.glob("*/"))) == 1
    folder_of(root).check()
    (place,) = own_cache.glob("*/")
    assert opened(place) is not None
