"""The functions `search` and `load`, which return a run."""

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path

from rich.console import Console

from scaling_search.answer.stopping import Limits
from scaling_search.commands.run import Run
from scaling_search.commands.search import search as train
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
    """Trains what is not trained yet of an experiment, and returns the run.

    The same call goes on where it stopped.

    Args:
        experiment: The choices that decide outcomes.
        out: The run's folder; ``runs/`` and the experiment's name if None.
        storage: SQLAlchemy URL or path ending in ``.log``; None for ``study.db`` in the folder.
        executor: Runs trainings; processes on this machine's devices if None.
        limits: Limits at which the search stops early.
        keep_weights: True if trainings leave their weights in the folder.
        price_only: True to print the price and train nothing.
        console: Prints progress; ``rich.console.Console(quiet=True)`` for nothing.

    Raises:
        ValueError: A choice does not fit, or the folder belongs to another experiment.
        RuntimeError: Data, storage or folder cannot be used, or all trainings failed.
    """
    if found := numbers(experiment.dataset):
        ready = replace(experiment.dataset, **found)  # type: ignore[type-var]  # has options
        experiment = replace(experiment, dataset=ready)
    place = str(Path(out or Path("runs") / experiment.name).absolute())
    parts = [getattr(experiment, key) for key in CHOICES]
    named = set().union(*(packages_of(part) for part in parts if is_dataclass(part)))
    trusted = Trusted(tuple(sorted(named)))  # the caller has imported them
    run = Run(
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
    with surviving():
        return train(run, price_only=price_only)


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
    """Returns the run of a folder that a search has made, today's or an older version's.

    Args:
        out: The run's folder.
        storage: SQLAlchemy URL, for instance with its password, which no folder keeps; None for the
            folder's own.
        executor: Runs further trainings; the folder's own if None.
        limits: Limits at which further trainings stop early.
        keep_weights: True if further trainings leave their weights in the folder.
        decide: The difference that matters; the folder's own if None.
        console: Prints messages of further commands.
        allow: Packages of your own whose classes the folder may name.

    Raises:
        ValueError: No search made the folder, its ``config.yaml`` is damaged or not that of its
            record, or it names code that is not allowed.
        RuntimeError: The record or, where an option was left open, the data cannot be read.
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
