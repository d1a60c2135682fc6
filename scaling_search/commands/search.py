"""Trains the networks of a plan and records what they gave."""

import os
from pathlib import Path

from omegaconf import OmegaConf

from scaling_search.commands.data_sheet import described, keep, show_data
from scaling_search.commands.plan import make_plan
from scaling_search.commands.prices import search_prices
from scaling_search.commands.run import Run
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.commands.trainings import placed, provenance, train
from scaling_search.display.terminal import say
from scaling_search.experiment.composing import as_config, choices, decisive
from scaling_search.experiment.options import Fairness
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.record.networks import network_row, networks_table
from scaling_search.record.record import Record
from scaling_search.record.tables import write_table
from scaling_search.runtime.files import replace_file
from scaling_search.runtime.lock import RunLock
from scaling_search.training.weights import check_keepable


def search(
    run: Run,
    *,
    config: str | None = None,
    price_only: bool = False,
    timed: bool = True,
    fairness: Fairness = Fairness(),
) -> None:
    """Trains what is not trained yet and records it, or prints the price of that.

    Everything that can be wrong is checked before the first file is written.

    Args:
        run: Folder, experiment and executor.
        config: Text of the folder's ``config.yaml``; None for what the run is made of.
        price_only: True to print the price and train nothing.
        timed: True to time a few steps for that while nothing has been trained.
        fairness: Checks of fairness whose price is said too.
    """
    experiment = run.experiment
    config = config or as_config(
        experiment,
        run.executor,
        out=run.out,
        storage=run.storage,
        limits=run.limits,
        keep_weights=run.keep_weights,
    )
    if not price_only:
        check_writable(run.folder)
    known = run.record.costs if run.studies.is_begun else {}
    dataset = experiment.ready_dataset()
    about = described(experiment, dataset)
    budget, planned = make_plan(run, known)
    run.check_executor()
    run.studies.check_place()
    if run.keep_weights:
        check_keepable(experiment.base_network)
    show_data(experiment, about, run.console)
    if price_only:
        run.check_choices(dataset.fingerprint())
        prices = search_prices(run, planned, fairness=fairness, timed=timed)
        say(run.console, prices)
        return
    make_folder(run.folder)
    with RunLock(run.folder) as hold:
        run.check_choices(dataset.fingerprint())
        record = run.studies.begun()
        record.hold(hold)
        run.check_choices(dataset.fingerprint())  # of another that began just now
        if not record.choices or record.schema == 1:
            record.claim(choices(experiment, dataset.fingerprint()))
        options = decisive(OmegaConf.create(config))
        digests = keep(experiment, about, run.folder, record.digests)
        record.keep_files(options=options, digests=digests)
        replace_file(run.folder / "config.yaml", config.encode())
        _train(run, record, budget, planned, hold)


def _train(run: Run, record: Record, budget: Budget, planned: Plan, hold: RunLock) -> None:
    if record.costs and record.costs != budget.state:  # its folder was lost, or has just begun
        budget, planned = make_plan(run, record.costs)
    record.keep_costs(budget.state)
    _check_networks(planned, record)
    rows = [network_row(network) for network in planned]
    record.keep_networks(rows)
    write_table(networks_table(rows), run.folder / "candidates.csv")
    trials = placed(run, run.experiment.trials(planned))
    loop = TrainingLoop(trials, record, provenance=provenance(), retries=run.executor.retries)
    train(run, loop, run.experiment.sampler, hold)


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
                f"candidates must plan network {number} as {trained!r}, which was trained, got "
                f"{networks.get(number)!r}; take the version that began, or another out="
            )


def check_writable(folder: Path) -> None:
    """Checks that a run's folder can be written, if it is there, before its record is opened.

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
