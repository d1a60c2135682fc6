"""The loss as a quadratic surface over shares: a mixed model with seeds and networks."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scaling_search.answer.observations import Indices, Observations, Values
from scaling_search.core.space_filling import LARGEST_HOLE, Points, largest_hole, scheffe

LEVEL = 0.05
"""Level of all tests; intervals have 1 - level."""

NUM_TERMS = 6
"""Number of coefficients of the surface."""

RATIOS = np.concatenate([[0.0], np.geomspace(1e-4, 1e6, 31)])
"""Variance ratios of the first search for the best one."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A fitted surface: the loss at exactly the target's cost, averaged over the seeds used.

    Attributes:
        observations: The trainings.
        coefficients: Coefficients of the six terms of `scheffe`, (6,).
        covariance: Covariance of the coefficients, (6, 6).
        seeds: Seeds, ascending.
        offsets: Effect of each seed on the loss of all networks; the mean over trainings is 0.
        slope: Decrease of the loss when the cost grows e-fold.
        variance_ratio: Variance of the network effect over `residual_variance`.
        residual_variance: Residual variance of a training, after seed and network.
        freedom: Degrees of freedom of every interval and test: networks less coefficients, because
            trainings of one network are not independent observations of the surface.
        searched: Points whose convex hull was searched, (points, 3).
    """

    observations: Observations
    coefficients: Values
    covariance: Values
    seeds: Indices
    offsets: Values
    slope: float
    variance_ratio: float
    residual_variance: float
    freedom: int
    searched: Points

    @property
    def network_sd(self) -> float:
        """Standard deviation of networks around the surface."""
        return math.sqrt(self.variance_ratio * self.residual_variance)

    def corrected(self) -> Values:
        """Losses corrected to exactly the target's cost, (trainings,)."""
        return self.observations.corrected(self.slope)

    def loss(self, points: Points) -> Values:
        """The fitted loss at the target's cost, (points,)."""
        fitted: Values = scheffe(points) @ self.coefficients
        return fitted

    def standard_error(self, points: Points) -> Values:
        """Standard error of the fitted loss, (points,)."""
        terms = scheffe(points)
        errors: Values = np.sqrt(np.einsum("ij,jk,ik->i", terms, self.covariance, terms))
        return errors


def fit_surface(data: Observations, *, variance_ratio: float | None = None) -> Surface:
    """Fits the surface to trainings.

    Generalised least squares of the six terms and of an offset for each seed, with a random effect
    of each network. The slope comes from the base network: its mean loss less the mean of the
    surface over the networks, over the log of the target, both at the mean of the seeds. Slope and
    variance ratio depend on each other a little: the slope is solved for at a ratio of 0, then at
    the ratio of restricted maximum likelihood, and held.

    Args:
        data: At least seven networks whose shares span a quadratic, and the base network.
        variance_ratio: Variance of the network effect over the residual one; None to estimate it.

    Raises:
        ValueError: The trainings cannot answer.
    """
    _check(data)
    seeds, columns = np.unique(data.seed, return_inverse=True)
    weights = np.bincount(columns) / len(columns)
    dummies = np.eye(len(seeds))[columns][:, 1:]
    design = np.hstack([scheffe(data.shares)[data.network], dummies - weights[1:]])
    _check_design(scheffe(data.shares), design)
    logs = np.log(data.cost_ratio / data.target)[data.network]
    ratio = variance_ratio or 0.0
    for _ in range(2):
        slope = _slope(data, design, logs, ratio)
        corrected = data.loss + slope * logs
        if variance_ratio is None:
            ratio = restricted_ratio(design, corrected, data.network)
    estimates, unscaled, squares = least_squares(design, corrected, data.network, ratio)
    variance = residual_variance(squares, design, corrected)
    return Surface(
        observations=data,
        coefficients=estimates[:NUM_TERMS],
        covariance=variance * unscaled[:NUM_TERMS, :NUM_TERMS],
        seeds=seeds,
        offsets=_offsets(estimates[NUM_TERMS:], weights),
        slope=slope,
        variance_ratio=ratio,
        residual_variance=variance,
        freedom=len(data.candidates) - NUM_TERMS,
        searched=data.shares,
    )


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


def residual_variance(squares: float, design: Values, response: Values) -> float:
    """Returns the residual variance of a fit with these residual squares."""
    # Rounding leaves this much of a surface without noise; less would be read as certainty.
    smallest = (16 * np.finfo(float).eps * float(np.abs(response).max())) ** 2
    return float(max(squares / (len(design) - design.shape[1]), smallest))


def ordinary_fit(design: Values, response: Values) -> tuple[Values, float, int]:
    """Ordinary least squares: estimates, residual squares, rank of the design."""
    solved, _, rank, _ = np.linalg.lstsq(design, response, rcond=1e-9)
    estimates: Values = solved.astype(np.float64)
    left = response - design @ estimates
    return estimates, float(left @ left), int(rank)


def least_squares(
    design: Values, response: Values, network: Indices, variance_ratio: float
) -> tuple[Values, Values, float]:
    """Generalised least squares: estimates, their covariance over the scale, residual squares."""
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
    num_networks = len(data.candidates)
    failed = f" ({data.num_failed} failed)" if data.num_failed else ""
    if num_networks <= NUM_TERMS:
        raise ValueError(
            f"the surface must have {NUM_TERMS + 1} networks or more with a finished training, "
            f"got {num_networks}{failed}; train more networks or raise candidates.max_networks"
        )
    if not len(data.base_loss):
        raise ValueError(
            f"the base network must have a finished training, got none{failed}; its mean loss "
            "says what compute is worth"
        )
    if not np.isfinite(data.shares).all():
        raise ValueError(
            "shares must be known for every network, got none for candidate "
            f"{data.candidates[~np.isfinite(data.shares).all(axis=1)][0]}; write the plan anew"
        )
    hole, point = largest_hole(data.shares)
    if data.target < 1 and hole > LARGEST_HOLE:
        raise ValueError(
            f"smaller networks must leave no hole over {LARGEST_HOLE} in the triangle of shares, "
            f"got one of {hole:.2f} around depth {point.depth:.2f}, width {point.width:.2f}, "
            f"resolution {point.resolution:.2f}; there a surface and its region would be guesses"
        )
    if np.ptp(data.loss) == 0:
        raise ValueError(
            f"{data.response} must differ between trainings, got {data.sign * data.loss[0]:g} in "
            f"all {len(data.loss)}; train longer, on more data"
        )


def _check_design(terms: Values, design: Values) -> None:
    if is_singular(terms):
        raise ValueError(
            "shares must be spread over the triangle for a quadratic surface, got "
            f"{len(terms)} networks in too few places; take finer divisors, or a wider "
            "candidates.tolerance"
        )
    if is_singular(design) or len(design) == design.shape[1]:
        raise ValueError(
            f"trainings must outnumber the {design.shape[1]} coefficients of surface and seeds, "
            f"got {len(design)} that tell too few of them apart; train every network with seed 0"
        )


def _slope(data: Observations, design: Values, logs: Values, variance_ratio: float) -> float:
    """Solves base mean - surface mean = slope · log(target), where the slope moves both."""
    seeds, counts = np.unique(data.seed, return_counts=True)
    terms = scheffe(data.shares)
    gaps = []
    for response, base in ((data.loss, data.base_loss), (logs, np.zeros_like(data.base_loss))):
        estimates, _, _ = least_squares(design, response, data.network, variance_ratio)
        offsets = _offsets(estimates[NUM_TERMS:], counts / counts.sum())
        by_seed = dict(zip(seeds, offsets, strict=True))
        moved = base - np.array([by_seed.get(seed, 0.0) for seed in data.base_seed])
        gaps.append(float(moved.mean() - (terms @ estimates[:NUM_TERMS]).mean()))
    return gaps[0] / (math.log(data.target) - gaps[1])


def _offsets(estimates: Values, weights: Values) -> Values:
    """Offsets of all seeds, their weighted mean zero, from those of all but the first."""
    raw = np.concatenate([[0.0], estimates])
    offsets: Values = raw - raw @ weights
    return offsets


def restricted_ratio(design: Values, response: Values, network: Indices) -> float:
    """Ratio of network to residual variance by restricted maximum likelihood.

    0 while no network has two trainings, and where there is no residual.
    """
    counts = np.bincount(network)
    if counts.max() < 2:
        return 0.0
    basis = np.linalg.qr(design)[0]
    residual = response - basis @ (basis.T @ response)
    scale = math.sqrt(float(residual @ residual))
    if scale < 1e-12 * float(np.abs(response).max()):
        return 0.0
    rows = np.hstack([basis, residual[:, None] / scale])
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, network, rows)
    products = (sums[:, :, None] * sums[:, None, :]).reshape(len(counts), -1)
    freedom = len(design) - design.shape[1]

    def criterion(ratios: Values) -> Values:
        """Minus twice the profiled restricted log likelihood, up to a constant."""
        grown = 1 + counts * ratios[:, None]
        pulled = (ratios[:, None] / grown) @ products
        information = rows.T @ rows - pulled.reshape(-1, rows.shape[1], rows.shape[1])
        whole = np.linalg.slogdet(information)[1]
        fixed = np.linalg.slogdet(information[:, :-1, :-1])[1]
        profile: Values = freedom * (whole - fixed) + np.log(grown).sum(axis=1) + fixed
        return profile

    ratios = RATIOS
    for _ in range(4):
        best = int(criterion(ratios).argmin())
        if ratios[best] == 0:
            return 0.0
        low = max(ratios[best - 1], ratios[best] / 10)
        ratios = np.geomspace(low, ratios[min(best + 1, len(ratios) - 1)], 13)
    return float(ratios[int(criterion(ratios).argmin())])
