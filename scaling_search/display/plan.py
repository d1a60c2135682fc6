"""A plan in a table and in sentences: the networks, what they can show, and what would help."""

from collections.abc import Iterator, Sequence

import numpy as np
from rich.table import Table

from scaling_search.answer.detectable import FEWEST_PLACES
from scaling_search.core.space_filling import LARGEST_HOLE, PLACE
from scaling_search.display.formatting import count
from scaling_search.display.terminal import columns, shares_text
from scaling_search.planning.candidates import SCALED, Plan
from scaling_search.planning.families import FamilyMember
from scaling_search.planning.scaler import LARGEST_GAP

UNITS = {
    "flops": (1e6, "M multiply-adds"),
    "train_flops": (1e6, "M multiply-adds of a training step"),
    "activations": (1e3, "k activations"),
    "latency_ms": (1.0, "ms a batch"),
    "memory_bytes": (2.0**20, "MiB of a training step"),
}
"""Factors and names of the units of costs, by column."""


def plan_table(planned: Plan) -> Table:
    """A row for each network to train."""
    titles = ("alpha", "beta", "gamma", "shares d/w/r", "nominal", "real", "k params", "k acts")
    table = columns("", *titles, "px", "layers")
    for candidate in (planned.base, *planned.candidates):
        c = candidate.coefficients
        table.add_row(
            str(candidate.number or "base"),
            *(f"{value:.3f}" for value in (c.alpha, c.beta, c.gamma)),
            shares_text(candidate.shares),
            f"{candidate.nominal_flops_ratio:.3f}",
            f"{candidate.cost_ratio:.3f}",
            f"{candidate.params / 1e3:.1f}",
            f"{candidate.activations / 1e3:.1f}",
            str(candidate.architecture.resolution),
            str(candidate.row()["layers"]),
        )
    return table


def family_table(found: Sequence[FamilyMember]) -> Table:
    """A row for each member of each family."""
    table = columns("phi", "real", "shares d/w/r", "off its ray", "px", "layers")
    table.add_column("family")
    for member in found:
        candidate = member.candidate
        table.add_row(
            str(member.phi),
            f"{candidate.cost_ratio:.3f}",
            shares_text(candidate.shares),
            f"{member.distance:.2f}" + (" " if member.is_on_ray else "*"),
            str(candidate.architecture.resolution),
            str(candidate.row()["layers"]),
            member.family + (" (ends: the data have no more pixels)" if member.ends else ""),
        )
    return table


def plan_sentences(plan: Plan) -> Iterator[str]:
    """Sentences on the networks of a plan, and warnings."""
    pool, ratios = plan.pool.ratios, sorted(c.cost_ratio for c in plan.candidates)
    num_in_band = int(np.sum(np.abs(pool / plan.target - 1) <= plan.tolerance + 1e-12))
    networks, in_band = f"{len(pool)} distinct networks", f"{num_in_band} networks"
    if plan.num_points != len(pool):
        networks = f"{plan.num_points} coefficient triples lead to {networks}"
    if plan.num_points_in_band != len(pool):
        in_band = f"{plan.num_points_in_band} triples ({in_band})"
    scale, unit = UNITS.get(plan.column, (1.0, plan.column))
    yield (
        f"{networks} of {pool.min():.2f}x to {pool.max():.2f}x the base network's cost "
        f"({plan.base.cost / scale:,.2f} {unit}); {in_band} lie within "
        f"{plan.target:g} ± {plan.target * plan.tolerance:g}."
    )
    yield (
        f"{len(ratios)} networks are selected, of {ratios[0]:.3f}x to {ratios[-1]:.3f}x, median "
        f"{np.median(ratios):.3f}x. They lie in {count(plan.num_places, 'place')} of the triangle "
        f"of shares; networks within {PLACE} of another count with it."
    )
    hole, point = plan.hole
    yield (
        f"The largest hole in the triangle is {hole:.2f}: no nearer network is selected "
        f"around depth {point.depth:.2f}, width {point.width:.2f}, resolution "
        f"{point.resolution:.2f}; {plan.num_inside} of the selected networks have a share of "
        f"{SCALED} or more in each dimension."
    )
    distances = (f"{name} {value:.2f}" for name, value in plan.reference_distances.items())
    yield f"Distances from the references to the nearest selected network: {', '.join(distances)}."
    yield from _warnings(plan, hole)


def about_verdicts(plan: Plan, most_seeds: int) -> Iterator[str]:
    """A sentence if a search of the plan will give no verdict.

    Args:
        plan: The plan.
        most_seeds: Largest number of seeds of a network.
    """
    needs, remedies = [], []
    if plan.num_places < FEWEST_PLACES:
        needs.append(f"{FEWEST_PLACES} places, got {plan.num_places}")
        remedies.append(
            "smaller divisors in base_network, a wider candidates.tolerance or "
            "candidates.max_networks=null give more places"
        )
    if most_seeds < 2:
        needs.append("a second seed of some networks, got none")
        remedies.append("num_seeds=1.25 gives second seeds")
    if needs:
        yield (
            f"Its search will give means and no verdict, which needs {' and '.join(needs)}; "
            f"{', '.join(remedies)}."
        )


def seeds_text(num_seeds: Sequence[int]) -> str:
    """The numbers of seeds of a plan's networks, which do not rise along the plan."""
    fewest = min(num_seeds)
    num_more = sum(number > fewest for number in num_seeds)
    more = f", one more for the first {num_more}," if num_more else ""
    return f"{count(fewest, 'seed')} a network{more}"


def _warnings(plan: Plan, hole: float) -> Iterator[str]:
    if num_unequal := sum(not plan.in_band(c) for c in plan.candidates):
        yield (
            f"Warning: {num_unequal} of the selected networks do not have the target's cost; "
            "their accuracies are not comparable. candidates=buildable compares equal costs."
        )
    if plan.target < 1 and hole > LARGEST_HOLE:
        yield (
            "Warning: a base network has few smaller ones, and these leave holes over "
            f"{LARGEST_HOLE}: no region of the best split will be given, only the best of the "
            "trained networks."
        )
    if hole > LARGEST_HOLE or plan.num_inside < 2:
        yield (
            f"Warning: holes over {LARGEST_HOLE} or fewer than two networks inside the triangle "
            "leave parts of it unknown. More of candidates.max_networks (null: every place), a "
            "wider candidates.tolerance (up to 0.1) or finer rounding in base_network (smaller "
            "divisors, depth_rounding=round, a smaller step) would give more."
        )
    if num_gaps := sum(c.share_gap > LARGEST_GAP for c in plan.candidates):
        by_flops = sum(c.shares_of != plan.column for c in plan.candidates)
        shares = f"shares of {by_flops} are taken in FLOPs"
        yield (
            f"Warning: in {num_gaps} of the selected networks the three dimensions' logs of "
            f"{plan.column} miss the whole by over {LARGEST_GAP:.0%}; "
            f"{shares if by_flops else 'their shares are approximate'}."
        )
    scatter = np.array([c.cost_spread / c.cost_ratio for c in plan.candidates])
    if scatter.max() > plan.tolerance:
        yield (
            f"Warning: runs of {np.sum(scatter > plan.tolerance)} selected networks scatter by "
            f"more than the tolerance, by up to {scatter.max():.0%}, and their costs are equal "
            "within that alone; a quiet machine or a larger cost.batch_size scatters less."
        )
