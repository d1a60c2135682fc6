"""The loop of a search: choose, submit, record, until nothing remains."""

import bisect
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from datetime import UTC, datetime

from scaling_search.price import longest_of_round
from scaling_search.progress import View, describe
from scaling_search.protocols import Executor, Sampler
from scaling_search.stopping import Stopping
from scaling_search.study import Record
from scaling_search.training import Trial, TrialResult

log = logging.getLogger(__name__)

Running = dict[Future[TrialResult], Trial]


class Search:
    """Trainings to be done, what was done of them, and where results go.

    Attributes:
        trials: All trainings, by candidate and seed.
        finished: Results by the trial's key, those of earlier commands too.
        stopped: Why it ended, once it has.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        record: Record,
        *,
        provenance: Mapping[str, object],
        known: Sequence[TrialResult] = (),
    ) -> None:
        """Reads what was done before; ``known`` are results from elsewhere that count as done."""
        self.trials = trials
        self.record = record
        self.provenance = provenance
        self.finished = {r.trial.key: r for r in known} | record.results_of(trials)
        self.stopped = ""
        # Kept in order as trainings come and go: sorting all of them anew for each would take the
        # longer the more there are.
        self._ended = sorted(self.finished.values(), key=_order_of_result)
        self._left = sorted((t for t in trials if t.key not in self.finished), key=_order)

    @property
    def remaining(self) -> list[Trial]:
        """Trainings without a result, in the canonical order."""
        return [trial for trial in self.trials if trial.key not in self.finished]

    def run(
        self,
        sampler: Sampler | None,
        executor: Executor,
        view: View,
        stopping: Stopping | None = None,
    ) -> None:
        """Trains until nothing remains, the sampler ends it or a limit is reached.

        Without a sampler all trainings are done, seed by seed, the longest of a seed first. At a
        limit nothing more is handed out; what is in flight ends.
        On KeyboardInterrupt what has ended is recorded before it goes on its way.
        """
        running: Running = {}
        with executor:
            if self._left:
                executor.prepare(self._left)
            with view:
                view.begin(self.trials, self.finished.values(), executor.slots)
                try:
                    while self._fill(running, sampler, executor, view, stopping):
                        done, _ = wait(running, return_when=FIRST_COMPLETED)
                        self._collect(running, done, executor, view)
                except KeyboardInterrupt:
                    self._collect(running, {f for f in running if f.done()}, executor, view)
                    raise
        self.record.stop(self.stopped)
        log.info("ended: %s", self.stopped)

    def _fill(
        self,
        running: Running,
        sampler: Sampler | None,
        executor: Executor,
        view: View,
        stopping: Stopping | None,
    ) -> bool:
        """Hands out trainings while there are slots; False when none is in flight any more."""
        while len(running) < executor.slots:
            if not self._left:
                self.stopped = "all trainings are done"
                break
            if stopping is not None and (reached := stopping.reached(self._ended, len(running))):
                self.stopped = reached
                break
            if sampler is None:
                trial: Trial | None = longest_of_round(self._left)
            else:
                in_flight = sorted(running.values(), key=_order)
                trial = sampler.choose(self._left, in_flight, self._ended)
            if trial is None:
                self.stopped = "the sampler wants no more"
                break
            del self._left[bisect.bisect_left(self._left, _order(trial), key=_order)]
            view.started(trial)
            running[executor.submit(trial)] = trial
        return bool(running)

    def _collect(
        self,
        running: Running,
        done: set[Future[TrialResult]],
        executor: Executor,
        view: View,
    ) -> None:
        for future in sorted(done, key=lambda f: _order(running[f])):
            trial = running.pop(future)
            error = future.exception()
            if error is None:
                result = replace(future.result(), device_share=executor.device_share)
            else:
                reason = f"worker lost: {error}".splitlines()[0]
                result = TrialResult(trial, "FAIL", reason=reason)
            finished = datetime.now(UTC).isoformat(timespec="seconds")
            self.record.add(result, finished=finished, **self.provenance)
            self.finished[trial.key] = result
            bisect.insort(self._ended, result, key=_order_of_result)
            _log(result)
            view.ended(result)


def _order(trial: Trial) -> tuple[int, int, float, float]:
    """The canonical order; trainings of one network and seed by how they are trained."""
    return *trial.order, trial.recipe.epochs, trial.recipe.learning_rate


def _order_of_result(result: TrialResult) -> tuple[int, int, float, float]:
    return _order(result.trial)


def _log(result: TrialResult) -> None:
    what = f"{describe(result.trial.candidate)} seed {result.trial.seed}"
    if result.state == "COMPLETE":
        last = result.curve[-1]
        log.info(
            "%s: accuracy %.4f, loss %.4f, %.1f s on %s",
            what,
            last.val_accuracy,
            last.val_loss,
            result.total_seconds,
            result.device,
        )
    else:
        log.error("%s: failed: %s\n%s", what, result.reason, result.traceback)
