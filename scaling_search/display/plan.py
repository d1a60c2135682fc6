"""A plan in a table and in sentences: the networks, what they can show, and what would help."""

from collections.abc import Iterator, Sequence

import numpy as np

from scaling_search.answer.detectable import FEWEST_PLACES
from scaling_search.core.metric import Metric
from scaling_search.core.recipe import Recipe, text_of
from scaling_search.core.space_filling import LARGEST_HOLE
from scaling_search.display.formatting import count, difference, named_shares, percent, rounded
from scaling_search.display.terminal import shares_text
from scaling_search.display.verdicts import PLACE_MEANT, SHARE_MEANT, SPLITS
from scaling_search.planning.candidates import SCALED, Plan
from scaling_search.planning.families import ON_RAY, FamilyMember
from scaling_search.planning.scaler import LARGEST_GAP

UNITS = {
    "flops": (1e6, "M multiply-adds"),
    "train_flops": (1e6, "M multiply-adds of a training step"),
    "activations": (1e3, "k activations"),
    "latency_ms": (1.0, "ms a batch"),
    "memory_bytes": (2.0**20, "MiB of a training step"),
}
"""Factors and names of the units of costs, by column."""


SEED_SD_MEANT = (
    "Seed sd: the standard deviation of one network's results over seeds, which the search will "
    "measure."
)

PLAN_OPTIONAL = ("activations, k", "parameters, k", "nominal cost")
"""Columns of a plan that a narrow terminal leaves out."""


def in_seed_sds(multiple: float, seed_sd: float | None, objective: Metric) -> str:
    """A multiple of a seed's standard deviation; as a difference where that is known."""
    if seed_sd is None:
        return f"{multiple:.1f} seed sd"
    return difference(multiple * seed_sd, objective)


def plan_lines(planned: Plan) -> list[list[str]]:
    """A header, and a line for each network to train."""
    titles = ("alpha", "beta", "gamma", "shares d/w/r", "nominal cost", "cost")
    lines = [["network", *titles, *PLAN_OPTIONAL[1::-1], "px", "blocks"]]
    for candidate in (planned.base, *planned.candidates):
        c = candidate.coefficients
        line = [
            str(candidate.number or "base"),
            *(rounded(value) for value in (c.alpha, c.beta, c.gamma)),
            shares_text(candidate.shares),
            f"{candidate.nominal_flops_ratio:.3f}x",
            f"{candidate.cost_ratio:.3f}x",
            f"{candidate.params / 1e3:.1f}",
            f"{candidate.activations / 1e3:.1f}",
            str(candidate.architecture.resolution),
            str(candidate.row()["layers"]),
        ]
        lines.append(line)
    return lines


def family_lines(found: Sequence[FamilyMember]) -> list[list[str]]:
    """A header, and a line for each member of each family."""
    lines = [["family", "phi", "cost", "shares d/w/r", "off its ray", "px", "blocks"]]
    for member in found:
        candidate = member.candidate
        line = [
            member.family + (" (ends: the data have no more pixels)" if member.ends else ""),
            str(member.phi),
            f"{candidate.cost_ratio:.3f}x",
            shares_text(candidate.shares),
            f"{member.distance:.2f}" + (" " if member.is_on_ray else "*"),
            str(candidate.architecture.resolution),
            str(candidate.row()["layers"]),
        ]
        lines.append(line)
    return lines


def about_families() -> Iterator[str]:
    """Sentences on the columns of `family_table`."""
    yield "phi: the cost is 2^phi times the base network's."
    yield (
        "off its ray: difference between the shares of the network and of its family; * if over "
        f"{ON_RAY}. {SHARE_MEANT}"
    )


def recipe_sentence(recipe: Recipe) -> str:
    """The recipe in a sentence."""
    by = {"sgd": "SGD", "adamw": "AdamW"}[recipe.optimizer]
    at = "a rate that is asked" if recipe.is_open else f"rate {recipe.rate:g}"
    changed = (f"{name} {text_of(value)}" for name, value in recipe.augmentation.items())
    epochs = f"{recipe.epochs:g} epoch{'s' * (recipe.epochs != 1)}"
    return (
        f"Recipe: {epochs} of {by} at {at}, {recipe.batch_size} images a step; "
        f"augmentation: {', '.join(changed) or 'none'}."
    )


def plan_sentences(plan: Plan) -> Iterator[str]:
    """Sentences on the networks of a plan, and warnings."""
    pool, ratios = plan.pool.ratios, sorted(c.cost_ratio for c in plan.candidates)
    num_in_band = int(np.sum(np.abs(pool / plan.target - 1) <= plan.tolerance + 1e-12))
    networks, in_band = f"There are {len(pool)} distinct networks", f"{num_in_band} networks"
    if plan.num_points != len(pool):
        networks = f"{plan.num_points} coefficient triples round to {len(pool)} distinct networks"
    if plan.num_points_in_band != len(pool):
        in_band = f"{plan.num_points_in_band} triples ({in_band})"
    scale, unit = UNITS.get(plan.column, (1.0, plan.column))
    yield (
        f"{networks}, with {pool.min():.2f} to {pool.max():.2f} times the base network's cost "
        f"({plan.base.cost / scale:,.2f} {unit}). Of these, {in_band} have the target's cost, "
        f"{plan.target:g} ± {plan.target * plan.tolerance:g} times."
    )
    yield (
        f"{len(ratios)} networks are selected, with {ratios[0]:.3f} to {ratios[-1]:.3f} times the "
        f"cost, median {np.median(ratios):.3f}. They lie in {count(plan.num_places, 'place')}; "
        f"{PLACE_MEANT}. {SHARE_MEANT}"
    )
    hole, point = plan.hole
    yield (
        "The largest gap between selected networks is near the split "
        f"{named_shares(point)}: the shares of the nearest one differ by {hole:.2f}. "
        f"In {count(plan.num_inside, 'network')} each dimension has a share of {SCALED} or more."
    )
    distances = (f"{SPLITS[name]} {gap:.2f}" for name, gap in plan.reference_distances.items())
    yield (
        "Difference in shares between each reference and the nearest selected network: "
        f"{', '.join(distances)}."
    )
    yield from _warnings(plan, hole)


def about_verdicts(plan: Plan, most_seeds: int) -> Iterator[str]:
    """A sentence if a search of the plan will give no answer.

    Args:
        plan: The plan.
        most_seeds: Largest number of seeds of a network.
    """
    needs, remedies = [], []
    if plan.num_places < FEWEST_PLACES:
        needs.append(f"{FEWEST_PLACES} places (got {plan.num_places})")
        remedies.append(
            "for more places set candidates.max_networks=null, a wider candidates.tolerance or "
            "smaller divisors in base_network"
        )
    if most_seeds < 2:
        needs.append("a second seed of some networks (got none)")
        remedies.append("for second seeds set num_seeds=1.25")
    if needs:
        yield (
            "A search of this plan will give means but no answer. An answer needs "
            f"{' and '.join(needs)}; {'; '.join(remedies)}."
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
            "Warning: the base network has few smaller networks, with gaps over "
            f"{LARGEST_HOLE} in shares. The search will name the best of the trained networks, but "
            "no rule (the best split by a fit)."
        )
    if hole > LARGEST_HOLE or plan.num_inside < 2:
        yield (
            f"Warning: some splits stay unknown, because of gaps over {LARGEST_HOLE} in shares or "
            f"fewer than two networks with a share of {SCALED} or more in each dimension. For more "
            "networks set candidates.max_networks higher (null: every place), a wider "
            "candidates.tolerance (up to 0.1) or finer rounding in base_network (smaller divisors, "
            "depth_rounding=round, a smaller step)."
        )
    if num_gaps := sum(c.share_gap > LARGEST_GAP for c in plan.candidates):
        by_flops = sum(c.shares_of != plan.column for c in plan.candidates)
        shares = f"The shares of {by_flops} are calculated from FLOPs instead"
        yield (
            f"Warning: in {count(num_gaps, 'selected network')} the {plan.column} of the three "
            f"dimensions do not multiply to the whole: their logs differ by over "
            f"{percent(LARGEST_GAP)}. {shares if by_flops else 'Their shares are approximate'}."
        )
    scatter = np.array([c.cost_spread / c.cost_ratio for c in plan.candidates])
    if scatter.max() > plan.tolerance:
        yield (
            f"Warning: the measured cost of {np.sum(scatter > plan.tolerance)} selected networks "
            "varies between runs by more than the tolerance, by up to "
            f"{percent(scatter.max())}. Their costs are equal only within that. An idle machine or "
            "a larger cost.batch_size reduces it."
        )
