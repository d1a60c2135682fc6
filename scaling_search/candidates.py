"""A base network, a cost and a target become distinct networks of that cost, ready to train."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from scaling_search.protocols import Architecture, Cost
from scaling_search.scaling import DIMENSIONS, REFERENCES, Coefficients, Multipliers, Shares
from scaling_search.spread import largest_hole

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


LARGEST_HOLE, FEWEST, SHARED, LARGEST_GAP = 0.25, 12, 0.1, 0.1
"""Beyond these a plan says what it cannot answer: distance of the triangle's loneliest point,
number of networks, smallest share that counts as scaled, and error of the shares' sum."""


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

    def sentences(self) -> list[str]:
        """What the plan leaves to compare, what it misses, and what would help."""
        ratios = sorted(c.flops_ratio for c in self.candidates)
        found = sorted(c.flops_ratio for c in self.found)
        shares = [c.shares for c in self.candidates if c.shares]
        networks = f"{len(self.found)} distinct networks"
        if self.num_points != len(self.found):
            networks = f"{self.num_points} coefficient triples lead to {networks}"
        in_band = f"{sum(map(self.in_band, self.found))} networks"
        if self.num_points_in_band != len(self.found):
            in_band = f"{self.num_points_in_band} triples ({in_band})"
        said = [
            (
                f"{networks} of {found[0]:.2f}x to {found[-1]:.2f}x the base network's cost "
                f"({self.base.flops / 1e6:,.2f} M multiply-adds); {in_band} lie within "
                f"{self.target:g} ± {self.target * self.tolerance:g}."
            ),
            (
                f"{len(self.candidates)} networks are kept, of {ratios[0]:.3f}x to "
                f"{ratios[-1]:.3f}x, median {median(ratios):.3f}x."
            ),
        ]
        hole, point = largest_hole(shares)
        distances = ", ".join(
            f"{name} {min(s.distance(reference) for s in shares):.2f}"
            for name, reference in REFERENCES.items()
        )
        num_inside = sum(min(s) >= SHARED for s in shares)
        said += [
            (
                f"The largest hole in the triangle of shares is {hole:.2f}, around depth "
                f"{point.depth:.2f}, width {point.width:.2f}, resolution {point.resolution:.2f}; "
                f"{num_inside} of the kept networks give each dimension a share of {SHARED} or "
                "more."
            ),
            f"The nearest kept network is from each reference: {distances}.",
        ]
        return said + self._warnings(hole, num_inside)

    def _warnings(self, hole: float, num_inside: int) -> list[str]:
        said = []
        unequal = [c for c in self.candidates if not self.in_band(c)]
        if unequal:
            said.append(
                f"Warning: {len(unequal)} of the kept networks do not cost what the target says; "
                "their accuracies are not comparable. candidates=buildable compares equal costs."
            )
        if hole > LARGEST_HOLE or num_inside < 2 or len(self.candidates) < FEWEST:
            said.append(
                f"Warning: holes over {LARGEST_HOLE}, fewer than {FEWEST} networks or none inside "
                "the triangle leave parts of it unknown. More of candidates.max_networks, a wider "
                "candidates.tolerance (up to 0.1), smaller divisors in base_network or "
                "base_network.depth_rounding=round would give more."
            )
        gaps = [c for c in self.candidates if c.share_gap > LARGEST_GAP]
        if gaps:
            said.append(
                f"Warning: in {len(gaps)} networks the three dimensions' logs of cost miss the "
                f"whole by over {LARGEST_GAP:.0%}; their shares are approximate."
            )
        return said

    def measure(self, cost: Cost, track: Track | None = None) -> None:
        """Builds and measures the base network and each kept one.

        Raises:
            RuntimeError: A measured cost is not the one that the plan was made with.
        """
        networks = (self.base, *self.candidates)
        for candidate in track(networks, len(networks)) if track else networks:
            cost.measure(candidate.architecture)


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


@dataclass(frozen=True)
class Ranges:
    """Where coefficients are looked for, each range [low, high] with 1 <= low <= high.

    Attributes:
        alpha: Of the depth coefficient.
        beta: Of the width coefficient.
        gamma: Of the resolution coefficient.
        max_resolution: No larger images, in pixels; None for no limit.
    """

    alpha: tuple[float, float]
    beta: tuple[float, float]
    gamma: tuple[float, float]
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


def _joined(numbers: Iterable[int]) -> str:
    return "-".join(str(number) for number in numbers)


def empty_band(target: float, tolerance: float, below: float, above: float, *, option: str) -> str:
    """Says that no network costs what was asked, and what the nearest cost."""
    nearest = " and ".join(f"{ratio:.3f}x" for ratio in (below, above) if 0 < ratio < math.inf)
    return (
        f"{option} must leave a network within {target:g}x ± {tolerance:.1%}, got "
        f"none; the nearest cost {nearest or 'nothing inside the ranges'}: widen the tolerance, "
        "the ranges of alpha, beta and gamma, or take smaller divisors in base_network"
    )
