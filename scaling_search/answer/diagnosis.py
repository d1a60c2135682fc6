"""Variance components of a fitted surface, and tests of its fit."""

import math
from dataclasses import dataclass

import numpy as np

from scaling_search.answer.fit import FTest, Surface, is_singular, least_squares, ordinary_fit
from scaling_search.answer.observations import Indices, Values
from scaling_search.core.space_filling import scheffe


@dataclass(frozen=True)
class Diagnosis:
    """Variance components of a fitted surface, and tests of its fit.

    Attributes:
        seed_sd: Standard deviation over seeds within a network, pooled; None while no network has
            two.
        shared_fraction: Part of the seed variance that all networks have in common; None where too
            few seeds overlap.
        network_sd: Standard deviation of networks around the surface.
        left_out_error: Root mean square error of a network's mean predicted from the other
            networks; None where no network can be left out.
        lack_of_fit: Networks around the surface against trainings around their network; None
            without replicates.
        triple_product: Test of the product of all three shares; None where it cannot be fitted.
    """

    seed_sd: float | None
    shared_fraction: float | None
    network_sd: float
    left_out_error: float | None
    lack_of_fit: FTest | None
    triple_product: FTest | None

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
    )


def _within(columns: Values, network: Indices) -> Values:
    """Columns less their means within each network, (trainings, columns)."""
    sums = np.zeros((network.max() + 1, columns.shape[1]))
    np.add.at(sums, network, columns)
    centred: Values = columns - (sums / np.bincount(network)[:, None])[network]
    return centred


def _left_out_error(surface: Surface) -> float | None:
    """Seed offsets stay those of all networks; each mean is predicted without its own network."""
    data = surface.observations
    moved = surface.corrected() - surface.offsets[np.searchsorted(surface.seeds, data.seed)]
    means = np.bincount(data.network, weights=moved) / data.counts
    roots = 1 / np.sqrt(surface.variance_ratio + 1 / data.counts)
    basis = np.linalg.qr(scheffe(data.shares) * roots[:, None])[0]
    weighted = means * roots
    spared = 1 - (basis**2).sum(axis=1)
    can_go = spared > 1e-9
    if not can_go.any():
        return None
    missed = (weighted - basis @ (basis.T @ weighted))[can_go] / spared[can_go] / roots[can_go]
    return float(np.sqrt(np.mean(missed**2)))


def _triple_product(surface: Surface) -> FTest | None:
    data = surface.observations
    if surface.freedom < 2:
        return None
    dummies = np.eye(len(surface.seeds))[np.searchsorted(surface.seeds, data.seed)][:, 1:]
    product = data.shares.prod(axis=1)[data.network]
    design = np.hstack([scheffe(data.shares)[data.network], dummies, product[:, None]])
    freedom = len(design) - design.shape[1]
    if freedom < 1 or is_singular(design / np.linalg.norm(design, axis=0).clip(1e-12)):
        return None
    fitted, unscaled, squares = least_squares(
        design, surface.corrected(), data.network, surface.variance_ratio
    )
    error = unscaled[-1, -1] * squares / freedom
    return FTest.of(float(fitted[-1] ** 2 / error), 1, surface.freedom - 1) if error else None
