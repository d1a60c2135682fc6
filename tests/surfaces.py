"""Trainings with a known truth, for tests of the fit and of what rests on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from scaling_search.answer.fit import Surface, fit_surface
from scaling_search.answer.observations import Indices, Observations, Values
from scaling_search.answer.outliers import without
from scaling_search.base_networks import small_efficientnet
from scaling_search.candidates import Buildable
from scaling_search.core.metric import VAL_LOSS, Metric
from scaling_search.core.scaling import DIMENSIONS, REFERENCES
from scaling_search.core.space_filling import Points, as_points, places, space_filling_subset
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget

Truth = Callable[[Points], Values]
"""The loss at exactly the target's cost, (points,)."""


@dataclass(frozen=True)
class Luck:
    """What moves a loss away from its truth: standard deviations, and how seeds work.

    Attributes:
        seed_sd: Of a training over seeds.
        shared: Part of the seed's variance that all networks have in common.
        network_sd: Of a network around the truth.
    """

    seed_sd: float = 0.0
    shared: float = 0.5
    network_sd: float = 0.0


def around(depth: float, width: float, *, spread: float = 0.05) -> Truth:
    """A bowl whose smallest loss, 0.4, lies at these shares; 1 away it is higher by the spread."""
    place = np.array([depth, width, 1 - depth - width])
    return lambda points: 0.4 + spread * ((points - place) ** 2).sum(axis=1) / 2


def flat(points: Points) -> Values:
    """The same loss everywhere."""
    return np.full(len(points), 0.4)


def spread_points(number: int, *, seed: int = 0) -> Points:
    """Points that cover the triangle as a plan's networks do, each a place of its own."""
    drawn = np.random.default_rng(seed).dirichlet((1, 1, 1), 500)
    points = np.vstack([as_points(list(REFERENCES.values())), drawn])
    firsts = points[np.unique(places(points), return_index=True)[1]]
    return firsts[space_filling_subset(firsts, number)]


@cache
def plan_shares() -> Points:
    """Shares of the 30 networks that the small proxy's plan keeps."""
    plan = Buildable(max_networks=30).plan(Budget(small_efficientnet(), Flops()))
    return as_points([c.shares for c in plan.candidates if c.shares])


def trainings(
    shares: Points,
    truth: Truth,
    luck: Luck,
    *,
    num_seeds: int | Sequence[int] | Indices = 3,
    seed: int = 0,
    slope: float = 0.03,
    response: Metric = VAL_LOSS,
) -> Observations:
    """Trainings of networks with these shares and of the base network.

    Args:
        shares: As built, (networks, 3).
        truth: The loss at the target's cost, 2.
        luck: What is added to it.
        num_seeds: Of all networks, or of each.
        seed: Of the luck.
        slope: By how much the loss falls when the cost grows e-fold.
        response: Of which metric this shall be the loss.
    """
    stream = np.random.default_rng(seed)
    number = len(shares)
    counts = np.broadcast_to(np.asarray(num_seeds, dtype=int), number)
    network = np.repeat(np.arange(number), counts)
    seeds = np.concatenate([np.arange(count) for count in counts])
    ratio = 2 * stream.uniform(0.95, 1.05, number)
    offsets = stream.normal(0, 1, counts.max()) * luck.seed_sd * luck.shared**0.5
    own = luck.seed_sd * (1 - luck.shared) ** 0.5
    losses = (
        truth(shares) - slope * np.log(ratio / 2) + stream.normal(0, 1, number) * luck.network_sd
    )
    # The slope is what the base lies above the mean of the networks.
    base = truth(shares).mean() + slope * np.log(2) + offsets
    return Observations(
        response=response,
        target=2.0,
        candidates=np.arange(1, number + 1),
        shares=shares,
        cost_ratio=ratio,
        network=network,
        seed=seeds,
        loss=losses[network] + offsets[seeds] + own * stream.normal(0, 1, len(network)),
        base_seed=np.arange(len(base)),
        base_loss=base + own * stream.normal(0, 1, len(base)),
        num_failed=0,
    )


def fitted(
    truth: Truth, luck: Luck, *, number: int = 30, num_seeds: int = 3, seed: int = 0
) -> Surface:
    """The surface fitted to trainings of spread networks."""
    shares = spread_points(number)
    return fit_surface(trainings(shares, truth, luck, num_seeds=num_seeds, seed=seed))


def subset(data: Observations, kept: Indices) -> Observations:
    """Only some trainings, by their indices; networks without any are left out."""
    is_left = np.ones(len(data.loss), dtype=bool)
    is_left[kept] = False
    return without(data, is_left, np.zeros(len(data.base_loss), dtype=bool))


def results_of(data: Observations) -> pd.DataFrame:
    """The results table that these trainings would leave."""
    name = data.response.name
    rows: list[dict[str, object]] = [
        {
            "candidate": 0,
            "seed": int(s),
            "cost_ratio": 1.0,
            name: data.sign * float(v),
        }
        for s, v in zip(data.base_seed, data.base_loss, strict=True)
    ]
    for i, s, v in zip(data.network, data.seed, data.loss, strict=True):
        row: dict[str, object] = {"candidate": int(data.candidates[i]), "seed": int(s)}
        row |= {f"{d}_share": float(x) for d, x in zip(DIMENSIONS, data.shares[i], strict=True)}
        rows.append(row | {"cost_ratio": float(data.cost_ratio[i]), name: data.sign * v})
    return pd.DataFrame(rows).assign(state="COMPLETE")


def search_results(
    truth: Truth,
    luck: Luck,
    *,
    number: int = 20,
    num_seeds: int | Sequence[int] = 3,
    seed: int = 0,
    accuracy_truth: Truth | None = None,
    own: Mapping[int, float] | None = None,
) -> pd.DataFrame:
    """The results table of a search of spread networks, by loss and by accuracy.

    Args:
        truth: The loss at the target's cost, 2.
        luck: What is added to it.
        number: Scaled networks; the first is depth alone.
        num_seeds: Of all networks, or of each.
        seed: Of the luck.
        accuracy_truth: The loss that an accuracy is 1.25 less; None for the same.
        own: Losses to add to networks, by number, which their splits do not explain.
    """
    shares = spread_points(number)
    by_loss, by_accuracy = (
        results_of(trainings(shares, one, luck, num_seeds=num_seeds, seed=seed))
        for one in (truth, accuracy_truth or truth)
    )
    effects = by_loss["candidate"].map(own or {}).fillna(0.0)
    table = by_loss.assign(
        val_loss=by_loss["val_loss"] + effects,
        val_accuracy=1.25 - by_accuracy["val_loss"] - effects,
    )
    for name in ("alpha", "beta", "gamma"):
        table[[name, f"{name}_low", f"{name}_high"]] = [1.5, 1.0, 2.0]
    return table.assign(alpha=1 + table["candidate"] / 100)
