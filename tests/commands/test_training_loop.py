"""The loop of a search, on real trainings of a fraction of a second each."""

import functools
import io
import math
import re
import signal
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest
from rich.console import Console

from scaling_search.answer.stopping import Limits, Stopping, gpu_hours
from scaling_search.commands import training_loop
from scaling_search.commands.run import Run
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.commands.trainings import placed
from scaling_search.core.metric import VAL_LOSS, Metric
from scaling_search.core.protocols import Executor, Sampler
from scaling_search.core.trial import Key, Trial, TrialResult
from scaling_search.display.progress import View
from scaling_search.executors.inline import Inline
from scaling_search.executors.processes import Processes
from scaling_search.record.record import Record
from scaling_search.record.results import curves_table, results_table
from scaling_search.samplers import Tpe
from scaling_search.samplers.grid import Grid
from scaling_search.training.engine import train_trial
from scaling_search.training.steps import Steps
from tests.faults import Faulty
from tests.in_process import InProcess
from tests.tables import VOLATILE
from tests.tiny import changed, ended, tiny_plan, tiny_recipe, tiny_run

NO_LIMITS = Limits(failed_share=1.0)
PROVENANCE = {"version": "1", "commit": "abc"}
TPE = Tpe(num_startup=2, seed=0)


@functools.cache
def trained(trial: Trial) -> TrialResult:
    """What a training gives, which is the same bits each time."""
    return train_trial(trial, "cpu")


@dataclass
class Executing(InProcess):
    """Trains in this process, with what can go wrong.

    Attributes:
        slots: Trainings that may be in flight; those whose results nobody took yet.
        interrupt_at: At this submission, counted from 1, somebody presses Ctrl-C.
        lost: How often the worker of a training is lost, by its key.
        is_forgetful: Trains again what another test has trained.
        submitted: Keys of all trainings, in order.
    """

    slots: int = 1
    interrupt_at: int = 0
    lost: dict[Key, int] = field(default_factory=dict)
    is_forgetful: bool = False
    submitted: list[Key] = field(default_factory=list)
    is_open: bool = False
    device_share: float = 0.5

    def submit(self, trial: Trial) -> Future[TrialResult]:
        assert self.is_open
        if len(self.submitted) + 1 == self.interrupt_at:
            raise KeyboardInterrupt
        self.submitted.append(trial.key)
        future: Future[TrialResult] = Future()
        if self.submitted.count(trial.key) <= self.lost.get(trial.key, 0):
            future.set_exception(RuntimeError("killed by signal 9\nwith its last words"))
        else:
            future.set_result(train_trial(trial, "cpu") if self.is_forgetful else trained(trial))
        return future

    def __enter__(self) -> Self:
        self.is_open = True
        return self

    def __exit__(self, *exc: object) -> None:
        self.is_open = False


@dataclass(frozen=True)
class Backwards:
    """Chooses the last; sees to it that what it is given is in canonical order.

    Attributes:
        num_wanted: Ends the search after so many.
    """

    num_wanted: int = 1000

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
        objective: Metric,
    ) -> Trial | None:
        assert objective == VAL_LOSS
        for trials in (remaining, running, [result.trial for result in finished]):
            assert list(trials) == sorted(trials, key=lambda trial: trial.order)
        if len(running) + len(finished) >= self.num_wanted:
            return None
        return remaining[-1]


def opened(mine: Run) -> Record:
    mine.folder.mkdir(exist_ok=True)
    return Record(f"{mine.out}/study.log", mine.experiment.name, mine.experiment.metric)


def run(
    mine: Run,
    executor: Executor | None = None,
    sampler: Sampler | None = None,
    *,
    known: Sequence[TrialResult] = (),
    trials: Sequence[Trial] | None = None,
    retries: int = 0,
    **limits: Any,
) -> tuple[TrainingLoop, str]:
    """A command's search, after it has ended, and what it printed."""
    search = TrainingLoop(
        placed(mine, mine.experiment.trials(tiny_plan())) if trials is None else trials,
        opened(mine),
        provenance=PROVENANCE,
        known=known,
        retries=retries,
    )
    printed = io.StringIO()
    view = View(Console(file=printed, width=200), mine.experiment.metric)
    search.run(
        sampler,
        executor or Executing(),
        view,
        stopping=Stopping(replace(NO_LIMITS, **limits), search.record, 2.0),
    )
    return search, printed.getvalue()


def tables(mine: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results and curves, without what no two runs share."""
    rows = opened(mine).rows()
    return results_table(rows).drop(columns=list(VOLATILE)), curves_table(rows)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of two seeds that were never interrupted."""
    mine = tiny_run(tmp_path_factory.mktemp("whole"), num_seeds=2)
    run(mine)
    return tables(mine)


def assert_equal(
    one: tuple[pd.DataFrame, pd.DataFrame], other: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    for a, b in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_a_fresh_search_trains_everything_once_seed_by_seed(mine: Run) -> None:
    executor = Executing()
    mine = changed(mine, num_seeds=2)
    search, printed = run(mine, executor)
    trials = mine.experiment.trials(tiny_plan())
    base, *others = trials[4:]  # the shortest; it opens only the first seed
    assert executor.submitted == [t.key for t in (*trials[:4], *others, base)]
    assert search.remaining == []
    assert search.stopped == "all trainings are done"
    results, curves = tables(mine)
    assert results["state"].tolist() == ["COMPLETE"] * 8
    assert results["commit"].unique().tolist() == ["abc"]
    assert len(curves) == 8 * 2
    assert len(printed.splitlines()) == 8
    assert printed.splitlines()[0].startswith("1/8  base network seed 0  loss ")


def test_a_search_that_is_done_trains_nothing(mine: Run) -> None:
    run(mine)
    before = tables(mine)
    executor = Executing()
    search, printed = run(mine, executor)
    assert (executor.submitted, printed) == ([], "")
    assert search.stopped == "all trainings are done"
    assert_equal(tables(mine), before)


@pytest.mark.parametrize(
    ("slots", "interrupt_at", "is_forgetful"),
    [(1, 1, False), (1, 4, True), (1, 8, False), (3, 2, False), (3, 6, False), (3, 8, False)],
)
def test_an_interrupted_search_goes_on_and_ends_as_if_nothing_had_been(
    tmp_path: Path,
    expected: tuple[pd.DataFrame, pd.DataFrame],
    slots: int,
    interrupt_at: int,
    is_forgetful: bool,
) -> None:
    mine = tiny_run(tmp_path, num_seeds=2)
    first = Executing(slots, interrupt_at, is_forgetful=is_forgetful)
    with pytest.raises(KeyboardInterrupt):
        run(mine, first)
    assert not first.is_open
    # All that had ended is recorded, also what nobody had looked at yet.
    record = opened(mine)
    assert len(first.submitted) == len(record.rows()) == interrupt_at - 1
    assert all(trial.state.is_finished() for trial in record.study.trials)  # nothing half done
    second = Executing(slots, is_forgetful=is_forgetful)
    run(mine, second)
    assert len({*first.submitted, *second.submitted}) == 8
    assert len([*first.submitted, *second.submitted]) == 8
    assert_equal(tables(mine), expected)


def test_a_search_goes_on_in_the_middle_of_a_training_and_leaves_no_checkpoint(
    tmp_path: Path, expected: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the seventh of ten steps of the second training."""
    recipe = tiny_recipe(checkpoint_minutes=1e-9)
    mine = tiny_run(tmp_path, num_seeds=2, recipe=recipe)
    advance, taken = Steps.advance, 0

    def advance_or_stop(self: Steps) -> None:
        nonlocal taken
        if taken == 17:
            taken += 1  # once
            raise KeyboardInterrupt
        taken += 1
        advance(self)

    monkeypatch.setattr(Steps, "advance", advance_or_stop)
    with pytest.raises(KeyboardInterrupt):
        run(mine, mine.executor)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    run(mine, mine.executor)
    assert taken == 8 * 10 + 1  # no step was done twice
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert_equal(tables(mine), expected)


@pytest.mark.parametrize("sampler", [None, Grid(), TPE, Backwards()], ids=str)
@pytest.mark.parametrize("slots", [1, 3])
def test_samplers_and_slots_change_the_order_and_nothing_else(
    tmp_path: Path,
    expected: tuple[pd.DataFrame, pd.DataFrame],
    sampler: Sampler | None,
    slots: int,
) -> None:
    mine = tiny_run(tmp_path, num_seeds=2)
    run(mine, Executing(slots), sampler)
    assert_equal(tables(mine), expected)


def test_more_seeds_can_be_asked_for_later(
    tmp_path: Path, expected: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    run(tiny_run(tmp_path))
    executor = Executing()
    run(tiny_run(tmp_path, num_seeds=2), executor)
    assert [seed for _, seed, *_ in executor.submitted] == [1, 1, 1, 1]
    assert_equal(tables(tiny_run(tmp_path)), expected)


def test_a_failing_training_is_a_row_and_the_search_goes_on(
    mine: Run, caplog: pytest.LogCaptureFixture
) -> None:
    trials = mine.experiment.trials(tiny_plan())
    trials[1] = replace(trials[1], dataset=Faulty("raise"))
    search, printed = run(mine, trials=trials)
    results, curves = tables(mine)
    assert results["state"].tolist() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert results["reason"][1].startswith("RuntimeError: loaded by process")
    assert math.isnan(results["val_loss"][1])
    assert set(curves["candidate"]) == {0, 2, 3}
    assert "failed: RuntimeError: loaded by process" in printed.splitlines()[1]
    assert "and a second line" in caplog.text  # the whole traceback is in the log
    assert search.stopped == "all trainings are done"
    # It is not tried again where that is not asked for.
    executor = Executing()
    run(mine, executor, trials=trials)
    assert executor.submitted == []


def test_what_short_memory_made_of_a_training_is_told_in_the_log(
    mine: Run, caplog: pytest.LogCaptureFixture
) -> None:
    class Short(Executing):
        def submit(self, trial: Trial) -> Future[TrialResult]:
            future: Future[TrialResult] = Future()
            result = trained(trial)
            if trial.candidate.number == 2:
                result = replace(result, had_to_be_alone=True, micro_batches=4)
            future.set_result(result)
            return future

    run(mine, Short())
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 2
    assert told[0].endswith("did not fit beside others on its device, trained again alone")
    assert told[1].endswith(
        "a batch did not fit and was taken in 4 parts, which changes batch norm"
    )


def test_inline_a_search_ends_with_its_device_and_the_next_goes_on(
    tmp_path: Path, expected: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    mine = tiny_run(tmp_path, num_seeds=2)
    trials = mine.experiment.trials(tiny_plan())
    with pytest.raises(RuntimeError, match="must be usable, got 'RuntimeError: CUDA error: "):
        run(
            mine,
            Inline(device="cpu", retries=1),
            trials=[*trials[:2], replace(trials[2], dataset=Faulty("break")), *trials[3:]],
            retries=1,
        )
    executor = Executing()
    run(mine, executor)
    assert trials[2].key in executor.submitted
    assert 0 < len(executor.submitted) < 8
    assert_equal(tables(mine), expected)


@pytest.mark.slow
def test_a_device_that_fails_under_one_training_fails_no_other(mine: Run) -> None:
    trials = mine.experiment.trials(tiny_plan())
    trials[1] = replace(trials[1], dataset=Faulty("break"))
    workers = Processes(device="cpu", workers_per_device=2, retries=5, timeout_minutes=None)
    search, printed = run(mine, workers, trials=trials, retries=5)
    assert [search.finished[trial.key].state for trial in trials] == ["COMPLETE", "FAIL"] + [
        "COMPLETE"
    ] * 2
    assert [search.finished[trial.key].attempts for trial in trials] == [1, 2, 1, 1]
    assert printed.count("failed and is tried again: RuntimeError: CUDA error") == 1


@pytest.mark.parametrize("slots", [1, 3])
def test_a_lost_worker_is_a_failed_training_and_the_search_goes_on(mine: Run, slots: int) -> None:
    trials = mine.experiment.trials(tiny_plan())
    run(mine, Executing(slots, lost={trials[2].key: 1}))
    results, _ = tables(mine)
    assert results["state"].tolist() == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert results["reason"][2] == "worker lost: killed by signal 9"


@dataclass
class Lying(Executing):
    """Sends something else than the result of the second training."""

    lie: Callable[[TrialResult], TrialResult] = lambda result: result

    def submit(self, trial: Trial) -> Future[TrialResult]:
        future = super().submit(trial)
        if len(self.submitted) != 2:
            return future
        sent: Future[TrialResult] = Future()
        sent.set_result(self.lie(future.result()))
        return sent


def with_scores(result: TrialResult, **scores: float) -> TrialResult:
    *earlier, last = result.curve
    return replace(result, curve=(*earlier, replace(last, **scores)))


LIES: list[tuple[str, Callable[[TrialResult], TrialResult]]] = [
    ("another training", lambda result: replace(result, trial=replace(result.trial, seed=7))),
    ("missing or cannot be", lambda result: replace(result, curve=())),
    ("missing or cannot be", lambda result: replace(result, curve=result.curve * 2)),
    ("missing or cannot be", lambda result: with_scores(result, val_loss=math.nan)),
    ("missing or cannot be", lambda result: with_scores(result, train_loss=math.inf)),
    ("missing or cannot be", lambda result: with_scores(result, val_accuracy=7.0)),
    ("negative duration", lambda result: replace(result, train_seconds=-1.0)),
]


@pytest.mark.parametrize(("said", "lie"), LIES)
def test_what_cannot_be_the_result_of_a_training_is_its_failure(
    mine: Run, said: str, lie: Callable[[TrialResult], TrialResult]
) -> None:
    run(mine, Lying(lie=lie))
    rows = sorted(opened(mine).rows(), key=lambda row: str(row["state"]))
    assert [row["state"] for row in rows] == ["COMPLETE"] * 3 + ["FAIL"]
    assert re.fullmatch(f"WrongResultError: .* sent .*{said}", str(rows[3]["reason"]))


@pytest.mark.parametrize("slots", [1, 3])
def test_a_lost_training_is_tried_again_and_ends_as_if_nothing_had_been(
    tmp_path: Path, expected: tuple[pd.DataFrame, pd.DataFrame], slots: int
) -> None:
    mine = tiny_run(tmp_path, num_seeds=2)
    often, once = (t.key for t in mine.experiment.trials(tiny_plan())[2:4])
    executor = Executing(slots, lost={often: 2, once: 1})
    search, printed = run(mine, executor, retries=2)
    assert len(executor.submitted) == 8 + 3
    assert_equal(tables(mine), expected)
    assert {k: r.attempts for k, r in search.finished.items() if r.attempts > 1} == {
        often: 3,
        once: 2,
    }
    assert printed.count("failed and is tried again: worker lost: killed by signal 9") == 3


def test_a_training_is_tried_again_as_often_as_asked_and_no_more(mine: Run) -> None:
    key = mine.experiment.trials(tiny_plan())[2].key
    executor = Executing(lost={key: 99})
    search, _ = run(mine, executor, retries=2)
    assert executor.submitted.count(key) == 3
    assert (search.finished[key].state, search.finished[key].attempts) == ("FAIL", 3)
    # As many more as are allowed later, and where it passes the failure is gone from all tables.
    executor = Executing(lost={key: 1})
    search, printed = run(mine, executor, retries=4)
    assert executor.submitted == [key, key]
    assert (search.finished[key].state, search.finished[key].attempts) == ("COMPLETE", 5)
    assert tables(mine)[0]["state"].tolist() == ["COMPLETE"] * 4
    assert printed.splitlines()[-1].startswith("4/4")


def test_a_training_that_diverged_is_not_tried_again(mine: Run) -> None:
    wild = tiny_recipe(learning_rate=1e30, warmup_epochs=0.0)
    trials = [replace(t, recipe=wild) for t in mine.experiment.trials(tiny_plan())[:2]]
    executor = Executing()
    for _ in range(2):
        run(mine, executor, trials=trials, retries=5)
    assert executor.submitted == [trial.key for trial in trials]
    assert tables(mine)[0]["state"].tolist() == ["FAIL", "FAIL"]


@pytest.mark.parametrize(("fault", "times"), [("raise", 2), ("break", 2), ("crash", 6)])
def test_what_fails_the_same_way_twice_is_not_tried_a_third_time(
    mine: Run, fault: str, times: int
) -> None:
    """Each try has another process id in its reason; a worker that is lost can be luck."""
    trials = mine.experiment.trials(tiny_plan())[:2]
    lost = {trials[1].key: 99}
    if fault != "crash":
        trials[1], lost = replace(trials[1], dataset=Faulty(fault)), {}  # type: ignore[arg-type]  # a literal
    executor = Executing(lost=lost, is_forgetful=True)
    search, printed = run(mine, executor, trials=trials, retries=5)
    assert executor.submitted.count(trials[1].key) == times
    assert search.finished[trials[1].key].attempts == times
    assert printed.count("failed and is tried again") == times - 1


def test_a_command_tries_once_more_what_failed_the_same_way_under_another(
    mine: Run,
) -> None:
    trials = mine.experiment.trials(tiny_plan())[:2]
    trials[1] = replace(trials[1], dataset=Faulty("raise"))
    run(mine, trials=trials, retries=1)
    executor = Executing(is_forgetful=True)
    run(mine, executor, trials=trials, retries=5)
    assert executor.submitted == [trials[1].key]
    mended, _ = run(mine, trials=mine.experiment.trials(tiny_plan())[:2], retries=5)
    assert [result.state for result in mended.finished.values()] == ["COMPLETE", "COMPLETE"]


def test_too_many_failures_end_the_search_with_the_commonest_reason(
    mine: Run,
) -> None:
    mine = changed(mine, num_seeds=3)
    trials = mine.experiment.trials(tiny_plan())
    trials[0] = replace(trials[0], recipe=tiny_recipe(learning_rate=1e30, warmup_epochs=0.0))
    lost = {trial.key: 1 for trial in trials[2:]}
    search, _ = run(mine, Executing(lost=lost), trials=trials, failed_share=0.4)
    assert len(search.finished) == 4
    assert search.stopped == (
        "limits.failed_share=0.4 is exceeded: 3 of 4 trainings failed, most often (2): worker "
        "lost: killed by signal 9"
    )
    executor = Executing()
    search, _ = run(mine, executor, trials=trials, failed_share=0.4)
    assert executor.submitted == []  # nothing is different
    search, _ = run(mine, executor, trials=trials, failed_share=0.4, retries=1)
    assert len(executor.submitted) == 8 + 2
    assert search.stopped == "all trainings are done"


@pytest.mark.parametrize(("share", "number"), [(0.0, 1), (0.5, 3), (0.79, 4), (1.0, 8)])
def test_a_few_failures_are_no_share_of_many(mine: Run, share: float, number: int) -> None:
    trials = changed(mine, num_seeds=2).experiment.trials(tiny_plan())
    lost = {trial.key: 1 for trial in trials}
    search, _ = run(mine, Executing(lost=lost), trials=trials, failed_share=share)
    assert len(search.finished) == number


class Joining(Executing):
    """Has no slot until it was asked some times, as a cluster without nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.num_asked = 0

    @property
    def slots(self) -> int:
        self.num_asked += 1
        return 2 if self.num_asked > 4 else 0

    @slots.setter
    def slots(self, value: int) -> None:
        pass


def test_a_search_waits_for_slots(
    tmp_path: Path, expected: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_loop, "POLL_SECONDS", 0.01)
    mine = tiny_run(tmp_path, num_seeds=2)
    run(mine, Joining())
    assert_equal(tables(mine), expected)


class Signalled(Executing):
    """Sends itself a signal when it is given its third training, and goes on with it."""

    def submit(self, trial: Trial) -> Future[TrialResult]:
        future = super().submit(trial)
        if len(self.submitted) == 3:
            signal.raise_signal(signal.SIGTERM)
        return future


def test_sigterm_ends_a_search_as_ctrl_c_does(
    tmp_path: Path, expected: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    mine = tiny_run(tmp_path, num_seeds=2)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(mine, Signalled())
    assert signal.getsignal(signal.SIGTERM) == before
    assert len(opened(mine).rows()) == 3  # what has ended is there
    assert opened(mine).stopped == "interrupted"
    run(mine)
    assert_equal(tables(mine), expected)


def test_storage_that_is_locked_for_a_while_is_waited_for(
    tmp_path: Path, expected: tuple[pd.DataFrame, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tiny_run(tmp_path, num_seeds=2)
    record = Record(f"sqlite:///{tmp_path}/study.db?timeout=0.1", "tiny", VAL_LOSS)
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    search = TrainingLoop(mine.experiment.trials(tiny_plan()), record, provenance=PROVENANCE)
    other.execute("BEGIN EXCLUSIVE")
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            other.execute("ROLLBACK")

    monkeypatch.setattr("scaling_search.runtime.interruption.sleep", sleep)
    printed = io.StringIO()
    search.run(None, Executing(), View(Console(file=printed, width=300), VAL_LOSS))
    other.close()
    assert naps == [1.0, 2.0, 4.0]  # seconds, longer each time
    assert printed.getvalue().count("database is locked") == 3
    rows = record.rows()
    assert_equal((results_table(rows).drop(columns=list(VOLATILE)), curves_table(rows)), expected)


@pytest.mark.parametrize(("slots", "limit"), [(1, 1), (1, 3), (3, 2), (3, 4)])
def test_a_limit_counts_all_that_the_record_holds(mine: Run, slots: int, limit: int) -> None:
    run(mine, trainings=1)
    executor = Executing(slots)
    search, _ = run(mine, executor, trainings=limit)
    assert len(executor.submitted) == limit - 1
    assert len(opened(mine).rows()) == limit
    assert search.stopped == (
        f"limits.trainings={limit} is reached" if limit < 4 else "all trainings are done"
    )


def test_the_inline_executor_gives_the_same_tables(
    tmp_path: Path, expected: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    mine = tiny_run(tmp_path, num_seeds=2)
    run(mine, mine.executor, mine.experiment.sampler)
    assert_equal(tables(mine), expected)


def test_a_limit_that_is_reached_trains_nothing(mine: Run) -> None:
    run(mine, trainings=2)
    executor = Executing()
    search, _ = run(mine, executor, trainings=2)
    assert executor.submitted == []
    assert search.stopped == "limits.trainings=2 is reached"


def test_hours_that_are_over_hand_out_nothing_more(mine: Run) -> None:
    executor = Executing()
    search, _ = run(mine, executor, hours=1e-12)
    assert executor.submitted == []
    assert search.stopped == "limits.hours=1e-12 is reached"
    search, _ = run(mine, executor, hours=1.0)
    assert search.stopped == "all trainings are done"


def test_hours_of_a_device_count_what_the_record_holds(mine: Run) -> None:
    run(mine, trainings=2)
    used = gpu_hours(list(opened(mine).results_of(mine.experiment.trials(tiny_plan())).values()))
    assert 0 < used < 1
    executor = Executing()
    search, _ = run(mine, executor, gpu_hours=used)
    assert executor.submitted == []
    assert search.stopped == f"limits.gpu_hours={used:g} is reached"
    search, _ = run(mine, gpu_hours=1.0)
    assert search.stopped == "all trainings are done"


def test_a_training_counts_for_its_part_of_the_device(mine: Run) -> None:
    search, _ = run(mine)  # each takes half of one
    results = list(search.finished.values())
    assert {result.device_share for result in results} == {0.5}
    total = sum(result.total_seconds for result in results)
    assert gpu_hours(results) == pytest.approx(total / 2 / 3600)
    assert opened(mine).rows()[0]["device_share"] == 0.5


def test_the_record_says_why_the_last_command_ended(mine: Run) -> None:
    assert opened(mine).stopped == ""
    run(mine, trainings=1)
    assert opened(mine).stopped == "limits.trainings=1 is reached"
    run(mine)
    assert opened(mine).stopped == "all trainings are done"


@pytest.mark.parametrize("slots", [1, 3])
def test_a_sampler_can_end_the_search(mine: Run, slots: int) -> None:
    search, _ = run(mine, Executing(slots), Backwards(num_wanted=3))
    assert len(search.finished) == 3
    assert search.stopped == "the sampler has ended the search"
    results, _ = tables(mine)
    assert results["candidate"].tolist() == [1, 2, 3]


def test_known_results_count_as_done_and_are_not_recorded_again(mine: Run) -> None:
    trials = mine.experiment.trials(tiny_plan())
    known = [ended(trials[1], 2.0), ended(trials[3], 1.9)]
    executor = Executing()
    search, printed = run(mine, executor, known=known)
    assert executor.submitted == [trials[0].key, trials[2].key]
    assert search.finished[trials[3].key] == known[1]
    assert tables(mine)[0]["candidate"].tolist() == [0, 2]
    assert printed.startswith("3/4  base network")


def test_its_own_record_counts_more_than_known_results(mine: Run) -> None:
    search, _ = run(mine)
    key = mine.experiment.trials(tiny_plan())[1].key
    own = search.finished[key]
    again, _ = run(mine, known=[ended(own.trial, 9.0)])
    assert again.finished[key].curve == own.curve


def test_a_record_that_cannot_be_written_ends_the_search(
    mine: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaling_search.record.storage.PATIENCE_SECONDS", 0.5)
    search = TrainingLoop(mine.experiment.trials(tiny_plan()), opened(mine), provenance=PROVENANCE)
    executor = Executing()
    (mine.folder / "study.log").unlink()
    mine.folder.rmdir()
    view = View(Console(file=io.StringIO()), mine.experiment.metric)
    with pytest.raises(RuntimeError, match="storage must be readable and writable"):
        search.run(Grid(), executor, view)
    assert len(executor.submitted) == 1
    assert not executor.is_open
