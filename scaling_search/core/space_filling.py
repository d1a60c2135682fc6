"""Space-filling subsets of points on the triangle of shares, and the largest gaps of points."""

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


def space_filling_subset(shares: Sequence[Shares] | Points, size: int) -> list[int]:
    """Indices of at most ``size`` points that fill the triangle, in the order of their choice.

    First the nearest point to each reference; then, up to half of ``size``, the point farthest
    from those chosen (maximin); then the point where a quadratic surface has the largest variance.
    Ties go to the first point. Distances alone would leave the largest variance twice as large.
    """
    points = as_points(shares)
    size = min(size, len(points))
    to_references = distances(as_points(list(REFERENCES.values())), points)
    taken = list(dict.fromkeys(int(i) for i in to_references.argmin(axis=1)))[:size]
    nearest = distances(points, points[taken]).min(axis=1)
    while len(taken) < max(size // 2, min(size, len(REFERENCES))):
        farthest = int(nearest.argmax())
        if nearest[farthest] == 0:
            break
        taken.append(farthest)
        nearest = np.minimum(nearest, distances(points, points[[farthest]])[:, 0])
    terms = scheffe(points)
    free = np.ones(len(points), dtype=bool)
    free[taken] = False
    # A small ridge keeps the information invertible while the points still lie on a line.
    information = terms[taken].T @ terms[taken] + 1e-9 * np.eye(terms.shape[1])
    while len(taken) < size:
        variance = np.einsum("ij,ij->i", terms @ np.linalg.inv(information), terms)
        least_certain = int(np.where(free, variance, -np.inf).argmax())
        taken.append(least_certain)
        free[least_certain] = False
        information += np.outer(terms[least_certain], terms[least_certain])
    return taken
