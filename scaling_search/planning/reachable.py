"""All networks within a band of cost that the base network's rounding can reach, each once."""

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
from scaling_search.planning.candidates import CandidatePool, Indices
from scaling_search.planning.scaler import Scaler
from scaling_search.runtime.progress import progress

Range = Annotated[tuple[float, float], Strict(strict=False)]
"""Two limits, given as any sequence."""

LARGEST = 100
"""Largest coefficient: every result of rounding up to it is visited."""

Interval = tuple[float, float]
"""The smallest and the largest multiplier of one result of rounding."""

AT_ONCE = 2_000_000
"""Combinations whose cost is held in memory at a time, 8 bytes each."""


@dataclass(frozen=True)
class Ranges:
    """Ranges of the coefficients, each [low, high] with 1 <= low <= high <= 100.

    Attributes:
        alpha: Range of the depth coefficient.
        beta: Range of the width coefficient.
        gamma: Range of the resolution coefficient.
        max_resolution: Largest images in pixels; None for no limit.
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


def networks_in_band(
    scaler: Scaler,
    target: float,
    tolerance: float,
    ranges: Ranges,
    *,
    option: str = "candidates.tolerance",
) -> CandidatePool:
    """All distinct networks of the band, by depth, then width, then resolution.

    All combinations of the distinct depths, widths and resolutions are costed at once. Where the
    cost or the base network cannot, a binary search over the resolutions finds for each depth and
    width where the band begins, since the cost grows with each dimension.

    Args:
        scaler: The base network with its cost.
        target: Cost over the base network's.
        tolerance: Half the width of the band, a fraction of the target; where costs are only
            predicted it is widened.
        ranges: Ranges of the coefficients.
        option: Option to name where there is no network.

    Raises:
        ValueError: There is none.
    """
    tolerance = scaler.search_tolerance(tolerance)
    intervals = _intervals(scaler, ranges)
    axes = [
        scaler.alone(dimension, [smallest for smallest, _ in steps])
        for dimension, steps in zip(DIMENSIONS, intervals, strict=True)
    ]
    band = _Band(target * (1 - tolerance) - 1e-12, target * (1 + tolerance) + 1e-12)
    if all(axes) and not _cost_at_once(scaler, axes, band):
        _cost_by_search(scaler, intervals, band)
    if not band.indices:
        raise ValueError(empty_band(target, tolerance, band.below, band.above, option=option))
    indices, ratios = np.concatenate(band.indices), np.concatenate(band.ratios)
    return CandidatePool(
        ratios=ratios,
        shares=scaler.shares(axes, indices, ratios),
        resolutions=np.array([network.resolution for network in axes[2]])[indices[:, 2]],
        candidate=partial(_candidate, scaler, intervals, indices),
    )


@dataclass
class _Band:
    """Networks within two cost ratios, and the nearest ratios outside while there are none."""

    low: float
    high: float
    below: float = 0.0
    above: float = math.inf
    indices: list[Indices] = field(default_factory=list)
    ratios: list[Ratios] = field(default_factory=list)

    def add(self, ratios: Ratios, first: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Add combinations, (depths, widths, resolutions), whose indices begin at ``first``."""
        # What costs as much as the base network has no shares.
        inside = (ratios >= self.low) & (ratios <= self.high) & (ratios != 1)
        if inside.any():
            self.indices.append(np.argwhere(inside) + first)
            self.ratios.append(ratios[inside])
        elif not self.indices:
            self.below = float(ratios.max(where=ratios < self.low, initial=self.below))
            self.above = float(ratios.min(where=ratios > self.high, initial=self.above))


def _cost_at_once(scaler: Scaler, axes: list[list[Architecture]], band: _Band) -> bool:
    """Adds all combinations to the band; False where they cannot be costed at once."""
    depths, widths, resolutions = axes
    step = max(1, AT_ONCE // (len(widths) * len(resolutions)))
    for first in range(0, len(depths), step):
        ratios = scaler.budget.ratios(depths[first : first + step], widths, resolutions)
        if ratios is None:
            return False
        band.add(ratios, (first, 0, 0))
    return True


def _cost_by_search(scaler: Scaler, intervals: list[list[Interval]], band: _Band) -> None:
    """Adds to the band, for each depth and width, the resolutions around and within it."""
    depths, widths, resolutions = intervals
    by_depth = progress(enumerate(depths), "searching networks", len(depths))
    for i, (depth, _) in by_depth:
        for j, (width, _) in enumerate(widths):
            ratio = partial(_ratio_at, scaler, depth, width)
            first = max(0, bisect_left(resolutions, band.low, key=ratio) - 1)
            ratios = []
            for resolution in resolutions[first:]:
                ratios.append(ratio(resolution))
                if ratios[-1] > band.high:
                    break
            band.add(np.array([[ratios]]), (i, j, first))
            if first == 0 and ratios[0] > band.high:
                break  # wider is dearer still


def _ratio_at(scaler: Scaler, depth: float, width: float, resolution: Interval) -> float:
    return scaler.ratio(scaler.base_network.scaled(Multipliers(depth, width, resolution[0])))


def _candidate(
    scaler: Scaler, intervals: list[list[Interval]], indices: Indices, index: int
) -> Candidate:
    chosen = [steps[i] for steps, i in zip(intervals, indices[index].tolist(), strict=True)]
    smallest, largest = (Multipliers(*ends) for ends in zip(*chosen, strict=True))
    return scaler.candidate(smallest, largest)


def _intervals(scaler: Scaler, ranges: Ranges) -> list[list[Interval]]:
    """The intervals of the multipliers of depth, width and resolution within the ranges."""
    base, intervals = scaler.base_network, []
    for dimension, limits in zip(
        DIMENSIONS, (ranges.alpha, ranges.beta, ranges.gamma), strict=True
    ):
        low, high = sorted(limit**scaler.phi for limit in limits)
        # Beyond the range, so that the last interval inside it has its true end; when shrinking, up
        # to the base network, where the coefficients are 1.
        beyond = high * 1.5 if scaler.phi > 0 else 1.0
        steps = base.steps(dimension, low, beyond)
        ends = [*(round(step - 1e-6, 6) for step in steps[1:]), beyond]
        intervals.append([(s, e) for s, e in zip(steps, ends, strict=True) if s <= high])
    if ranges.max_resolution is not None:
        intervals[2] = [
            interval
            for interval in intervals[2]
            if base.scaled(Multipliers(1.0, 1.0, interval[0])).resolution <= ranges.max_resolution
        ]
    return intervals


def empty_band(target: float, tolerance: float, below: float, above: float, *, option: str) -> str:
    """The error message where no network costs what was asked, with the nearest costs."""
    nearest = " and ".join(f"{ratio:.3f}x" for ratio in (below, above) if 0 < ratio < math.inf)
    return (
        f"{option} must leave a network within {target:g}x ± {tolerance:.1%}, got "
        f"none; the nearest cost {nearest or 'nothing inside the ranges'}: widen the tolerance, "
        "the ranges of alpha, beta and gamma, or use smaller divisors in base_network"
    )
