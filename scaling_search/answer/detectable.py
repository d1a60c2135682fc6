"""The smallest difference that trainings detect, before anything is trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import optimize, stats

from scaling_search.answer.fit import LEVEL, NUM_TERMS, is_singular, kernels, searched
from scaling_search.answer.mixed_model import fit_mixed
from scaling_search.answer.region import simultaneous_threshold
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import as_points, places, scheffe

FEWEST_PLACES = 12
"""Fewest places whose trainings carry an answer: with fewer its errors are themselves unknown."""

NUM_SEARCHES = 200
"""Simulated searches; their luck is always the same."""

USUAL_SCATTER = 0.4
"""Standard deviation of networks around the surface over that of a seed, while neither is known:
0.39 in the recorded search of Fashion-MNIST, November 2026."""

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
    shares: Sequence[Shares],
    num_seeds: Sequence[int],
    *,
    seed_sd: float,
    network_sd: float = 0.0,
) -> list[Detectable]:
    """Smallest difference between each two references that the verdict "better" finds.

    With probability `POWER`, by simulated searches without any difference, each
    fitted as a search is: the difference that its luck would leave to be told.

    Args:
        shares: Shares of the planned networks.
        num_seeds: Number of seeds of each of them.
        seed_sd: Standard deviation of the objective over seeds, without what networks share.
        network_sd: Standard deviation of places around the surface.

    Returns:
        Ascending; empty where the places do not determine a quadratic surface and its error.
    """
    networks, counts = as_points(list(shares)), np.array(num_seeds)
    terms, place = scheffe(networks), places(networks)
    freedom = len(np.unique(place)) - NUM_TERMS
    if freedom < 1 or is_singular(terms):
        return []
    network = np.repeat(np.arange(len(networks)), counts)
    seed = np.concatenate([np.arange(count) for count in counts])
    stream, shapes = np.random.default_rng(0), kernels(networks)
    fits = []
    for _ in range(NUM_SEARCHES):
        effects = network_sd * stream.standard_normal(place.max() + 1)[place]
        losses = effects[network] + seed_sd * stream.standard_normal(len(network))
        fits.append(
            fit_mixed(terms[network], losses, place[network], seed, shapes, freedom=freedom)
        )
    references = as_points(list(REFERENCES.values()))
    usual = np.median([fit.covariance for fit in fits], axis=0)
    limit = simultaneous_threshold(usual, freedom, searched(networks), references)
    found = []
    for (one, first), (other, second) in combinations(zip(REFERENCES, references, strict=True), 2):
        contrast = (scheffe(first[None]) - scheffe(second[None]))[0]
        errors = np.sqrt([contrast @ fit.covariance @ contrast for fit in fits])
        missed = limit * errors - np.array([contrast @ fit.estimates for fit in fits])
        found.append(Detectable((one, other), float(np.quantile(missed, POWER))))
    return sorted(found, key=lambda pair: pair.difference)
