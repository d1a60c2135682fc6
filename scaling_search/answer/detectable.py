"""The smallest difference that trainings detect, before anything is trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import optimize, stats

from scaling_search.answer.design import Design
from scaling_search.answer.fit import LEVEL, NUM_TERMS, is_singular
from scaling_search.answer.region import design_thresholds
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import as_points, scheffe

POWER = 0.8
"""Probability with which a difference is detected."""


def smallest_difference(
    standard_error: float, freedom: int, threshold: float | None = None
) -> float:
    """Smallest true difference that is detected, with its sign, with probability `POWER`.

    The estimate over its standard error follows a noncentral t.

    Source: Cohen 1988, Section 2.4, with the noncentral t instead of its tables.

    Args:
        standard_error: Standard error of the difference, above 0.
        freedom: Degrees of freedom of the standard error.
        threshold: Critical value in standard errors; None for that of a two-sided t-test.

    Returns:
        In the unit of the standard error; infinite without degrees of freedom.
    """
    if freedom < 1:
        return math.inf
    limit = float(stats.t.ppf(1 - LEVEL / 2, freedom)) if threshold is None else threshold

    def excess(shift: float) -> float:
        return float(stats.nct.sf(limit, freedom, shift)) - POWER

    largest = 2 * limit + 4
    while excess(largest) < 0:
        largest *= 2
    return standard_error * float(optimize.brentq(excess, 0.0, largest, xtol=1e-6))


@dataclass(frozen=True)
class Detectable:
    """Smallest detectable difference of a pair of references, in units of the objective."""

    names: tuple[str, str]
    difference: float


def detectable(
    shares: Sequence[Shares], num_seeds: int, *, seed_sd: float, network_sd: float = 0.0
) -> list[Detectable]:
    """Smallest difference between each two references that the verdict "better" finds.

    Args:
        shares: Shares of the planned networks.
        num_seeds: Number of seeds of each network.
        seed_sd: Standard deviation of the objective over seeds, without what networks share.
        network_sd: Standard deviation of networks around the surface.

    Returns:
        Ascending; empty where the networks do not determine a quadratic surface and its error.
    """
    networks = as_points(list(shares))
    freedom = len(networks) - NUM_TERMS
    if freedom < 1 or is_singular(scheffe(networks)):
        return []
    design = Design(
        shares=networks,
        network=np.tile(np.arange(len(networks)), num_seeds),
        seed=np.repeat(np.arange(num_seeds), len(networks)),
        variance_ratio=(network_sd / seed_sd) ** 2,
    )
    covariance = seed_sd**2 * design.covariance[:NUM_TERMS, :NUM_TERMS]
    points = as_points(list(REFERENCES.values()))
    limits = design_thresholds(covariance, freedom, networks, points)
    terms = scheffe(points)
    found = []
    for (i, one), (j, other) in combinations(enumerate(REFERENCES), 2):
        contrast = terms[i] - terms[j]
        error = math.sqrt(float(contrast @ covariance @ contrast))
        threshold = float(max(limits[i], limits[j]))
        found.append(Detectable((one, other), smallest_difference(error, freedom, threshold)))
    return sorted(found, key=lambda pair: pair.difference)
