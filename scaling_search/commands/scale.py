"""Trains whole families over phi."""

from pathlib import Path

from rich.console import Console

from scaling_search.commands.run_folder import (
    Call,
    deciding,
    provenance,
    record_of,
    scale_name,
    train,
)
from scaling_search.experiment import Experiment
from scaling_search.files import read_table, write_table
from scaling_search.ladder import family_shares, members, members_table
from scaling_search.progress import Tracked
from scaling_search.results import coefficient_table, results_table
from scaling_search.scaling import Shares
from scaling_search.search import Search
from scaling_search.study import Record
from scaling_search.terminal import ladder_table


def run(call: Call) -> None:
    """Trains families over phi from a run's folder and records them."""
    experiment, console = call.experiment, call.console
    folder = Path(experiment.out)
    dataset = experiment.ready_dataset()
    experiment.executor.check()
    searched = record_of(experiment, experiment.name)
    searched.claim(deciding(call.options, dataset))
    with console.status("finding the families' members"):
        found = members(
            experiment.base_network,
            experiment.cost,
            _families(experiment, searched, console),
            phis=experiment.scale.phis,
            tolerance=experiment.scale.tolerance,
            max_resolution=dataset.resolution,
        )
    candidates = {member.candidate.number: member.candidate for member in found}
    track = Tracked(console, "measuring networks")
    for candidate in track(candidates.values(), len(candidates)):
        experiment.cost.measure(candidate.architecture)
    write_table(members_table(found), folder / "families.csv")
    console.print(ladder_table(found))
    trials = [
        experiment.trial(candidates[number], seed)
        for number in sorted(candidates)
        for seed in range(experiment.scale.num_seeds)
    ]
    record = record_of(experiment, scale_name(experiment.name))
    search = Search(
        trials,
        record,
        provenance=provenance(),
        known=list(searched.results_of(trials).values()),
    )
    train(call, search, None)


def _families(experiment: Experiment, searched: Record, console: Console) -> dict[str, Shares]:
    """The shares of each family that is asked for; of compound those given or found."""
    given = experiment.scale.given
    if given is not None:
        compound = Shares.nominal(given.multipliers(1))
    else:
        candidates = read_table(Path(experiment.out) / "candidates.csv")
        table = coefficient_table(candidates, results_table(searched.rows()), experiment.objective)
        best = table[table["order"] == 1]
        if best.empty:
            raise ValueError(
                f"out must hold a finished training of a scaled network, got none in "
                f"{experiment.out!r}; search first, or give scale.coefficients"
            )
        row = best.iloc[0]
        compound = Shares(row["depth_share"], row["width_share"], row["resolution_share"])
        console.print(
            f"compound: alpha {row['alpha']:.3f}, beta {row['beta']:.3f}, gamma "
            f"{row['gamma']:.3f}, the best mean of the search",
            highlight=False,
        )
    shares = family_shares(compound)
    return {family: shares[family] for family in experiment.scale.families}
