"""Reduction of the variance of the rule by a further training.

Variances need no losses, so trainings in flight count as finished.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling_search.answer.fit import NUM_TERMS, least_squares
from scaling_search.answer.observations import Indices, Values
from scaling_search.answer.region import GRID, Region, circle
from scaling_search.core.space_filling import Points, as_points, places, scheffe

NEAREST = 0.02
"""Points of the region closer than this to the best count as the best."""


@dataclass(frozen=True, eq=False)
class Design:
    """Trainings without their losses, in the model of `fit_surface`.

    All variances are over the residual variance.

    Attributes:
        shares: Shares of the networks, (networks, 3).
        network: Network of each training, an index into `shares`, (trainings,).
        seed: Seed of each training, (trainings,).
        variance_ratio: Variance of the effect of a place over the residual variance.
    """

    shares: Points
    network: Indices
    seed: Indices
    variance_ratio: float

    @cached_property
    def place(self) -> Indices:
        """Place of each network, whose effect its networks share, (networks,)."""
        return places(self.shares)

    @property
    def rows(self) -> Values:
        """Terms of the surface and of all seeds but the first, (trainings, coefficients)."""
        return _rows(self.shares[self.network], self.seed, np.unique(self.seed))

    @property
    def covariance(self) -> Values:
        """Covariance of all coefficients, those of the surface first."""
        blank = np.zeros(len(self.network))
        return least_squares(self.rows, blank, self.place[self.network], self.variance_ratio)[1]

    def falls(self, differences: Values, network: Indices, seed: Indices) -> tuple[Values, Values]:
        """Decrease of the summed variance of some differences by one more training, or two.

        A single training with a new seed only determines that seed's offset; two with the same new
        seed determine their difference.

        Args:
            differences: Terms of one point less those of another, (differences, 6).
            network: Network of each possible training, an index into `shares`, (options,).
            seed: Seed of each possible training, (options,).

        Returns:
            The decrease by each training alone, (options,), and by each two with the same new
            seed, (options, options), zero for all others.
        """
        seeds = np.unique(self.seed)
        covariance = self.covariance
        aims = differences @ covariance[:NUM_TERMS]
        trained, place = self.place[self.network], self.place[network]
        counts = np.bincount(trained, minlength=len(self.shares)).astype(np.float64)
        sums = np.zeros((len(counts), covariance.shape[1]))
        np.add.at(sums, trained, self.rows)
        # A new training less its prediction from others of its place, and the variance of that.
        pull = self.variance_ratio / (1 + counts * self.variance_ratio)
        news = _rows(self.shares[network], seed, seeds) - (pull[:, None] * sums)[place]
        noise = 1 + pull[place]

        def lowered(directions: Values, variances: Values) -> Values:
            toward = directions @ aims.T
            spread = np.einsum("...i,ij,...j->...", directions, covariance, directions)
            fall: Values = (toward**2).sum(axis=-1) / (variances + spread)
            return fall

        is_new = ~np.isin(seed, seeds)
        alone = np.where(is_new, 0.0, lowered(news, noise))
        pairs = lowered(news[:, None] - news, noise[:, None] + noise)
        is_pair = is_new[:, None] & (seed[:, None] == seed)
        return alone, np.where(is_pair, pairs, 0.0)


def differences_from_best(region: Region) -> Values:
    """Terms of the best point less those of each other point of the region, (points, 6).

    Points of a circle around the best where the region falls between the points of the grid.
    """
    best = as_points([region.best])
    points = GRID[region.mask]
    points = points[np.abs(points - best).sum(axis=1) / 2 > NEAREST]
    if not len(points):
        points = best + circle(NEAREST)
    differences: Values = scheffe(best) - scheffe(points)
    return differences


def _rows(shares: Points, seed: Indices, seeds: Indices) -> Values:
    """Terms of the surface and of all seeds but the first; an unknown seed has none."""
    dummies = (seed[:, None] == seeds[1:]).astype(np.float64)
    return np.hstack([scheffe(shares), dummies])
