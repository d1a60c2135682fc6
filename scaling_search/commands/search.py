"""Trains the networks of a plan and records what they gave."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scaling_search.commands.data import described, keep, show_data
from scaling_search.commands.prices import about_prices
from scaling_search.commands.run_folder import (
    Call,
    check_folder,
    check_writable,
    deciding,
    make_folder,
    on_these_data,
    record_of,
    stored_record,
)
from scaling_search.commands.trainings import provenance, train
from scaling_search.files import replace_file
from scaling_search.lock import RunLock
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.progress import Tracked
from scaling_search.protocols import Dataset
from scaling_search.record.tables import write_table
from scaling_search.search import Search
from scaling_search.terminal import say
from scaling_search.training.weights import check_keepable


def run(call: Call) -> None:
    """Trains what is not trained yet and records it, or says what that would take.

    Everything that can be wrong is looked at before the first file is written.
    """
    experiment = call.experiment
    if not experiment.price_only:
        check_writable(Path(experiment.out))
    record = stored_record(experiment)
    dataset = experiment.ready_dataset()
    about = described(experiment, dataset)
    budget, planned = _plan(call, {} if record is None else record.costs)
    experiment.executor.check()
    check_folder(experiment)
    if experiment.keep_weights:
        check_keepable(experiment.base_network)
    show_data(experiment, about, call.console)
    if experiment.price_only:
        if record is not None:
            record.claim(deciding(call.options, dataset))
        say(call.console, about_prices(experiment, planned, record, call.console))
        return
    folder = Path(experiment.out)
    make_folder(folder)
    with RunLock(folder) as lock:
        keep(experiment, about)
        _train(call, budget, planned, dataset, lock)


def _plan(call: Call, known: Mapping[str, Any]) -> tuple[Budget, Plan]:
    """The plan with costs that are known already; those that must be measured take a while.

    Its networks are built, counted and tried before anything is written.
    """
    experiment, console = call.experiment, call.console
    budget = experiment.budget(known, Tracked(console, "running networks"))
    planned = experiment.plan(budget)
    planned.measure(experiment.cost, Tracked(console, "measuring networks"))
    return budget, planned


def _train(call: Call, budget: Budget, planned: Plan, dataset: Dataset, lock: RunLock) -> None:
    experiment, folder = call.experiment, Path(call.experiment.out)
    record = record_of(experiment, experiment.name)
    record.claim(deciding(call.options, dataset))
    if record.costs and record.costs != budget.state:  # its folder was lost, or has just begun
        budget, planned = _plan(call, record.costs)
    record.keep_costs(budget.state)
    replace_file(folder / "config.yaml", call.config.encode())
    candidates = pd.DataFrame([c.row() for c in (planned.base, *planned.candidates)])
    write_table(candidates, folder / "candidates.csv")
    retries = experiment.executor.retries
    trials = on_these_data(experiment.trials(planned), record)
    search = Search(trials, record, provenance=provenance(), retries=retries)
    train(call, search, experiment.sampler, lock)
