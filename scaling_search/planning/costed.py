"""A budget at one size: multipliers become candidates, and of those found some are kept."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Coefficients, Multipliers, Shares
from scaling_search.core.space_filling import Points, space_filling_subset
from scaling_search.planning.budget import COUNTS, REACH, Budget, Ratios
from scaling_search.planning.candidates import LARGEST_GAP, Found, Places, is_in_band

SPARE = 1.5
"""Where costs are measured, so many times the networks that are wanted are."""


class Costed:
    """A budget at one size; turns multipliers into candidates."""

    def __init__(self, budget: Budget, phi: float) -> None:
        self.budget = budget
        self.base_network = budget.base_network
        self.phi = phi
        self._logs: dict[tuple[Multipliers, bool], float] = {}

    def reach(self, tolerance: float) -> float:
        """Half the width of the band in which networks are looked for, a fraction of the target."""
        return tolerance if self.budget.held is None else REACH * tolerance

    def ratio(self, architecture: Architecture) -> float:
        """Cost over the base network's, in closed form or predicted."""
        return self.budget.ratio(architecture, self.phi)

    def alone(self, dimension: str, multipliers: Iterable[float]) -> list[Architecture]:
        """The base network with one dimension scaled, by each of the multipliers."""
        ones = dict.fromkeys(DIMENSIONS, 1.0)
        return [self.base_network.scaled(Multipliers(**ones | {dimension: m})) for m in multipliers]

    def shares(
        self, axes: Sequence[Sequence[Architecture]], places: Places, ratios: Ratios
    ) -> Points:
        """The shares of combinations of three lists of `alone`; not a number where nothing scaled.

        Bit for bit what the candidates have, until those are measured.

        Args:
            axes: Networks with one dimension scaled: depths, widths, resolutions.
            places: Which of the lists each network has, (networks, 3).
            ratios: Cost of each over the base network's, (networks,).
        """
        logs = _logs_at(axes, places, self.ratio)
        totals = logs.sum(axis=1)
        is_scaled = np.abs(totals) >= 1e-12
        shares = np.full(logs.shape, np.nan)
        shares[is_scaled] = logs[is_scaled] / totals[is_scaled, None] + 0.0
        if self.budget.cost.column != "flops":
            with np.errstate(divide="ignore", invalid="ignore"):
                misses = np.abs(totals / np.log(ratios) - 1) > LARGEST_GAP
            by_flops = _logs_at(axes, places, self._flops_ratio)
            totals = by_flops.sum(axis=1)
            misses &= np.abs(totals) >= 1e-12
            shares[misses] = by_flops[misses] / totals[misses, None] + 0.0
        return shares

    def base(self) -> Candidate:
        """The base network as candidate 0."""
        ones = Multipliers(1.0, 1.0, 1.0)
        return replace(self._candidate(ones, self.base_network, 1.0), shares=None, share_gap=0.0)

    def candidate(
        self, multipliers: Multipliers, lowest: Multipliers, highest: Multipliers
    ) -> Candidate:
        """The network of these multipliers, with the cell of multipliers that round to it."""
        network = self.base_network.scaled(multipliers)
        candidate = self._candidate(multipliers, network, self.ratio(network))
        if self.phi < 0:
            lowest, highest = highest, lowest
        return replace(
            candidate,
            lowest=Coefficients.of(lowest, self.phi),
            highest=Coefficients.of(highest, self.phi),
        )

    def settled(self, candidate: Candidate) -> Candidate:
        """The candidate with its cost and its shares as measured, where they are measured.

        A dimension that alone costs less than the spread of its measurement has a share of 0.
        """
        held = self.budget.held
        if held is None:
            return candidate
        sample = held.sample(candidate.architecture)
        multipliers, logs = candidate.coefficients.multipliers(self.phi), []
        for dimension in DIMENSIONS:
            network = self.base_network.scaled(multipliers.alone(dimension))
            alone = None if network == self.base_network else held.sample(network)
            is_felt = alone is not None and abs(alone.ratio - 1) > alone.spread
            logs.append(math.log(alone.ratio) if alone is not None and is_felt else 0.0)
        gap = _gap(logs, sample.ratio)
        by_flops = [self._log(multipliers.alone(d), by_flops=True) for d in DIMENSIONS]
        is_off = gap > LARGEST_GAP
        return replace(
            candidate,
            cost=sample.value,
            cost_ratio=sample.ratio,
            cost_spread=sample.spread,
            share_gap=gap,
            shares=Shares.of_logs(*(by_flops if is_off else logs)),
            shares_of="flops" if is_off else self.budget.cost.column,
        )

    def _candidate(
        self, multipliers: Multipliers, architecture: Architecture, ratio: float
    ) -> Candidate:
        layers = architecture.layers()
        coefficients = Coefficients.of(multipliers, self.phi)
        flops = COUNTS["flops"](layers)
        candidate = Candidate(
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
        if ratio == 1:
            return candidate
        logs = [self._log(multipliers.alone(dimension)) for dimension in DIMENSIONS]
        gap = _gap(logs, ratio)
        if gap > LARGEST_GAP and self.budget.cost.column != "flops":
            by_flops = [self._log(multipliers.alone(d), by_flops=True) for d in DIMENSIONS]
            if abs(sum(by_flops)) >= 1e-12:
                shares = Shares.of_logs(*by_flops)
                return replace(candidate, shares=shares, share_gap=gap, shares_of="flops")
        return replace(candidate, shares=Shares.of_logs(*logs), share_gap=gap)

    def _log(self, multipliers: Multipliers, *, by_flops: bool = False) -> float:
        if (multipliers, by_flops) not in self._logs:
            network = self.base_network.scaled(multipliers)
            ratio = self._flops_ratio(network) if by_flops else self.ratio(network)
            self._logs[multipliers, by_flops] = math.log(ratio)
        return self._logs[multipliers, by_flops]

    def _flops_ratio(self, architecture: Architecture) -> float:
        return COUNTS["flops"](architecture.layers()) / self._base_flops

    @cached_property
    def _base_flops(self) -> float:
        return COUNTS["flops"](self.base_network.layers())


def kept(
    costed: Costed,
    found: Found,
    eligible: Sequence[int],
    max_networks: int | None,
    *,
    target: float,
    tolerance: float,
) -> tuple[Candidate, ...]:
    """Some of the networks that were found, spread over the triangle, measured and numbered.

    Args:
        costed: What they cost.
        found: The networks.
        eligible: Which of them may be kept, in their order.
        max_networks: At most so many; None for all.
        target: Cost over the base network's.
        tolerance: Half the width of the band in which it must lie once it is measured, a fraction
            of the target; infinite where any will do.

    Raises:
        ValueError: A cap leaves none, or none is measured to be equal.
    """
    budget = costed.budget
    if budget.has_caps:
        numbers = budget.track(eligible, len(eligible))
        eligible = [i for i in numbers if budget.admits(found[i].architecture, costed.phi)]
    number = len(eligible) if max_networks is None else max_networks
    if budget.is_measured:
        number = math.ceil(SPARE * number)
        likely = [i for i in eligible if abs(found.ratios[i] / target - 1) <= tolerance]
        eligible = likely if len(likely) >= number else eligible
    places = space_filling_subset(found.shares[eligible], number) if eligible else []
    networks = [found[eligible[place]] for place in places]
    if budget.is_measured:
        settled = budget.track(networks, len(networks))
        networks = [costed.settled(network) for network in settled]
        networks = [
            network
            for network in networks
            if is_in_band(network, target, tolerance)
            and budget.admits_measured(network.architecture)
        ]
    if budget.is_measured and networks:
        shares = [network.shares for network in networks if network.shares is not None]
        networks = [
            networks[i] for i in space_filling_subset(shares, max_networks or len(networks))
        ]
    if not networks:
        raise ValueError(
            f"caps and candidates.tolerance must leave a network, got none of {len(found)} that "
            f"have about the target's {budget.cost.column}; raise the caps or widen the tolerance"
        )
    return tuple(replace(network, number=n) for n, network in enumerate(networks, start=1))


def _gap(logs: Sequence[float], ratio: float) -> float:
    return abs(sum(logs) / math.log(ratio) - 1)


def _logs_at(
    axes: Sequence[Sequence[Architecture]],
    places: Places,
    ratio: Callable[[Architecture], float],
) -> Points:
    columns = (
        np.array([math.log(ratio(network)) for network in axis])[places[:, i]]
        for i, axis in enumerate(axes)
    )
    return np.stack(list(columns), axis=1)
