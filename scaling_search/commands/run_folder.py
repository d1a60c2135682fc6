"""What commands share: how they are called, and what lies in a run's folder."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.command_line import as_override, shell_command
from scaling_search.experiment import DECIDING, Experiment
from scaling_search.passwords import is_hidden
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Candidate, Plan
from scaling_search.progress import Tracked
from scaling_search.protocols import Dataset
from scaling_search.record.results import coefficient_table, results_table
from scaling_search.record.study import CROP_KEY, Objective, Record, file_of, names, sqlite_url
from scaling_search.training import batches
from scaling_search.training.trial import Trial, TrialResult
from scaling_search.training.weights import check_keepable


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
        said = shell_command(command, as_override("out", self.experiment.out), *options, *flags)
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
    """Record of a command's trainings beyond the search; None before it has begun."""
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
    """The names of the studies in the record; it is not made."""
    return names(storage_of(experiment))


def check_folder(experiment: Experiment) -> None:
    """Looks whether the run's folder holds no other experiment's record, and can hold this one's.

    Raises:
        ValueError: It does, or the experiment's name is that of a study of another command.
        RuntimeError: The record's file would lie in a folder that is not there.
    """
    place = file_of(storage_of(experiment))
    is_in_run = place is not None and place.parent.resolve() == Path(experiment.out).resolve()
    if place is not None and not is_in_run and not place.parent.is_dir():
        raise RuntimeError(
            f"storage must be readable and writable, got {str(place)!r} in a folder that is not "
            "there; make the folder or take another"
        )
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


def check_writable(folder: Path) -> None:
    """Looks whether a run's folder can be written, if it is there, before its record is opened.

    Raises:
        RuntimeError: It cannot.
    """
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise RuntimeError(
            f"out must be a folder that can be written, got {str(folder)!r}; mend its "
            "permissions or take another"
        )


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
