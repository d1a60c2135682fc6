"""The smallest difference found: against known figures and against draws."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from scaling_search.answer.power import smallest_difference


def test_two_networks_of_three_seeds_must_differ_by_as_much_as_the_known_figure() -> None:
    """At a seed's standard deviation of 0.0065: 0.020, as large as the whole spread of a search."""
    error = 0.0065 * math.sqrt(1 / 3 + 1 / 3)
    assert smallest_difference(error, 4) == pytest.approx(0.020, abs=0.0005)


@pytest.mark.parametrize(("number", "probability"), [(3, 0.8), (5, 0.9), (20, 0.8), (20, 0.5)])
def test_it_is_that_of_statsmodels(number: int, probability: float) -> None:
    known = TTestIndPower().solve_power(
        nobs1=number, alpha=0.05, power=probability, alternative="two-sided"
    )
    found = smallest_difference(math.sqrt(2 / number), 2 * number - 2, probability=probability)
    assert found == pytest.approx(known, rel=1e-3)  # it counts findings of the wrong sign too


def test_draws_find_it_so_often() -> None:
    stream = np.random.default_rng(0)
    difference = smallest_difference(0.3, 9)
    errors = 0.3 * np.sqrt(stream.chisquare(9, 20_000) / 9)
    estimates = stream.normal(difference, 0.3, 20_000)
    found = (estimates / errors > stats.t.ppf(0.975, 9)).mean()
    assert found == pytest.approx(0.8, abs=0.01)  # three standard errors of 20,000 draws


def test_a_higher_threshold_and_a_higher_probability_need_more() -> None:
    usual = smallest_difference(1.0, 20)
    assert smallest_difference(1.0, 20, threshold=3.5) > usual
    assert smallest_difference(1.0, 20, probability=0.9) > usual
    assert smallest_difference(2.0, 20) == pytest.approx(2 * usual)


def test_without_degrees_of_freedom_nothing_is_found() -> None:
    assert smallest_difference(1.0, 0) == math.inf


@pytest.mark.parametrize("probability", [0.0, 0.05, 1.0, 80.0])
def test_a_probability_is_a_fraction(probability: float) -> None:
    with pytest.raises(ValueError, match="probability must lie between"):
        smallest_difference(1.0, 5, probability=probability)
