"""The paper's procedure: a grid of coefficients held together by their nominal cost."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field

from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture
from scaling_search.core.part import part
from scaling_search.core.scaling import DIMENSIONS, Coefficients, phi_of
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Found, Places, Plan
from scaling_search.planning.costed import Costed, kept
from scaling_search.planning.reachable import Range, Ranges, empty_band


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
        """Where coefficients are looked for."""
        return Ranges(self.alpha, self.beta, self.gamma, self.max_resolution)

    def plan(self, budget: Budget) -> Plan:
        """The distinct networks of the grid, and which of them to train.

        Raises:
            ValueError: No point meets the nominal rule, or with ``equal_cost`` no network the band,
                or a cap leaves none.
        """
        costed = Costed(budget, phi_of(self.target))
        grid = self._grid(costed)
        if grid is None:
            raise ValueError(
                f"candidates.nominal_tolerance must let a point of the grid through, got "
                f"{self.nominal_tolerance!r} at step {self.step!r}; widen it or the ranges"
            )
        found = grid.found(costed)
        tolerance = costed.reach(self.tolerance)
        is_equal = np.abs(found.ratios / self.target - 1) <= tolerance + 1e-12
        is_eligible = found.ratios != 1  # else it has no shares
        if self.equal_cost:
            is_eligible &= is_equal
        eligible = np.flatnonzero(is_eligible)
        if not len(eligible):
            below = found.ratios[found.ratios < self.target].max(initial=0.0)
            above = found.ratios[found.ratios > self.target].min(initial=math.inf)
            raise ValueError(
                empty_band(self.target, tolerance, below, above, option="candidates.tolerance")
            )
        candidates = kept(
            costed,
            found,
            eligible.tolist(),
            self.max_networks,
            target=self.target,
            tolerance=self.tolerance if self.equal_cost else math.inf,
        )
        return Plan(
            target=self.target,
            tolerance=self.tolerance,
            column=budget.cost.column,
            base=costed.base(),
            candidates=candidates,
            found=found,
            num_points=len(grid.network),
            num_points_in_band=int(is_equal[grid.network].sum()),
        )

    def _grid(self, costed: Costed) -> "_Grid | None":
        """What the points that meet the nominal rule round to, alpha slowest; None without one."""
        axes = [_axis(limits, self.step) for limits in (self.alpha, self.beta, self.gamma)]
        alpha, beta, gamma = np.meshgrid(*axes, indexing="ij")
        nominal = alpha * beta**2 * gamma**2
        points = np.argwhere(np.abs(nominal - 2) < self.nominal_tolerance - 1e-9)
        results, result_of = [], []
        for dimension, axis in zip(DIMENSIONS, axes, strict=True):
            scaled = costed.alone(dimension, [value**costed.phi for value in axis])
            numbers = {network: i for i, network in enumerate(dict.fromkeys(scaled))}
            results.append(list(numbers))
            result_of.append(np.array([numbers[network] for network in scaled]))
        if self.max_resolution is not None:
            sizes = np.array([network.resolution for network in results[2]])[result_of[2]]
            points = points[sizes[points[:, 2]] <= self.max_resolution]
        if not len(points):
            return None
        places = np.stack([of[points[:, i]] for i, of in enumerate(result_of)], axis=1)
        names = np.ravel_multi_index(tuple(places.T), tuple(map(len, results)))
        _, first, network = np.unique(names, return_index=True, return_inverse=True)
        order = np.argsort(first)  # networks by their first point
        network = np.argsort(order)[network]
        by_network = np.argsort(network, kind="stable")
        starts = np.searchsorted(network[by_network], np.arange(len(order)))
        return _Grid(
            axes=axes,
            network=network,
            results=results,
            places=places[first[order]],
            first=points[first[order]],
            lowest=np.minimum.reduceat(points[by_network], starts),
            highest=np.maximum.reduceat(points[by_network], starts),
        )


@dataclass(frozen=True, eq=False)
class _Grid:
    """The distinct networks that the points of a grid round to, in the order of their first.

    Attributes:
        axes: Values of alpha, beta and gamma.
        network: Which network each point rounds to, (points,).
        results: The base network with each distinct result of rounding one dimension.
        places: Which of the results each network has, (networks, 3).
        first: Of each network's first point the places on the axes, (networks, 3).
        lowest: The smallest places of its points.
        highest: The largest places of its points.
    """

    axes: list[list[float]]
    network: Places
    results: list[list[Architecture]]
    places: Places
    first: Places
    lowest: Places
    highest: Places

    def found(self, costed: Costed) -> Found:
        """The networks; each becomes a candidate when it is asked for."""
        table = costed.budget.ratios(*self.results)
        if table is None:
            networks = [
                costed.base_network.scaled(self._point(at).multipliers(costed.phi))
                for at in self.first
            ]
            ratios = np.array([costed.ratio(network) for network in networks])
        else:
            ratios = table[tuple(self.places.T)]
        shares = costed.shares(self.results, self.places, ratios)
        return Found(ratios, shares, partial(self._candidate, costed))

    def _candidate(self, costed: Costed, index: int) -> Candidate:
        point = self._point(self.first[index])
        multipliers = point.multipliers(costed.phi)
        return replace(
            costed.candidate(multipliers, multipliers, multipliers),
            coefficients=point,
            lowest=self._point(self.lowest[index]),
            highest=self._point(self.highest[index]),
        )

    def _point(self, places: Places) -> Coefficients:
        return Coefficients(*(a[i] for a, i in zip(self.axes, places.tolist(), strict=True)))


def _axis(limits: tuple[float, float], step: float) -> list[float]:
    # From integers: adding a float step loses the last point.
    num_steps = math.floor((limits[1] - limits[0]) / step + 1e-9)
    return [round(limits[0] + i * step, 6) for i in range(num_steps + 1)]
