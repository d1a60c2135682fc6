"""Workers that freeze or are killed, memory that ends, losses that do: rows, tries, limits."""

import os
import signal
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from scaling_search.record.results import Row
from tests.reliability.searches import (
    LEFT,
    NUM_TRAININGS,
    SEARCH,
    assert_same,
    done,
    files,
    rows_of,
    started,
)

pytestmark = [pytest.mark.slow, pytest.mark.alone]

OVERDUE = "overdue: longer than executor.timeout_minutes"
LOST = "worker lost: "
TIMEOUT = "executor.timeout_minutes=0.15"
"""Thirty times what a training takes on a machine that does nothing else."""

BLOWS = {
    signal.SIGKILL: LOST,
    signal.SIGSTOP: OVERDUE,
}


def last_rows(rows: list[Row]) -> list[Row]:
    """The last try of each training."""
    return list({(row["candidate"], row["seed"]): row for row in rows}.values())


@pytest.mark.parametrize("blow", list(BLOWS))
def test_a_training_whose_worker_is_lost_is_tried_again(
    folder: Path, undisturbed: pd.DataFrame, blow: signal.Signals
) -> None:
    command = started(folder, *SEARCH, TIMEOUT)
    try:
        command.until_trained(4)
        os.kill(command.at_work(), blow)
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    assert f"failed and is tried again: {BLOWS[blow]}" in command.out
    assert command.err == ""
    rows = rows_of(folder / "run" / "study.db")
    assert_same(rows, undisturbed)
    assert Counter(row["attempts"] for row in rows) == {1: NUM_TRAININGS - 1, 2: 1}
    assert BLOWS[blow] in (folder / "run" / "search.log").read_text(encoding="utf-8")
    assert files(folder / "run") == LEFT | {"study.db"}


def test_without_tries_it_is_a_row_with_its_reason_until_they_are_allowed(
    folder: Path, undisturbed: pd.DataFrame
) -> None:
    study = folder / "run" / "study.db"
    command = started(folder, *SEARCH, "executor.retries=0")
    try:
        command.until_trained(4)
        os.kill(command.at_work(), signal.SIGKILL)
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    rows = rows_of(study)
    assert len(rows) == NUM_TRAININGS
    (failed,) = [row for row in rows if row["state"] == "FAIL"]
    assert str(failed["reason"]).startswith(LOST)
    assert failed["attempts"] == 1
    again = done(folder, *SEARCH, "executor.retries=1")
    assert again.num_ended == 1
    rows = rows_of(study)
    assert len(rows) == NUM_TRAININGS + 1
    assert rows[-1]["attempts"] == 2
    assert_same(last_rows(rows), undisturbed)


def test_workers_that_are_lost_as_they_are_born_are_replaced(
    folder: Path, undisturbed: pd.DataFrame
) -> None:
    command = started(folder, *SEARCH, "executor.retries=9")
    try:
        killed: set[int] = set()
        while len(killed) < 2:
            assert command.process.poll() is None, command.err
            for worker in set(command.workers()) - killed:
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    assert command.err == ""
    assert_same(rows_of(folder / "run" / "study.db"), undisturbed)


def test_all_workers_lost_again_and_again_are_replaced(
    folder: Path, undisturbed: pd.DataFrame
) -> None:
    command = started(folder, *SEARCH, "executor.retries=9")
    try:
        for number in (2, 6, 10):
            command.until_trained(number)
            for worker in command.workers():
                os.kill(worker, signal.SIGKILL)
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    assert_same(rows_of(folder / "run" / "study.db"), undisturbed)


def test_losses_that_are_no_numbers_stop_a_search_with_their_reason(folder: Path) -> None:
    study = folder / "run" / "study.db"
    hot = (*SEARCH, "recipe.learning_rate=1e30")
    for expected in (3, 0):  # more than half of five; the same command again trains nothing
        command = started(folder, *hot)
        try:
            assert command.ended() == 2, (command.out, command.err)
        finally:
            command.end()
        assert command.err.startswith("scaling-search: limits.failed_share=0.5 is exceeded: ")
        assert "FloatingPointError: the training loss must be finite" in command.err
        assert "recipe.learning_rate" in command.err
        assert command.err.count("\n") == 1
        # Those that were in flight end, too.
        assert expected <= command.num_ended <= expected + bool(expected)
    rows = rows_of(study)
    assert {row["state"] for row in rows} == {"FAIL"}
    assert {row["attempts"] for row in rows} == {1}  # they would diverge again
    assert all(str(row["reason"]).startswith("FloatingPointError: ") for row in rows)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("device", "OutOfMemoryError: no memory for 1 images"),
        ("host", "RuntimeError: "),
    ],
)
def test_memory_that_does_not_suffice_is_a_reason_and_the_others_go_on(
    folder: Path, kind: str, reason: str
) -> None:
    own = [option for option in SEARCH if not option.startswith("base_network.")]
    conf = folder / "conf" / "base_network"
    conf.mkdir(parents=True)
    (conf / "greedy.yaml").write_text(
        f"_target_: tests.reliability.greedy.greedy\nkind: {kind}\n", encoding="utf-8"
    )
    arguments = ("search", "--config-dir", "conf", *own[1:], "allow=tests", "base_network=greedy")
    # Packages that are allowed lie beside the folder or where Python finds them.
    command = done(
        folder,
        *arguments,
        "limits.failed_share=1",
        PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    )
    rows = rows_of(folder / "run" / "study.db")
    assert len(rows) == NUM_TRAININGS
    failed = [row for row in rows if row["state"] == "FAIL"]
    assert 0 < len(failed) < NUM_TRAININGS
    assert {row["candidate"] for row in rows if row["state"] == "COMPLETE"} >= {0}
    assert all(str(row["reason"]).startswith(reason) for row in failed), failed[0]["reason"]
    assert {row["attempts"] for row in failed} == {2}
    assert "tried again" in command.out
    assert command.err == ""


ROOT = Path(__file__).parent.parent.parent
