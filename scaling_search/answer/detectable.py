"""How small a difference between two splits a plan would find, before anything is trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from scaling_search.answer.design import Design
from scaling_search.answer.fit import NUM_TERMS, is_singular
from scaling_search.answer.power import smallest_difference
from scaling_search.answer.region import design_thresholds
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import as_points, scheffe


@dataclass(frozen=True)
class Detectable:
    """What a plan finds of a pair of references.

    Attributes:
        names: Of both.
        difference: The smallest true difference of the objective that is found with probability
            0.8, as the verdict "better" finds it: simultaneously over all rivals.
    """

    names: tuple[str, str]
    difference: float


def detectable(
    shares: Sequence[Shares], num_seeds: int, *, seed_sd: float, network_sd: float = 0.0
) -> list[Detectable]:
    """The smallest difference of each pair of references that is found, smallest first.

    Args:
        shares: Of the networks that would be trained.
        num_seeds: Of each.
        seed_sd: Standard deviation of the objective over seeds, what all networks share left out.
        network_sd: Standard deviation of networks around the surface.

    Returns:
        Nothing where the networks do not determine a quadratic surface and its error.
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
