"""What a plan would find: against draws of it through the fit and the verdicts."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from scaling_search.answer.detectable import detectable, smallest_difference
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
    counts = [num_seeds] * len(shares())
    found = detectable(shares(), counts, seed_sd=seed_sd, network_sd=network_sd)
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
    assert detectable(shares()[:6], [3] * 6, seed_sd=0.0065) == []
    line = [Shares(a, 1 - a, 0.0) for a in np.linspace(0, 1, 12).tolist()]
    assert detectable(line, [3] * 12, seed_sd=0.0065) == []


def test_networks_of_one_place_are_one_witness() -> None:
    """A second network of each place tells as much as a second seed does, not another place."""
    places, number = shares(), len(shares())
    in_pairs = detectable([*places, *places], [1] * 2 * number, seed_sd=0.0065, network_sd=0.003)
    twice = detectable(places, [2] * number, seed_sd=0.0065, network_sd=0.003)
    # Pairs share their seed's offset, which cancels; beside that the trainings are as many.
    # Not to more digits than 200 simulated searches have.
    assert [pair.difference for pair in in_pairs] == pytest.approx(
        [pair.difference for pair in twice], rel=0.1
    )
    assert detectable(places[:6] * 2, [1] * 12, seed_sd=0.0065) == []


def test_a_second_seed_of_a_quarter_lies_between_none_and_all() -> None:
    number = len(shares())
    some = detectable(shares(), [2] * 8 + [1] * (number - 8), seed_sd=0.0065)
    for pair in some:
        name = " and ".join(pair.names)
        assert smallest(2)[name] < pair.difference < smallest(1)[name]


def test_two_networks_of_three_seeds_must_differ_by_as_much_as_the_known_figure() -> None:
    """At a seed's standard deviation of 0.0065: 0.020, as large as the whole spread of a search."""
    error = 0.0065 * math.sqrt(1 / 3 + 1 / 3)
    assert smallest_difference(error, 4) == pytest.approx(0.020, abs=0.0005)


@pytest.mark.parametrize("number", [3, 5, 20])
def test_it_is_that_of_statsmodels(number: int) -> None:
    known = TTestIndPower().solve_power(
        nobs1=number, alpha=0.05, power=0.8, alternative="two-sided"
    )
    found = smallest_difference(math.sqrt(2 / number), 2 * number - 2)
    assert found == pytest.approx(known, rel=1e-3)  # it counts findings of the wrong sign too


def test_draws_find_it_so_often() -> None:
    stream = np.random.default_rng(0)
    difference = smallest_difference(0.3, 9)
    errors = 0.3 * np.sqrt(stream.chisquare(9, 20_000) / 9)
    estimates = stream.normal(difference, 0.3, 20_000)
    found = (estimates / errors > stats.t.ppf(0.975, 9)).mean()
    assert found == pytest.approx(0.8, abs=0.01)  # three standard errors of 20,000 draws


def test_a_higher_threshold_needs_more() -> None:
    usual = smallest_difference(1.0, 20)
    assert smallest_difference(1.0, 20, threshold=3.5) > usual
    assert smallest_difference(2.0, 20) == pytest.approx(2 * usual)


def test_without_degrees_of_freedom_nothing_is_found() -> None:
    assert smallest_difference(1.0, 0) == math.inf
