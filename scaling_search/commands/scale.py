"""Trains whole families over phi."""

from collections.abc import Sequence

from scaling_search.commands.run import Run
from scaling_search.commands.trainings import searched, train_more
from scaling_search.core.scaling import Shares
from scaling_search.core.trial import Trial
from scaling_search.display.formatting import named_shares
from scaling_search.display.plan import about_families, family_lines
from scaling_search.display.progress import bars
from scaling_search.display.tables import show_table
from scaling_search.display.terminal import say
from scaling_search.experiment.options import Scale, triple
from scaling_search.planning.budget import Budget
from scaling_search.planning.families import FamilyMember, family_shares, members
from scaling_search.planning.measuring import measure
from scaling_search.record.networks import network_row, networks_table
from scaling_search.record.record import Record
from scaling_search.record.tables import write_table


def scale(run: Run, options: Scale = Scale(), *, price_only: bool = False) -> None:
    """Trains families of networks over phi and records them.

    Args:
        run: A search.
        options: The families and their sizes.
        price_only: True to print the price and train nothing.

    Raises:
        ValueError: The search has no finished training, or its choices are not the record's.
        RuntimeError: There is no search, or all trainings failed.
    """
    searched(run)
    compound, why = compound_shares(run, options)
    say(run.console, [f"compound: {named_shares(compound)} ({why})"])
    found = family_members(run, options, compound)
    show_table(run.console, family_lines(found))
    say(run.console, about_families())
    trials = member_trials(run, found, options.num_seeds or run.experiment.most_seeds)

    def begin(record: Record) -> None:
        rows = [network_row(member) for member in found]
        record.keep_networks(rows)
        write_table(networks_table(rows), run.folder / "families.csv")

    # One network may be of several families.
    names = {one.candidate.network: f"{one.family}-{one.phi}" for one in reversed(found)}
    train_more(run, trials, "scale", price_only=price_only, begin=begin, names=names)


def family_members(run: Run, options: Scale, compound: Shares) -> list[FamilyMember]:
    """The networks of the families, given the shares of the compound one."""
    experiment = run.experiment
    # Caps hold for the networks of a search alone.
    budget = Budget(experiment.base_network, experiment.cost, state=run.record.costs)
    shares = family_shares(compound)
    with bars(run.console):
        found = members(
            budget,
            {family: shares[family] for family in options.families},
            phis=options.phis,
            tolerance=options.tolerance or experiment.candidates.tolerance,
            max_resolution=getattr(experiment.ready_dataset(), "resolution", None),
        )
        run.record.keep_costs(budget.state)
        measure({one.candidate.number: one.candidate for one in found}.values(), experiment.cost)
    return found


def member_trials(run: Run, found: Sequence[FamilyMember], num_seeds: int) -> list[Trial]:
    """Trainings of families' members, of each network once."""
    candidates = {member.candidate.number: member.candidate for member in found}
    phis = {member.candidate.number: member.phi for member in found}
    return [
        run.experiment.trial(candidates[number], seed, target=2.0 ** phis[number])
        for number in sorted(candidates)
        for seed in range(num_seeds)
    ]


def compound_shares(run: Run, options: Scale) -> tuple[Shares, str]:
    """The shares of the compound family, those given or the rule's, and the reason."""
    if (given := triple(options.coefficients)) is not None:
        return Shares.nominal(given.multipliers(1)), "scale.coefficients"
    try:
        rule, why = run.rule()
    except ValueError as error:
        raise ValueError(f"{error}, or give scale.coefficients") from error
    return rule, f"the rule, {why}"
