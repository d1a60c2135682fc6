"""The paper's procedure: a grid of coefficients held together by their nominal cost."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture
from scaling_search.core.part import part
from scaling_search.core.scaling import DIMENSIONS, Coefficients, phi_of
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import CandidatePool, Indices, Plan
from scaling_search.planning.reachable import Range, Ranges, empty_band
from scaling_search.planning.scaler import Scaler
from scaling_search.planning.selection import select


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
        max_networks: Largest number of selected networks, which fill the triangle of shares; None
            for all, though at most two of a place.
        alpha: Range of the depth coefficient.
        beta: Range of the width coefficient.
        gamma: Range of the resolution coefficient.
        step: Distance of the grid's points.
        max_resolution: Largest images in pixels; None for no limit.
    """

    target: float = 2.0
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    nominal_tolerance: Annotated[float, Field(gt=0)] = 0.1
    equal_cost: bool = False
    max_networks: Annotated[int, Field(ge=1)] | None = None
    alpha: Range = (1.0, 2.0)
    beta: Range = (1.0, 1.5)
    gamma: Range = (1.0, 1.5)
    step: Annotated[float, Field(gt=0)] = 0.05
    max_resolution: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        """Checks the target and the ranges."""
        phi_of(self.target)
        self.ranges()

    def ranges(self) -> Ranges:
        """Ranges of the coefficients."""
        return Ranges(self.alpha, self.beta, self.gamma, self.max_resolution)

    def plan(self, budget: Budget) -> Plan:
        """The distinct networks of the grid, and which of them to train.

        Raises:
            ValueError: No point meets the nominal rule, or with ``equal_cost`` no network the band,
                or a cap leaves none.
        """
        scaler = Scaler(budget, phi_of(self.target))
        grid = self._grid(scaler)
        if grid is None:
            raise ValueError(
                f"candidates.nominal_tolerance must let a point of the grid through, got "
                f"{self.nominal_tolerance!r} at step {self.step!r}; widen it or the ranges"
            )
        pool = grid.pool(scaler)
        tolerance = scaler.search_tolerance(self.tolerance)
        is_equal = np.abs(pool.ratios / self.target - 1) <= tolerance + 1e-12
        is_eligible = pool.ratios != 1  # else it has no shares
        if self.equal_cost:
            is_eligible &= is_equal
        eligible = np.flatnonzero(is_eligible)
        if not len(eligible):
            below = pool.ratios[pool.ratios < self.target].max(initial=0.0)
            above = pool.ratios[pool.ratios > self.target].min(initial=math.inf)
            raise ValueError(
                empty_band(self.target, tolerance, below, above, option="candidates.tolerance")
            )
        plan = select(
            scaler,
            pool,
            eligible.tolist(),
            self.max_networks or len(eligible),
            target=self.target,
            tolerance=self.tolerance,
            is_equal=self.equal_cost,
        )
        num_in_band = int(is_equal[grid.network].sum())
        return replace(plan, num_points=len(grid.network), num_points_in_band=num_in_band)

    def _grid(self, scaler: Scaler) -> "_Grid | None":
        """The networks of the points that meet the nominal rule, alpha slowest; None without."""
        axes = [_axis(limits, self.step) for limits in (self.alpha, self.beta, self.gamma)]
        alpha, beta, gamma = np.meshgrid(*axes, indexing="ij")
        nominal = alpha * beta**2 * gamma**2
        points = np.argwhere(np.abs(nominal - 2) < self.nominal_tolerance - 1e-9)
        results, result_of = [], []
        for dimension, axis in zip(DIMENSIONS, axes, strict=True):
            scaled = scaler.alone(dimension, [value**scaler.phi for value in axis])
            numbers = {network: i for i, network in enumerate(dict.fromkeys(scaled))}
            results.append(list(numbers))
            result_of.append(np.array([numbers[network] for network in scaled]))
        if self.max_resolution is not None:
            sizes = np.array([network.resolution for network in results[2]])[result_of[2]]
            points = points[sizes[points[:, 2]] <= self.max_resolution]
        if not len(points):
            return None
        indices = np.stack([of[points[:, i]] for i, of in enumerate(result_of)], axis=1)
        networks = np.ravel_multi_index(tuple(indices.T), tuple(map(len, results)))
        by_network = pd.DataFrame(points).groupby(networks, sort=False)
        first = by_network.first().to_numpy()
        return _Grid(
            axes=axes,
            network=by_network.ngroup().to_numpy().astype(np.int64),
            results=results,
            indices=np.stack([of[first[:, i]] for i, of in enumerate(result_of)], axis=1),
            first=first,
            lowest=by_network.min().to_numpy(),
            highest=by_network.max().to_numpy(),
        )


@dataclass(frozen=True, eq=False)
class _Grid:
    """The distinct networks that the points of a grid round to, in the order of their first.

    Attributes:
        axes: Values of alpha, beta and gamma.
        network: Number of the network that each point rounds to, (points,).
        results: The base network with each distinct result of rounding one dimension.
        indices: Positions of each network in the results, (networks, 3).
        first: Positions of each network's first point on the axes, (networks, 3).
        lowest: The smallest positions of its points.
        highest: The largest positions of its points.
    """

    axes: list[list[float]]
    network: Indices
    results: list[list[Architecture]]
    indices: Indices
    first: Indices
    lowest: Indices
    highest: Indices

    def pool(self, scaler: Scaler) -> CandidatePool:
        """The networks with their costs and shares."""
        table = scaler.budget.ratios(*self.results)
        if table is None:
            networks = [
                scaler.base_network.scaled(self._point(at).multipliers(scaler.phi))
                for at in self.first
            ]
            ratios = np.array([scaler.ratio(network) for network in networks])
        else:
            ratios = table[tuple(self.indices.T)]
        return CandidatePool(
            ratios=ratios,
            shares=scaler.shares(self.results, self.indices, ratios),
            resolutions=np.array([n.resolution for n in self.results[2]])[self.indices[:, 2]],
            candidate=partial(self._candidate, scaler),
        )

    def _candidate(self, scaler: Scaler, index: int) -> Candidate:
        point = self._point(self.first[index])
        multipliers = point.multipliers(scaler.phi)
        return replace(
            scaler.candidate(multipliers),
            coefficients=point,
            lowest=self._point(self.lowest[index]),
            highest=self._point(self.highest[index]),
        )

    def _point(self, indices: Indices) -> Coefficients:
        return Coefficients(*(a[i] for a, i in zip(self.axes, indices.tolist(), strict=True)))


def _axis(limits: tuple[float, float], step: float) -> list[float]:
    # From integers: adding a float step loses the last point.
    num_steps = math.floor((limits[1] - limits[0]) / step + 1e-9)
    return [round(limits[0] + i * step, 6) for i in range(num_steps + 1)]
