"""The networks that rounding can reach within a band of cost, each once."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Strict

from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Multipliers
from scaling_search.planning.budget import Ratios
from scaling_search.planning.candidates import Found, Places
from scaling_search.planning.costed import Costed

Range = Annotated[tuple[float, float], Strict(strict=False)]
"""Two limits, given as any sequence."""


LARGEST = 100
"""No coefficient is larger: nobody scales one dimension so far, and every result is walked."""


@dataclass(frozen=True)
class Ranges:
    """Where coefficients are looked for, each range [low, high] with 1 <= low <= high <= 100.

    Attributes:
        alpha: Of the depth coefficient.
        beta: Of the width coefficient.
        gamma: Of the resolution coefficient.
        max_resolution: No larger images, in pixels; None for no limit.
    """

    alpha: Range
    beta: Range
    gamma: Range
    max_resolution: int | None

    def __post_init__(self) -> None:
        """Checks the order of the limits."""
        for name in ("alpha", "beta", "gamma"):
            low, high = getattr(self, name)
            if not 1 <= low <= high <= LARGEST:
                raise ValueError(
                    f"candidates.{name} must be a range [low, high] with 1 <= low <= high <= "
                    f"{LARGEST}, got {[low, high]}; a coefficient below 1 would shrink the network"
                )


Cell = tuple[float, float]
"""The smallest and the largest multiplier of one result of rounding."""

AT_ONCE = 2_000_000
"""Combinations whose cost is held in memory at a time, 8 bytes each."""


def networks_in_band(
    costed: Costed,
    target: float,
    tolerance: float,
    ranges: Ranges,
    *,
    option: str = "candidates.tolerance",
) -> Found:
    """All distinct networks of the band, by depth, then width, then resolution.

    Depths, widths and resolutions are taken from one distinct result of rounding to the next, and
    all their combinations costed at once. Where the cost or the base network cannot, they are
    walked: the cost grows with each, so that one search over the resolutions finds where the band
    begins for each depth and width.

    Args:
        costed: The base network with its cost.
        target: Cost over the base network's.
        tolerance: Half the width of the band, a fraction of the target; where costs are only
            predicted it is widened.
        ranges: Of the coefficients.
        option: What to name when there is none.

    Raises:
        ValueError: There is none.
    """
    tolerance = costed.reach(tolerance)
    cells = _cells(costed, ranges)
    low, high = target * (1 - tolerance) - 1e-12, target * (1 + tolerance) + 1e-12
    axes = [
        costed.alone(dimension, [smallest for smallest, _ in ends])
        for dimension, ends in zip(DIMENSIONS, cells, strict=True)
    ]
    band = _Band(low, high)
    if all(axes) and not _costed_at_once(costed, axes, band):
        _walked(costed, cells, band)
    if not band.places:
        raise ValueError(empty_band(target, tolerance, band.below, band.above, option=option))
    places = np.concatenate(band.places)
    ratios = np.concatenate(band.ratios)
    shares = costed.shares(axes, places, ratios)
    return Found(ratios, shares, partial(_candidate, costed, cells, places))


@dataclass
class _Band:
    """What lies within two cost ratios, and how near the others come while there is none."""

    low: float
    high: float
    below: float = 0.0
    above: float = math.inf
    places: list[Places] = field(default_factory=list)
    ratios: list[Ratios] = field(default_factory=list)

    def add(self, ratios: Ratios, first: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Takes in combinations, (depths, widths, resolutions), of which ``first`` is the first."""
        # What costs as much as the base network has no shares.
        inside = (ratios >= self.low) & (ratios <= self.high) & (ratios != 1)
        places = np.argwhere(inside)
        if len(places):
            self.places.append(places + first)
            self.ratios.append(ratios[inside])
        elif not self.places:
            self.below = float(ratios.max(where=ratios < self.low, initial=self.below))
            self.above = float(ratios.min(where=ratios > self.high, initial=self.above))


def _costed_at_once(costed: Costed, axes: list[list[Architecture]], band: _Band) -> bool:
    """Takes all combinations into the band; False where they cannot be costed at once."""
    depths, widths, resolutions = axes
    step = max(1, AT_ONCE // (len(widths) * len(resolutions)))
    for first in range(0, len(depths), step):
        ratios = costed.budget.ratios(depths[first : first + step], widths, resolutions)
        if ratios is None:
            return False
        band.add(ratios, (first, 0, 0))
    return True


def _walked(costed: Costed, cells: list[list[Cell]], band: _Band) -> None:
    """Takes into the band, for each depth and width, the resolutions around and within it."""
    depths, widths, resolutions = cells
    for i, (depth, _) in enumerate(costed.budget.track(depths, len(depths))):
        for j, (width, _) in enumerate(widths):
            ratio = partial(_ratio_at, costed, depth, width)
            first = max(0, bisect_left(resolutions, band.low, key=ratio) - 1)
            ratios = []
            for cell in resolutions[first:]:
                ratios.append(ratio(cell))
                if ratios[-1] > band.high:
                    break
            band.add(np.array([[ratios]]), (i, j, first))
            if first == 0 and ratios[0] > band.high:
                break  # wider is dearer still


def _candidate(costed: Costed, cells: list[list[Cell]], places: Places, index: int) -> Candidate:
    at = [ends[place] for ends, place in zip(cells, places[index].tolist(), strict=True)]
    smallest = Multipliers(*(low for low, _ in at))
    largest = Multipliers(*(high for _, high in at))
    return costed.candidate(smallest, smallest, largest)


def _cells(costed: Costed, ranges: Ranges) -> list[list[Cell]]:
    """For depth, width and resolution the smallest and largest multiplier of each result."""
    cells = []
    for dimension, limits in zip(
        DIMENSIONS, (ranges.alpha, ranges.beta, ranges.gamma), strict=True
    ):
        low, high = sorted(limit**costed.phi for limit in limits)
        # Beyond the range, so that the last cell inside it has its true end; when shrinking, up to
        # the base network, where the coefficients are 1.
        beyond = high * 1.5 if costed.phi > 0 else 1.0
        steps = costed.base_network.steps(dimension, low, beyond)
        ends = [*(round(s - 1e-6, 6) for s in steps[1:]), beyond]
        cells.append([(s, e) for s, e in zip(steps, ends, strict=True) if s <= high])
    if ranges.max_resolution is not None:
        base = costed.base_network
        cells[2] = [
            cell
            for cell in cells[2]
            if base.scaled(Multipliers(1.0, 1.0, cell[0])).resolution <= ranges.max_resolution
        ]
    return cells


def _ratio_at(costed: Costed, depth: float, width: float, cell: Cell) -> float:
    return costed.ratio(costed.base_network.scaled(Multipliers(depth, width, cell[0])))


def empty_band(target: float, tolerance: float, below: float, above: float, *, option: str) -> str:
    """Says that no network costs what was asked, and what the nearest cost."""
    nearest = " and ".join(f"{ratio:.3f}x" for ratio in (below, above) if 0 < ratio < math.inf)
    return (
        f"{option} must leave a network within {target:g}x ± {tolerance:.1%}, got "
        f"none; the nearest cost {nearest or 'nothing inside the ranges'}: widen the tolerance, "
        "the ranges of alpha, beta and gamma, or take smaller divisors in base_network"
    )
