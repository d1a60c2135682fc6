"""Trains the networks of a plan and records what they gave."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scaling_search.commands.run_folder import (
    Call,
    deciding,
    make_folder,
    on_these_data,
    provenance,
    record_of,
    train,
)
from scaling_search.files import replace_file
from scaling_search.hold import Hold
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.progress import Tracked
from scaling_search.protocols import Dataset
from scaling_search.record.tables import write_table
from scaling_search.search import Search


def run(call: Call) -> None:
    """Trains what is not trained yet and records it.

    Everything that can be wrong is looked at before the first file is written.
    """
    experiment = call.experiment
    known = {}
    if experiment.samples_costs and (Path(experiment.out) / "config.yaml").is_file():
        known = record_of(experiment, experiment.name).costs
    budget, planned = _plan(call, known)
    dataset = experiment.ready_dataset()
    experiment.executor.check()
    folder = Path(experiment.out)
    make_folder(folder, experiment)
    with Hold(folder) as hold:
        _train(call, budget, planned, dataset, hold)


def _plan(call: Call, known: Mapping[str, Any]) -> tuple[Budget, Plan]:
    """The plan with costs that are known already; those that must be measured take a while.

    Its networks are built, counted and tried before anything is written.
    """
    experiment, console = call.experiment, call.console
    budget = experiment.budget(known, Tracked(console, "running networks"))
    planned = experiment.plan(budget)
    planned.measure(experiment.cost, Tracked(console, "measuring networks"))
    return budget, planned


def _train(call: Call, budget: Budget, planned: Plan, dataset: Dataset, hold: Hold) -> None:
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
    train(call, search, experiment.sampler, hold)
