"""Trainings of commands: within limits, with a live view and a log, failures reported."""

import logging
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from scaling_search.answer.stopping import Stopping, told_failures
from scaling_search.commands.run_folder import (
    Call,
    Searched,
    begun_follow_up,
    by_candidate,
    follow_up,
    on_these_data,
)
from scaling_search.formatting import count
from scaling_search.lock import RunLock
from scaling_search.passwords import without_password
from scaling_search.progress import View
from scaling_search.protocols import Sampler
from scaling_search.search import Search
from scaling_search.terminal import price_sentence, say, tell
from scaling_search.training.price import price
from scaling_search.training.trial import Trial, TrialResult
from scaling_search.training.weights import lacks_weights


def train(call: Call, search: Search, sampler: Sampler | None, lock: RunLock) -> None:
    """Does the trainings of a search within the limits, with a live view and a log."""
    experiment, console = call.experiment, call.console
    target = experiment.candidates.target
    stopping = Stopping(experiment.limits, search.record, target, lock.lost.is_set)
    with logged(Path(experiment.out)):
        search.run(
            sampler, experiment.executor, View(console, experiment.objective), stopping=stopping
        )
    if stopping.gave_up:
        raise RuntimeError(
            f"{search.stopped}; {remedy(search.recorded)}, or go on regardless with "
            "limits.failed_share=1"
        )
    say_failures(console, search)
    ended = [result.trial for result in search.finished.values() if result.state == "COMPLETE"]
    if without := sum(lacks_weights(trial) for trial in ended):
        said = (
            f"{without} of {count(len(ended), 'finished training')} left no weights here, being "
            "from before keep_weights or on machines without this folder; this trains the members "
            f"again for them: {call.next('export', 'export.train=true')}"
        )
        say(console, [said])
    tell(console, f"{search.stopped}; next: {call.next('report')}")


def say_failures(console: Console, search: Search) -> None:
    """Says how many trainings failed and why, where some did.

    Raises:
        RuntimeError: All did.
    """
    recorded = search.recorded
    if not (failed := told_failures(recorded)):
        return
    if any(result.state == "COMPLETE" for result in recorded):
        tell(console, f"{failed}; search.log has the tracebacks")
        return
    raise RuntimeError(f"{failed}; nothing to report; {remedy(recorded)}")


def remedy(results: Iterable[TrialResult]) -> str:
    """A sentence on how to go on where trainings failed."""
    failed = [result for result in results if result.state == "FAIL"]
    if all(result.is_divergent for result in failed):
        return "take another recipe and another out="
    retries = max(result.attempts for result in failed)
    return (
        "search.log has the tracebacks; mend the cause and run the same command with "
        f"executor.retries={retries}, which tries again what failed"
    )


def train_more(
    call: Call, trials: Sequence[Trial], command: str, before: Searched
) -> list[TrialResult] | None:
    """Says what trainings beyond the search cost and does those not known from it, seed by seed.

    Args:
        call: The command's.
        trials: All of them, those that the search has done too.
        command: Its name; the others are kept in the study of `follow_up`.
        before: The search, whose times say the price.

    Returns:
        The results of all trials, by candidate and seed; None where only the price was asked or a
        limit came first.
    """
    experiment = call.experiment
    retries = experiment.executor.retries
    trials = on_these_data(trials, before.record)
    searched_too = [trial for trial in trials if not trial.on_test]
    known = list(before.record.results_of(searched_too).values())
    record = follow_up(experiment, command)
    done = [] if record is None else record.results_of(trials).values()
    cost = price(
        trials,
        [*before.finished, *known, *done],
        known=[*known, *done],
        slots=experiment.executor.slots,
        device_share=experiment.executor.device_share,
    )
    say(call.console, [price_sentence(cost, experiment.executor.slots)])
    if experiment.price_only:
        return None
    record = begun_follow_up(experiment, command)

    def search() -> Search:
        return Search(trials, record, provenance=provenance(), known=known, retries=retries)

    if (last := search()).remaining:
        with RunLock(Path(experiment.out)) as lock:
            # What another command has trained since the price was said is not trained again.
            train(call, last := search(), None, lock)
    else:
        say_failures(call.console, last)
    if last.remaining:
        return None
    return sorted(last.finished.values(), key=by_candidate)


def provenance() -> dict[str, object]:
    """Version of this package and commit of its checkout, which made the results."""
    root = Path(__file__).resolve().parent.parent
    described = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--match=-"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {"version": version("scaling-search"), "commit": described.stdout.strip()}


class _WithoutPasswords(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_password(super().format(record))


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Appends the package's log to ``search.log`` in a run's folder."""
    handler = logging.FileHandler(folder / "search.log", encoding="utf-8")
    handler.setFormatter(_WithoutPasswords("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("scaling_search")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()
