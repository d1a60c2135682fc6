"""A base network, a cost and a target become distinct networks of that cost, ready to train."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field, Strict

from scaling_search.protocols import Architecture, Cost, part
from scaling_search.scaling import DIMENSIONS, Coefficients, Multipliers, Shares, phi_of
from scaling_search.spread import spread_subset

Range = Annotated[tuple[float, float], Strict(False)]
Track = Callable[[Iterable["Candidate"], int], Iterable["Candidate"]]
"""Shows the progress over so many things."""


@dataclass(frozen=True)
class Candidate:
    """A network to train: what it is, what it costs, and the coefficients that round to it.

    Attributes:
        number: Place in the plan; the base network is 0.
        coefficients: A triple that builds it; of a buildable network its cell's corner of
            smallest multipliers.
        lowest: The smallest coefficients of the cell.
        highest: The largest coefficients of the cell.
        shares: The log of its cost split over the dimensions, as built; None for the base network.
        share_gap: By how much the three logs miss the log of the whole, as a fraction of it.
        nominal_flops_ratio: The multipliers' product, nothing rounded.
        flops_ratio: Cost over the base network's.
        flops: Multiply-adds for one image, forward.
        params: Trainable parameters.
        activations: Outputs of convolutions and linear layers for one image.
    """

    number: int
    architecture: Architecture
    coefficients: Coefficients
    lowest: Coefficients
    highest: Coefficients
    shares: Shares | None
    share_gap: float
    nominal_flops_ratio: float
    flops_ratio: float
    flops: int
    params: int
    activations: int

    @property
    def network(self) -> str:
        """A name that only equal networks of one base share: layers, channels, resolution."""
        a = self.architecture
        return f"{_joined(a.num_layers)}/{_joined(a.channels)}/{a.resolution}"

    def row(self) -> dict[str, object]:
        """The candidate as columns of a table, in their order."""
        shares = self.shares or (None, None, None)
        row: dict[str, object] = {"candidate": self.number, "network": self.network}
        for name in ("alpha", "beta", "gamma"):
            row[name] = getattr(self.coefficients, name)
        for name in ("alpha", "beta", "gamma"):
            row[f"{name}_low"] = getattr(self.lowest, name)
            row[f"{name}_high"] = getattr(self.highest, name)
        row |= {f"{d}_share": s for d, s in zip(DIMENSIONS, shares, strict=True)}
        for name in ("share_gap", "nominal_flops_ratio", "flops_ratio"):
            row[name] = getattr(self, name)
        row |= {"flops": self.flops, "params": self.params, "activations": self.activations}
        row["layers"] = _joined(self.architecture.num_layers)
        row["channels"] = _joined(self.architecture.channels)
        row["resolution"] = self.architecture.resolution
        return row


@dataclass(frozen=True)
class Plan:
    """What there is to train, and what it was chosen from.

    Attributes:
        target: Cost ratio that every candidate should have.
        tolerance: Half the width of the band around the target, a fraction of it.
        base: The base network, always trained too.
        candidates: The networks that are kept, in the order in which they were chosen.
        found: All distinct networks that were looked at, `candidates` among them.
        num_points: Coefficient triples that led to them; of a buildable plan one each.
        num_points_in_band: Those whose network lies in the band.
    """

    target: float
    tolerance: float
    base: Candidate
    candidates: tuple[Candidate, ...]
    found: tuple[Candidate, ...]
    num_points: int
    num_points_in_band: int

    def in_band(self, candidate: Candidate) -> bool:
        """Whether a candidate costs what the target says."""
        return abs(candidate.flops_ratio / self.target - 1) <= self.tolerance + 1e-12

    def measured(self, cost: Cost, track: Track | None = None) -> "Plan":
        """This plan after the base network and each kept one were built and measured.

        Raises:
            RuntimeError: A measured cost is not the one that the plan was made with.
        """
        networks = (self.base, *self.candidates)
        for candidate in track(networks, len(networks)) if track else networks:
            cost.measure(candidate.architecture)
        return self


class Costed:
    """A base network with its cost; turns multipliers into candidates."""

    def __init__(self, base_network: Architecture, cost: Cost, phi: float) -> None:
        self.base_network = base_network
        self.estimate = cost.estimate
        self.base_cost = cost.estimate(base_network)
        self.phi = phi
        self._logs: dict[Multipliers, float] = {}

    def ratio(self, architecture: Architecture) -> float:
        """Cost over the base network's, in closed form."""
        return self.estimate(architecture) / self.base_cost

    def base(self) -> Candidate:
        """The base network as candidate 0."""
        return self._candidate(Multipliers(1.0, 1.0, 1.0), self.base_network)

    def candidate(
        self, multipliers: Multipliers, lowest: Multipliers, highest: Multipliers
    ) -> Candidate:
        """The network of these multipliers, with the cell of multipliers that round to it."""
        candidate = self._candidate(multipliers, self.base_network.scaled(multipliers))
        if self.phi < 0:
            lowest, highest = highest, lowest
        return replace(
            candidate,
            lowest=Coefficients.of(lowest, self.phi),
            highest=Coefficients.of(highest, self.phi),
        )

    def _candidate(self, multipliers: Multipliers, architecture: Architecture) -> Candidate:
        layers = architecture.layers()
        ratio = self.ratio(architecture)
        logs = [self._log(multipliers.alone(dimension)) for dimension in DIMENSIONS]
        coefficients = Coefficients.of(multipliers, self.phi)
        return Candidate(
            number=0,
            architecture=architecture,
            coefficients=coefficients,
            lowest=coefficients,
            highest=coefficients,
            shares=None if ratio == 1 else Shares.of_logs(*logs),
            share_gap=0.0 if ratio == 1 else abs(sum(logs) / math.log(ratio) - 1),
            nominal_flops_ratio=multipliers.nominal_flops_ratio,
            flops_ratio=ratio,
            flops=sum(layer.flops for layer in layers),
            params=sum(layer.params for layer in layers),
            activations=sum(layer.activations for layer in layers),
        )

    def _log(self, multipliers: Multipliers) -> float:
        if multipliers not in self._logs:
            ratio = self.ratio(self.base_network.scaled(multipliers))
            self._logs[multipliers] = math.log(ratio)
        return self._logs[multipliers]


@part
class Buildable:
    """Every network that the base network's rounding can reach, of the target's cost.

    Depths, widths and resolutions are walked from one distinct result to the next, so that no
    network is missed between the points of a grid and none comes twice.

    Attributes:
        target: Cost over the base network's.
        tolerance: Half the width of the band around the target, a fraction of it.
        max_networks: At most so many are kept, spread over the triangle of shares.
        alpha: Range of the depth coefficient.
        beta: Range of the width coefficient.
        gamma: Range of the resolution coefficient.
        max_resolution: No larger images, in pixels: what the data have; None for no limit.
    """

    target: float
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    max_networks: Annotated[int, Field(ge=1)]
    alpha: Range
    beta: Range
    gamma: Range
    max_resolution: Annotated[int, Field(ge=1)] | None

    def __post_init__(self) -> None:
        """Checks the target and the ranges."""
        _check_options(self.target, self.alpha, self.beta, self.gamma)

    def plan(self, base_network: Architecture, cost: Cost) -> Plan:
        """The distinct networks in the band, and which of them to train.

        Raises:
            ValueError: No network lies in the band.
        """
        costed = Costed(base_network, cost, phi_of(self.target))
        found = list(self.networks(costed))
        kept = spread_subset([c.shares for c in found if c.shares], self.max_networks)
        numbered = tuple(replace(found[i], number=n) for n, i in enumerate(kept, start=1))
        return Plan(
            target=self.target,
            tolerance=self.tolerance,
            base=costed.base(),
            candidates=numbered,
            found=tuple(found),
            num_points=len(found),
            num_points_in_band=len(found),
        )

    def networks(self, costed: Costed) -> Iterator[Candidate]:
        """All networks of the band, by depth, then width, then resolution.

        The cost grows with every dimension, so that one search over the resolutions finds the
        band's two ends for each depth and width.

        Raises:
            ValueError: There is none.
        """
        depths, widths, resolutions = self._cells(costed)
        low, high = self.target * (1 - self.tolerance), self.target * (1 + self.tolerance)
        below, above, num_found = 0.0, math.inf, 0
        for depth, deepest in depths:
            for width, widest in widths:
                ratio = partial(_ratio_at, costed, depth, width)
                first = bisect_left(resolutions, low - 1e-12, key=ratio)
                if first:
                    below = max(below, ratio(resolutions[first - 1]))
                for resolution, largest in resolutions[first:]:
                    if (reached := ratio((resolution, largest))) > high + 1e-12:
                        above = min(above, reached)
                        break
                    candidate = costed.candidate(
                        Multipliers(depth, width, resolution),
                        Multipliers(depth, width, resolution),
                        Multipliers(deepest, widest, largest),
                    )
                    if candidate.shares is not None:  # else it costs what the base network does
                        num_found += 1
                        yield candidate
        if not num_found:
            raise ValueError(_empty_band(self.target, self.tolerance, below, above))

    def _cells(self, costed: Costed) -> list[list[tuple[float, float]]]:
        """For depth, width and resolution the smallest and largest multiplier of each result."""
        cells = []
        for dimension, limits in zip(DIMENSIONS, (self.alpha, self.beta, self.gamma), strict=True):
            low, high = sorted(limit**costed.phi for limit in limits)
            # Beyond the range, so that the last cell inside it has its true end; when shrinking,
            # up to the base network, where the coefficients are 1.
            beyond = high * 1.5 if costed.phi > 0 else 1.0
            steps = costed.base_network.steps(dimension, low, beyond)
            ends = [*(round(s - 1e-6, 6) for s in steps[1:]), beyond]
            cells.append([(s, e) for s, e in zip(steps, ends, strict=True) if s <= high])
        if self.max_resolution is not None:
            cells[2] = [
                cell
                for cell in cells[2]
                if costed.base_network.scaled(Multipliers(1.0, 1.0, cell[0])).resolution
                <= self.max_resolution
            ]
        return cells


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
        _check_options(self.target, self.alpha, self.beta, self.gamma)

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
            raise ValueError(_empty_band(self.target, self.tolerance, below, above))
        kept = range(len(eligible))
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


def _ratio_at(costed: Costed, depth: float, width: float, cell: tuple[float, float]) -> float:
    return costed.ratio(costed.base_network.scaled(Multipliers(depth, width, cell[0])))


def _joined(numbers: Iterable[int]) -> str:
    return "-".join(str(number) for number in numbers)


def _check_options(target: float, *ranges: Range) -> None:
    phi_of(target)
    for name, (low, high) in zip(("alpha", "beta", "gamma"), ranges, strict=True):
        if not 1 <= low <= high:
            raise ValueError(
                f"candidates.{name} must be a range [low, high] with 1 <= low <= high, got "
                f"{[low, high]}; a coefficient below 1 would shrink the network"
            )


def _empty_band(target: float, tolerance: float, below: float, above: float) -> str:
    nearest = " and ".join(f"{ratio:.3f}x" for ratio in (below, above) if 0 < ratio < math.inf)
    return (
        f"candidates.tolerance must leave a network within {target:g}x ± {tolerance:.1%}, got "
        f"none; the nearest cost {nearest or 'nothing inside the ranges'}: widen the tolerance, "
        "the ranges of alpha, beta and gamma, or take smaller divisors in base_network"
    )
