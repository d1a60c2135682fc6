"""When the region of the best split is looked at, and that a search ends by what is seen."""

import io
import itertools
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from scaling_search.answer.stopping import FIRST_ANALYSIS, GROWTH, Limits, Stopping
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.core.candidate import Candidate
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.scaling import Shares
from scaling_search.core.trial import Key, Trial, TrialResult
from scaling_search.display.progress import View
from scaling_search.record.record import InterimAnalysis, Record
from scaling_search.samplers.grid import Grid
from tests.in_process import InProcess
from tests.searches import plan, trial_of
from tests.tiny import ended, failed

BEST = Shares(0.2, 0.3, 0.5)
LIMITS = Limits(trainings=None, hours=None, gpu_hours=None, region=0.1, failed_share=1.0)


@dataclass
class Knowing(InProcess):
    """Gives each training the loss of a smooth truth and its own luck at once.

    Attributes:
        height: Loss at a distance of 1 from the best split; 0 for a flat truth.
        fail_every: Every so manieth training fails; 0 for none.
        lost: Number of the network whose first training ends at chance; 0 for none.
    """

    height: float
    fail_every: int = 0
    lost: int = 0
    submitted: list[Key] = field(default_factory=list)

    def submit(self, trial: Trial) -> Future[TrialResult]:
        self.submitted.append(trial.key)
        future: Future[TrialResult] = Future()
        luck = np.random.default_rng([trial.candidate.number, trial.seed, 1]).normal()
        loss = 0.4 + self.height * far(trial.candidate) + 0.003 * luck
        if self.lost and trial.order == (0, self.lost):
            loss = 2.3
        is_failed = self.fail_every and len(self.submitted) % self.fail_every == 0
        future.set_result(failed(trial) if is_failed else ended(trial, loss))
        return future


def far(candidate: Candidate) -> float:
    """Squared distance from the best split; 1 for the base network."""
    if candidate.shares is None:
        return 1.0
    return sum((a - b) ** 2 for a, b in zip(candidate.shares, BEST, strict=True))


def run(
    folder: Path, executor: Knowing, *, num_networks: int = 40, trainings: int | None = None
) -> TrainingLoop:
    """A search over three seeds, block by block."""
    candidates = (plan().base, *plan().candidates[:num_networks])
    trials = [trial_of(candidate, seed) for candidate in candidates for seed in range(3)]
    record = Record(str(folder / "study.log"), "search", VAL_LOSS)
    search = TrainingLoop(trials, record, provenance={})
    limits = replace(LIMITS, trainings=trainings)
    view = View(Console(file=io.StringIO()), VAL_LOSS)
    search.run(Grid(), executor, view, stopping=Stopping(limits, record, 2.0))
    return search


def test_a_clear_best_split_ends_the_search_early_and_the_record_says_why(tmp_path: Path) -> None:
    search = run(tmp_path, Knowing(0.3))
    looks = search.record.interim_analyses
    assert looks[0].trainings == FIRST_ANALYSIS
    assert looks[-1].region <= 0.1
    assert len(search.finished) < 3 * 41
    assert search.stopped == search.record.stopped
    assert search.stopped.startswith("limits.region=0.1 is reached: with ")
    assert f"{looks[-1].trainings} trainings" in search.stopped


def test_a_training_at_chance_keeps_no_search_from_ending(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "lost").mkdir()
    whole, lost = (
        run(tmp_path / "whole", Knowing(0.3)),
        run(tmp_path / "lost", Knowing(0.3, lost=7)),
    )
    assert len(lost.finished) == len(whole.finished) < 3 * 41
    assert [look.trainings for look in lost.record.interim_analyses] == [
        look.trainings for look in whole.record.interim_analyses
    ]


def test_a_flat_truth_is_trained_to_the_end(tmp_path: Path) -> None:
    search = run(tmp_path, Knowing(0.0))
    assert search.stopped == "all trainings are done"
    assert {look.region for look in search.record.interim_analyses} == {1.0}


def test_looks_are_a_quarter_apart_and_nothing_is_seen_between(tmp_path: Path) -> None:
    numbers = [look.trainings for look in run(tmp_path, Knowing(0.0)).record.interim_analyses]
    assert numbers == [20, 25, 32, 40, 50, 63, 79, 99]
    assert all(b >= GROWTH * a > b - 1 for a, b in itertools.pairwise(numbers))


@pytest.mark.parametrize("cut", [5, 21, 30, 41])
def test_a_search_that_goes_on_looks_and_ends_as_an_uninterrupted_one(
    tmp_path: Path, cut: int
) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    for folder in (whole, pieces):
        folder.mkdir()
    expected = run(whole, Knowing(0.1))
    run(pieces, Knowing(0.1), trainings=cut)
    search = run(pieces, Knowing(0.1))
    assert search.record.interim_analyses == expected.record.interim_analyses
    assert search.finished.keys() == expected.finished.keys()


def test_a_search_that_has_ended_by_its_region_trains_nothing_more(tmp_path: Path) -> None:
    first = run(tmp_path, Knowing(0.3))
    executor = Knowing(0.3)
    again = run(tmp_path, executor)
    assert executor.submitted == []
    assert again.stopped == first.stopped
    assert again.record.interim_analyses == first.record.interim_analyses


def test_failed_trainings_and_the_base_network_are_no_witnesses(tmp_path: Path) -> None:
    search = run(tmp_path, Knowing(0.0, fail_every=3))
    first = search.record.interim_analyses[0]
    assert first.trainings > FIRST_ANALYSIS  # some networks share a place
    at_first_look = [r for r in search.finished.values() if r.state == "COMPLETE"]
    assert len(at_first_look) == 3 * 41 - 41


def test_fewer_networks_than_a_first_look_needs_are_never_looked_at(tmp_path: Path) -> None:
    search = run(tmp_path, Knowing(0.3), num_networks=FIRST_ANALYSIS - 1)
    assert search.record.interim_analyses == []
    assert search.stopped == "all trainings are done"


def test_looks_survive_in_the_record(tmp_path: Path) -> None:
    path = str(tmp_path / "study.log")
    Record(path, "search", VAL_LOSS).add_interim_analysis(InterimAnalysis(20, 0.5))
    Record(path, "search", VAL_LOSS).add_interim_analysis(InterimAnalysis(25, 0.25))
    assert Record(path, "search", VAL_LOSS).interim_analyses == [
        InterimAnalysis(20, 0.5),
        InterimAnalysis(25, 0.25),
    ]
