"""Workers that share the memory of a device: who does not fit waits for the others."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from scaling_search.core.trial import Trial
from scaling_search.executors.processes import Processes
from scaling_search.training.engine import train_trial
from tests.faults import Crowded, Staying
from tests.tiny import tiny_trial

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 120
"""For a process to start or to end; they take a few seconds, on a machine that is busy more."""


@dataclass(frozen=True)
class Meeting:
    """A folder where trainings wait and tell, as `Staying` says."""

    folder: Path
    told: int

    def trial(self, kind: type[Crowded | Staying], **options: Any) -> Trial:
        """A training of a network that uses the folder, in batches of 20."""
        trial = tiny_trial()
        architecture = kind(folder=str(self.folder), **options)
        return replace(trial, candidate=replace(trial.candidate, architecture=architecture))

    def process(self) -> int:
        """The next process that tells of itself."""
        return int(os.read(self.told, 8))

    def go_on(self, name: str) -> None:
        """Sends on a network that stays."""
        (self.folder / f"go-{name}").write_text("on", encoding="utf-8")


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    for name in ("told", "go-staying", "go-other"):
        os.mkfifo(tmp_path / name)
    # With an end for writing of our own, so that there is no end of the file between two processes.
    told = os.open(tmp_path / "told", os.O_RDWR)
    yield Meeting(tmp_path, told)
    os.close(told)


@pytest.fixture
def two_workers() -> Iterator[Processes]:
    with Processes(device="cpu", workers_per_device=2, retries=0, timeout_minutes=None) as executor:
        yield executor


@pytest.mark.parametrize(("most", "micro_batches"), [(20, 1), (10, 2)])
def test_what_does_not_fit_beside_another_is_as_if_trained_alone(
    meeting: Meeting, two_workers: Processes, most: int, micro_batches: int
) -> None:
    trial = meeting.trial(Crowded, most=most)
    other = two_workers.submit(meeting.trial(Staying))
    meeting.process()
    crowded = two_workers.submit(trial)
    meeting.process()
    assert not crowded.done()
    meeting.go_on("staying")
    result = crowded.result(PATIENCE_SECONDS)
    expected = train_trial(trial, "cpu")
    assert result.had_to_be_alone
    assert result.micro_batches == expected.micro_batches == micro_batches
    assert result.curve == expected.curve
    assert other.result(PATIENCE_SECONDS).state == "COMPLETE"
    assert not other.result().had_to_be_alone


def test_two_that_run_out_of_memory_at_once_are_trained_one_after_the_other(
    meeting: Meeting, two_workers: Processes
) -> None:
    names = ("staying", "other")
    both = [two_workers.submit(meeting.trial(Staying, name=name, runs_out=True)) for name in names]
    assert meeting.process() != meeting.process()
    for name in names:
        meeting.go_on(name)
    for future in both:
        result = future.result(PATIENCE_SECONDS)
        assert (result.state, result.had_to_be_alone) == ("COMPLETE", True)
        assert result.micro_batches == 1


def test_a_neighbour_that_is_killed_keeps_nobody_waiting(
    meeting: Meeting, two_workers: Processes
) -> None:
    killed = two_workers.submit(meeting.trial(Staying))
    process = meeting.process()
    crowded = two_workers.submit(meeting.trial(Crowded, most=20))
    meeting.process()
    (meeting.folder / "staying").unlink()
    os.kill(process, signal.SIGKILL)
    result = crowded.result(PATIENCE_SECONDS)
    assert (result.state, result.had_to_be_alone, result.micro_batches) == ("COMPLETE", True, 1)
    assert killed.exception(PATIENCE_SECONDS) is not None
    # The worker that took its place shares as well.
    after = [two_workers.submit(tiny_trial(seed=seed)) for seed in range(2)]
    assert {future.result(PATIENCE_SECONDS).state for future in after} == {"COMPLETE"}
