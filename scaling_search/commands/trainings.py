"""Trainings of commands: limits, live view, log, and reports of failures."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from scaling_search.answer.stopping import Stopping, told_failures
from scaling_search.commands.data_sheet import fingerprint_of
from scaling_search.commands.run import Run, by_candidate
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.core.candidate import Candidate
from scaling_search.core.protocols import Sampler
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.formatting import count
from scaling_search.display.progress import View
from scaling_search.display.terminal import price_sentence, say, tell
from scaling_search.record.record import Record
from scaling_search.record.results import Row
from scaling_search.record.schema import START_KEY
from scaling_search.runtime.files import open_unlinked
from scaling_search.runtime.lock import RunLock
from scaling_search.runtime.passwords import without_password
from scaling_search.runtime.visible_text import visible
from scaling_search.training.price import price
from scaling_search.training.weights import check_keepable, lacks_weights


def train(
    run: Run,
    loop: TrainingLoop,
    sampler: Sampler | None,
    hold: RunLock,
    *,
    others: Sequence[Row] = (),
    since: float | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Runs the trainings of a loop within the limits, with a live view and a log.

    Args:
        run: The search.
        loop: The trainings.
        sampler: Chooses the next one; None for all, the longest first.
        hold: The folder's lock.
        others: Rows of further trainings that count for the limits.
        since: Start of the command, by `time.monotonic`; None for now.
        names: Names of networks by `Candidate.network`; None for their numbers.

    Raises:
        RuntimeError: Too many trainings failed, or another command has taken the folder over.
    """
    experiment, console = run.experiment, run.console
    target = experiment.candidates.target
    stopping = Stopping(run.limits, loop.record, target, others=others, since=since)
    view = View(console, experiment.metric, names)
    with logged(run):
        loop.run(sampler, run.executor, view, stopping=stopping, check=hold.check)
    if stopping.gave_up:
        raise RuntimeError(
            f"{loop.stopped}; {remedy(loop.recorded)}, or ignore failures with "
            "limits.failed_share=1"
        )
    say_failures(console, loop)
    ended = [result.trial for result in loop.finished.values() if result.state == "COMPLETE"]
    if without := sum(lacks_weights(trial) for trial in ended):
        said = (
            f"{without} of {count(len(ended), 'finished training')} left no weights in this "
            "folder: they ended before keep_weights or on a machine without it. To train the "
            f"members again for them: {run.next('export', 'export.train=true')}"
        )
        say(console, [said])
    tell(console, f"{loop.stopped}; its page and tables: {run.next('report')}")


def say_failures(console: Console, loop: TrainingLoop) -> None:
    """Prints the number of failed trainings and why they failed.

    Raises:
        RuntimeError: All failed.
    """
    recorded = loop.recorded
    if not (failed := told_failures(recorded)):
        return
    if any(result.state == "COMPLETE" for result in recorded):
        tell(console, f"{failed}; search.log has the tracebacks")
        return
    raise RuntimeError(f"{failed}; nothing to report; {remedy(recorded)}")


def remedy(results: Iterable[TrialResult]) -> str:
    """Advice after failed trainings."""
    failed = [result for result in results if result.state == "FAIL"]
    if all(result.is_divergent for result in failed):
        return "use another recipe and another out="
    retries = max(result.attempts for result in failed)
    return (
        "search.log has the tracebacks; fix the cause and run the same command with "
        f"executor.retries={retries}, which repeats failed trainings"
    )


def searched(run: Run) -> list[Candidate]:
    """The networks of a run's search, after a check that more can be trained in the same way.

    Raises:
        ValueError: The configuration or the data are not the record's, or the learning rate is
            still open.
        RuntimeError: There is no record, or the data are missing or damaged.
    """
    if run.experiment.recipe.is_open:
        raise ValueError(
            "recipe.learning_rate must be a number after the search, got auto; run the same "
            f"search on out={run.out} to its end"
        )
    dataset = run.experiment.ready_dataset()
    run.check_executor()
    check_weights(run)
    networks = run.networks
    run.check_choices(fingerprint_of(dataset))
    return networks


def check_weights(run: Run) -> None:
    """Checks that weights can be kept, where they are asked for.

    Raises:
        ValueError: They cannot.
    """
    if run.keep_weights and run.experiment.training is not None:
        raise ValueError(
            f"keep_weights must be false with training={run.experiment.training}, got true; "
            "let it write them into its folder, with training.keep=true"
        )
    if run.keep_weights:
        check_keepable(run.experiment.base_network)


def placed(run: Run, trials: Iterable[Trial]) -> list[Trial]:
    """Trainings with the folders of their checkpoints and weights, and the data's fingerprint."""
    folder = run.folder.resolve()
    is_own = run.experiment.training is not None
    kept = "trainings" if is_own else "checkpoints"
    has_folder = is_own or run.experiment.recipe.checkpoint_minutes is not None
    fingerprint = run.record.fingerprint if run.studies.is_begun else ""
    start = str(run.record.choices.get(START_KEY, "")) if run.studies.is_begun else ""
    return [
        replace(
            trial,
            checkpoints=folder / kept if has_folder else None,
            weights=folder / "weights" if run.keep_weights else None,
            fingerprint=fingerprint,
            start=start,
            place=Path.cwd() if is_own else None,
        )
        for trial in trials
    ]


def train_more(
    run: Run,
    trials: Sequence[Trial],
    command: str,
    *,
    price_only: bool,
    begin: Callable[[Record], None] = lambda _: None,
    names: Mapping[str, str] | None = None,
) -> list[TrialResult] | None:
    """Prints the price of a command's trainings and runs those that the search has not done.

    Args:
        run: A search that `searched` has checked; the price follows from its times.
        trials: All trainings of the command, those of the search and of its check too.
        command: Name of the command, which has a study of its own.
        price_only: True to print the price and train nothing.
        begin: Writes to the record before the first training, once the folder is locked.
        names: Names of networks by `Candidate.network`; None for their numbers.

    Returns:
        The results of all trials, by candidate and seed; None if ``price_only`` or a limit was
        reached.
    """
    executor = run.executor
    trials = placed(run, trials)
    searched_too = [trial for trial in trials if not trial.on_test]
    known = run.known(searched_too)
    record = run.studies.beyond(command)
    done = [] if record is None else record.results_of(trials).values()
    cost = price(
        trials,
        [*run.finished, *known, *done],
        known=[*known, *done],
        slots=executor.slots,
        device_share=executor.device_share,
    )
    say(run.console, [price_sentence(cost, executor.slots)])
    if price_only:
        return None
    record = run.studies.begun(command)
    with RunLock(run.folder) as lock:
        record.hold(lock)
        begin(record)
        # Another command may have trained some of them since the price was printed.
        last = TrainingLoop(
            trials, record, provenance=provenance(), known=known, retries=executor.retries
        )
        if last.remaining:
            train(run, last, None, lock, names=names)
        else:
            say_failures(run.console, last)
    return None if last.remaining else sorted(last.finished.values(), key=by_candidate)


def provenance() -> dict[str, object]:
    """Version of this package and commit of its checkout, as columns of results."""
    root = Path(__file__).resolve().parents[2]
    # Variables of git, and folders above, are of other work trees.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    commit = ""
    with suppress(OSError):  # git is not installed
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--match=-"],
            cwd=root,
            env=own | {"GIT_CEILING_DIRECTORIES": str(root.parent)},
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    return {"version": version("scaling-search"), "commit": commit}


class _Lines(logging.Formatter):
    """Entries without passwords and control characters; lines but the first are indented."""

    default_time_format = "%Y-%m-%d %H:%M:%S%z"  # the hour that comes twice in autumn is two
    default_msec_format = None

    def format(self, record: logging.LogRecord) -> str:
        text = visible(without_password(super().format(record)), keep="\n\t")
        return text.replace("\n", "\n    ")


class _Log(logging.FileHandler):
    """A file that is opened through no link, and whose failures end nothing.

    Attributes:
        failure: The last error of writing, None if there was none.
    """

    failure: OSError | None = None

    def _open(self) -> Any:
        return open_unlinked(Path(self.baseFilename), "a", encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError as error:  # it cannot be opened
            self.failure = error

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.failure = error

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logged(run: Run) -> Iterator[None]:
    """Appends the package's log to ``search.log`` in a run's folder; says if that failed."""
    handler = _Log(run.folder / "search.log", delay=True)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("scaling_search")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()
        if handler.failure is not None:
            say(run.console, [f"search.log is incomplete: {handler.failure.strerror}"])
