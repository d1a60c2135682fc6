"""Variance components of a fitted surface, and tests of its fit."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from scaling_search.answer.fit import FTest, Surface, is_singular, kernels, ordinary_fit
from scaling_search.answer.mixed_model import fit_mixed
from scaling_search.answer.observations import Indices, Values
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import scheffe

FEWEST_NOISY = 12
"""Smallest number of networks with two seeds from which unequal noise is tested."""


@dataclass(frozen=True)
class Diagnosis:
    """Variance components of a fitted surface, and tests of its fit.

    Attributes:
        seed_sd: Standard deviation over seeds within a network, pooled; None while no network has
            two.
        shared_fraction: Part of the seed variance that all networks have in common; None where too
            few seeds overlap.
        network_sd: Standard deviation of networks around the surface.
        left_out_error: Root mean square error of a place's mean predicted from the other places;
            None where no place can be left out.
        lack_of_fit: Networks around the surface against trainings around their network; None
            without replicates.
        triple_product: Test of the product of all three shares; None where it cannot be fitted.
        uneven: Test of a seed noise that differs between networks; None where too few have two
            seeds.
    """

    seed_sd: float | None
    shared_fraction: float | None
    network_sd: float
    left_out_error: float | None
    lack_of_fit: FTest | None
    triple_product: FTest | None
    uneven: "UnevenNoise | None"

    @property
    def own_seed_sd(self) -> float | None:
        """The seed standard deviation without what all networks have in common."""
        if self.seed_sd is None:
            return None
        return self.seed_sd * math.sqrt(1 - (self.shared_fraction or 0.0))

    @property
    def misfits(self) -> bool:
        """True if a test shows that a quadratic surface does not fit."""
        tests = (self.lack_of_fit, self.triple_product)
        return any(test is not None and test.is_significant for test in tests)


def diagnose(surface: Surface) -> Diagnosis:
    """Returns the variance components and tests of a surface."""
    data = surface.observations
    corrected = surface.corrected()
    dummies = np.eye(len(surface.seeds))[np.searchsorted(surface.seeds, data.seed)]
    terms = scheffe(data.shares)[data.network]
    _, surface_squares, surface_rank = ordinary_fit(np.hstack([terms, dummies]), corrected)
    # A fit with a column for each network is one within networks: there can be thousands.
    within = _within(np.hstack([dummies, corrected[:, None]]), data.network)
    within_squares = float(within[:, -1] @ within[:, -1])
    _, error_squares, rank_within = ordinary_fit(within[:, :-1], within[:, -1])
    num_within = len(corrected) - len(data.candidates)
    error_rank, num_error = len(data.candidates) + rank_within, num_within - rank_within
    seed_variance = within_squares / num_within if num_within else None
    error = error_squares / num_error if num_error else None
    shared, lack = None, None
    if seed_variance and error is not None and len(surface.seeds) > 1:
        shared = max(0.0, 1 - error / seed_variance)
    if error and error_rank > surface_rank:
        numerator = error_rank - surface_rank
        missed = max(0.0, surface_squares - error_squares) / numerator
        lack = FTest.of(missed / error, numerator, num_error)
    return Diagnosis(
        seed_sd=None if seed_variance is None else math.sqrt(seed_variance),
        shared_fraction=shared,
        network_sd=surface.network_sd,
        left_out_error=_left_out_error(surface),
        lack_of_fit=lack,
        triple_product=_triple_product(surface),
        uneven=_uneven(surface),
    )


@dataclass(frozen=True)
class UnevenNoise:
    """Seed noise as a log-linear function of the shares.

    Attributes:
        test: F-test that it is the same everywhere.
        sds: Smallest and largest fitted standard deviation of a network.
        shares: Shares of these two networks.
    """

    test: FTest
    sds: tuple[float, float]
    shares: tuple[Shares, Shares]


def _uneven(surface: Surface) -> UnevenNoise | None:
    """Regression of the log of each network's variance on its shares, weighted.

    Source: Bartlett & Kendall 1946: the log of a variance with f degrees of freedom has the
    variance trigamma(f / 2) and a bias of digamma(f / 2) - log(f / 2).
    """
    data = surface.observations
    moved = surface.corrected() - surface.offsets[np.searchsorted(surface.seeds, data.seed)]
    centred = _within(moved[:, None], data.network)[:, 0]
    freedom = data.counts - 1
    squares = np.bincount(data.network, weights=centred**2)
    has_noise = (freedom > 0) & (squares > (1e-9 * np.abs(data.loss).max()) ** 2)
    half, shares = freedom[has_noise] / 2, data.shares[has_noise]
    if len(half) < FEWEST_NOISY or is_singular(shares):
        return None
    logs = np.log(squares[has_noise] / (2 * half)) - special.digamma(half) + np.log(half)
    roots = 1 / np.sqrt(special.polygamma(1, half))
    terms = roots[:, None] * shares
    estimates, whole, _ = ordinary_fit(terms, roots * logs)
    _, reduced, _ = ordinary_fit(roots[:, None], roots * logs)
    # The variance of the logs is known, and noise with heavy tails has more.
    error = max(1.0, whole / (len(half) - 3))
    fitted = np.exp(shares @ estimates / 2)
    ends = [int(fitted.argmin()), int(fitted.argmax())]
    return UnevenNoise(
        FTest.of((reduced - whole) / 2 / error, 2, len(half) - 3),
        (float(fitted[ends[0]]), float(fitted[ends[1]])),
        (Shares(*shares[ends[0]].tolist()), Shares(*shares[ends[1]].tolist())),
    )


def _within(columns: Values, network: Indices) -> Values:
    """Columns less their means within each network, (trainings, columns)."""
    sums = np.zeros((network.max() + 1, columns.shape[1]))
    np.add.at(sums, network, columns)
    centred: Values = columns - (sums / np.bincount(network)[:, None])[network]
    return centred


def _left_out_error(surface: Surface) -> float | None:
    """Seed offsets stay those of all trainings; each mean is predicted without its own place."""
    data = surface.observations
    place = data.place[data.network]
    counts = np.bincount(place)
    moved = surface.corrected() - surface.offsets[np.searchsorted(surface.seeds, data.seed)]
    rows = np.column_stack([scheffe(data.shares)[data.network], moved])
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, place, rows)
    roots = 1 / np.sqrt(surface.variance_ratio + 1 / counts)
    weighted = sums / counts[:, None] * roots[:, None]
    basis = np.linalg.qr(weighted[:, :-1])[0]
    spared = 1 - (basis**2).sum(axis=1)
    can_go = spared > 1e-9
    if not can_go.any():
        return None
    left = weighted[:, -1] - basis @ (basis.T @ weighted[:, -1])
    return float(np.sqrt(np.mean((left[can_go] / spared[can_go] / roots[can_go]) ** 2)))


def _triple_product(surface: Surface) -> FTest | None:
    data = surface.observations
    if surface.freedom < 2:
        return None
    product = data.shares.prod(axis=1)
    terms = np.hstack([scheffe(data.shares), product[:, None]])
    scaled = terms / np.linalg.norm(terms, axis=0).clip(1e-12)
    if len(terms) <= terms.shape[1] or is_singular(scaled):
        return None
    freedom, place = surface.freedom - 1, data.place[data.network]
    seed = np.searchsorted(surface.seeds, data.seed)
    design, response = terms[data.network], surface.corrected()
    found = fit_mixed(design, response, place, seed, kernels(data.shares), freedom=freedom)
    error = float(found.covariance[-1, -1])
    return FTest.of(float(found.estimates[-1] ** 2 / error), 1, freedom)
