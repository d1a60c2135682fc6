"""A base network, a cost and a target become distinct networks of that cost, ready to train."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scaling_search.core.candidate import Candidate
from scaling_search.core.protocols import Cost, SampledCost
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import LARGEST_HOLE, Points, largest_hole
from scaling_search.planning.budget import Ratios, Track, untracked
from scaling_search.planning.measuring import measured

Places = NDArray[np.int64]
"""Which depth, width and resolution of three lists each network has, (networks, 3)."""


class Found(Sequence[Candidate]):
    """Distinct networks as vectors; only those that are asked for become candidates.

    Attributes:
        ratios: The `cost_ratio` of each, (networks,), predicted where it is measured.
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


FEWEST, SHARED, LARGEST_GAP = 12, 0.1, 0.1
"""Beyond these a plan says what it cannot answer: number of networks, smallest share that counts
as scaled, and error of the shares' sum."""

UNITS = {
    "flops": (1e6, "M multiply-adds"),
    "train_flops": (1e6, "M multiply-adds of a training step"),
    "activations": (1e3, "k activations"),
    "latency_ms": (1.0, "ms a batch"),
    "memory_bytes": (2.0**20, "MiB of a training step"),
}
"""How costs are said, by their columns; others by their column's name."""


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
        column: Name of the cost that is held equal.
    """

    target: float
    tolerance: float
    base: Candidate
    candidates: tuple[Candidate, ...]
    found: Sequence[Candidate]
    num_points: int
    num_points_in_band: int
    column: str

    def __iter__(self) -> Iterator[Candidate]:
        """The networks to train, the base network first."""
        return iter((self.base, *self.candidates))

    def to_frame(self) -> pd.DataFrame:
        """A row for each network to train, with its coefficients, shares and costs."""
        return pd.DataFrame([candidate.row() for candidate in self])

    def in_band(self, candidate: Candidate) -> bool:
        """Whether a candidate costs what the target says."""
        return is_in_band(candidate, self.target, self.tolerance)

    def sentences(self) -> list[str]:
        """What the plan leaves to compare, what it misses, and what would help."""
        ratios = sorted(c.cost_ratio for c in self.candidates)
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
                f"({self._base_cost}); {in_band} lie within "
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
    def _base_cost(self) -> str:
        scale, unit = UNITS.get(self.column, (1.0, self.column))
        return f"{self.base.cost / scale:,.2f} {unit}"

    @property
    def _found_ratios(self) -> Ratios:
        if isinstance(self.found, Found):
            return self.found.ratios
        return np.array([candidate.cost_ratio for candidate in self.found])

    def _warnings(self, hole: float, num_inside: int) -> list[str]:
        said = []
        unequal = [c for c in self.candidates if not self.in_band(c)]
        if unequal:
            said.append(
                f"Warning: {len(unequal)} of the kept networks do not cost what the target says; "
                "their accuracies are not comparable. candidates=buildable compares equal costs."
            )
        if self.target < 1 and hole > LARGEST_HOLE:
            said.append(
                "Warning: a base network has few smaller ones, and these leave holes over "
                f"{LARGEST_HOLE}: no region of the best split will be given, only what was best "
                "of what was trained."
            )
        if hole > LARGEST_HOLE or num_inside < 2 or len(self.candidates) < FEWEST:
            said.append(
                f"Warning: holes over {LARGEST_HOLE}, fewer than {FEWEST} networks or none inside "
                "the triangle leave parts of it unknown. More of candidates.max_networks, a wider "
                "candidates.tolerance (up to 0.1) or finer rounding in base_network (smaller "
                "divisors, depth_rounding=round, a smaller step) would give more."
            )
        gaps = sum(c.share_gap > LARGEST_GAP for c in self.candidates)
        by_flops = sum(c.shares_of != self.column for c in self.candidates)
        if gaps:
            shares = "their shares are approximate"
            if by_flops:
                shares = f"shares of {by_flops} are taken in FLOPs"
            said.append(
                f"Warning: in {gaps} of the kept networks the three dimensions' logs of "
                f"{self.column} miss the whole by over {LARGEST_GAP:.0%}; {shares}."
            )
        scatter = [c.cost_spread / c.cost_ratio for c in self.candidates]
        if max(scatter) > self.tolerance:
            said.append(
                f"Warning: runs of {sum(s > self.tolerance for s in scatter)} kept networks "
                f"scatter by more than the tolerance, by up to {max(scatter):.0%}, and costs are "
                "equal within that alone; a quiet machine or a larger cost.batch_size scatters "
                "less."
            )
        return said

    def measure(self, cost: Cost | SampledCost, track: Track = untracked) -> None:
        """Builds and measures the base network and each kept one, as `measure` does.

        Raises:
            RuntimeError: A measured cost is not the one that the plan was made with.
            ValueError: A network cannot be trained.
        """
        measure(tuple(self), cost, track)


def measure(networks: Sequence[Candidate], cost: Cost | SampledCost, track: Track) -> None:
    """Builds and measures networks, in processes where that is sooner.

    Raises:
        RuntimeError: A measured cost is not the one that a plan was made with, or not what a second
            count says.
        ValueError: A network cannot be trained.
    """
    built = measured([network.architecture for network in networks], cost)
    # A network is shown as done only when it is measured.
    done = (network for network, _ in zip(networks, built, strict=True))
    for _ in track(done, len(networks)):
        pass


def is_in_band(candidate: Candidate, target: float, tolerance: float) -> bool:
    """Whether a candidate costs what the target says; no band is narrower than a measurement."""
    width = max(tolerance, candidate.cost_spread / candidate.cost_ratio)
    return abs(candidate.cost_ratio / target - 1) <= width + 1e-12
