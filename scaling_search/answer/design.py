"""What a training that is yet to come would tell about the best split.

Variances need no losses, so that trainings in flight count as if they had ended.
"""

from dataclasses import dataclass

import numpy as np

from scaling_search.answer.fit import NUM_TERMS, least_squares
from scaling_search.answer.observations import Indices, Values
from scaling_search.answer.region import GRID, Region, circle
from scaling_search.core.space_filling import Points, as_points, scheffe

NEAREST = 0.02
"""Points of the region closer than this to the best are the best itself."""


@dataclass(frozen=True, eq=False)
class Design:
    """Trainings of some networks, their losses left out.

    The model is the fit's: a surface of six terms, an offset of each seed, an effect of each
    network. All variances are over the residual variance, which the choice of a training does not
    change.

    Attributes:
        shares: Of the networks, (networks, 3).
        network: Which network each training is of, an index into `shares`, (trainings,).
        seed: Of each training, (trainings,).
        variance_ratio: Of network effect to residual.
    """

    shares: Points
    network: Indices
    seed: Indices
    variance_ratio: float

    @property
    def rows(self) -> Values:
        """Terms of the surface and of all seeds but the first, (trainings, coefficients)."""
        return _rows(self.shares[self.network], self.seed, np.unique(self.seed))

    @property
    def covariance(self) -> Values:
        """Of all coefficients, those of the surface first."""
        blank = np.zeros(len(self.network))
        return least_squares(self.rows, blank, self.network, self.variance_ratio)[1]

    def falls(self, differences: Values, network: Indices, seed: Indices) -> tuple[Values, Values]:
        """By how much one more training, or two, would lower some variances in all.

        A training with a seed that no other has cannot be told from that seed's offset and tells
        nothing; together with a second of this seed it tells their difference.

        Args:
            differences: Terms of one point less those of another, (differences, 6); the falls are
                those of the summed variances of these differences of the surface.
            network: Of each training that could come, an index into `shares`, (options,).
            seed: Of each training that could come, (options,).

        Returns:
            The falls for each training alone, (options,), and for each two of one seed that no
            training has yet, (options, options), zero for all others.
        """
        seeds = np.unique(self.seed)
        covariance = self.covariance
        aims = differences @ covariance[:NUM_TERMS]
        counts = np.bincount(self.network, minlength=len(self.shares)).astype(np.float64)
        sums = np.zeros((len(self.shares), covariance.shape[1]))
        np.add.at(sums, self.network, self.rows)
        # A new training less what those of its network say of it, and the variance of that.
        pull = self.variance_ratio / (1 + counts * self.variance_ratio)
        news = _rows(self.shares[network], seed, seeds) - (pull[:, None] * sums)[network]
        noise = 1 + pull[network]

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

    Where the region falls between the points of the grid, those of a circle around the best.
    """
    best = as_points([region.best])
    points = GRID[region.mask]
    points = points[np.abs(points - best).sum(axis=1) / 2 > NEAREST]
    if not len(points):
        points = best + circle(NEAREST)
    differences: Values = scheffe(best) - scheffe(points)
    return differences


def _rows(shares: Points, seed: Indices, seeds: Indices) -> Values:
    """Terms of the surface and of all seeds but the first; of an unknown seed only the former."""
    dummies = (seed[:, None] == seeds[1:]).astype(np.float64)
    return np.hstack([scheffe(shares), dummies])
