"""One coordinator for a folder: refused, freed, taken from the dead, never from the living."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.runtime import lock
from scaling_search.runtime.lock import NAME, RunLock
from tests.in_process import printed

HOLDER = """
import sys, time
from pathlib import Path
from scaling_search.runtime.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds a folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def written(folder: Path, **changes: object) -> Path:
    """The file of a holder, as it would have left it."""
    path = folder / NAME
    held = {"host": socket.gethostname(), "process": os.getpid(), "born": "", "started": "then"}
    path.write_text(json.dumps(held | {"token": "its own"} | changes), encoding="utf-8")
    return path


def age(path: Path, seconds: float) -> None:
    stat = path.stat()
    os.utime(path, (stat.st_atime - seconds, stat.st_mtime - seconds))


def test_a_second_process_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    first = holder(tmp_path)
    try:
        with pytest.raises(RuntimeError) as refused, RunLock(tmp_path):
            pass
    finally:
        first.communicate()
    assert f"process {first.pid} on {socket.gethostname()}" in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)
    with RunLock(tmp_path):
        pass


def test_a_folder_is_free_again_and_empty_after_it_was_held(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_is_dead_at_once(tmp_path: Path) -> None:
    first = holder(tmp_path)
    first.kill()
    first.communicate()
    assert (tmp_path / NAME).is_file()
    with RunLock(tmp_path):
        pass


def test_a_number_that_another_process_has_by_now_is_no_holder(tmp_path: Path) -> None:
    written(tmp_path, process=os.getppid(), born="1")
    with RunLock(tmp_path):
        pass


@pytest.mark.parametrize(("seconds", "is_free"), [(50, False), (70, True), (-3600, False)])
def test_a_holder_on_another_host_is_stale_by_its_age_alone(
    tmp_path: Path, seconds: float, *, is_free: bool
) -> None:
    age(written(tmp_path, host="another", process=1), seconds)
    if is_free:
        with RunLock(tmp_path):
            pass
    else:
        with pytest.raises(RuntimeError, match="on another has held since then"), RunLock(tmp_path):
            pass


def test_what_nobody_can_read_is_stale_by_its_age_alone(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("{", encoding="utf-8")
    with pytest.raises(RuntimeError, match="must be held by one command"), RunLock(tmp_path):
        pass
    age(path, 70)
    with RunLock(tmp_path):
        pass


def test_a_hold_is_renewed_and_notices_that_another_took_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.01)
    with RunLock(tmp_path) as mine:
        age(mine.path, 1000)
        before = mine.path.stat().st_mtime
        while mine.path.stat().st_mtime == before:
            pass
        assert not mine.lost.is_set()
        theirs = written(tmp_path)
        assert mine.lost.wait(60)
    assert theirs.is_file()  # it is not ours to remove


def test_of_many_that_see_a_dead_holder_one_takes_over(tmp_path: Path) -> None:
    def take(_: int) -> RunLock | None:
        begin.wait()
        with contextlib.suppress(RuntimeError):
            return RunLock(tmp_path).__enter__()
        return None

    begin = threading.Barrier(8)
    with ThreadPoolExecutor(begin.parties) as pool:
        for _ in range(20):
            written(tmp_path, process=2**22 + 1)  # above every process's number
            (one,) = filter(None, pool.map(take, range(begin.parties)))
            one.__exit__()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out must be a folder that can be written"):
        RunLock(tmp_path / "absent").__enter__()


def test_a_second_search_of_a_folder_is_refused_and_trains_nothing(mine: Run) -> None:
    mine.folder.mkdir(exist_ok=True)
    first = holder(mine.folder)
    try:
        with pytest.raises(RuntimeError, match=f"process {first.pid} on "):
            printed(search, mine)
    finally:
        first.communicate()
    assert list(mine.folder.iterdir()) == []
