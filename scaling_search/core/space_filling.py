"""Space-filling subsets of points on the triangle of shares, and the largest gaps of points."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaling_search.core.scaling import REFERENCES, Shares

Points = NDArray[np.float64]
"""Shares of depth, width and resolution, (points, 3)."""

LARGEST_HOLE = 0.25
"""Largest distance from `largest_hole` at which the whole triangle still counts as searched."""

PLACE = 0.02
"""Points at most so far from the first of a place belong to it.

Networks of one place are nearly the same network, so their trainings are no independent
observations of a surface.
"""

AT_ONCE = 10_000
"""Number of points whose distances are in memory at once."""


def triangle(step: float = 0.05) -> Points:
    """All points of the triangle whose shares are multiples of ``step``."""
    num_steps = round(1 / step)
    return np.array(
        [
            (i / num_steps, j / num_steps, (num_steps - i - j) / num_steps)
            for i in range(num_steps + 1)
            for j in range(num_steps + 1 - i)
        ]
    )


def distances(points: Points, others: Points) -> NDArray[np.float64]:
    """Half the sum of absolute differences of shares, (points, others)."""
    # Column by column: many times as fast as a sum over an axis of three.
    depth, width, resolution = (
        np.abs(np.subtract.outer(ones, twos)) for ones, twos in zip(points.T, others.T, strict=True)
    )
    halves: NDArray[np.float64] = (depth + width + resolution) / 2
    return halves


def as_points(shares: Sequence[Shares] | Points) -> Points:
    """Shares as an array (points, 3)."""
    if isinstance(shares, np.ndarray):
        return shares
    return np.array([tuple(s) for s in shares], dtype=np.float64).reshape(-1, 3)


def places(shares: Sequence[Shares] | Points) -> NDArray[np.int64]:
    """Place of each point, (points,), numbered by first appearance.

    A point farther than `PLACE` from the first point of every place before begins a new one; all
    others belong to the nearest.
    """
    points = as_points(shares)
    firsts: list[int] = []
    nearest = np.full(len(points), np.inf)
    found = np.zeros(len(points), dtype=np.int64)
    for point in range(len(points)):
        if nearest[point] <= PLACE + 1e-12:
            continue
        to_first = distances(points, points[[point]])[:, 0]
        is_nearer = to_first < nearest
        found[is_nearer] = len(firsts)
        nearest[is_nearer] = to_first[is_nearer]
        firsts.append(point)
    return found


def scheffe(points: Points) -> NDArray[np.float64]:
    """The six terms of a quadratic surface over shares, (points, 6).

    Source: Scheffé 1958: three linear terms and three products, no constant.
    """
    d, w, r = points.T
    return np.stack([d, w, r, d * w, d * r, w * r], axis=1)


def largest_hole(shares: Sequence[Shares] | Points) -> tuple[float, Shares]:
    """Return the fill distance of points, and the point of the triangle at that distance.

    The fill distance is the largest distance from a point of the triangle to the nearest of
    ``shares``. Source: Wendland 2004.
    """
    grid, points = triangle(), as_points(shares)
    blocks = np.array_split(points, len(points) // AT_ONCE + 1)
    nearest = np.min([distances(grid, block).min(axis=1) for block in blocks], axis=0)
    farthest = int(nearest.argmax())
    return float(nearest[farthest]), Shares(*grid[farthest].tolist())


def space_filling_subset(shares: Sequence[Shares] | Points, size: int | None = None) -> list[int]:
    """Indices of at most ``size`` points that fill the triangle, in the order of their choice.

    One point of each place comes before a second one of any; a place has no third. First the
    nearest point to each reference; then, up to three quarters of ``size``, the nearest to the
    middle of the largest hole that becomes smaller; then the point where a quadratic surface has
    the largest variance. Second points follow in the order of their places. Ties, and which point
    is the second of its place, go to the first of ``shares``.

    `places` of the chosen points are the same places: their first points are pairwise farther
    apart than `PLACE`.

    Args:
        shares: The points.
        size: Largest number of points; None for one of every place.
    """
    points = as_points(shares)
    if not len(points):
        return []
    firsts = _one_of_each_place(points, math.inf if size is None else size)
    if size is None or len(firsts) == size:
        return firsts
    rest = np.setdiff1d(np.arange(len(points)), firsts)
    found = places(points[[*firsts, *rest]])[len(firsts) :]
    seconds = rest[np.unique(found, return_index=True)[1]]
    return [*firsts, *seconds.tolist()][:size]


def _one_of_each_place(points: Points, size: float) -> list[int]:
    """The first points of at most ``size`` places, as `space_filling_subset` chooses them."""
    grid = triangle()
    taken: list[int] = []
    free, gaps = np.arange(len(points)), np.full(len(grid), np.inf)
    # A small ridge keeps the information invertible while the points still lie on a line.
    information = 1e-9 * np.eye(scheffe(points).shape[1])

    def take(point: int) -> None:
        nonlocal free, gaps, information
        taken.append(point)
        one = points[[point]]
        free = free[distances(points[free], one)[:, 0] > PLACE + 1e-12]
        gaps = np.minimum(gaps, distances(grid, one)[:, 0])
        information = information + scheffe(one).T @ scheffe(one)

    to_references = distances(as_points(list(REFERENCES.values())), points)
    for point in to_references.argmin(axis=1).tolist():
        if point in free and len(taken) < size:
            take(point)
    while len(taken) < size and len(free):
        hole = int(gaps.argmax())
        if len(taken) < 0.75 * size and gaps[hole] > 0:
            away = distances(grid[[hole]], points[free])[0]
            if away.min() < gaps[hole] - 1e-12:
                take(int(free[away.argmin()]))
            else:
                gaps[hole] = 0.0  # no point that is left makes it smaller
            continue
        left = scheffe(points[free])
        variance = np.einsum("ij,jk,ik->i", left, np.linalg.inv(information), left)
        take(int(free[variance.argmax()]))
    return taken
