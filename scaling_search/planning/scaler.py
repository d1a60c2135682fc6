"""A base network scaled to one size: multipliers become candidates with a cost and shares."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Coefficients, Multipliers, Shares
from scaling_search.core.space_filling import Points
from scaling_search.planning.budget import PREDICTION_MARGIN, Budget, Ratios
from scaling_search.planning.candidates import Indices
from scaling_search.planning.cost_model import COUNTS

LARGEST_GAP = 0.1
"""Shares are approximate where the logs of the three dimensions miss the log of the whole cost by a
larger fraction of it."""


class Scaler:
    """Scales a budget's base network at one phi; a measured cost is calibrated for it before."""

    def __init__(self, budget: Budget, phi: float) -> None:
        self.budget, self.phi = budget, phi
        self.base_network = budget.base_network
        self._base_flops = COUNTS["flops"](self.base_network.layers())
        self._logs: dict[tuple[Multipliers, bool], float] = {}

    def search_tolerance(self, tolerance: float) -> float:
        """Half the width of the band in which networks are searched, a fraction of the target."""
        return tolerance if self.budget.cost_model is None else PREDICTION_MARGIN * tolerance

    def ratio(self, architecture: Architecture) -> float:
        """Cost over the base network's, in closed form or predicted."""
        return self.budget.ratio(architecture, self.phi)

    def alone(self, dimension: str, multipliers: Iterable[float]) -> list[Architecture]:
        """The base network with one dimension scaled, by each of the multipliers."""
        ones = dict.fromkeys(DIMENSIONS, 1.0)
        return [self.base_network.scaled(Multipliers(**ones | {dimension: m})) for m in multipliers]

    def shares(
        self, axes: Sequence[Sequence[Architecture]], indices: Indices, ratios: Ratios
    ) -> Points:
        """Shares of combinations of three lists of `alone`; NaN where nothing is scaled.

        Bit for bit the shares of the candidates, until those are measured.

        Args:
            axes: Networks with one dimension scaled: depths, widths, resolutions.
            indices: Positions of each network in the lists, (networks, 3).
            ratios: Cost of each over the base network's, (networks,).
        """
        logs = _logs_at(axes, indices, self.ratio)
        totals = logs.sum(axis=1)
        is_scaled = np.abs(totals) >= 1e-12
        shares = np.full(logs.shape, np.nan)
        shares[is_scaled] = logs[is_scaled] / totals[is_scaled, None] + 0.0
        if self.budget.cost.column != "flops":
            with np.errstate(divide="ignore", invalid="ignore"):
                is_off = np.abs(totals / np.log(ratios) - 1) > LARGEST_GAP
            by_flops = _logs_at(axes, indices, self._flops_ratio)
            totals = by_flops.sum(axis=1)
            is_off &= np.abs(totals) >= 1e-12
            shares[is_off] = by_flops[is_off] / totals[is_off, None] + 0.0
        return shares

    def base(self) -> Candidate:
        """The base network as candidate 0."""
        return self._candidate(Multipliers(1.0, 1.0, 1.0), self.base_network, 1.0)

    def candidate(self, multipliers: Multipliers, largest: Multipliers | None = None) -> Candidate:
        """The network of these multipliers.

        Args:
            multipliers: The smallest multipliers that round to it.
            largest: The largest; None if they are not known.
        """
        network = self.base_network.scaled(multipliers)
        ratio = self.ratio(network)
        candidate = self._candidate(multipliers, network, ratio)
        if ratio != 1:
            logs = [self._log(multipliers.alone(dimension)) for dimension in DIMENSIONS]
            candidate = replace(candidate, **self._split(multipliers, logs, ratio))
        ends = [Coefficients.of(end, self.phi) for end in (multipliers, largest or multipliers)]
        lowest, highest = ends if self.phi > 0 else reversed(ends)
        return replace(candidate, lowest=lowest, highest=highest)

    def measured(self, candidate: Candidate) -> Candidate:
        """Measure a candidate, and return it with its measured cost and shares.

        Unchanged where the cost has a closed form. A dimension that alone costs less than the
        spread of its measurement has a share of 0.
        """
        model = self.budget.cost_model
        if model is None:
            return candidate
        sample = model.measure(candidate.architecture)
        multipliers, logs = candidate.coefficients.multipliers(self.phi), [0.0] * len(DIMENSIONS)
        for i, dimension in enumerate(DIMENSIONS):
            network = self.base_network.scaled(multipliers.alone(dimension))
            if network != self.base_network:
                alone = model.measure(network)
                if abs(alone.ratio - 1) > alone.spread:
                    logs[i] = math.log(alone.ratio)
        return replace(
            candidate,
            cost=sample.value,
            cost_ratio=sample.ratio,
            cost_spread=sample.spread,
            **self._split(multipliers, logs, sample.ratio),
        )

    def _candidate(
        self, multipliers: Multipliers, architecture: Architecture, ratio: float
    ) -> Candidate:
        """A candidate without shares."""
        layers = architecture.layers()
        coefficients = Coefficients.of(multipliers, self.phi)
        flops = COUNTS["flops"](layers)
        return Candidate(
            number=0,
            architecture=architecture,
            coefficients=coefficients,
            lowest=coefficients,
            highest=coefficients,
            shares=None,
            share_gap=0.0,
            shares_of=self.budget.cost.column,
            nominal_flops_ratio=multipliers.nominal_flops_ratio,
            cost=self.budget.cost_of(architecture, self.phi),
            cost_ratio=ratio,
            cost_spread=0.0,
            flops_ratio=flops / self._base_flops,
            flops=int(flops),
            params=int(COUNTS["params"](layers)),
            activations=int(COUNTS["activations"](layers)),
        )

    def _split(
        self, multipliers: Multipliers, logs: Sequence[float], ratio: float
    ) -> dict[str, Any]:
        """The shares of three logs of cost; in FLOPs where the logs miss the log of the whole."""
        gap = abs(sum(logs) / math.log(ratio) - 1)
        column = self.budget.cost.column
        if gap > LARGEST_GAP and column != "flops":
            by_flops = [self._log(multipliers.alone(d), by_flops=True) for d in DIMENSIONS]
            if abs(sum(by_flops)) >= 1e-12:
                logs, column = by_flops, "flops"
        return {"shares": Shares.of_logs(*logs), "share_gap": gap, "shares_of": column}

    def _log(self, multipliers: Multipliers, *, by_flops: bool = False) -> float:
        if (multipliers, by_flops) not in self._logs:
            network = self.base_network.scaled(multipliers)
            ratio = self._flops_ratio(network) if by_flops else self.ratio(network)
            self._logs[multipliers, by_flops] = math.log(ratio)
        return self._logs[multipliers, by_flops]

    def _flops_ratio(self, architecture: Architecture) -> float:
        return COUNTS["flops"](architecture.layers()) / self._base_flops


def _logs_at(
    axes: Sequence[Sequence[Architecture]],
    indices: Indices,
    ratio: Callable[[Architecture], float],
) -> Points:
    """The log of the cost of each network's depth, width and resolution alone, (networks, 3)."""
    logs = [np.array([math.log(ratio(network)) for network in axis]) for axis in axes]
    return np.stack([values[indices[:, i]] for i, values in enumerate(logs)], axis=1)
