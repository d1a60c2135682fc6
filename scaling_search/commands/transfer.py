"""Trains ten networks of each larger size."""

from scaling_search.answer.conclusions import Conclusion
from scaling_search.commands.run import Run
from scaling_search.commands.trainings import searched, train_more
from scaling_search.core.candidate import Candidate
from scaling_search.display.plots.drawing import save
from scaling_search.display.plots.drift import best_by_size
from scaling_search.display.progress import bars
from scaling_search.display.terminal import say, show
from scaling_search.display.transfer import about_networks, about_power, transfer_section
from scaling_search.experiment.options import Transfer
from scaling_search.follow_ups.transfer import power_before
from scaling_search.planning.budget import Budget
from scaling_search.planning.families import nearest_to_points, ten_points
from scaling_search.planning.measuring import measure
from scaling_search.record.networks import network_row, networks_table
from scaling_search.record.record import Record
from scaling_search.record.tables import write_table


def transfer(run: Run, options: Transfer = Transfer(), *, price_only: bool = False) -> None:
    """Trains networks of larger sizes and tests whether the rule holds there.

    Before that it prints the price and the detectable change.

    Args:
        run: A search with an answer.
        options: The sizes, and how many seeds.
        price_only: True to print the price and train nothing.

    Raises:
        ValueError: A size is not above the search's, or the search has no answer.
        RuntimeError: There is no search, or all trainings failed.
    """
    experiment, console = run.experiment, run.console
    _check_sizes(options, experiment.candidates.target)
    networks = searched(run)
    conclusion = run.conclusion
    found = _found(run, networks, conclusion)
    assert found.shares is not None  # it was searched
    budget = Budget(experiment.base_network, experiment.cost, state=run.record.costs)
    with bars(console):
        chosen = nearest_to_points(
            budget,
            ten_points(found.shares),
            phis=options.phis,
            tolerance=experiment.candidates.tolerance,
            max_resolution=getattr(experiment.ready_dataset(), "resolution", None),
        )
        run.record.keep_costs(budget.state)
        measure((one.candidate for one in chosen), experiment.cost)
    rows = [network_row(one) for one in chosen]
    table = networks_table(rows)
    say(console, about_networks(table))
    try:
        power = about_power(power_before(conclusion, table, options.num_seeds))
    except ValueError as error:
        power = f"These trainings cannot show whether the rule holds: {error}."
    say(console, [power])
    trials = [
        experiment.trial(one.candidate, seed, target=one.size)
        for one in chosen
        for seed in range(options.num_seeds)
    ]

    def begin(record: Record) -> None:
        record.keep_networks(rows)
        write_table(table, run.folder / "transfer.csv")

    names = {one.candidate.network: f"{one.point} at {one.size:g}x" for one in reversed(chosen)}
    if train_more(run, trials, "transfer", price_only=price_only, begin=begin, names=names) is None:
        return
    told = run.transferred(conclusion)
    assert told is not None
    section = transfer_section(told)
    paths = [run.folder / f"{section.name}.csv"]
    write_table(section.table, paths[0])
    if told.drift is not None:
        figure = best_by_size(told.drift.regions, table, equal=experiment.equal)
        paths += save(figure, run.folder / "figures", section.name)
    console.print()
    show(console, section)
    say(console, [f"  {path}" for path in paths])


def _check_sizes(options: Transfer, target: float) -> None:
    """Refuses sizes that are not above the search's."""
    if min(2.0**phi for phi in options.phis) <= target:
        raise ValueError(
            f"transfer.phis must be sizes above the search's {target:g}x, got "
            f"{list(options.phis)}; [2, 3] are four and eight times the base network's cost"
        )


def _found(run: Run, networks: list[Candidate], conclusion: Conclusion) -> Candidate:
    """The network nearest to the rule.

    Raises:
        ValueError: There is no answer.
    """
    answer = conclusion.answer
    if answer is None:
        raise ValueError(
            f"out must hold a search with an answer, got {run.out!r} without one "
            f"({conclusion.missing}); search further first"
        )
    return next(c for c in networks if c.number == answer.nearest)
