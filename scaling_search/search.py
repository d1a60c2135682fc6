"""The loop of a search: choose, submit, record, until nothing remains."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from datetime import UTC, datetime

from scaling_search.progress import View, describe
from scaling_search.protocols import Executor, Sampler
from scaling_search.stopping import Stopping
from scaling_search.study import Record
from scaling_search.training import Trial, TrialResult, first_by_seed

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

    @property
    def remaining(self) -> list[Trial]:
        """Trainings without a result, by candidate and seed."""
        return [trial for trial in self.trials if trial.key not in self.finished]

    def run(
        self,
        sampler: Sampler | None,
        executor: Executor,
        view: View,
        stopping: Stopping | None = None,
    ) -> None:
        """Trains until nothing remains, the sampler ends it or a limit is reached.

        Without a sampler all trainings are done, seed by seed. At a limit nothing more is handed
        out; what is in flight ends.
        On KeyboardInterrupt what has ended is recorded before it goes on its way.
        """
        running: Running = {}
        with executor, view:
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
            in_flight = sorted(running.values(), key=_by_order)
            taken = {trial.key for trial in in_flight}
            remaining = [trial for trial in self.remaining if trial.key not in taken]
            if not remaining:
                self.stopped = "all trainings are done"
                break
            finished = sorted(self.finished.values(), key=lambda result: result.trial.order)
            if stopping is not None and (reached := stopping.reached(finished, len(running))):
                self.stopped = reached
                break
            if sampler is None:
                trial: Trial | None = first_by_seed(remaining)
            else:
                trial = sampler.choose(remaining, in_flight, finished)
            if trial is None:
                self.stopped = "the sampler wants no more"
                break
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
        for future in sorted(done, key=lambda f: running[f].order):
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
            _log(result)
            view.ended(result)


def _by_order(trial: Trial) -> tuple[int, int]:
    return trial.order


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
