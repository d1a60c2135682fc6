"""A base network, a cost and a target become distinct networks of that cost, ready to train."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import overload

import numpy as np
from numpy.typing import NDArray

from scaling_search.measuring import measured
from scaling_search.protocols import Architecture, Cost, EstimatesMany
from scaling_search.scaling import DIMENSIONS, REFERENCES, Coefficients, Multipliers, Shares
from scaling_search.spread import Points, largest_hole

Ratios = NDArray[np.float64]
"""Costs over the base network's."""

Places = NDArray[np.int64]
"""Which depth, width and resolution of three lists each network has, (networks, 3)."""

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


class Found(Sequence[Candidate]):
    """Distinct networks as vectors; only those that are asked for become candidates.

    Attributes:
        ratios: The `flops_ratio` of each, (networks,).
        shares: The `shares` of each, (networks, 3); not a number where there are none.
    """

    def __init__(self, ratios: Ratios, shares: Points, make: Callable[[int], Candidate]) -> None:
        self.ratios, self.shares = ratios, shares
        self._make = make
        self._made: dict[int, Candidate] = {}

    def __len__(self) -> int:
        return len(self.ratios)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...

    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        """The network at a place, or those of a slice."""
        places = range(len(self))[index]
        if isinstance(places, range):
            return tuple(self[place] for place in places)
        if places not in self._made:
            self._made[places] = self._make(places)
        return self._made[places]

    def __eq__(self, other: object) -> bool:
        """Whether the other has the same networks in the same order."""
        if not isinstance(other, Found):
            return NotImplemented
        return np.array_equal(self.ratios, other.ratios) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.ratios.tobytes())


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
    found: Sequence[Candidate]
    num_points: int
    num_points_in_band: int

    def in_band(self, candidate: Candidate) -> bool:
        """Whether a candidate costs what the target says."""
        return abs(candidate.flops_ratio / self.target - 1) <= self.tolerance + 1e-12

    def sentences(self) -> list[str]:
        """What the plan leaves to compare, what it misses, and what would help."""
        ratios = sorted(c.flops_ratio for c in self.candidates)
        found = self._found_ratios
        within = np.abs(found / self.target - 1) <= self.tolerance + 1e-12  # as `in_band`
        shares = [c.shares for c in self.candidates if c.shares]
        networks = f"{len(self.found)} distinct networks"
        if self.num_points != len(self.found):
            networks = f"{self.num_points} coefficient triples lead to {networks}"
        in_band = f"{within.sum()} networks"
        if self.num_points_in_band != len(self.found):
            in_band = f"{self.num_points_in_band} triples ({in_band})"
        said = [
            (
                f"{networks} of {found.min():.2f}x to {found.max():.2f}x the base network's cost "
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

    @property
    def _found_ratios(self) -> Ratios:
        if isinstance(self.found, Found):
            return self.found.ratios
        return np.array([candidate.flops_ratio for candidate in self.found])

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
        """Builds and measures the base network and each kept one, as `measure` does.

        Raises:
            RuntimeError: A measured cost is not the one that the plan was made with.
        """
        measure((self.base, *self.candidates), cost, track)


def measure(networks: Sequence[Candidate], cost: Cost, track: Track | None = None) -> None:
    """Builds and measures networks, in processes where that is sooner.

    Raises:
        RuntimeError: A measured cost is not the one that a plan was made with.
    """
    built = measured([network.architecture for network in networks], cost)
    # A network is shown as done only when it is measured.
    done = (network for network, _ in zip(networks, built, strict=True))
    for _ in track(done, len(networks)) if track else done:
        pass


class Costed:
    """A base network with its cost; turns multipliers into candidates."""

    def __init__(self, base_network: Architecture, cost: Cost, phi: float) -> None:
        self.base_network = base_network
        self.cost = cost
        self.estimate = cost.estimate
        self.base_cost = cost.estimate(base_network)
        self.phi = phi
        self._logs: dict[Multipliers, float] = {}

    def ratio(self, architecture: Architecture) -> float:
        """Cost over the base network's, in closed form."""
        return self.estimate(architecture) / self.base_cost

    def ratios(
        self,
        depths: Sequence[Architecture],
        widths: Sequence[Architecture],
        resolutions: Sequence[Architecture],
    ) -> Ratios | None:
        """Cost over the base network's of every combination, (depths, widths, resolutions).

        None where the cost or the architecture offers one network at a time. Each argument is
        `alone` of its dimension, at least one network.
        """
        if not isinstance(self.cost, EstimatesMany):
            return None
        costs = self.cost.estimates(depths, widths, resolutions)
        return None if costs is None else costs / self.base_cost

    def alone(self, dimension: str, multipliers: Iterable[float]) -> list[Architecture]:
        """The base network with one dimension scaled, by each of the multipliers."""
        ones = dict.fromkeys(DIMENSIONS, 1.0)
        return [self.base_network.scaled(Multipliers(**ones | {dimension: m})) for m in multipliers]

    def shares(self, axes: Sequence[Sequence[Architecture]], places: Places) -> Points:
        """The shares of combinations of three lists of `alone`; not a number where nothing scaled.

        Bit for bit what the candidates have.
        """
        depth, width, resolution = (
            np.array([math.log(self.ratio(network)) for network in axis])[places[:, i]]
            for i, axis in enumerate(axes)
        )
        total = depth + width + resolution
        logs = np.stack([depth, width, resolution], axis=1)
        scaled = np.abs(total) >= 1e-12
        shares = np.full(logs.shape, np.nan)
        shares[scaled] = logs[scaled] / total[scaled, None] + 0.0
        return shares

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
