"""Trains whole families over phi."""

from pathlib import Path

from rich.console import Console

from scaling_search.commands.run_folder import (
    Call,
    Searched,
    searched,
)
from scaling_search.commands.trainings import train_more
from scaling_search.experiment import Experiment
from scaling_search.planning.candidates import measure
from scaling_search.planning.ladder import family_shares, members, members_table
from scaling_search.progress import Tracked, describe
from scaling_search.record.tables import write_table
from scaling_search.scaling import Shares
from scaling_search.terminal import ladder_table


def run(call: Call) -> None:
    """Trains families over phi from a run's folder and records them."""
    experiment, console = call.experiment, call.console
    folder = Path(experiment.out)
    before = searched(call)
    dataset = experiment.ready_dataset()
    with console.status("finding the families' members"):
        found = members(
            before.budget,
            _families(experiment, before, console),
            phis=experiment.scale.phis,
            tolerance=experiment.scale.tolerance,
            max_resolution=dataset.resolution,
        )
    before.record.keep_costs(before.budget.state)
    candidates = {member.candidate.number: member.candidate for member in found}
    track = Tracked(console, "measuring networks")
    measure(list(candidates.values()), experiment.cost, track)
    if not experiment.price_only:
        write_table(members_table(found), folder / "families.csv")
    console.print(ladder_table(found))
    phis = {member.candidate.number: member.phi for member in found}
    trials = [
        experiment.trial(candidates[number], seed, target=2.0 ** phis[number])
        for number in sorted(candidates)
        for seed in range(experiment.scale.num_seeds)
    ]
    train_more(call, trials, "scale", before)


def _families(experiment: Experiment, before: Searched, console: Console) -> dict[str, Shares]:
    """The shares of each family that is asked for; of compound those given or found."""
    given = experiment.scale.given
    if given is not None:
        compound = Shares.nominal(given.multipliers(1))
    else:
        found, why = before.found(experiment.objective)
        assert found.shares is not None  # only the base network has none
        compound = found.shares
        console.print(f"compound: {describe(found)}, {why}", highlight=False)
    shares = family_shares(compound)
    return {family: shares[family] for family in experiment.scale.families}
