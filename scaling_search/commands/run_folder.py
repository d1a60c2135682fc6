"""What commands share: how they are called, and what lies in a run's folder."""

import logging
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from rich.console import Console

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.answer.stopping import Stopping, told_failures
from scaling_search.cells import count
from scaling_search.command_line import as_override, pasted
from scaling_search.experiment import DECIDING, Experiment
from scaling_search.hold import Hold
from scaling_search.passwords import is_hidden, without_password
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Candidate, Plan
from scaling_search.progress import Tracked, View
from scaling_search.protocols import Dataset, Sampler
from scaling_search.record.results import coefficient_table, results_table
from scaling_search.record.study import CROP_KEY, Objective, Record, names, sqlite_url
from scaling_search.search import Search
from scaling_search.terminal import price_sentence, say, tell
from scaling_search.training import batches
from scaling_search.training.price import price
from scaling_search.training.trial import Trial, TrialResult
from scaling_search.training.weights import check_keepable, lacks_weights


@dataclass(frozen=True)
class Call:
    """What a command is called with.

    Attributes:
        experiment: Built and checked.
        options: The same as plain values by key, to be recorded.
        config: The same as YAML, to be kept in the run's folder.
        console: Where to print.
        flags: What another command on the same folder must be given too; `HIDDEN` stands for
            a password.
    """

    experiment: Experiment
    options: Mapping[str, object]
    config: str
    console: Console
    flags: tuple[str, ...] = ()

    def next(self, command: str, *options: str) -> str:
        """Another command on the run's folder, to be pasted into a shell."""
        flags = [flag for flag in self.flags if not is_hidden(flag)]
        said = pasted(command, as_override("out", self.experiment.out), *options, *flags)
        if len(flags) == len(self.flags):
            return said
        return f"{said}, with storage= and its password again"


def storage_of(experiment: Experiment) -> str:
    """Where the record lies."""
    return experiment.storage or sqlite_url(str((Path(experiment.out) / "study.db").resolve()))


def record_of(experiment: Experiment, name: str) -> Record:
    """The study of this name in the experiment's storage, made if it is not there."""
    return Record(storage_of(experiment), name, experiment.objective)


@dataclass(frozen=True)
class Searched:
    """What a finished or interrupted search left in its folder.

    Attributes:
        record: Of its trainings.
        budget: What networks may cost, with what is known of that.
        plan: The networks it chose from.
        finished: Its trainings that ended, by candidate and seed.
        results: The same as a table.
        conclusion: What they say.
    """

    record: Record
    budget: Budget
    plan: Plan
    finished: tuple[TrialResult, ...]
    results: pd.DataFrame
    conclusion: Conclusion

    def found(self, objective: Objective) -> tuple[Candidate, str]:
        """The network to go on with, and why: the surface's, else that of the best mean.

        Raises:
            ValueError: No scaled network has a finished training.
        """
        rows = [candidate.row() for candidate in (self.plan.base, *self.plan.candidates)]
        found = found_number(self.conclusion, pd.DataFrame(rows), self.results, objective)
        if found is None:
            raise ValueError(
                "out must hold a finished training of a scaled network, got none; search "
                "first, or give scale.coefficients"
            )
        number, why = found
        return next(c for c in self.plan.candidates if c.number == number), why


def found_number(
    conclusion: Conclusion, candidates: pd.DataFrame, results: pd.DataFrame, objective: Objective
) -> tuple[int, str] | None:
    """The number of the network to go on with, and why; None without a finished training."""
    if conclusion.answer is not None:
        guess = ", a guess" if conclusion.answer.region.is_everything else ""
        return conclusion.answer.found, f"nearest to the surface's best{guess}"
    table = coefficient_table(candidates, results, objective)
    best = table[table["order"] == 1]
    if best.empty:
        return None
    return int(best["candidate"].iloc[0]), "the best mean, for want of a surface"


def searched(call: Call) -> Searched:
    """The search of a run's folder, after a look whether more can be trained as it was.

    Raises:
        ValueError: The configuration or the data are not the record's.
        RuntimeError: The data are missing or damaged.
    """
    experiment = call.experiment
    dataset = experiment.ready_dataset()
    experiment.executor.check()
    if experiment.keep_weights:
        check_keepable(experiment.base_network)
    record = record_of(experiment, experiment.name)
    record.claim(deciding(call.options, dataset))
    budget = experiment.budget(record.costs, Tracked(call.console, "running networks"))
    plan = experiment.plan(budget)
    record.keep_costs(budget.state)
    finished = record.results_of(experiment.trials(plan)).values()
    results = results_table(record.rows())
    conclusion = conclude(
        results,
        objective=experiment.objective,
        target=experiment.candidates.target,
        delta=experiment.decide.delta,
    )
    in_order = tuple(sorted(finished, key=by_candidate))
    return Searched(record, budget, plan, in_order, results, conclusion)


def train(call: Call, search: Search, sampler: Sampler | None, hold: Hold) -> None:
    """Does the trainings of a search within the limits, with a live view and a log."""
    experiment, console = call.experiment, call.console
    target = experiment.candidates.target
    stopping = Stopping(experiment.limits, search.record, target, hold.lost.is_set)
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
    """How to go on where trainings failed."""
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
        with Hold(Path(experiment.out)) as hold:
            # What another command has trained since the price was said is not trained again.
            train(call, last := search(), None, hold)
    else:
        say_failures(call.console, last)
    if last.remaining:
        return None
    return sorted(last.finished.values(), key=by_candidate)


def on_these_data(trials: Sequence[Trial], searched: Record) -> list[Trial]:
    """The trials, for none but the data that a search's record has."""
    return [replace(trial, fingerprint=searched.fingerprint) for trial in trials]


def by_candidate(result: TrialResult) -> tuple[int, int]:
    """The order of tables: candidate, then seed."""
    return result.trial.candidate.number, result.trial.seed


FOLLOW_UPS = ("scale", "confirm", "fairness", "transfer")
"""Commands that train beyond the search, each into a study of its own."""


def study_name(name: str, command: str) -> str:
    """The name of the study that holds what a command trained beyond the search."""
    return f"{name}-{command}"


def follow_up(experiment: Experiment, command: str) -> Record | None:
    """What a command has trained beyond the search, None before it has begun."""
    name = study_name(experiment.name, command)
    if name not in stored_names(experiment):
        return None
    record = record_of(experiment, name)
    return None if record.is_claimed else record


def begun_follow_up(experiment: Experiment, command: str) -> Record:
    """The same, begun if it is not.

    Raises:
        ValueError: A search of that name is in its place.
    """
    record = record_of(experiment, study_name(experiment.name, command))
    if record.is_claimed:
        raise ValueError(
            f"storage must have no search of the name {record.study.study_name!r}, under which "
            f"{command} keeps what it trains, got one; take another storage for one of them"
        )
    return record


def stored_names(experiment: Experiment) -> list[str]:
    """The names of the studies in the record; opening it would make the folder's own file."""
    if experiment.storage is None and not (Path(experiment.out) / "study.db").is_file():
        return []
    return names(storage_of(experiment))


def check_folder(experiment: Experiment) -> None:
    """Looks whether the run's folder holds no other experiment's record.

    Raises:
        ValueError: It does, or the experiment's name is that of a study of another command.
    """
    for command in FOLLOW_UPS:
        if experiment.name.endswith(ending := study_name("", command)):
            raise ValueError(
                f"name must not end in {ending}, as the studies of {command} do, got "
                f"{experiment.name!r}; take another"
            )
    stored = stored_names(experiment)
    own = [study_name(experiment.name, command) for command in FOLLOW_UPS]
    others = {*stored} - {experiment.name, *(own if experiment.name in stored else [])}
    if experiment.storage is None and others:
        raise ValueError(
            f"name must be {min(others, key=len)!r} as in this folder's record, got "
            f"{experiment.name!r}; take another out= for another experiment"
        )


def stored_record(experiment: Experiment) -> Record | None:
    """The record of the search, None before it has begun; nothing is written for it."""
    is_there = experiment.name in stored_names(experiment)
    return record_of(experiment, experiment.name) if is_there else None


def make_folder(folder: Path) -> None:
    """Makes the run's folder.

    Raises:
        RuntimeError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"out must be a folder that can be made, got {str(folder)!r} ({error.strerror}); "
            "take another"
        ) from error


def deciding(options: Mapping[str, object], dataset: Dataset) -> dict[str, object]:
    """The options that decide outcomes, by their full keys; the dataset's is its fingerprint."""
    chosen = dict(_flat({key: options[key] for key in DECIDING if key != "dataset"}))
    chosen.pop("recipe.checkpoint_minutes", None)  # changes no bit
    if chosen.get("recipe.crop"):
        chosen[CROP_KEY] = batches.CROPS_ARE_OF
    return chosen | {"dataset": dataset.fingerprint()}


def _flat(options: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def provenance() -> dict[str, object]:
    """What made the results: the version of this package and the commit of its checkout."""
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
