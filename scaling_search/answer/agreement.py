"""Best splits of several searches beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling_search.answer.fit import LEVEL, Surface
from scaling_search.answer.region import GRID, GRID_AREA, Hull, Mask, best_point, in_region
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import Points, as_points, triangle

FINE = triangle(0.02)
"""Points of the triangle at which regions are compared and drawn."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Regions and rules of several searches, by their order.

    Attributes:
        regions: True for points of `FINE` in the 95 % region of each search, (searches, points).
        overlaps: True where the regions of two searches have a split in common, (searches,
            searches).
        is_inside: True where the rule of a row's search lies in the region of a column's.
        is_searched: True where a column's search has searched the rule of a row's.
        level: Level of each region in ``common``: all of them hold together with 95 % confidence.
        common: Splits that every search has searched and none excludes, (splits, 3).
        common_area: Part of the triangle that they cover.
        searched_area: Part of the triangle that every search has searched.
    """

    regions: Mask
    overlaps: Mask
    is_inside: Mask
    is_searched: Mask
    level: float
    common: Points
    common_area: float
    searched_area: float


def agreement(surfaces: Sequence[Surface]) -> Agreement:
    """Compares the best splits of fitted surfaces.

    If one split is the best for all searches, each region of level ``LEVEL / searches`` misses it
    with that probability. So all regions together hold it with 95 % confidence, whether or not the
    searches are independent (Bonferroni). Where they have nothing in common, no split is the best
    for all, at the 5 % level.
    """
    rules = as_points([best_point(surface) for surface in surfaces])
    shares = [surface.observations.shares for surface in surfaces]
    points = np.vstack([GRID, FINE, rules, as_points(list(REFERENCES.values())), *shares])
    first = len(GRID) + len(FINE)
    level = LEVEL / len(surfaces)
    regions = _with_rules(np.array([in_region(one, points) for one in surfaces]), first)
    kept = np.array([in_region(one, points, level=level) for one in surfaces])
    searched = np.array([Hull.of(one.searched).holds(points) for one in surfaces])
    in_all: Mask = np.logical_and.reduce(_with_rules(kept, first))
    seen_by_all: Mask = np.logical_and.reduce(searched)
    overlaps: Mask = np.logical_or.reduce(regions[:, None] & regions[None], axis=2)
    at_rules = slice(first, first + len(surfaces))
    return Agreement(
        regions=regions[:, len(GRID) : first],
        overlaps=overlaps,
        is_inside=regions[:, at_rules].T,
        is_searched=searched[:, at_rules].T,
        level=level,
        common=points[in_all],
        common_area=float(GRID_AREA[in_all[: len(GRID)]].sum()),
        searched_area=float(GRID_AREA[seen_by_all[: len(GRID)]].sum()),
    )


def _with_rules(regions: Mask, first: int) -> Mask:
    """Regions with their own rules, which belong to them however narrow they are."""
    own = np.arange(len(regions))
    regions[own, first + own] = True
    return regions
