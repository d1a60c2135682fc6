"""The loop of a search: choose a training, submit it, record its result."""

import bisect
import logging
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from scaling_search.answer.stopping import Stopping
from scaling_search.core.metric import KNOWN
from scaling_search.core.protocols import Executor, Sampler
from scaling_search.core.trial import BY_SIGNAL, Trial, TrialResult, lost
from scaling_search.display.progress import View
from scaling_search.record.record import Record
from scaling_search.runtime import interruption
from scaling_search.runtime.files import remove_file
from scaling_search.runtime.interruption import POLL_SECONDS, Interruption
from scaling_search.training.price import longest_of_round

log = logging.getLogger(__name__)

Running = dict[Future[TrialResult], Trial]


class TrainingLoop:
    """The trainings of a command, with their results.

    Attributes:
        trials: All trainings, by candidate and seed.
        finished: Results by the trial's key, those of earlier commands too.
        stopped: The reason why it ended; empty before it has.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        record: Record,
        *,
        provenance: Mapping[str, object],
        known: Sequence[TrialResult] = (),
        retries: int = 0,
    ) -> None:
        """Reads the results of earlier commands.

        Args:
            trials: All trainings.
            record: The study that results are written to.
            provenance: More columns of every row.
            known: Results of another study, which count as done.
            retries: Number of times that a failed training is tried again, those of earlier
                commands too; not if it diverged or failed twice in the same way.
        """
        self.trials = trials
        self.record = record
        self.provenance = provenance
        self.retries = retries
        before = record.results_of(trials)
        self._tried = {key: result for key, result in before.items() if self._may_pass(result)}
        done = {key: result for key, result in before.items() if key not in self._tried}
        self.finished = {r.trial.key: r for r in known} | done
        self._elsewhere = {r.trial.key for r in known} - set(done)
        self.stopped = ""
        self._again: list[Trial] = []
        self._reasons = Counter(r.kind for r in self.finished.values() if r.state == "FAIL")
        # Kept in order as trainings come and go: sorting all for each would be too slow for many.
        self._ended = sorted(self.finished.values(), key=lambda result: _order(result.trial))
        self._left = sorted((t for t in trials if t.key not in self.finished), key=_order)

    @property
    def recorded(self) -> list[TrialResult]:
        """Results in the record, those of earlier commands too."""
        return [result for key, result in self.finished.items() if key not in self._elsewhere]

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
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Trains until nothing remains, the sampler ends it or a limit is reached.

        Without a sampler all trainings run, seed by seed, the longest of a seed first. At a limit
        nothing more is submitted; trainings in flight end. On KeyboardInterrupt, which SIGTERM
        raises too, finished trainings are recorded before it is raised again. ``check`` raises
        `RuntimeError` once nothing more may be recorded, since another command does.
        """
        running: Running = {}
        with Interruption(), executor:
            if self._left:
                # What it measures are steps of this package's training.
                executor.prepare([one for one in self._left if one.training is None])
            with view:
                view.begin(self.trials, self.finished.values(), executor.slots)
                dispatcher = _Dispatcher(executor, view, check)
                try:
                    while self._fill(running, sampler, dispatcher, stopping):
                        self._collect(running, dispatcher.ended(running), dispatcher)
                except KeyboardInterrupt:
                    if not dispatcher.is_stuck:
                        self._collect(running, {f for f in running if f.done()}, dispatcher)
                        dispatcher.check()
                        self._end("interrupted", dispatcher)
                    raise
            check()
            self._end(self.stopped, dispatcher)
        log.info("ended: %s", self.stopped)

    def _end(self, reason: str, dispatcher: "_Dispatcher") -> None:
        """Records the reason, and once more what the storage has lost."""
        if lost := self.record.stop(reason, pause=dispatcher.pause):
            log.warning("%d trainings were lost by the storage and are recorded again", lost)

    def _fill(
        self,
        running: Running,
        sampler: Sampler | None,
        dispatcher: "_Dispatcher",
        stopping: Stopping | None,
    ) -> bool:
        """Submits trainings while there are slots; False if there is nothing to wait for."""
        while True:
            if not self._left and not self._again:
                self.stopped = "all trainings are done"
                return bool(running)
            if stopping is not None and (
                reached := stopping.reached(self._ended, len(running), self._reasons)
            ):
                self.stopped = reached
                return bool(running)
            if len(running) >= dispatcher.executor.slots:
                return True
            trial = self._again.pop(0) if self._again else self._chosen(running, sampler)
            if trial is None:
                self.stopped = "the sampler has ended the search"
                return bool(running)
            running[dispatcher.submit(trial)] = trial

    def _chosen(self, running: Running, sampler: Sampler | None) -> Trial | None:
        """The next training, removed from those that are left."""
        if sampler is None:
            trial: Trial | None = longest_of_round(self._left)
        else:
            in_flight = sorted(running.values(), key=_order)
            trial = sampler.choose(self._left, in_flight, self._ended, self.record.objective)
        if trial is not None:
            del self._left[bisect.bisect_left(self._left, _order(trial), key=_order)]
        return trial

    def _collect(
        self, running: Running, done: set[Future[TrialResult]], dispatcher: "_Dispatcher"
    ) -> None:
        for future in sorted(done, key=lambda f: _order(running[f])):
            trial = running.pop(future)
            last = self._tried.pop(trial.key, None)
            result = replace(
                _result_of(future, trial),
                device_share=dispatcher.executor.device_share,
                attempts=1 if last is None else last.attempts + 1,
            )
            _log(result, dispatcher.view.describe(trial.candidate))
            if self._may_pass(result, last):
                self._tried[trial.key] = result
                self._again.append(trial)
                dispatcher.view.again(result)
                continue
            dispatcher.check()
            finished = datetime.now(UTC).isoformat(timespec="seconds")
            self.record.add(result, pause=dispatcher.pause, finished=finished, **self.provenance)
            self.finished[trial.key] = result
            self._reasons.update([result.kind] if result.state == "FAIL" else [])
            bisect.insort(self._ended, result, key=lambda ended: _order(ended.trial))
            if trial.checkpoint is not None:
                remove_file(trial.checkpoint)
            _remove_folder(result)
            dispatcher.view.ended(result)

    def _may_pass(self, result: TrialResult, last: TrialResult | None = None) -> bool:
        """True if a failed training is tried again; the try before must have failed otherwise."""
        is_worth_it = result.state == "FAIL" and not result.is_divergent
        if last is not None and not _FROM_OUTSIDE.match(result.reason):
            is_worth_it &= _NUMBER.sub("", result.reason) != _NUMBER.sub("", last.reason)
        return is_worth_it and result.attempts <= self.retries


class _Dispatcher:
    """Submits trainings and waits for them; ``is_stuck`` while the storage cannot be written."""

    def __init__(self, executor: Executor, view: View, check: Callable[[], None]) -> None:
        self.executor = executor
        self.view = view
        self.check = check
        self.is_stuck = False

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Starts a training; one that runs in this process has ended then."""
        interruption.check()
        return self.executor.submit(replace(trial, told=self.view.started(trial)))

    def ended(self, running: Running) -> set[Future[TrialResult]]:
        """Trainings that have ended, after a short wait."""
        self.is_stuck = False
        self.check()
        if not running:
            interruption.sleep(POLL_SECONDS)
            return set()
        interruption.check()
        done, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        # Raises where nothing can be trained any more; none of these has failed by itself then.
        self.view.slots = self.executor.slots
        return done

    def pause(self, reason: str, seconds: float) -> None:
        """Waits until the storage is tried again."""
        self.is_stuck = True
        log.warning("%s; trying again in %.0f s", reason, seconds)
        self.view.note(f"{reason}; trying again in {seconds:.0f} s")
        interruption.sleep(seconds)


def _remove_folder(result: TrialResult) -> None:
    """Removes the folder of a user's training that succeeded, unless it is to be kept."""
    training, folder = result.trial.training, result.trial.folder
    if training is None or folder is None or training.keep or result.state == "FAIL":
        return
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # others are in it
        folder.parent.rmdir()


def _result_of(future: Future[TrialResult], trial: Trial) -> TrialResult:
    """The result of a training, also if its worker was lost."""
    error = future.exception()
    if error is None:
        return _checked(future.result(), trial)
    if isinstance(error, TimeoutError):
        return TrialResult(trial, "FAIL", reason="overdue: longer than executor.timeout_minutes")
    said = next(iter(str(error).splitlines()), "") or type(error).__name__
    return TrialResult(trial, "FAIL", reason=lost(said, getattr(error, "exitcode", None)))


def _checked(result: TrialResult, trial: Trial) -> TrialResult:
    """The result, or a failure if it cannot be that of the training."""
    if result.own is not None:
        return _checked_own(result, trial)
    test = [] if result.test is None else [result.test.loss, result.test.accuracy]
    scores = [*test, *(score for epoch in result.curve for score in vars(epoch).values())]
    accuracies = [*test[1:], *(epoch.val_accuracy for epoch in result.curve)]
    is_whole = 0 < len(result.curve) < trial.recipe.epochs + 1 and trial.on_test == bool(test)
    can_be = all(map(math.isfinite, scores)) and all(0 <= one <= 1 for one in accuracies)
    if (result.trial.key, result.trial.on_test) != (trial.key, trial.on_test):
        sent = "the result of another training"
    elif result.state == "COMPLETE" and not (is_whole and can_be):
        sent = "scores that are missing or cannot be"
    elif min(result.train_seconds, result.total_seconds) < 0:
        sent = "a negative duration"
    else:
        return replace(result, trial=trial)
    return _wrong(result, trial, sent)


def _checked_own(result: TrialResult, trial: Trial) -> TrialResult:
    """The same for a training of the user's own."""
    scores = result.scores
    has_all = trial.objective.name in scores and all(map(math.isfinite, scores.values()))
    if (result.trial.key, result.trial.on_test) != (trial.key, trial.on_test):
        return _wrong(result, trial, "the result of another training")
    if result.state == "COMPLETE" and not has_all:
        return _wrong(result, trial, "metrics that are missing or cannot be")
    return replace(result, trial=trial)


def _wrong(result: TrialResult, trial: Trial, sent: str) -> TrialResult:
    return TrialResult(trial, "FAIL", reason=f"WrongResultError: {result.host} sent {sent}")


_OUTSIDE = "|".join(map(str, BY_SIGNAL))
_FROM_OUTSIDE = re.compile(rf"overdue|worker lost(?!.*\(exit code (?!-({_OUTSIDE})\b))")
"""Failures from outside a training, after which the same training can succeed."""

_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
"""Numbers that may differ between two equal errors: addresses, process ids, bytes."""


def _order(trial: Trial) -> tuple[int, int, float, float]:
    """The canonical order: seed, candidate, epochs, learning rate."""
    return *trial.order, trial.recipe.epochs, trial.recipe.rate


def _log(result: TrialResult, network: str) -> None:
    what = f"{network} seed {result.trial.seed}"
    if result.had_to_be_alone:
        log.warning("%s: did not fit beside others on its device, trained again alone", what)
    if result.micro_batches > 1:
        told = "%s: a batch did not fit and was taken in %d parts, which changes batch norm"
        log.warning(told, what, result.micro_batches)
    if result.state == "COMPLETE":
        known = [(one.noun, one.name) for one in KNOWN.values() if one.name in result.scores]
        names = known if result.own is None else [(name, name) for name in result.scores]
        told = ", ".join(f"{noun} {result.scores[name]:.4f}" for noun, name in names)
        log.info("%s: %s, %.1f s on %s", what, told, result.total_seconds, result.device)
    else:
        log.error("%s: failed: %s\n%s", what, result.reason, result.traceback)
