"""Interaction of a setting, as the learning rate, with the networks; numbers only."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from scaling_search.answer.detectable import POWER
from scaling_search.answer.fit import (
    CONTRASTS,
    LEVEL,
    NUM_TERMS,
    FTest,
    is_singular,
    ordinary_fit,
)
from scaling_search.answer.observations import Indices, Values
from scaling_search.core.space_filling import Points, scheffe

NUM_DRAWS = 4000
"""Draws of a rank correlation, with a fixed seed."""


@dataclass(frozen=True, eq=False)
class CellMeans:
    """Networks at settings: least squares of a mean for each cell and an offset for each block.

    A block is a seed at a setting; the offsets of a setting's seeds sum to 0, so that with as many
    seeds for each network the means are plain ones.

    Attributes:
        means: Means of the loss, (networks, settings).
        unscaled: Variances of the means over `residual_variance`, (networks, settings).
        residual_variance: Variance of a training, after cell and block; NaN without degrees of
            freedom.
        freedom: Degrees of freedom of that variance: trainings less cells and offsets.
        test: F-test of the interaction of network and setting; None without degrees of freedom.
        detectable: Smallest change of one network's loss between the first and the last setting,
            the others' unchanged, that the test finds with probability `POWER`; None without it.
    """

    means: Values
    unscaled: Values
    residual_variance: float
    freedom: int
    test: FTest | None
    detectable: float | None

    @property
    def residual_sd(self) -> float:
        """Standard deviation of a training, after cell and block."""
        return math.sqrt(self.residual_variance)

    @property
    def errors(self) -> Values:
        """Standard errors of the means, (networks, settings)."""
        errors: Values = np.sqrt(self.unscaled * self.residual_variance)
        return errors


def fit_cells(
    network: Indices,
    setting: Indices,
    seed: Indices,
    loss: Values,
    *,
    noise: tuple[float, int] | None = None,
) -> CellMeans:
    """Fits the cell means of trainings; each cell has at least one.

    Args:
        network: Network of each training, 0 to networks - 1.
        setting: Setting of each training, 0 to settings - 1.
        seed: Seed of each training.
        loss: Loss of each training.
        noise: Variance of a training and its degrees of freedom from other trainings, used where
            these leave none; None if unknown.
    """
    num_networks, num_settings = int(network.max()) + 1, int(setting.max()) + 1
    offsets = _offsets(setting, seed)
    cells = np.eye(num_networks * num_settings)[network * num_settings + setting]
    networks, settings = np.eye(num_networks)[network], np.eye(num_settings)[setting]
    full, reduced = np.hstack([cells, offsets]), np.hstack([networks, settings, offsets])
    estimates, squares, rank = ordinary_fit(full, loss)
    shape = (num_networks, num_settings)
    inverse = np.linalg.pinv(full.T @ full)
    freedom = len(loss) - rank
    variance = squares / freedom if freedom else math.nan
    if not freedom and noise is not None:
        variance, freedom = noise
    test, detectable = None, None
    _, reduced_squares, reduced_rank = ordinary_fit(reduced, loss)
    numerator = rank - reduced_rank
    if numerator and variance > 0:
        gain = max(0.0, reduced_squares - squares)
        test = FTest.of(gain / numerator / variance, numerator, freedom)
        moved = (settings[:, -1] - settings[:, 0]) / 2
        least = min(ordinary_fit(reduced, moved * column)[1] for column in networks.T)
        detectable = math.sqrt(_noncentrality(numerator, freedom) * variance / least)
    return CellMeans(
        means=estimates[: cells.shape[1]].reshape(shape),
        unscaled=np.diag(inverse)[: cells.shape[1]].reshape(shape),
        residual_variance=variance,
        freedom=freedom,
        test=test,
        detectable=detectable,
    )


@dataclass(frozen=True, eq=False)
class Trend:
    """Least squares of the six terms to a value of each network.

    Attributes:
        fitted: At the networks, (networks,).
        test: F-test of the five contrasts, networks less six degrees of freedom.
        detectable: Smallest growth from none of a dimension to that dimension alone that the test
            finds with probability `POWER`; for the dimension where this is largest.
    """

    fitted: Values
    test: FTest
    detectable: float


def fit_trend(shares: Points, values: Values, weights: Values) -> Trend | None:
    """Fits values of networks over their shares; None for too few networks or places.

    Args:
        shares: As built, (networks, 3).
        values: Values of the networks.
        weights: Inverse variances of the values, up to a factor.
    """
    freedom = len(values) - NUM_TERMS
    if freedom < 1 or is_singular(scheffe(shares)):
        return None
    roots = np.sqrt(weights / weights.mean())
    terms = scheffe(shares) * roots[:, None]
    estimates, squares, _ = ordinary_fit(terms, values * roots)
    variance = squares / freedom
    if variance == 0:
        return None
    covariance = variance * CONTRASTS @ np.linalg.inv(terms.T @ terms) @ CONTRASTS.T
    least = min(ordinary_fit(roots[:, None], column * roots)[1] for column in shares.T)
    return Trend(
        fitted=scheffe(shares) @ estimates,
        test=FTest.of_contrasts(CONTRASTS @ estimates, covariance, freedom),
        detectable=math.sqrt(_noncentrality(len(CONTRASTS), freedom) * variance / least),
    )


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of two sets of means, and what an unchanged order would show.

    Attributes:
        value: NaN where all means of a set are equal.
        expected: Mean over fresh seeds, for an order that does not change.
        low: 5 % quantile of the same.
    """

    value: float
    expected: float
    low: float

    @property
    def has_changed(self) -> bool:
        """True if noise of the seeds alone seldom gives so small a correlation."""
        return self.value < self.low


def rank_correlation(
    first: Values, second: Values, first_error: float, second_error: float, network_sd: float
) -> RankCorrelation:
    """The rank correlation of means of three networks or more.

    Args:
        first: Means, (networks,).
        second: Means, (networks,).
        first_error: Standard error of one of the first.
        second_error: Standard error of one of the second.
        network_sd: Standard deviation of the networks' true means.
    """
    value = math.nan
    if np.ptp(first) and np.ptp(second):
        value = float(stats.spearmanr(first, second).statistic)
    truth, *errors = np.random.default_rng(0).standard_normal((3, NUM_DRAWS, len(first)))
    ranks = [
        stats.rankdata(network_sd * truth + error * noise, axis=1) - (len(first) + 1) / 2
        for error, noise in zip((first_error, second_error), errors, strict=True)
    ]
    draws = (ranks[0] * ranks[1]).sum(axis=1) / (ranks[0] ** 2).sum(axis=1)
    return RankCorrelation(value, float(draws.mean()), float(np.quantile(draws, LEVEL)))


def true_spread(means: Values, errors: Values) -> float:
    """Standard deviation of the true values of means, without the variance of their errors."""
    return math.sqrt(max(0.0, float(means.var(ddof=1) - (errors**2).mean())))


def _offsets(setting: Indices, seed: Indices) -> Values:
    """Columns of the blocks' offsets, which sum to 0 within a setting."""
    columns = []
    for at in np.unique(setting):
        first, *others = np.unique(seed[setting == at])
        columns += [
            ((setting == at) & (seed == other)) * 1.0 - ((setting == at) & (seed == first))
            for other in others
        ]
    return np.array(columns).reshape(-1, len(seed)).T


def _noncentrality(numerator: int, freedom: int) -> float:
    """The noncentrality at which an F-test has power `POWER`."""
    limit = float(stats.f.isf(LEVEL, numerator, freedom))

    def excess(noncentrality: float) -> float:
        return float(stats.ncf.sf(limit, numerator, freedom, noncentrality)) - POWER

    largest = 8.0 * numerator
    while excess(largest) < 0:
        largest *= 2
    return float(optimize.brentq(excess, 0.0, largest, xtol=1e-6))
