"""One coordinator for a folder: refused, freed, taken from the dead, never from the living."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.runtime import lock
from scaling_search.runtime.files import TEMPORARY
from scaling_search.runtime.lock import NAME, RunLock
from tests.in_process import Executing, printed

HOLDER = """
import sys, time
from pathlib import Path
from scaling_search.runtime.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


IN_A_CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")
"""Runs a program with process numbers of its own, on the same host."""

RACER = """
import sys, time
from pathlib import Path
from scaling_search.runtime.lock import RunLock
for line in sys.stdin:
    folder = Path(line.rstrip())
    while not folder.with_suffix(".go").exists():
        pass
    try:
        with RunLock(folder):
            print("held", flush=True)
            sys.stdin.readline()
        print("left", flush=True)
    except RuntimeError:
        print("refused", flush=True)
"""


def holder(folder: Path, *before: str) -> subprocess.Popen[str]:
    """Another process that holds a folder until its input ends; ``before`` is what runs it."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", HOLDER, str(folder)],
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
    with RunLock(folder):
        held = json.loads(path.read_bytes())
    held |= {"born": "", "started": "then", "token": "its own"}
    path.write_text(json.dumps(held | changes), encoding="utf-8")
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


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is renewed, and watched, for moments."""
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.01)


@pytest.mark.usefixtures("soon")
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


@pytest.mark.usefixtures("soon")
def test_a_clock_that_was_set_back_keeps_no_folder_for_years(tmp_path: Path) -> None:
    path = written(tmp_path, host="another", process=1)
    age(path, -3e8)
    with pytest.raises(RuntimeError, match="must be held by one command"), RunLock(tmp_path):
        pass
    age(path, 70)  # nobody renews it from then on
    with RunLock(tmp_path):
        pass


def test_a_clock_that_is_set_forward_takes_no_folder_from_the_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.1)
    with RunLock(tmp_path) as mine:
        held = json.loads(mine.path.read_bytes())
        mine.path.write_text(json.dumps(held | {"host": "another"}), encoding="utf-8")
        age(mine.path, 3600)
        with pytest.raises(RuntimeError, match="another has held since"), RunLock(tmp_path):
            pass
        mine.check()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000])
def test_what_nobody_can_read_is_stale_by_its_age_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RuntimeError, match="must be held by one command"), RunLock(tmp_path):
        pass
    age(path, 70)
    with RunLock(tmp_path):
        pass


@pytest.mark.usefixtures("soon")
def test_a_hold_is_renewed_and_notices_that_another_took_over(tmp_path: Path) -> None:
    with RunLock(tmp_path) as mine:
        age(mine.path, 1000)
        before = mine.path.stat().st_mtime
        while mine.path.stat().st_mtime == before:
            pass
        mine.check()
        mine.path.write_text('{"token": "another"}', encoding="utf-8")
        with pytest.raises(RuntimeError, match="another command has taken over"):
            mine.check()
    assert mine.path.is_file()  # it is not ours to remove


@pytest.mark.usefixtures("soon")
def test_a_hold_whose_file_was_removed_by_hand_is_made_again(tmp_path: Path) -> None:
    with RunLock(tmp_path) as mine:
        mine.path.unlink()
        mine.check()
        while not mine.path.is_file():
            pass
        with pytest.raises(RuntimeError, match="held by one command at a time"):
            RunLock(tmp_path).__enter__()
    assert not mine.path.exists()


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


@pytest.mark.slow
def test_of_many_processes_that_see_a_dead_holder_one_takes_over(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]

    def tell(racer: subprocess.Popen[str], line: str) -> None:
        assert racer.stdin is not None
        print(line, file=racer.stdin, flush=True)

    def said(racer: subprocess.Popen[str]) -> str:
        assert racer.stdout is not None
        return racer.stdout.readline().rstrip()

    try:
        for number in range(40):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            written(folder, process=2**22 + 1)
            for racer in racers:
                tell(racer, str(folder))
            folder.with_suffix(".go").touch()
            ended = [said(racer) for racer in racers]
            assert sorted(ended) == ["held"] + ["refused"] * 5
            last = racers[ended.index("held")]
            tell(last, "leave")
            assert said(last) == "left"
            assert list(folder.iterdir()) == []
    finally:
        for racer in racers:
            racer.communicate()


def test_a_holder_in_another_container_of_the_host_is_alive(tmp_path: Path) -> None:
    tried = subprocess.run([*IN_A_CONTAINER, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("needs the right to make namespaces, which root has")
    first = holder(tmp_path, *IN_A_CONTAINER)
    try:
        with pytest.raises(RuntimeError, match="must be held by one command"), RunLock(tmp_path):
            pass
    finally:
        first.communicate()
    assert list(tmp_path.iterdir()) == []
    with RunLock(tmp_path):
        second = subprocess.run(
            [*IN_A_CONTAINER, sys.executable, "-c", HOLDER, str(tmp_path)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    assert "must be held by one command" in second.stderr


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("processes", ["another boot pid:[4026531836]", None])
def test_a_number_of_another_boot_or_of_an_earlier_version_says_nothing(
    tmp_path: Path, processes: str | None
) -> None:
    path = written(tmp_path, process=2**22 + 1, processes=processes)
    with pytest.raises(RuntimeError, match="must be held by one command"), RunLock(tmp_path):
        pass
    age(path, 70)
    with RunLock(tmp_path):
        pass


def test_a_lock_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)  # as on exFAT
    written(tmp_path, process=2**22 + 1)
    with RunLock(tmp_path):
        pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / NAME).symlink_to(target)
    for content in (None, "{}"):
        if content is not None:
            target.write_text(content, encoding="utf-8")
        with pytest.raises(RuntimeError, match="out must be a folder"), RunLock(tmp_path):
            pass
    assert target.read_text(encoding="utf-8") == "{}"


def test_a_pipe_in_the_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock.json")
    with pytest.raises(RuntimeError, match=r"out must be a folder .* \(it is no file\)"):
        RunLock(tmp_path).__enter__()


def test_what_killed_commands_left_unfinished_goes_with_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    left = tmp_path / "weights" / f".a.safetensors.1{TEMPORARY}"
    left.write_bytes(b"torn")
    with RunLock(tmp_path):
        assert not left.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as two users")
def test_users_take_a_folder_from_each_other_as_from_themselves() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o777)  # anyone may write there, but not to the others' files
        path = written(folder)
        os.seteuid(1)
        try:
            with pytest.raises(RuntimeError, match=f"process {os.getpid()} on "), RunLock(folder):
                pass
            os.seteuid(0)
            path.unlink()
            written(folder, process=2**22 + 1)
            os.seteuid(1)
            with RunLock(folder):
                assert path.stat().st_uid == 1
        finally:
            os.seteuid(0)


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


@dataclass
class Overtaken(Executing):
    """Another command takes the folder over during the second training."""

    folder: Path = Path()

    def submit(self, trial: Trial) -> Future[TrialResult]:
        future = super().submit(trial)
        if len(self.submitted) == 2:
            (self.folder / NAME).write_text('{"token": "another"}', encoding="utf-8")
        return future


def test_a_search_whose_folder_is_taken_over_ends_and_records_nothing_more(mine: Run) -> None:
    run = replace(mine, executor=Overtaken(folder=mine.folder))
    with pytest.raises(RuntimeError, match="another command has taken over"):
        printed(search, run)
    assert len(run.record.rows()) == 1
    assert (mine.folder / NAME).is_file()
