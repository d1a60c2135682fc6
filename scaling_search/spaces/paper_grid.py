"""The paper's procedure: a grid of coefficients held together by their nominal cost."""

import math
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from scaling_search.candidates import Candidate, Costed, Plan
from scaling_search.protocols import Architecture, Cost, part
from scaling_search.reachable import Range, Ranges, empty_band
from scaling_search.scaling import Coefficients, phi_of
from scaling_search.spread import spread_subset


@part
class PaperGrid:
    """The paper's procedure: a grid of coefficients whose nominal cost is about the target.

    Source: Tan & Le 2019, Section 3.3; step and tolerance are not published, 0.05 and 0.1 are
    the values of the one public rerun (microsoft/nni `examples/trials/efficientnet`).

    Attributes:
        target: Cost over the base network's.
        tolerance: Half the width of the band of equal measured cost, a fraction of the target.
        nominal_tolerance: Largest difference of alpha·beta²·gamma² from 2.
        equal_cost: Keep only networks in the band. The paper's procedure does not.
        max_networks: At most so many are kept, spread over the triangle; None for all.
        alpha: Range of the depth coefficient.
        beta: Range of the width coefficient.
        gamma: Range of the resolution coefficient.
        step: Distance of the grid's points.
        max_resolution: No larger images, in pixels; None for no limit.
    """

    target: float
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    nominal_tolerance: Annotated[float, Field(gt=0)]
    equal_cost: bool
    max_networks: Annotated[int, Field(ge=1)] | None
    alpha: Range
    beta: Range
    gamma: Range
    step: Annotated[float, Field(gt=0)]
    max_resolution: Annotated[int, Field(ge=1)] | None

    def __post_init__(self) -> None:
        """Checks the target and the ranges."""
        phi_of(self.target)
        self.ranges()

    def ranges(self) -> Ranges:
        """Where coefficients are looked for."""
        return Ranges(self.alpha, self.beta, self.gamma, self.max_resolution)

    def plan(self, base_network: Architecture, cost: Cost) -> Plan:
        """The distinct networks of the grid, and which of them to train.

        Raises:
            ValueError: No point meets the nominal rule, or with ``equal_cost`` no network the band.
        """
        costed = Costed(base_network, cost, phi_of(self.target))
        points_of: dict[Architecture, list[Coefficients]] = {}
        for point in self._points():
            architecture = base_network.scaled(point.multipliers(costed.phi))
            if self.max_resolution is None or architecture.resolution <= self.max_resolution:
                points_of.setdefault(architecture, []).append(point)
        if not points_of:
            raise ValueError(
                f"candidates.nominal_tolerance must let a point of the grid through, got "
                f"{self.nominal_tolerance!r} at step {self.step!r}; widen it or the ranges"
            )
        found = tuple(_merged(costed, points) for points in points_of.values())
        counts = [len(points) for points in points_of.values()]
        plan = Plan(
            target=self.target,
            tolerance=self.tolerance,
            base=costed.base(),
            candidates=(),
            found=found,
            num_points=sum(counts),
            num_points_in_band=0,
        )
        is_equal = [plan.in_band(candidate) for candidate in found]
        eligible = [
            candidate
            for candidate, equal in zip(found, is_equal, strict=True)
            if candidate.shares is not None and (equal or not self.equal_cost)
        ]
        if not eligible:
            ratios = [c.flops_ratio for c in found]
            below = max((r for r in ratios if r < self.target), default=0.0)
            above = min((r for r in ratios if r > self.target), default=math.inf)
            raise ValueError(
                empty_band(self.target, self.tolerance, below, above, option="candidates.tolerance")
            )
        kept = list(range(len(eligible)))
        if self.max_networks is not None:
            kept = spread_subset([c.shares for c in eligible if c.shares], self.max_networks)
        return replace(
            plan,
            candidates=tuple(replace(eligible[i], number=n) for n, i in enumerate(kept, start=1)),
            num_points_in_band=sum(n for n, e in zip(counts, is_equal, strict=True) if e),
        )

    def _points(self) -> list[Coefficients]:
        axes = [_axis(limits, self.step) for limits in (self.alpha, self.beta, self.gamma)]
        alpha, beta, gamma = np.meshgrid(*axes, indexing="ij")
        nominal = alpha * beta**2 * gamma**2
        feasible = np.argwhere(np.abs(nominal - 2) < self.nominal_tolerance - 1e-9)
        return [Coefficients(*(axes[k][i] for k, i in enumerate(at))) for at in feasible.tolist()]


def _axis(limits: tuple[float, float], step: float) -> list[float]:
    # From integers: adding a float step loses the last point.
    num_steps = math.floor((limits[1] - limits[0]) / step + 1e-9)
    return [round(limits[0] + i * step, 6) for i in range(num_steps + 1)]


def _merged(costed: Costed, points: list[Coefficients]) -> Candidate:
    """The one network that these points of a grid round to; the first of them builds it."""
    columns = [[getattr(p, name) for p in points] for name in ("alpha", "beta", "gamma")]
    multipliers = points[0].multipliers(costed.phi)
    return replace(
        costed.candidate(multipliers, multipliers, multipliers),
        coefficients=points[0],
        lowest=Coefficients(*(min(column) for column in columns)),
        highest=Coefficients(*(max(column) for column in columns)),
    )
