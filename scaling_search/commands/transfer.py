"""Trains ten networks of each larger size: does the best split hold there?"""

from pathlib import Path

import pandas as pd

from scaling_search.commands.run_folder import (
    Call,
    Searched,
    begun_follow_up,
    searched,
)
from scaling_search.commands.trainings import train_more
from scaling_search.experiment import Experiment
from scaling_search.follow_ups.transfer import Transferred, sentences_before, stored
from scaling_search.planning.candidates import Candidate, measure
from scaling_search.planning.ladder import members_table, placed, ten_points
from scaling_search.plots.drawing import save
from scaling_search.plots.drift import best_by_size
from scaling_search.progress import Tracked
from scaling_search.record.results import results_table
from scaling_search.record.tables import write_table
from scaling_search.terminal import say, show


def run(call: Call) -> None:
    """Says what trainings at larger sizes would find and cost, does them, says what they found.

    Raises:
        ValueError: A size is not above the search's, or the search has no fitted surface.
    """
    experiment, console = call.experiment, call.console
    _check_sizes(experiment)
    before = searched(call)
    found = _found(experiment, before)
    assert found.shares is not None  # it was searched
    assert experiment.dataset is not None  # that is looked at first
    with console.status("finding the networks of larger sizes"):
        chosen = placed(
            before.budget,
            ten_points(found.shares),
            phis=experiment.transfer.phis,
            tolerance=experiment.candidates.tolerance,
            max_resolution=experiment.dataset.resolution,
        )
    before.record.keep_costs(before.budget.state)
    track = Tracked(console, "measuring networks")
    measure([one.candidate for one in chosen], experiment.cost, track)
    networks = members_table(chosen)
    say(console, sentences_before(before.conclusion, networks, experiment.transfer.num_seeds))
    trials = [
        experiment.trial(one.candidate, seed, target=one.size)
        for one in chosen
        for seed in range(experiment.transfer.num_seeds)
    ]
    folder = Path(experiment.out)
    if not experiment.price_only:
        write_table(networks, folder / "transfer.csv")
    if train_more(call, trials, "transfer", before) is None:
        return
    record = begun_follow_up(experiment, "transfer")
    told = stored(before.conclusion, networks, results_table(record.rows()))
    assert told is not None
    _show(call, told, networks)


def _check_sizes(experiment: Experiment) -> None:
    """Says in one line that a size is none to go on to."""
    target = experiment.candidates.target
    if min(2.0**phi for phi in experiment.transfer.phis) <= target:
        raise ValueError(
            f"transfer.phis must be sizes above the search's {target:g}x, got "
            f"{list(experiment.transfer.phis)}; [2, 3] are four and eight times the base "
            "network's cost"
        )


def _found(experiment: Experiment, before: Searched) -> Candidate:
    """The network that the search's surface found.

    Raises:
        ValueError: There is no surface.
    """
    answer = before.conclusion.answer
    if answer is None:
        why = before.conclusion.sentences[0].partition(": ")[2].rstrip(".")
        raise ValueError(
            f"out must hold a search with a fitted surface, got {experiment.out!r} without one "
            f"({why}); search further first"
        )
    return next(c for c in before.plan.candidates if c.number == answer.found)


def _show(call: Call, told: Transferred, networks: pd.DataFrame) -> None:
    """Prints and writes what was found."""
    folder, console = Path(call.experiment.out), call.console
    section = told.section
    paths = [folder / f"{section.name}.csv"]
    write_table(section.table, paths[0])
    if told.regions:
        figure = best_by_size(told.regions, networks, equal=call.experiment.recipe.equal)
        paths += save(figure, folder / "figures", section.name)
    console.print()
    show(console, section)
    say(console, [f"  {path}" for path in paths])
