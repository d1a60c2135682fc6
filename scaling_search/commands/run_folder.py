"""What commands share: how they are called, and what lies in a run's folder."""

import logging
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from rich.console import Console

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.answer.stopping import Stopping
from scaling_search.cells import count
from scaling_search.experiment import DECIDING, Experiment
from scaling_search.hold import Hold
from scaling_search.passwords import without_password
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Candidate, Plan
from scaling_search.progress import Tracked, View
from scaling_search.protocols import Dataset, Sampler
from scaling_search.record.results import coefficient_table, results_table
from scaling_search.record.study import CROP_KEY, Objective, Record, names
from scaling_search.search import Search
from scaling_search.terminal import price_sentence, say
from scaling_search.training import batches
from scaling_search.training.price import price
from scaling_search.training.trial import Trial, TrialResult
from scaling_search.training.weights import lacks_weights


@dataclass(frozen=True)
class Call:
    """What a command is called with.

    Attributes:
        experiment: Built and checked.
        options: The same as plain values by key, to be recorded.
        config: The same as YAML, to be kept in the run's folder.
        console: Where to print.
    """

    experiment: Experiment
    options: Mapping[str, object]
    config: str
    console: Console


def storage_of(experiment: Experiment) -> str:
    """Where the record lies."""
    return experiment.storage or f"sqlite:///{(Path(experiment.out) / 'study.db').resolve()}"


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
    limits = experiment.limits
    if sampler is None:  # these trainings are no search for the best split
        limits = replace(limits, region=None)
    target = experiment.candidates.target
    stopping = Stopping(limits, search.record, target, hold.lost.is_set)
    with logged(Path(experiment.out)):
        search.run(
            sampler, experiment.executor, View(console, experiment.objective), stopping=stopping
        )
    if stopping.gave_up:
        raise RuntimeError(
            f"{search.stopped}; search.log has the tracebacks. Mend the cause and run the same "
            "command with executor.retries=2, which tries again what failed, or go on regardless "
            "with limits.failed_share=1"
        )
    ended = [result.trial for result in search.finished.values() if result.state == "COMPLETE"]
    if without := sum(lacks_weights(trial) for trial in ended):
        said = (
            f"{without} of {count(len(ended), 'finished training')} left no weights here, being "
            "from before keep_weights or on machines without this folder; scaling-search export "
            f"out={experiment.out} export.train=true trains the members again for them"
        )
        say(console, [said])
    console.print(f"{search.stopped}; next: scaling-search report out={experiment.out}")


def train_more(
    call: Call, trials: Sequence[Trial], record: Record, before: Searched
) -> list[TrialResult] | None:
    """Says what trainings beyond the search cost and does those not known from it, seed by seed.

    Args:
        call: The command's.
        trials: All of them, those that the search has done too.
        record: Where the others are kept.
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
    search = Search(trials, record, provenance=provenance(), known=known, retries=retries)
    cost = price(
        trials,
        [*before.finished, *search.finished.values()],
        known=search.finished.values(),
        slots=experiment.executor.slots,
        device_share=experiment.executor.device_share,
    )
    say(call.console, [price_sentence(cost, experiment.executor.slots)])
    if experiment.price_only:
        return None
    if search.remaining:
        with Hold(Path(experiment.out)) as hold:
            # What another command has trained since the price was said is not trained again.
            search = Search(trials, record, provenance=provenance(), known=known, retries=retries)
            train(call, search, None, hold)
    if search.remaining:
        return None
    return sorted(search.finished.values(), key=by_candidate)


def on_these_data(trials: Sequence[Trial], searched: Record) -> list[Trial]:
    """The trials, for none but the data that a search's record has."""
    return [replace(trial, fingerprint=searched.fingerprint) for trial in trials]


def by_candidate(result: TrialResult) -> tuple[int, int]:
    """The order of tables: candidate, then seed."""
    return result.trial.candidate.number, result.trial.seed


def study_name(name: str, command: str) -> str:
    """The name of the study that holds what a command trained beyond the search."""
    return f"{name}-{command}"


def stored_names(experiment: Experiment) -> list[str]:
    """The names of the studies in the record; opening it would make the folder's own file."""
    if experiment.storage is None and not (Path(experiment.out) / "study.db").is_file():
        return []
    return names(storage_of(experiment))


def make_folder(folder: Path, experiment: Experiment) -> None:
    """Makes the run's folder, or checks that it holds no other experiment's record.

    Raises:
        ValueError: It holds the record of an experiment of another name.
        RuntimeError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"out must be a folder that can be made, got {str(folder)!r} ({error.strerror}); "
            "take another"
        ) from error
    stored = stored_names(experiment)
    others = [name for name in stored if name != experiment.name]
    if experiment.name in stored:  # what follows on a search is called after it
        others = [name for name in others if not name.startswith(f"{experiment.name}-")]
    if experiment.storage is None and others:
        raise ValueError(
            f"name must be {min(others, key=len)!r} as in this folder's record, got "
            f"{experiment.name!r}; take another out= for another experiment"
        )


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
