"""One surface model of several sizes: drift of the rule, smallest detectable change."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import linalg

from scaling_search.answer.detectable import smallest_difference
from scaling_search.answer.fit import (
    LEVEL,
    NUM_TERMS,
    FTest,
    Surface,
    is_singular,
    kernels,
    least_squares,
)
from scaling_search.answer.mixed_model import fit_mixed
from scaling_search.answer.observations import Indices, Observations, Values
from scaling_search.answer.region import GRID, Hull, Region, best_point, find_region, in_region
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import Points, as_points, scheffe, triangle

CHANGING = np.eye(NUM_TERMS)[[0, 1, 3, 4, 5]]
"""Five of the six terms change with the size; each size has a level instead of the sixth."""

GRID_STEP, FINE_STEP = 0.05, 0.02
"""Distances of the points of `GRID`, and of those that refine a region's ends."""

FINE = triangle(FINE_STEP)

FEWEST_PLACES = "the networks of the larger sizes must be spread over the triangle"


@dataclass(frozen=True, eq=False)
class PooledDesign:
    """Trainings of all sizes in one design.

    Attributes:
        sizes: Costs over the base network's, ascending, the search's first.
        terms: Six terms of each network, a level for each size but the first, five terms times
            log2 of the size over the first, (networks, terms).
        response: Losses corrected to exactly their size's cost, (trainings,).
        network: Network of each training, an index into `terms`, (trainings,).
        place: Place of each training at its size, all counted from 0, (trainings,).
        seed: Seed of each training, all counted from 0, (trainings,).
    """

    sizes: tuple[float, ...]
    terms: Values
    response: Values
    network: Indices
    place: Indices
    seed: Indices

    @classmethod
    def of(cls, surface: Surface, larger: Sequence[Observations]) -> "PooledDesign":
        """Returns the design of the search and of larger sizes, ascending.

        Raises:
            ValueError: They do not determine how the surface changes.
        """
        parts = [surface.observations, *larger]
        _check(parts)
        sizes = np.array([part.target for part in parts])
        steps = np.log2(sizes / sizes[0])
        counts = [len(part.shares) for part in parts]
        blocks = []
        for i, (part, step) in enumerate(zip(parts, steps, strict=True)):
            levels = np.zeros((len(part.shares), len(larger)))
            levels[:, i - 1 : i] = 1.0
            six = scheffe(part.shares)
            blocks.append(np.hstack([six, levels, step * six @ CHANGING.T]))
        before = np.cumsum([0, *counts[:-1]])
        network = np.concatenate([p.network + b for p, b in zip(parts, before, strict=True)])
        counted = np.cumsum([0, *(part.num_places for part in parts[:-1])])
        place = np.concatenate(
            [p.place[p.network] + n for p, n in zip(parts, counted, strict=True)]
        )
        terms = np.vstack(blocks)
        seed = np.unique(np.concatenate([p.seed for p in parts]), return_inverse=True)[1]
        pool = cls(
            sizes=tuple(sizes.tolist()),
            terms=terms,
            response=np.concatenate([part.corrected(surface.slope) for part in parts]),
            network=network,
            place=place,
            seed=seed,
        )
        if is_singular(terms) or is_singular(pool.design) or pool.freedom < 1:
            raise ValueError(
                f"{FEWEST_PLACES}, got {sum(counts[1:])} in too few places; "
                "add sizes to transfer.phis, or use a wider candidates.tolerance"
            )
        return pool

    @property
    def design(self) -> Values:
        """Terms of each training's network, and all seeds but the first, (trainings, columns)."""
        dummies = np.eye(self.seed.max() + 1)[self.seed][:, 1:]
        return np.hstack([self.terms[self.network], dummies - dummies.mean(axis=0)])

    @property
    def freedom(self) -> int:
        """Places less coefficients, seeds not counted."""
        num_terms: int = self.terms.shape[1]
        return int(self.place.max()) + 1 - num_terms

    def surface_terms(self, size: float) -> Values:
        """Matrix from the coefficients of `terms` to the six of a size, (6, terms)."""
        levels = np.zeros((NUM_TERMS, len(self.sizes) - 1))
        place = self.sizes.index(size)
        levels[:3, place - 1 : place] = 1.0  # shares sum to 1: a level is in each linear term
        step = math.log2(size / self.sizes[0])
        return np.hstack([np.eye(NUM_TERMS), levels, step * CHANGING.T])


def _check(parts: Sequence[Observations]) -> None:
    if len(parts) < 2:
        raise ValueError(f"{FEWEST_PLACES}, got none with a finished training; train them")
    for part in parts[1:]:
        if is_singular(np.hstack([np.ones((len(part.shares), 1)), part.shares[:, :2]])):
            raise ValueError(
                f"{FEWEST_PLACES}, got {len(part.shares)} on a line at {part.target:g}x; "
                "use a wider candidates.tolerance"
            )


@dataclass(frozen=True, eq=False)
class PooledFit:
    """One model of the trainings of all sizes.

    Attributes:
        surfaces: One for each size, ascending, the search's first, on the splits that all sizes
            reach.
        test: F-test of a change of the surface's shape with the size.
    """

    surfaces: tuple[Surface, ...]
    test: FTest


def fit_sizes(surface: Surface, larger: Sequence[Observations]) -> PooledFit:
    """Fits one model to the trainings of all sizes.

    Six terms, a level for each size but the search's, five terms times log2 of the size over the
    search's, an offset of each seed, a random effect of each place by `fit_mixed`, smooth ones
    within a size. Losses are corrected to
    exactly their size's cost with the slope of the search. The F-test is that of the five.

    Args:
        surface: Surface of the search.
        larger: Trainings of larger sizes, ascending.

    Raises:
        ValueError: They do not determine the model.
    """
    pool = PooledDesign.of(surface, larger)
    parts = (surface.observations, *larger)
    smooth = linalg.block_diag(*(kernels(part.shares)[1] for part in parts))
    shapes = (np.eye(len(smooth)), smooth)
    terms, freedom = pool.terms[pool.network], pool.freedom
    found = fit_mixed(terms, pool.response, pool.place, pool.seed, shapes, freedom=freedom)
    estimates, covariance = found.estimates, found.covariance
    common = _common([Hull.of(data.shares) for data in parts])
    counts = np.cumsum([0, *(data.num_places for data in parts)])
    surfaces = []
    for data, first in zip(parts, counts[:-1], strict=True):
        terms = pool.surface_terms(data.target)
        surfaces.append(
            replace(
                surface,
                observations=data,
                coefficients=terms @ estimates,
                covariance=terms @ covariance @ terms.T,
                network_sd=found.effect_sd,
                residual_variance=found.residual_variance,
                effects=found.effects[first + data.place],
                freedom=pool.freedom,
                searched=common,
            )
        )
    num_changes = len(CHANGING)
    changes, spread = estimates[-num_changes:], covariance[-num_changes:, -num_changes:]
    return PooledFit(tuple(surfaces), FTest.of_contrasts(changes, spread, pool.freedom))


@dataclass(frozen=True, eq=False)
class Drift:
    """Drift of the rule from the search's size to the largest.

    Attributes:
        regions: The best point and its region, by size, ascending.
        moved: Best shares at the largest size less those at the search's, by dimension.
        low: Lower ends of the drift's simultaneous interval of at least 95 %.
        high: Upper ends.
    """

    regions: Mapping[float, Region]
    moved: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def find_drift(pooled: PooledFit) -> Drift:
    """Returns the drift of the rule, with an interval of at least 95 %.

    The 97.5 % regions of the search's size and of the largest hold together with 95 %
    (Bonferroni). The interval of each share goes from the smallest to the largest difference of a
    point of one and a point of the other. Regions are evaluated on points 0.02 apart, and each end
    is moved outwards by as much.
    """
    first, last = pooled.surfaces[0], pooled.surfaces[-1]
    (low, high), (last_low, last_high) = _extent(first), _extent(last)
    regions = {surface.observations.target: find_region(surface) for surface in pooled.surfaces}
    one, other = (as_points([regions[s.observations.target].best])[0] for s in (first, last))
    ends = (other - one, last_low - high, last_high - low)
    return Drift(regions, *(tuple((end.round(9) + 0.0).tolist()) for end in ends))


def _extent(surface: Surface) -> tuple[Values, Values]:
    """Smallest and largest shares of the 97.5 % region."""
    held = np.vstack(
        [GRID[in_region(surface, GRID, level=LEVEL / 2)], as_points([best_point(surface)])]
    )
    low, high = held.min(axis=0), held.max(axis=0)
    away = np.maximum(low - FINE, FINE - high)
    beyond = FINE[((away > 0) & (away < GRID_STEP)).any(axis=1)]
    held = np.vstack([held, beyond[in_region(surface, beyond, level=LEVEL / 2)]])
    return (
        np.maximum(held.min(axis=0) - FINE_STEP, surface.searched.min(axis=0)),
        np.minimum(held.max(axis=0) + FINE_STEP, surface.searched.max(axis=0)),
    )


def _common(hulls: Sequence[Hull]) -> Points:
    """Vertices of the intersection of hulls, (vertices, 3).

    Source: Sutherland & Hodgman 1974: one hull is clipped by each side of the others.
    """
    corners = hulls[0].vertices
    for side in np.vstack([hull.sides for hull in hulls[1:]]):
        beyond = corners[:, :2] @ side[:2] + side[2]
        kept = []
        for i, (corner, out) in enumerate(zip(corners, beyond, strict=True)):
            other, other_out = corners[i - 1], beyond[i - 1]
            if (out > 1e-9) != (other_out > 1e-9):
                kept.append(corner + (other - corner) * out / (out - other_out))
            if out <= 1e-9:
                kept.append(corner)
        corners = np.array(kept).reshape(-1, 3)
    sides = corners[1:] - corners[:1]
    if len(corners) < 3 or np.linalg.svd(sides, compute_uv=False)[1] < 0.01:
        raise ValueError(
            "all sizes must have some splits in common, got none; use a smaller "
            "transfer.phis, or a base network with a lower resolution"
        )
    return corners


@dataclass(frozen=True)
class DetectableChange:
    """Smallest detectable change of a difference between two splits with the size.

    Attributes:
        names: Names of both splits.
        smallest: From the search's size to the largest, in units of the metric.
        now: The difference at the search's size: the first's loss less the second's.
    """

    names: tuple[str, str]
    smallest: float
    now: float


def smallest_changes(
    surface: Surface, larger: Sequence[Observations], points: Mapping[str, Shares]
) -> list[DetectableChange]:
    """Smallest change that a t-test at 5 % detects for each pair of points, ascending.

    Variances are those of the surface; losses of the larger sizes are not used.

    Raises:
        ValueError: The design does not determine the model.
    """
    pool = PooledDesign.of(surface, larger)
    blank = np.zeros(len(pool.design))
    covariance = least_squares(pool.design, blank, pool.place, surface.variance_ratio)[1]
    end = pool.terms.shape[1]
    spread = covariance[end - len(CHANGING) : end, end - len(CHANGING) : end]
    step = math.log2(pool.sizes[-1] / pool.sizes[0])
    changes = []
    for (one, first), (other, second) in combinations(points.items(), 2):
        terms = (scheffe(as_points([first])) - scheffe(as_points([second])))[0]
        contrast = step * CHANGING @ terms
        error = math.sqrt(surface.residual_variance * float(contrast @ spread @ contrast))
        smallest = smallest_difference(error, pool.freedom)
        changes.append(
            DetectableChange((one, other), smallest, float(terms @ surface.coefficients))
        )
    return sorted(changes, key=lambda change: change.smallest)
