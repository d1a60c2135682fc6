"""A base network, a cost and a target become distinct networks of that cost, ready to train."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
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

    @cached_property
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


def _joined(numbers: Iterable[int]) -> str:
    return "-".join(str(number) for number in numbers)
