"""The functions `run`, `search` and `load`, which return a run."""

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path

from rich.console import Console

from scaling_search.answer.stopping import Limits
from scaling_search.commands.run import Run
from scaling_search.commands.search import search as train
from scaling_search.commands.stages import run_stages
from scaling_search.core.own_training import OwnCommand
from scaling_search.core.protocols import Executor
from scaling_search.executors import Processes
from scaling_search.experiment.composing import (
    built,
    numbers,
    saved,
    settled,
    trusted_packages,
)
from scaling_search.experiment.experiment import CHOICES, Decide, Experiment
from scaling_search.experiment.options import Confirm, Scale, Stage, Stages
from scaling_search.experiment.texts import COMMANDS
from scaling_search.experiment.trust import Trusted
from scaling_search.record.serialization import packages_of
from scaling_search.record.storage_urls import storage_flag
from scaling_search.runtime.output import surviving


def search(
    experiment: Experiment,
    out: str | Path | None = None,
    *,
    storage: str | None = None,
    executor: Executor | None = None,
    limits: Limits = Limits(),
    keep_weights: bool = False,
    price_only: bool = False,
    console: Console | None = None,
) -> Run:
    """Runs the remaining trainings of an experiment, and returns the run.

    The same call continues an interrupted search.

    Args:
        experiment: The search.
        out: The run's folder; ``runs/`` and the experiment's name if None.
        storage: SQLAlchemy URL or path ending in ``.log``; None for ``study.db`` in the folder.
        executor: Runs trainings; processes on this machine's devices if None.
        limits: Limits at which the search stops early.
        keep_weights: True to write the weights of each training into the folder.
        price_only: True to print the price and train nothing.
        console: Prints progress; ``rich.console.Console(quiet=True)`` for nothing.

    Raises:
        ValueError: An option is wrong, or the folder belongs to another experiment.
        RuntimeError: Data, storage or folder cannot be used, or all trainings failed.
    """
    run = _begun(experiment, out, storage, executor, limits, console, keep_weights=keep_weights)
    with surviving():
        return train(run, price_only=price_only)


def run(
    experiment: Experiment,
    out: str | Path | None = None,
    *,
    hours: float | None = None,
    stages: Sequence[Stage] = Stages().stages,
    storage: str | None = None,
    executor: Executor | None = None,
    limits: Limits = Limits(),
    keep_weights: bool = False,
    price_only: bool = False,
    confirm: Confirm = Confirm(),
    scale: Scale = Scale(),
    console: Console | None = None,
) -> Run:
    """Goes from the data to an answer: plans, searches, confirms, trains families, reports.

    The same call goes on where it stopped.

    Args:
        experiment: The choices that decide outcomes.
        out: The run's folder; ``runs/`` and the experiment's name if None.
        hours: Time of all stages, into which networks and seeds are made to fit; None for the
            experiment's own numbers.
        stages: Some of plan, search, confirm, scale, report.
        storage: As `search` takes it, and the next four.
        executor: Runs trainings.
        limits: Limits at which the search stops early.
        keep_weights: True if trainings leave their weights in the folder.
        price_only: True to say what would be done, and train nothing.
        confirm: Fresh seeds; with hours as many as fit, unless a number is given.
        scale: Families of larger networks; with hours its sizes and seeds are at most these.
        console: Prints progress; ``rich.console.Console(quiet=True)`` for nothing.

    Raises:
        ValueError: A choice does not fit, an answer does not fit into the hours, or the folder
            belongs to another experiment.
        RuntimeError: Data, storage or folder cannot be used, or all trainings failed.
    """
    begun = _begun(experiment, out, storage, executor, limits, console, keep_weights=keep_weights)
    with surviving():
        return run_stages(
            begun,
            Stages(tuple(stages)),
            hours=hours,
            confirm=confirm,
            scale=scale,
            price_only=price_only,
        )


def _begun(
    experiment: Experiment,
    out: str | Path | None,
    storage: str | None,
    executor: Executor | None,
    limits: Limits,
    console: Console | None,
    *,
    keep_weights: bool,
) -> Run:
    """The run of an experiment, with the numbers that are read from its data."""
    if found := numbers(experiment.dataset):
        ready = replace(experiment.dataset, **found)  # type: ignore[type-var]  # has options
        experiment = replace(experiment, dataset=ready)
    place = str(Path(out or Path("runs") / experiment.name).absolute())
    parts = [getattr(experiment, key) for key in CHOICES]
    named = set().union(*(packages_of(part) for part in parts if is_dataclass(part)))
    is_command = isinstance(experiment.training, OwnCommand)
    # The caller has imported or written them.
    trusted = Trusted(tuple(sorted(named)), commands=COMMANDS if is_command else ())
    return Run(
        experiment=experiment,
        out=place,
        executor=executor or Processes(),
        storage=storage,
        limits=limits,
        keep_weights=keep_weights,
        console=console or Console(),
        trusted=trusted,
        flags=trusted.flags + storage_flag(storage),
    )


def load(
    out: str | Path,
    *,
    storage: str | None = None,
    executor: Executor | None = None,
    limits: Limits = Limits(),
    keep_weights: bool = False,
    decide: Decide | None = None,
    console: Console | None = None,
    allow: Sequence[str] = (),
) -> Run:
    """Returns the run of a folder that a search has made, with this or an older version.

    Args:
        out: The run's folder.
        storage: SQLAlchemy URL, with a password if it needs one; None for that of the folder,
            which has no passwords.
        executor: Runs further trainings; the folder's own if None.
        limits: Limits at which further trainings stop early.
        keep_weights: True to write the weights of further trainings into the folder.
        decide: The difference that matters; the folder's own if None.
        console: Prints messages of further commands.
        allow: Your own packages whose classes the folder may name.

    Raises:
        ValueError: No search made the folder, its ``config.yaml`` is damaged or not that of its
            record, or it names code that is not allowed.
        RuntimeError: The record cannot be read, or data that an option depends on.
    """
    trusted = replace(
        trusted_packages(allow),
        has_storage=storage is not None,
        has_address=executor is not None,
    )
    config = saved(Path(out))
    config.out = str(Path(out).absolute())
    if storage is not None:
        config.storage = storage
    options = built(settled(config, trusted), trusted)
    run = Run(
        experiment=options.experiment,
        out=options.out,
        executor=executor or options.executor or Processes(),
        storage=options.storage,
        limits=limits,
        keep_weights=keep_weights,
        console=console or Console(),
        trusted=trusted,
        flags=trusted.flags + storage_flag(options.storage),
    )
    run.check_config()
    return (
        run if decide is None else replace(run, experiment=replace(run.experiment, decide=decide))
    )
