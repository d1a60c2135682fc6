"""Trains the networks of a plan and records the results."""

import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf

from scaling_search.commands.data_sheet import described, fingerprint_of, keep, show_data
from scaling_search.commands.plan import about_training, make_plan
from scaling_search.commands.prices import search_prices
from scaling_search.commands.recipe_check import check_recipe, others_of
from scaling_search.commands.run import Run
from scaling_search.commands.saved_options import config_of, with_options
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.commands.trainings import check_weights, placed, provenance, train
from scaling_search.display.terminal import say
from scaling_search.experiment.composing import choices, decisive
from scaling_search.experiment.options import Fairness
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.record.networks import network_row, networks_table
from scaling_search.record.record import Record
from scaling_search.record.tables import write_table
from scaling_search.runtime.files import replace_file
from scaling_search.runtime.lock import RunLock
from scaling_search.training.own_results import checked_name


def search(
    run: Run,
    *,
    config: str | None = None,
    price_only: bool = False,
    timed: bool = True,
    fairness: Fairness = Fairness(),
    shows_data: bool = True,
) -> Run:
    """Trains what is not trained yet and records it, or prints the price of that.

    Everything that can be wrong is checked before the first file is written.

    Args:
        run: Folder, experiment and executor.
        config: Text of the folder's ``config.yaml``; None for what the run is made of.
        price_only: True to print the price and train nothing.
        timed: True to time a few steps for that while nothing has been trained.
        fairness: Checks of fairness whose price is printed too.
        shows_data: True to print the data first.

    Returns:
        The run, with the number of ``recipe.learning_rate=auto``.
    """
    since = time.monotonic()
    config = config or config_of(run)
    if not price_only:
        check_writable(run.folder)
    run, config = with_recorded_rate(run, config)
    experiment = run.experiment
    known = run.record.costs if run.studies.is_begun else {}
    dataset = experiment.ready_dataset()
    about = described(experiment, dataset)
    budget, planned = make_plan(run, known)
    run.check_executor()
    run.studies.check_place()
    check_weights(run)
    if experiment.training is not None and not experiment.metric.is_known:
        # It must have a column of its own.
        checked_name(experiment.objective, experiment.trials(planned)[0], "objective")
    if shows_data:
        show_data(experiment, about, run.console)
    say(run.console, about_training(experiment, planned))
    if price_only:
        run.check_choices(fingerprint_of(dataset))
        prices = search_prices(run, planned, fairness=fairness, timed=timed)
        say(run.console, prices)
        return run
    make_folder(run.folder)
    with RunLock(run.folder) as hold:
        run.check_choices(fingerprint_of(dataset))
        # A command that is killed leaves no record without it; another search's is not replaced.
        if not run.studies.is_begun and not (run.folder / "config.yaml").exists():
            _write_config(run, config)
        record = run.studies.begun()
        record.hold(hold)
        run.check_choices(fingerprint_of(dataset))  # of another that began just now
        if not record.choices or record.schema == 1:
            record.claim(choices(experiment, fingerprint_of(dataset)))
        with run.console.status("drawing the contact sheet"):
            digests = keep(experiment, about, run.folder, record.digests)
        _keep_options(run, record, config, digests)
        planned = _kept_plan(run, record, budget, planned)
        settle = partial(_settled, record=record, config=config, digests=digests)
        run, is_checked = check_recipe(run, record, hold, since=since, settle=settle)
        if is_checked:
            _train(run, record, planned, hold, since)
    return run


def _train(run: Run, record: Record, planned: Plan, hold: RunLock, since: float) -> None:
    trials = placed(run, run.experiment.trials(planned))
    loop = TrainingLoop(trials, record, provenance=provenance(), retries=run.executor.retries)
    if loop.finished and loop.remaining:
        done = f"{len(loop.finished)} of the search's {len(trials)} trainings are done."
        say(run.console, [done])
    train(run, loop, run.experiment.sampler, hold, others=others_of(run), since=since)


def with_recorded_rate(run: Run, config: str) -> tuple[Run, str]:
    """The run and its ``config.yaml`` with the rate of the record, where it is open but settled."""
    if not run.experiment.recipe.is_open or not run.studies.is_begun:
        return run, config
    held = run.record.choices.get("recipe")
    rate = held.get("learning_rate") if isinstance(held, dict) else None
    return _with_rate(run, config, rate) if isinstance(rate, float) else (run, config)


def _with_rate(run: Run, config: str, rate: float) -> tuple[Run, str]:
    """The run and the text of its ``config.yaml`` with a number for an open learning rate."""
    say(run.console, [f"recipe.learning_rate=auto takes {rate:g}."])
    return with_options(run, config, {"recipe.learning_rate": rate})


def _settled(
    run: Run, rate: float, *, record: Record, config: str, digests: Mapping[str, str]
) -> Run:
    """The run with the rate that the check has found, which the record and the folder now have."""
    run, config = _with_rate(run, config, rate)
    record.claim(choices(run.experiment, record.fingerprint))
    _keep_options(run, record, config, digests)
    return run


def _keep_options(run: Run, record: Record, config: str, digests: Mapping[str, str]) -> None:
    """Writes ``config.yaml``, and what of it decides into the record."""
    record.keep_files(options=decisive(OmegaConf.create(config)), digests=digests)
    _write_config(run, config)


def _write_config(run: Run, config: str) -> None:
    replace_file(run.folder / "config.yaml", config.encode())


def _kept_plan(run: Run, record: Record, budget: Budget, planned: Plan) -> Plan:
    """The plan, with its costs and networks in the record and in ``candidates.csv``."""
    if record.costs and record.costs != budget.state:  # its folder was lost, or has just begun
        budget, planned = make_plan(run, record.costs)
    record.keep_costs(budget.state)
    _check_networks(planned, record)
    rows = [network_row(network) for network in planned]
    record.keep_networks(rows)
    write_table(networks_table(rows), run.folder / "candidates.csv")
    return planned


def _check_networks(planned: Plan, record: Record) -> None:
    """Checks that what was trained is what is planned now.

    Raises:
        ValueError: It is not: the code that plans or builds has changed since.
    """
    networks = {network.number: network.network for network in planned}
    for row in record.rows():
        number, trained = int(str(row["candidate"])), row["network"]
        if networks.get(number) != trained:
            raise ValueError(
                f"candidates must plan network {number} as trained, {trained!r}, got "
                f"{networks.get(number)!r}; use the version that began, or another out="
            )


def check_writable(folder: Path) -> None:
    """Checks that a run's folder can be written, if it is there, before its record is opened.

    Raises:
        RuntimeError: It cannot.
    """
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise RuntimeError(
            f"out must be a folder that can be written, got {str(folder)!r}; fix its "
            "permissions or use another"
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
            "use another"
        ) from error
