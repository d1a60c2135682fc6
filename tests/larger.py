"""Trainings at larger sizes with a known truth, for tests of how the best split moves."""

from dataclasses import replace
from functools import cache

from scaling_search.answer.fit import Surface, fit_surface
from scaling_search.answer.observations import Observations
from scaling_search.base_networks import small_efficientnet
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import Points, as_points
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.families import PointNetwork, nearest_to_points, ten_points
from tests.surfaces import Luck, Truth, around, plan_shares, trainings

NOISY = Luck(seed_sd=0.0065, shared=0.5, network_sd=0.004)
FOUND = Shares(0.1, 0.3, 0.6)


@cache
def chosen(phi: int) -> tuple[PointNetwork, ...]:
    """Ten networks of a larger size of the small proxy, whose data have 28 px."""
    found = nearest_to_points(
        Budget(small_efficientnet(), Flops()),
        ten_points(FOUND),
        phis=[phi],
        tolerance=0.05,
        max_resolution=28,
    )
    return tuple(found)


def points_of(phi: int) -> Points:
    return as_points([one.candidate.shares for one in chosen(phi) if one.candidate.shares])


def at_size(
    phi: int, truth: Truth, luck: Luck, *, num_seeds: int = 1, seed: int = 0
) -> Observations:
    """Trainings of the networks of a larger size, all by so much better."""
    data = trainings(points_of(phi), truth, luck, num_seeds=num_seeds, seed=1000 * phi + seed)
    return replace(
        data,
        target=2.0**phi,
        cost_ratio=data.cost_ratio * 2 ** (phi - 1),
        loss=data.loss - 0.02 * phi,
        base_seed=data.base_seed[:0],
        base_loss=data.base_loss[:0],
    )


def best_at(phi: int, drift: float) -> tuple[float, float]:
    """Depth and width of the best split, the same share more depth with each doubling."""
    return 0.35 + drift * (phi - 1), 0.35


def drawn(
    drift: float, luck: Luck, *, spread: float = 0.06, seed: int = 0
) -> tuple[Surface, list[Observations]]:
    """The surface of a search among 30 networks, and trainings of four and eight times the cost."""
    truths = {phi: around(*best_at(phi, drift), spread=spread) for phi in (1, 2, 3)}
    surface = fit_surface(trainings(plan_shares(), truths[1], luck, seed=seed))
    return surface, [at_size(phi, truths[phi], luck, seed=seed) for phi in (2, 3)]
