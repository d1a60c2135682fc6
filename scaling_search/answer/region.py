"""The rule, the best split of the surface, and its 95 % region."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import ConvexHull

from scaling_search.answer.fit import CONTRASTS, LEVEL, Surface, flatness
from scaling_search.answer.observations import Values
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import Points, as_points, scheffe, triangle

Mask = NDArray[np.bool_]

NUM_DRAWS = 4000
"""Draws of the multivariate t for each critical value, with a fixed seed."""

AT_ONCE = 1_000_000
"""Number of pairs of a point and a rival whose terms are in memory at once."""

EDGE = 0.01
"""A smaller share counts as 0: rounding leaves as much to a dimension that was not scaled."""

GRID = triangle()
"""Points of the triangle at which the region is evaluated."""

COARSE = triangle(0.1)
"""Every fourth of them."""

GRID_AREA = np.array([1, 1 / 2, 1 / 6])[(GRID == 0).sum(axis=1)] / 200
"""Part of the triangle's area around each point of the grid; smaller at edges and corners."""


def circle(distance: float) -> Points:
    """24 steps of one distance from a point, evenly around it, (24, 3)."""
    angles = np.arange(24)[:, None] * np.pi / 12
    along, across = np.array([[1, -1, 0]]) / np.sqrt(2), np.array([[1, 1, -2]]) / np.sqrt(6)
    steps = np.cos(angles) * along + np.sin(angles) * across
    scaled: Points = distance * steps / (np.abs(steps).sum(axis=1, keepdims=True) / 2)
    return scaled


NEIGHBOURS = circle(0.002)
"""Rivals close to every point. Without them an optimum between the points of the grid is hardly
ever excluded."""


@dataclass(frozen=True, eq=False)
class Hull:
    """The convex hull of the trained networks' shares.

    Attributes:
        vertices: In order around the hull, (vertices, 3).
        sides: Outward normal over depth and width, and offset, of each side, (sides, 3).
        rivals: Points that every point is compared with: grid, networks and references.
        few: Every fourth of the grid's and the vertices. Critical values from these are 0.4 % lower
            than from all (measured), and take a third of the time.
    """

    vertices: Points
    sides: Values
    rivals: Points
    few: Points

    @classmethod
    def of(cls, shares: Points) -> "Hull":
        """Returns the hull of shares that do not lie on one line."""
        hull = ConvexHull(shares[:, :2])
        empty = cls(shares[hull.vertices], hull.equations, shares[:0], shares[:0])
        named = np.vstack([GRID, as_points(list(REFERENCES.values()))])
        few = np.vstack([COARSE[empty.holds(COARSE)], empty.vertices])
        rivals = np.vstack([named[empty.holds(named)], shares])
        return cls(empty.vertices, empty.sides, rivals, few)

    def holds(self, points: Points, tolerance: float = 1e-9) -> Mask:
        """True for points inside or on the edge, (points,)."""
        beyond = points[:, :2] @ self.sides[:, :2].T + self.sides[:, 2]
        inside: Mask = beyond.max(axis=1) <= tolerance
        return inside


def best_point(surface: Surface) -> Shares:
    """The minimum of the surface within the hull, exactly."""
    one, two, three, product, left, right = surface.coefficients
    curvature = np.array(
        [[-2 * left, product - left - right], [product - left - right, -2 * right]]
    )
    slopes = np.array([one - three + left, two - three + right])
    hull = Hull.of(surface.searched)
    options = [hull.vertices]
    if np.linalg.eigvalsh(curvature)[0] > 0:
        depth, width = np.linalg.solve(curvature, -slopes)
        inside = np.array([[depth, width, 1 - depth - width]])
        options.append(inside[hull.holds(inside)])
    starts, ends = hull.vertices, np.roll(hull.vertices, -1, axis=0)
    at_start, halfway, at_end = (surface.loss(p) for p in (starts, (starts + ends) / 2, ends))
    bend = 2 * (at_start + at_end - 2 * halfway)
    place = np.full(len(starts), 0.0)
    np.divide(3 * at_start + at_end - 4 * halfway, 2 * bend, out=place, where=bend > 0)
    options.append(starts + np.clip(place, 0, 1)[:, None] * (ends - starts))
    points = np.vstack(options)
    best = points[surface.loss(points).argmin()]
    # On an edge rounding may leave a share just below 0.
    best = np.where(np.abs(best) < 1e-12, 0.0, best)
    return Shares(*(best / best.sum()).tolist())


def thresholds(surface: Surface, points: Points, *, level: float = LEVEL) -> Values:
    """Critical value, in standard errors, for excluding each point, (points,).

    The 1 - ``level`` quantile of the largest lead over all rivals on a flat surface, from draws of
    the multivariate t. Every lead less that many errors is a simultaneous lower bound.
    """
    root = _root(surface.covariance)
    # The scale drops out: equal designs share one computation.
    root = np.round(root / np.abs(root).max(), 7) + 0.0
    keys = (np.ascontiguousarray(array).tobytes() for array in (points, surface.searched, root))
    return _thresholds(*keys, surface.freedom, level)


def simultaneous_threshold(
    covariance: Values, freedom: int, searched: Points, points: Points, *, level: float = LEVEL
) -> float:
    """Critical value, in standard errors, for all differences of points from rivals at once.

    The 1 - ``level`` quantile of the largest absolute difference, so that intervals for some points
    against a rival that the losses choose hold together.

    Args:
        covariance: Covariance of the surface's six coefficients in any unit, (6, 6).
        freedom: Its degrees of freedom.
        searched: Points whose hull is searched, (points searched, 3).
        points: Some points, (points, 3).
        level: Level of the intervals together.
    """
    largest = [
        np.abs(units @ _draws(freedom)).max(axis=(0, 1))
        for units in _units(points, Hull.of(searched), _root(covariance))
    ]
    return float(np.quantile(np.max(largest, axis=0), 1 - level))


def band_threshold(surface: Surface, *, level: float = LEVEL, over_base: bool = False) -> float:
    """Critical value, in standard errors, for the surface at all that was searched at once.

    Args:
        surface: The fit.
        level: Level of all intervals together.
        over_base: True for differences from the base network, whose loss has an error of its own.
    """
    terms = scheffe(Hull.of(surface.searched).rivals)
    directions = terms @ np.linalg.cholesky(surface.covariance)
    if over_base:
        directions = np.column_stack([directions, np.full(len(terms), surface.base_error)])
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    draws = _draws(surface.freedom, directions.shape[1])
    largest = np.abs(units.astype(np.float32) @ draws).max(axis=0)
    return float(np.quantile(largest, 1 - level))


def leads(surface: Surface, points: Points) -> Values:
    """Largest lead of a rival over each point, in standard errors of the lead, (points,)."""
    root, slopes = _root(surface.covariance), CONTRASTS @ surface.coefficients
    largest = []
    hull = Hull.of(surface.searched)
    for contrasts in _contrasts(points, hull, hull.rivals):
        errors = np.linalg.norm(contrasts @ root, axis=2)
        gains = -contrasts @ slopes
        ratios = np.divide(gains, errors, out=np.zeros_like(gains), where=errors > 0)
        largest.append(ratios.max(axis=1))
    return np.concatenate(largest)


def in_region(surface: Surface, points: Points, *, level: float = LEVEL) -> Mask:
    """True for points of the hull that can be the best, with confidence 1 - ``level``, (points,).

    All of them while the surface may be flat.
    """
    mask = Hull.of(surface.searched).holds(points)
    if mask.any() and flatness(surface).p_value < level:
        found = leads(surface, points[mask])
        # Most points are below the critical value of a single rival, or beyond that of all
        # directions: theirs need not be computed.
        is_in = found <= float(stats.t.ppf(1 - level, surface.freedom))
        is_open = ~is_in & (found <= _highest_threshold(surface.freedom, level))
        if is_open.any():
            limits = thresholds(surface, points[mask][is_open], level=level)
            is_in[is_open] = found[is_open] <= limits
        mask[mask] = is_in
    return mask


@dataclass(frozen=True, eq=False)
class Region:
    """The rule and its 95 % region.

    Attributes:
        surface: The fit.
        best: Minimum of the surface; a guess while `is_everything`.
        is_everything: True if the surface may be flat, so that no point is excluded.
        mask: True for points of `GRID` in the region, (231,).
        searched: True for points of `GRID` in the hull, (231,).
        networks: True for networks of the observations in the region, (networks,).
        low: Smallest share of each dimension in the region.
        high: Largest share of each dimension in the region.
        is_at_edge: True if the best point lies on an edge of the triangle: a share below `EDGE`.
        is_at_limit: True if the best point lies on an edge of the hull within the triangle.
    """

    surface: Surface
    best: Shares
    is_everything: bool
    mask: Mask
    searched: Mask
    networks: Mask
    low: tuple[float, ...]
    high: tuple[float, ...]
    is_at_edge: bool
    is_at_limit: bool

    @property
    def area(self) -> float:
        """Part of the triangle; 0 where the region falls between the points of the grid."""
        return float(GRID_AREA[self.mask].sum())

    @property
    def searched_area(self) -> float:
        """Part of the triangle that was searched."""
        return float(GRID_AREA[self.searched].sum())


def find_region(surface: Surface) -> Region:
    """Returns the best point of a surface and its region."""
    shares = surface.observations.shares
    hull = Hull.of(surface.searched)
    best = best_point(surface)
    points = np.vstack([GRID, shares, as_points(list(REFERENCES.values()))])
    mask = in_region(surface, points)
    # The best point belongs to it, however narrow the region is.
    extent = np.vstack([points[mask], as_points([best])])
    return Region(
        surface=surface,
        best=best,
        is_everything=not flatness(surface).is_significant,
        mask=mask[: len(GRID)],
        searched=hull.holds(GRID),
        networks=mask[len(GRID) : len(GRID) + len(shares)],
        low=tuple(extent.min(axis=0).tolist()),
        high=tuple(extent.max(axis=0).tolist()),
        is_at_edge=min(best) < EDGE,
        is_at_limit=_is_at_limit(best, hull.vertices),
    )


def _is_at_limit(best: Shares, vertices: Points) -> bool:
    """True if a point lies on a side of the hull that is not on the triangle's edge."""
    ends, point = np.roll(vertices, -1, axis=0), as_points([best])
    detour = sum(np.linalg.norm(side, axis=1) for side in (point - vertices, ends - point))
    is_on_side = detour - np.linalg.norm(ends - vertices, axis=1) < 1e-12
    is_edge = (np.maximum(vertices, ends) < EDGE).any(axis=1)
    return bool((is_on_side & ~is_edge).any())


def _root(covariance: Values) -> Values:
    """Square root of the contrasts' covariance, (5, 5), from that of the six coefficients."""
    return np.linalg.cholesky(CONTRASTS @ covariance @ CONTRASTS.T).astype(np.float64)


def _contrasts(points: Points, hull: Hull, rivals: Points) -> Iterator[Values]:
    """Terms of every rival less those of every point, (some points, rivals + 24, 5).

    Multiplied with the five contrasts they give the rival's loss less the point's. Neighbours
    outside the hull are no rivals: zeros.
    """
    at_once = max(1, AT_ONCE // (len(rivals) + len(NEIGHBOURS)))
    for start in range(0, max(1, len(points)), at_once):
        yield _contrasts_of(points[start : start + at_once], hull, rivals)


def _contrasts_of(points: Points, hull: Hull, rivals: Points) -> Values:
    flat = (points[:, None, :] + NEIGHBOURS).reshape(-1, 3)
    near = scheffe(flat).reshape(len(points), len(NEIGHBOURS), -1)
    own = scheffe(points)[:, None, :]
    near = np.where(hull.holds(flat).reshape(len(points), -1, 1), near, own)
    far = np.broadcast_to(scheffe(rivals), (len(points), len(rivals), 6))
    differences: Values = (np.concatenate([far, near], axis=1) - own)[:, :, [0, 1, 3, 4, 5]]
    # What rounding leaves of a point's difference from itself has no direction.
    differences[np.abs(differences).max(axis=2) < 1e-12] = 0
    return differences


def _units(points: Points, hull: Hull, root: Values) -> Iterator[NDArray[np.float32]]:
    """`_contrasts` in units of their standard errors, (some points, rivals + 24, 5)."""
    for contrasts in _contrasts(points, hull, hull.few):
        directions = contrasts @ root
        lengths = np.linalg.norm(directions, axis=2, keepdims=True)
        units = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
        yield units.astype(np.float32)


@lru_cache(maxsize=256)
def _draws(freedom: int, size: int = len(CONTRASTS)) -> NDArray[np.float32]:
    """Draws of a multivariate t with unit scale, (size, draws)."""
    stream = np.random.default_rng(0)
    normal = stream.standard_normal((size, NUM_DRAWS))
    spread = np.sqrt(stream.chisquare(freedom, NUM_DRAWS) / freedom)
    return (normal / spread).astype(np.float32)


@lru_cache(maxsize=256)
def _highest_threshold(freedom: int, level: float) -> float:
    """Upper bound of all critical values: that of all directions at once, with room to round."""
    lengths = np.linalg.norm(_draws(freedom), axis=0)
    return 1.001 * float(np.quantile(lengths, 1 - level))


@lru_cache(maxsize=256)
def _thresholds(points: bytes, shares: bytes, root: bytes, freedom: int, level: float) -> Values:
    """Critical values of points; arrays are bytes to be keys of the cache."""
    hull, matrix = Hull.of(np.frombuffer(shares).reshape(-1, 3)), np.frombuffer(root)
    draws, largest = _draws(freedom), []
    for units in _units(np.frombuffer(points).reshape(-1, 3), hull, matrix.reshape(5, -1)):
        largest += [(rivals @ draws).max(axis=0) for rivals in units]
    found: Values = np.quantile(np.stack(largest), 1 - level, axis=1).astype(np.float64)
    found.setflags(write=False)
    return found
