"""What a plan would find: against draws of it through the fit and the verdicts."""

import numpy as np
import pytest

from scaling_search.answer.detectable import detectable
from scaling_search.answer.fit import fit_surface
from scaling_search.answer.region import thresholds
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import as_points, scheffe
from tests.surfaces import Luck, Truth, plan_shares, trainings

THIRDS = as_points([REFERENCES["thirds"]])
RESOLUTION = as_points([REFERENCES["resolution"]])


def shares() -> list[Shares]:
    return [Shares(*point) for point in plan_shares().tolist()]


def leading(difference: float) -> Truth:
    """A slope at whose lower end, resolution alone, the loss is so much less than at thirds."""
    return lambda points: 0.4 + difference * 1.5 * (1 - points[:, 2])


def found_by(difference: float, num_seeds: int) -> float:
    """How often resolution alone is told to be better than thirds, all rivals considered."""
    terms = (scheffe(THIRDS) - scheffe(RESOLUTION))[0]
    luck = Luck(seed_sd=0.0065, shared=0.0)
    num_found = 0
    for draw in range(120):
        data = trainings(plan_shares(), leading(difference), luck, num_seeds=num_seeds, seed=draw)
        surface = fit_surface(data)
        error = np.sqrt(terms @ surface.covariance @ terms)
        limits = thresholds(surface, np.vstack([THIRDS, RESOLUTION]))
        num_found += terms @ surface.coefficients / error > limits.max()
    return num_found / 120


def smallest(num_seeds: int, seed_sd: float = 0.0065, network_sd: float = 0.0) -> dict[str, float]:
    found = detectable(shares(), num_seeds, seed_sd=seed_sd, network_sd=network_sd)
    return {" and ".join(pair.names): pair.difference for pair in found}


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_so_large_a_difference_is_told_in_four_of_five_searches(num_seeds: int) -> None:
    difference = smallest(num_seeds)["resolution and thirds"]
    slope = leading(difference)
    assert float((slope(THIRDS) - slope(RESOLUTION))[0]) == pytest.approx(difference)
    # Three standard errors of 120 draws.
    assert found_by(difference, num_seeds) == pytest.approx(0.8, abs=0.11)
    assert found_by(difference / 2, num_seeds) < 0.5


def test_more_seeds_less_luck_and_networks_on_the_surface_find_less() -> None:
    usual = smallest(3)
    assert list(usual.values()) == sorted(usual.values())
    for pair, difference in usual.items():
        assert difference < smallest(1)[pair]
        assert smallest(3, seed_sd=0.013)[pair] == pytest.approx(2 * difference, rel=1e-3)
        assert smallest(3, network_sd=0.006)[pair] > difference


def test_networks_that_determine_no_surface_find_nothing() -> None:
    assert detectable(shares()[:6], 3, seed_sd=0.0065) == []
    line = [Shares(a, 1 - a, 0.0) for a in np.linspace(0, 1, 12).tolist()]
    assert detectable(line, 3, seed_sd=0.0065) == []
