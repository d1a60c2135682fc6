"""The networks that rounding can reach within a band of cost, each once."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import Strict

from scaling_search.candidates import Candidate, Costed
from scaling_search.scaling import DIMENSIONS, Multipliers

Range = Annotated[tuple[float, float], Strict(strict=False)]
"""Two limits, given as any sequence."""


@dataclass(frozen=True)
class Ranges:
    """Where coefficients are looked for, each range [low, high] with 1 <= low <= high.

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
            if not 1 <= low <= high:
                raise ValueError(
                    f"candidates.{name} must be a range [low, high] with 1 <= low <= high, got "
                    f"{[low, high]}; a coefficient below 1 would shrink the network"
                )


Cell = tuple[float, float]
"""The smallest and the largest multiplier of one result of rounding."""


def networks_in_band(
    costed: Costed,
    target: float,
    tolerance: float,
    ranges: Ranges,
    *,
    option: str = "candidates.tolerance",
) -> Iterator[Candidate]:
    """All distinct networks of the band, by depth, then width, then resolution.

    Depths, widths and resolutions are walked from one distinct result of rounding to the next.
    The cost grows with each, so that one search over the resolutions finds where the band begins
    for each depth and width.

    Args:
        costed: The base network with its cost.
        target: Cost over the base network's.
        tolerance: Half the width of the band, a fraction of the target.
        ranges: Of the coefficients.
        option: What to name when there is none.

    Raises:
        ValueError: There is none.
    """
    depths, widths, resolutions = _cells(costed, ranges)
    low, high = target * (1 - tolerance) - 1e-12, target * (1 + tolerance) + 1e-12
    below, above, num_found = 0.0, math.inf, 0
    for (depth, deepest), (width, widest) in _affordable(costed, depths, widths, resolutions, high):
        ratio = partial(_ratio_at, costed, depth, width)
        first = bisect_left(resolutions, low, key=ratio)
        if first:
            below = max(below, ratio(resolutions[first - 1]))
        for resolution, largest in resolutions[first:]:
            if (reached := ratio((resolution, largest))) > high:
                above = min(above, reached)
                break
            smallest = Multipliers(depth, width, resolution)
            corner = Multipliers(deepest, widest, largest)
            candidate = costed.candidate(smallest, smallest, corner)
            if candidate.shares is not None:  # else it costs what the base network does
                num_found += 1
                yield candidate
    if not num_found:
        raise ValueError(empty_band(target, tolerance, below, above, option=option))


def _affordable(
    costed: Costed, depths: list[Cell], widths: list[Cell], resolutions: list[Cell], high: float
) -> Iterator[tuple[Cell, Cell]]:
    """Pairs of depth and width, for each depth up to the first that costs too much at any size."""
    for depth in depths:
        for width in widths:
            yield depth, width
            if not resolutions or _ratio_at(costed, depth[0], width[0], resolutions[0]) > high:
                break


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
