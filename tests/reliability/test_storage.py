"""A search whose storage is full, locked, gone or read-only: what it says, and that it goes on."""

import contextlib
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.reliability.disks import Disk, can_mount, small_disk
from tests.reliability.searches import (
    LEAVES_SECONDS,
    LEFT,
    SEARCH,
    Command,
    assert_same,
    done,
    files,
    rows_of,
    started,
    stored_rows,
)
from tests.storages.servers import PASSWORD, postgresql, postgresql_programs, serving

pytestmark = [pytest.mark.slow, pytest.mark.alone]

IMPATIENT = (
    sys.executable,
    "-c",
    (
        "from scaling_search.record import storage; storage.PATIENCE_SECONDS = 4.0; "
        "from scaling_search.commands.cli import main; main()"
    ),
)
"""The command line, with less patience for storage than a minute and a half."""

TRIES = "trying again in"
UNUSABLE = "scaling-search: storage must be readable and writable"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Two megabytes that can be filled and made read-only."""
    if not can_mount():
        pytest.skip("needs the right to mount, which root has")
    with small_disk(tmp_path / "disk", "2m") as disk:
        yield disk


def kept_in(path: Path) -> str:
    """The option that keeps the record in a file."""
    return f"storage={path}" if path.suffix == ".log" else f"storage=sqlite:///{path}"


def assert_one_line(command: Command, *said: str) -> None:
    """It ended by what the user can mend, and said so in one line."""
    assert command.ended() == 2, (command.out, command.err)
    assert command.err.count("\n") == 1, command.err
    for part in said:
        assert part in command.err


def assert_whole(journal: Path) -> None:
    """No line of a journal is torn."""
    text = journal.read_text(encoding="utf-8")
    assert text.endswith("\n")
    for line in text.splitlines():
        assert "op_code" in json.loads(line)


def test_a_search_waits_for_a_full_disk_and_goes_on(
    disk: Disk, folder: Path, undisturbed: pd.DataFrame
) -> None:
    run, record = disk.seen / "run", "study.log"
    command = started(folder, *SEARCH, kept_in(disk.path / "run" / record), before=disk.inside)
    try:
        command.until_trained(2)
        disk.fill()
        command.until(lambda: TRIES in command.out)
        disk.free()
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    assert command.err == ""
    assert_same(rows_of(run / record), undisturbed)
    assert files(run) == LEFT | {record}
    assert_whole(run / record)


def test_a_disk_that_stays_full_ends_a_search_with_its_line(
    disk: Disk, folder: Path, undisturbed: pd.DataFrame
) -> None:
    record = "study.db"
    run, own = disk.seen / "run", kept_in(disk.path / "run" / record)
    command = started(folder, *SEARCH, own, before=disk.inside, program=IMPATIENT)
    try:
        command.until_trained(2)
        disk.fill()
        assert_one_line(command, UNUSABLE)
        recorded = rows_of(run / record)
        assert len(recorded) == command.num_ended
        # Nothing begins on a full disk either.
        refused = started(folder, *SEARCH, own, before=disk.inside)
        try:
            assert_one_line(refused, "scaling-search: ")
        finally:
            refused.end()
        assert rows_of(run / record) == recorded
    finally:
        command.end()
    disk.free()
    done(folder, *SEARCH, own, before=disk.inside)
    assert_same(rows_of(run / record), undisturbed)
    assert files(run) == LEFT | {record}


def assert_leaves_while_it_waits(command: Command) -> None:
    """It leaves in time though it cannot record what has ended."""
    command.until(lambda: TRIES in command.out)
    begin = time.monotonic()
    command.process.send_signal(signal.SIGTERM)
    assert command.ended() == 130
    assert time.monotonic() - begin < LEAVES_SECONDS


def test_a_read_only_folder_gets_one_line_and_stays_as_it_is(
    disk: Disk, folder: Path, undisturbed: pd.DataFrame
) -> None:
    run = disk.seen / "run"
    done(folder, *SEARCH, "limits.trainings=2", before=disk.inside)
    before = {path: path.read_bytes() for path in run.rglob("*.*")}
    disk.remount("ro")
    command = started(folder, *SEARCH, before=disk.inside)
    try:
        assert_one_line(command, "scaling-search: out must be a folder that can be written")
    finally:
        command.end()
    assert {path: path.read_bytes() for path in run.rglob("*.*")} == before
    disk.remount("rw")
    done(folder, *SEARCH, before=disk.inside)
    assert_same(rows_of(run / "study.db"), undisturbed)


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can use an SQLite database meanwhile."""
    with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_search_waits_for_a_lock_and_goes_on(folder: Path, undisturbed: pd.DataFrame) -> None:
    study = folder / "run" / "study.db"
    command = started(folder, *SEARCH)
    try:
        command.until_trained(2)
        with locked(study):
            command.until(lambda: TRIES in command.out)
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    assert "locked" in command.out
    assert command.err == ""
    assert_same(rows_of(study), undisturbed)


def test_a_search_that_waits_for_a_lock_leaves_when_it_is_asked_to(
    folder: Path, undisturbed: pd.DataFrame
) -> None:
    study = folder / "run" / "study.db"
    command = started(folder, *SEARCH)
    try:
        command.until_trained(2)
        with locked(study):
            assert_leaves_while_it_waits(command)
    finally:
        command.end()
    done(folder, *SEARCH)
    assert_same(rows_of(study), undisturbed)


def test_a_search_waits_for_storage_that_is_gone_for_a_while(
    folder: Path, tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    record = "study.db"
    share, elsewhere = tmp_path / "share", tmp_path / "elsewhere"
    share.mkdir()
    command = started(folder, *SEARCH, kept_in(share / record))
    try:
        command.until_trained(2)
        share.rename(elsewhere)
        command.until(lambda: TRIES in command.out)
        elsewhere.rename(share)
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    assert command.err == ""
    assert_same(rows_of(share / record), undisturbed)


def test_a_search_waits_for_a_server_that_starts_anew(
    folder: Path, undisturbed: pd.DataFrame
) -> None:
    if postgresql_programs() is None:
        pytest.skip("needs Debian's package postgresql")
    pytest.importorskip("psycopg")
    # Not below pytest's own folder, which no other user may enter.
    with (
        tempfile.TemporaryDirectory(prefix="scaling_search_pg_") as place,
        postgresql(Path(place)) as url,
    ):
        command = started(folder, *SEARCH, f"storage={url}")
        try:
            command.until_trained(2)
            with gone_until_tried(Path(place), command):
                assert command.ended() == 0, (command.out, command.err)
                rows = stored_rows(url)
        finally:
            command.end()
    assert PASSWORD not in command.out + command.err
    assert command.err == ""
    assert_same(rows, undisturbed)


@contextlib.contextmanager
def gone_until_tried(place: Path, command: Command) -> Iterator[None]:
    """Crashes the server in a folder, starts it anew once it is missed, ends it afterwards."""
    port = crashed(place)
    command.until(lambda: TRIES in command.out)
    with serving(place / "data", port):
        yield


def crashed(place: Path) -> int:
    """Ends the server in a folder without a checkpoint; its port."""
    words = (place / "data" / "postmaster.pid").read_text(encoding="utf-8").split()
    os.kill(int(words[0]), signal.SIGQUIT)  # PostgreSQL's immediate shutdown
    return int(words[3])


def test_a_lock_that_a_killed_writer_left_is_taken_away(
    folder: Path, undisturbed: pd.DataFrame
) -> None:
    journal = folder / "run" / "study.log"
    own = "storage=run/study.log"
    command = started(folder, *SEARCH, own)
    try:
        command.until_trained(2)
        command.process.kill()
        command.ended()
    finally:
        command.end()
    lock = journal.with_name("study.log.lock")
    if not lock.is_symlink():  # it was killed between two writes
        lock.symlink_to(journal)
    again = started(folder, *SEARCH, own)
    try:
        assert again.ended(seconds=120) == 0, (again.out, again.err)
    finally:
        again.end()
    assert_same(rows_of(journal), undisturbed)
    assert files(folder / "run") == LEFT | {"study.log"}
