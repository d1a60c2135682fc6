"""A search that is asked to end, or is killed: what it says, who is left, what comes of it."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from safetensors import SafetensorError, safe_open

from scaling_search.runtime.lock import NAME as LOCK
from tests.reliability.searches import (
    LEAVES_SECONDS,
    LEFT,
    NUM_TRAININGS,
    SEARCH,
    Command,
    assert_same,
    done,
    files,
    rows_of,
    started,
    table,
)

pytestmark = [pytest.mark.slow, pytest.mark.alone]

STOPPED = "stopped; the same command goes on from here"
HALF_OF_600 = 300
AT_ONCE = "left at once; the same command goes on from what is recorded"


def begun(folder: Path, *arguments: str, trainings: int = 4) -> Command:
    """A search that has done some of its trainings, so that both workers are at it."""
    command = started(folder, *SEARCH, *arguments)
    try:
        command.until_trained(trainings)
    except BaseException:
        command.end()
        raise
    return command


def assert_goes_on(folder: Path, undisturbed: pd.DataFrame) -> None:
    """The same command again leaves what was recorded alone and ends as if nothing had been."""
    study = folder / "run" / "study.db"
    before = rows_of(study)
    again = done(folder, *SEARCH)
    after = rows_of(study)
    assert again.num_ended == NUM_TRAININGS - len(before)
    assert after[: len(before)] == before
    assert_same(after, undisturbed)
    assert files(folder / "run") == LEFT | {"study.db"}


def asked(command: Command, blow: signal.Signals) -> None:
    """Asks a search to end as whoever runs it does: Ctrl-C reaches its workers too."""
    if blow == signal.SIGINT:
        os.killpg(command.process.pid, blow)
    else:
        command.process.send_signal(blow)


@pytest.mark.parametrize(
    ("blow", "is_frozen"), [(signal.SIGTERM, True), (signal.SIGINT, False)], ids=str
)
def test_one_signal_ends_a_search_in_time_with_all_that_ended(
    folder: Path, undisturbed: pd.DataFrame, blow: signal.Signals, is_frozen: bool
) -> None:
    command = begun(folder)
    try:
        if is_frozen:
            os.kill(command.at_work(), signal.SIGSTOP)
        begin = time.monotonic()
        asked(command, blow)
        assert command.ended() == 130
        assert time.monotonic() - begin < LEAVES_SECONDS
    finally:
        command.end()
    assert command.err.strip() == STOPPED
    rows = rows_of(folder / "run" / "study.db")
    assert len(rows) == command.num_ended < NUM_TRAININGS
    assert {row["state"] for row in rows} == {"COMPLETE"}
    assert files(folder / "run") == LEFT | {"study.db"}
    assert_goes_on(folder, undisturbed)


def test_a_second_signal_ends_it_at_once_though_a_worker_is_frozen(
    folder: Path, undisturbed: pd.DataFrame
) -> None:
    command = begun(folder)
    try:
        os.kill(command.at_work(), signal.SIGSTOP)
        # Two of one kind could be taken for one.
        command.process.send_signal(signal.SIGTERM)
        command.process.send_signal(signal.SIGINT)
        assert command.ended() == 130
    finally:
        command.end()
    # Python's own words about semaphores, which it cleans up, may follow.
    assert command.err.strip().startswith(AT_ONCE)
    assert_goes_on(folder, undisturbed)


@pytest.mark.parametrize(
    ("blow", "is_frozen"), [(signal.SIGKILL, True), (signal.SIGHUP, False)], ids=str
)
def test_workers_leave_with_a_coordinator_that_was_killed(
    folder: Path, undisturbed: pd.DataFrame, blow: signal.Signals, is_frozen: bool
) -> None:
    command = begun(folder)
    try:
        if is_frozen:
            os.kill(command.at_work(), signal.SIGSTOP)
        command.process.send_signal(blow)
        assert command.ended() == -blow
    finally:
        command.end()
    assert LOCK in files(folder / "run")  # nobody's, which the next command sees at once
    assert_goes_on(folder, undisturbed)


def test_a_long_training_goes_on_from_its_checkpoint(folder: Path) -> None:
    long = (
        *SEARCH,
        *("recipe.epochs=60", "num_seeds=1", "candidates.max_networks=1"),
        *("executor.workers_per_device=1", "recipe.checkpoint_minutes=0.001"),
    )
    run = folder / "run"
    command = started(folder, *long)
    try:
        command.until(lambda: max(steps_kept(run), default=0) > HALF_OF_600)
        command.process.kill()
        command.ended()
    finally:
        command.end()
    assert rows_of(run / "study.db") == []
    (kept,) = steps_kept(run)
    again = started(folder, *long)
    seen = {kept}

    def looked() -> bool:
        seen.update(steps_kept(run))
        return again.num_ended > 0

    try:
        again.until(looked)
        assert again.ended() == 0
    finally:
        again.end()
    assert min(seen) == kept  # one that began anew would have kept fewer
    assert max(seen) > kept
    other = folder / "whole"
    other.mkdir()
    done(other, *long, "recipe.checkpoint_minutes=null")
    ours, theirs = (rows_of(place / "run" / "study.db") for place in (folder, other))
    assert_same(ours, table(theirs))
    assert [row["curve"] for row in ours] == [row["curve"] for row in theirs]
    assert not list(run.glob("checkpoints/*"))


def steps_kept(run: Path) -> list[int]:
    """Steps of the first training that its checkpoint holds; nothing where there is none."""
    steps = []
    for path in run.glob("checkpoints/*.safetensors"):
        with contextlib.suppress(OSError, SafetensorError), safe_open(path, "pt") as file:
            steps.append(int(json.loads(file.metadata()["facts"])["taken"]))
    return steps
