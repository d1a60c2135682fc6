"""The loss as a quadratic surface over shares: a mixed model with seeds and networks."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scaling_search.answer.mixed_model import fit_mixed
from scaling_search.answer.observations import Indices, Observations, Values
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import (
    LARGEST_HOLE,
    Points,
    as_points,
    distances,
    largest_hole,
    places,
    scheffe,
)

LEVEL = 0.05
"""Level of all tests; intervals have 1 - level."""

NUM_TERMS = 6
"""Number of coefficients of the surface."""

LENGTH = 0.3
"""Distance at which the correlation of the smooth effects of places falls to 1 / e."""

NEAR = 0.05
"""References this near to a network count as searched, so that rounding hides no corner."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A fitted surface: the loss at exactly the target's cost, averaged over the seeds used.

    Attributes:
        observations: The trainings.
        coefficients: Coefficients of the six terms of `scheffe`, (6,).
        covariance: Covariance of the coefficients, (6, 6).
        seeds: Seeds, ascending.
        offsets: Expected effect of each seed on the loss of all networks.
        slope: Decrease of the loss when the cost grows e-fold.
        slope_error: Its standard error.
        base_loss: Mean loss of the base network, at the mean of the seeds.
        base_error: Its standard error.
        network_sd: Standard deviation of networks around the surface, equal within a place.
        residual_variance: Residual variance of a training, after seed and place.
        effects: Expected difference of each network from the surface, shrunken, (networks,).
        freedom: Degrees of freedom of every interval and test: places less coefficients, because
            trainings of one place are not independent observations of the surface.
        searched: Points whose convex hull was searched: networks and references near to them,
            (points, 3).
    """

    observations: Observations
    coefficients: Values
    covariance: Values
    seeds: Indices
    offsets: Values
    slope: float
    slope_error: float
    base_loss: float
    base_error: float
    network_sd: float
    residual_variance: float
    effects: Values
    freedom: int
    searched: Points

    @property
    def variance_ratio(self) -> float:
        """Variance of the effect of a place over `residual_variance`."""
        return self.network_sd**2 / self.residual_variance

    def corrected(self) -> Values:
        """Losses corrected to exactly the target's cost, (trainings,)."""
        return self.observations.corrected(self.slope)

    def expected(self) -> Values:
        """Expected loss of each network at the target's cost, its effect counted, (networks,)."""
        expected: Values = self.loss(self.observations.shares) + self.effects
        return expected

    def loss(self, points: Points) -> Values:
        """The fitted loss at the target's cost, (points,)."""
        fitted: Values = scheffe(points) @ self.coefficients
        return fitted

    def standard_error(self, points: Points) -> Values:
        """Standard error of the fitted loss, (points,)."""
        terms = scheffe(points)
        errors: Values = np.sqrt(np.einsum("ij,jk,ik->i", terms, self.covariance, terms))
        return errors


def fit_surface(data: Observations) -> Surface:
    """Fits the surface to trainings.

    Six terms, and random effects of seeds and of places by `fit_mixed`. Those of places are either
    independent or correlated by exp(-distance / `LENGTH`), for what a quadratic misses may vary
    smoothly with the shares. The slope comes from the base network: its mean loss less the mean of
    the surface over the networks, over the log of the target, both at the mean of the seeds.

    Args:
        data: At least seven places whose shares span a quadratic, and the base network.

    Raises:
        ValueError: The trainings cannot answer.
    """
    _check(data)
    seeds, columns = np.unique(data.seed, return_inverse=True)
    terms = scheffe(data.shares)
    _check_design(terms, data)
    slope = _slope(data)
    freedom = data.num_places - NUM_TERMS
    found = fit_mixed(
        terms[data.network],
        data.corrected(slope),
        data.place[data.network],
        columns,
        kernels(data.shares),
        freedom=freedom,
    )
    by_seed = dict(zip(seeds.tolist(), found.offsets.tolist(), strict=True))
    moved = data.base_loss - np.array([by_seed.get(int(seed), 0.0) for seed in data.base_seed])
    middle = terms.mean(axis=0)
    base_error = math.sqrt(found.residual_variance / len(data.base_loss))
    error = math.hypot(base_error, math.sqrt(float(middle @ found.covariance @ middle)))
    return Surface(
        observations=data,
        coefficients=found.estimates,
        covariance=found.covariance,
        seeds=seeds,
        offsets=found.offsets,
        slope=slope,
        slope_error=error / abs(math.log(data.target)),
        base_loss=float(moved.mean()),
        base_error=base_error,
        network_sd=found.effect_sd,
        residual_variance=found.residual_variance,
        effects=found.effects[data.place],
        freedom=freedom,
        searched=searched(data.shares),
    )


def kernels(shares: Points) -> tuple[Values, Values]:
    """Correlations of the effects of places, independent or smooth, (places, places) each."""
    firsts = shares[np.unique(places(shares), return_index=True)[1]]
    return np.eye(len(firsts)), np.exp(-distances(firsts, firsts) / LENGTH)


def searched(shares: Points) -> Points:
    """Shares of networks and the references within `NEAR` of one, (points, 3)."""
    references = as_points(list(REFERENCES.values()))
    return np.vstack([shares, references[distances(references, shares).min(axis=1) <= NEAR]])


@dataclass(frozen=True)
class FTest:
    """An F-test."""

    statistic: float
    numerator: int
    denominator: int
    p_value: float

    @classmethod
    def of(cls, statistic: float, numerator: int, denominator: int) -> "FTest":
        """Returns the test of a statistic."""
        p_value = float(stats.f.sf(statistic, numerator, denominator))
        return cls(statistic, numerator, denominator, p_value)

    @classmethod
    def of_contrasts(cls, contrasts: Values, covariance: Values, freedom: int) -> "FTest":
        """Returns the test that all contrasts are 0."""
        statistic = float(contrasts @ np.linalg.solve(covariance, contrasts)) / len(contrasts)
        return cls.of(statistic, len(contrasts), freedom)

    @property
    def is_significant(self) -> bool:
        """True if the p-value is below `LEVEL`."""
        return self.p_value < LEVEL


CONTRASTS = np.hstack(
    [np.vstack([np.eye(2), np.zeros((3, 2))]), np.zeros((5, 1)), np.eye(5)[:, 2:]]
)
CONTRASTS[:2, 2] = -1
"""The five contrasts that are zero where the surface is flat, (5, 6)."""


def flatness(surface: Surface) -> FTest:
    """Returns the F-test of a flat surface, on which all splits are equally good."""
    covariance = CONTRASTS @ surface.covariance @ CONTRASTS.T
    return FTest.of_contrasts(CONTRASTS @ surface.coefficients, covariance, surface.freedom)


def ordinary_fit(design: Values, response: Values) -> tuple[Values, float, int]:
    """Ordinary least squares: estimates, residual squares, rank of the design."""
    solved, _, rank, _ = np.linalg.lstsq(design, response, rcond=1e-9)
    estimates: Values = solved.astype(np.float64)
    left = response - design @ estimates
    return estimates, float(left @ left), int(rank)


def least_squares(
    design: Values, response: Values, network: Indices, variance_ratio: float
) -> tuple[Values, Values, float]:
    """Generalised least squares: estimates, their covariance over the scale, residual squares.

    For designs without losses: groups have effects of a known variance over the residual one.
    """
    counts = np.bincount(network)
    pull = (1 - 1 / np.sqrt(1 + counts * variance_ratio)) / np.maximum(counts, 1)
    rows = np.hstack([design, response[:, None]])
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, network, rows)
    white = rows - (pull[:, None] * sums)[network]
    basis, triangular = np.linalg.qr(white[:, :-1])
    projected = basis.T @ white[:, -1]
    estimates = np.linalg.solve(triangular, projected)
    inverse = np.linalg.inv(triangular)
    left = white[:, -1] - basis @ projected
    return estimates, inverse @ inverse.T, float(left @ left)


def is_singular(design: Values) -> bool:
    """True if a design does not determine its coefficients."""
    values = np.linalg.svd(design, compute_uv=False)
    return len(design) < design.shape[1] or bool(values[-1] < 1e-6 * values[0])


def _check(data: Observations) -> None:
    failed = f" ({data.num_failed} failed)" if data.num_failed else ""
    if data.num_places <= NUM_TERMS:
        raise ValueError(
            f"the surface must have networks with a finished training in {NUM_TERMS + 1} places or "
            f"more, got {data.num_places}{failed}; train more networks or raise "
            "candidates.max_networks"
        )
    if not len(data.base_loss):
        raise ValueError(
            f"the base network must have a finished training, got none{failed}; the gain "
            "of more compute is measured from it"
        )
    if not np.isfinite(data.shares).all():
        raise ValueError(
            "shares must be known for every network, got none for candidate "
            f"{data.candidates[~np.isfinite(data.shares).all(axis=1)][0]}; plan again"
        )
    hole, point = largest_hole(data.shares)
    if data.target < 1 and hole > LARGEST_HOLE:
        raise ValueError(
            f"smaller networks must leave no gap over {LARGEST_HOLE} in the triangle of shares, "
            f"got one of {hole:.2f} near depth {point.depth:.2f}, width {point.width:.2f}, "
            f"resolution {point.resolution:.2f}; a fit would be a guess there"
        )
    if np.ptp(data.loss) == 0:
        raise ValueError(
            f"{data.response} must differ between trainings, got {data.sign * data.loss[0]:g} in "
            f"all {len(data.loss)}; train longer, on more data"
        )


def _check_design(terms: Values, data: Observations) -> None:
    if is_singular(terms):
        raise ValueError(
            "shares must be spread over the triangle for a quadratic surface, got "
            f"{len(terms)} networks in too few places; use finer divisors, or a wider "
            "candidates.tolerance"
        )
    if len(data.loss) <= NUM_TERMS + 1:
        raise ValueError(
            f"trainings must outnumber the {NUM_TERMS} coefficients of a surface, got "
            f"{len(data.loss)}; train every network with seed 0"
        )


def _slope(data: Observations) -> float:
    """Solves base mean - surface mean = slope · log(target), where the slope moves both."""
    seeds, columns = np.unique(data.seed, return_inverse=True)
    terms, weights = scheffe(data.shares), np.bincount(columns) / len(columns)
    dummies = np.eye(len(seeds))[columns][:, 1:] - weights[1:]
    design = np.hstack([terms[data.network], dummies])
    logs = np.log(data.cost_ratio / data.target)[data.network]
    gaps = []
    for response, base in ((data.loss, data.base_loss), (logs, np.zeros_like(data.base_loss))):
        estimates, _, _ = ordinary_fit(design, response)
        by_seed = dict(zip(seeds, _offsets(estimates[NUM_TERMS:], weights), strict=True))
        moved = base - np.array([by_seed.get(seed, 0.0) for seed in data.base_seed])
        gaps.append(float(moved.mean() - (terms @ estimates[:NUM_TERMS]).mean()))
    return gaps[0] / (math.log(data.target) - gaps[1])


def _offsets(estimates: Values, weights: Values) -> Values:
    """Offsets of all seeds, their weighted mean zero, from those of all but the first."""
    raw = np.concatenate([[0.0], estimates])
    offsets: Values = raw - raw @ weights
    return offsets
