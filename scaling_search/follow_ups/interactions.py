"""Whether a setting, as the learning rate, acts alike on all networks; numbers only."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from scaling_search.answer.fit import CONTRASTS, NUM_TERMS, FTest, is_singular
from scaling_search.answer.observations import Indices, Values
from scaling_search.answer.region import LEVEL
from scaling_search.core.space_filling import Points, scheffe

PROBABILITY = 0.8
"""How often a test finds what is called large enough to be found."""

NUM_DRAWS = 4000
"""Draws behind a rank correlation that chance allows, always the same ones."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Networks at settings: least squares of a mean for each cell and an offset for each block.

    A block is a seed at a setting; the offsets of a setting's seeds sum to 0, so that with as many
    seeds for each network the means are plain ones.

    Attributes:
        means: Of the loss, (networks, settings).
        unscaled: Variances of the means over `residual_variance`, (networks, settings).
        residual_variance: Of a training, after cell and block; NaN without degrees of freedom.
        freedom: Trainings less cells and offsets.
        test: Whether the settings act alike on all networks: with a mean for each cell against a
            mean for each network; None without degrees of freedom.
        detectable: By how much one network's loss must change between the first and the last
            setting, the others' not, to be found with `PROBABILITY`; None without the test.
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


def fit_cells(network: Indices, setting: Indices, seed: Indices, loss: Values) -> Cells:
    """The cells of trainings, each cell with one at least.

    Args:
        network: Of each training, 0 to networks - 1.
        setting: Of each training, 0 to settings - 1.
        seed: Of each training.
        loss: Of each training.
    """
    num_networks, num_settings = int(network.max()) + 1, int(setting.max()) + 1
    offsets = _offsets(setting, seed)
    cells = np.eye(num_networks * num_settings)[network * num_settings + setting]
    networks, settings = np.eye(num_networks)[network], np.eye(num_settings)[setting]
    full, reduced = np.hstack([cells, offsets]), np.hstack([networks, settings, offsets])
    estimates, squares, rank = _fit(full, loss)
    shape = (num_networks, num_settings)
    inverse = np.linalg.pinv(full.T @ full)
    freedom = len(loss) - rank
    variance = squares / freedom if freedom else math.nan
    test, detectable = None, None
    _, reduced_squares, reduced_rank = _fit(reduced, loss)
    numerator = rank - reduced_rank
    if numerator and variance > 0:
        gain = max(0.0, reduced_squares - squares)
        test = FTest.of(gain / numerator / variance, numerator, freedom)
        moved = (settings[:, -1] - settings[:, 0]) / 2
        least = min(_fit(reduced, moved * column)[1] for column in networks.T)
        detectable = math.sqrt(_noncentrality(numerator, freedom) * variance / least)
    return Cells(
        means=estimates[: cells.shape[1]].reshape(shape),
        unscaled=np.diag(inverse)[: cells.shape[1]].reshape(shape),
        residual_variance=variance,
        freedom=freedom,
        test=test,
        detectable=detectable,
    )


@dataclass(frozen=True, eq=False)
class Trend:
    """How something of networks depends on their shares: least squares of the six terms.

    Attributes:
        fitted: At the networks, (networks,).
        test: Of the five contrasts, networks less six degrees of freedom.
        detectable: By how much it must grow from none of a dimension to that dimension alone to
            be found with `PROBABILITY`; for the dimension where this is largest.
    """

    fitted: Values
    test: FTest
    detectable: float


def fit_trend(shares: Points, values: Values, weights: Values) -> Trend | None:
    """How values of networks depend on their shares; None for too few networks or places.

    Args:
        shares: As built, (networks, 3).
        values: Of the networks.
        weights: One over the variances of the values, up to a factor.
    """
    freedom = len(values) - NUM_TERMS
    if freedom < 1 or is_singular(scheffe(shares)):
        return None
    roots = np.sqrt(weights / weights.mean())
    terms = scheffe(shares) * roots[:, None]
    estimates, squares, _ = _fit(terms, values * roots)
    variance = squares / freedom
    if variance == 0:
        return None
    covariance = variance * CONTRASTS @ np.linalg.inv(terms.T @ terms) @ CONTRASTS.T
    contrasts = CONTRASTS @ estimates
    statistic = float(contrasts @ np.linalg.solve(covariance, contrasts)) / len(contrasts)
    least = min(_fit(roots[:, None], column * roots)[1] for column in shares.T)
    return Trend(
        fitted=scheffe(shares) @ estimates,
        test=FTest.of(statistic, len(contrasts), freedom),
        detectable=math.sqrt(_noncentrality(len(contrasts), freedom) * variance / least),
    )


def rank_correlation(first: Values, second: Values) -> float:
    """Spearman's rank correlation; NaN where one of them does not differ."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(stats.spearmanr(first, second).statistic)


@dataclass(frozen=True)
class Chance:
    """The rank correlation that two sets of means of the same networks have, fresh seeds each.

    Attributes:
        expected: Its mean.
        low: Below it lie 5 %.
    """

    expected: float
    low: float


def chance_rank_correlation(
    network_sd: float, first_error: float, second_error: float, *, num_networks: int
) -> Chance:
    """What luck of the seed leaves of an order that does not change.

    Args:
        network_sd: Standard deviation of the networks' true means.
        first_error: Standard error of a mean of the first set.
        second_error: Standard error of a mean of the second set.
        num_networks: How many there are; three or more.
    """
    stream = np.random.default_rng(0)
    truth, *errors = stream.standard_normal((3, NUM_DRAWS, num_networks))
    ranks = [
        stats.rankdata(network_sd * truth + error * luck, axis=1) - (num_networks + 1) / 2
        for error, luck in zip((first_error, second_error), errors, strict=True)
    ]
    correlations = (ranks[0] * ranks[1]).sum(axis=1) / (ranks[0] ** 2).sum(axis=1)
    return Chance(float(correlations.mean()), float(np.quantile(correlations, LEVEL)))


def true_spread(means: Values, errors: Values) -> float:
    """Standard deviation of what means estimate: their own less what their errors explain."""
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
    """The noncentrality at which an F-test finds something with `PROBABILITY`."""
    limit = float(stats.f.isf(LEVEL, numerator, freedom))

    def excess(noncentrality: float) -> float:
        return float(stats.ncf.sf(limit, numerator, freedom, noncentrality)) - PROBABILITY

    largest = 8.0 * numerator
    while excess(largest) < 0:
        largest *= 2
    return float(optimize.brentq(excess, 0.0, largest, xtol=1e-6))


def _fit(design: Values, response: Values) -> tuple[Values, float, int]:
    """Least squares: estimates, squares left, and the design's rank."""
    solved, _, rank, _ = np.linalg.lstsq(design, response, rcond=1e-9)
    estimates: Values = solved.astype(np.float64)
    left = response - design @ estimates
    return estimates, float(left @ left), int(rank)
