"""A plan: the networks to train, and the pool of networks that they were selected from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scaling_search.core.candidate import Candidate
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import Points, largest_hole, places
from scaling_search.planning.budget import Ratios

Indices = NDArray[np.int64]
"""Positions of networks in their lists of depths, widths and resolutions, (networks, 3)."""

SCALED = 0.1
"""Smallest share that counts as scaling a dimension."""


@dataclass(frozen=True, eq=False)
class CandidatePool:
    """Distinct networks as vectors; `candidate` makes one of them when it is needed.

    Attributes:
        ratios: Cost over the base network's, (networks,); predicted where it is measured.
        shares: Shares of depth, width and resolution, (networks, 3); NaN where nothing is scaled.
        resolutions: Height and width of the images in pixels, (networks,).
        candidate: Returns the candidate at an index.
    """

    ratios: Ratios
    shares: Points
    resolutions: Indices
    candidate: Callable[[int], Candidate]

    def __len__(self) -> int:
        return len(self.ratios)

    def __iter__(self) -> Iterator[Candidate]:
        """All candidates, in the order of the vectors."""
        return map(self.candidate, range(len(self)))


@dataclass(frozen=True)
class Plan:
    """The networks to train.

    Attributes:
        target: Cost ratio that every candidate should have.
        tolerance: Half the width of the band around the target, a fraction of it.
        base: The base network, always trained too.
        candidates: The selected networks, in the order of their selection.
        pool: All distinct networks that they were selected from.
        num_points: Coefficient triples that round to the pool's networks.
        num_points_in_band: Those of them whose network lies in the band.
        column: Name of the cost that is held equal.
    """

    target: float
    tolerance: float
    base: Candidate
    candidates: tuple[Candidate, ...]
    pool: CandidatePool = field(compare=False)
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
        """True if a candidate has the target's cost."""
        return is_in_band(candidate, self.target, self.tolerance)

    @property
    def shares(self) -> list[Shares]:
        """Shares of the candidates."""
        return [candidate.shares for candidate in self.candidates if candidate.shares]

    @property
    def num_places(self) -> int:
        """Number of places: candidates whose shares are nearly the same count once."""
        return len(set(places(self.shares).tolist()))

    @property
    def hole(self) -> tuple[float, Shares]:
        """Largest distance from a point of the triangle to the nearest candidate; that point."""
        return largest_hole(self.shares)

    @property
    def num_inside(self) -> int:
        """Number of candidates that scale all three dimensions."""
        return sum(min(shares) >= SCALED for shares in self.shares)

    @property
    def reference_distances(self) -> dict[str, float]:
        """Distance from each reference to the nearest candidate."""
        return {
            name: min(shares.distance(reference) for shares in self.shares)
            for name, reference in REFERENCES.items()
        }


def is_in_band(candidate: Candidate, target: float, tolerance: float) -> bool:
    """True if a candidate has the target's cost; no band is narrower than a measurement."""
    width = max(tolerance, candidate.cost_spread / candidate.cost_ratio)
    return abs(candidate.cost_ratio / target - 1) <= width + 1e-12
