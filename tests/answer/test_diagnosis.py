"""What the residuals of a surface say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special
from statsmodels.regression.linear_model import OLS

from scaling_search.answer.diagnosis import diagnose
from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import Observations, Values
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.space_filling import Points, scheffe
from scaling_search.record.results import noise
from tests.surfaces import (
    Luck,
    Truth,
    around,
    fitted,
    results_of,
    spread_points,
    subset,
    trainings,
)

TRUTH = around(0.3, 0.4)


def means(luck: Luck, *, truth: Truth = TRUTH) -> dict[str, float]:
    """Means of what is estimated over 60 searches."""
    found = [diagnose(fitted(truth, luck, seed=seed)) for seed in range(60)]
    names = ("seed_sd", "shared_fraction", "network_sd", "left_out_error")
    return {name: float(np.mean([getattr(d, name) for d in found])) for name in names}


@pytest.mark.slow
def test_each_kind_of_luck_is_measured() -> None:
    got = means(Luck(seed_sd=0.006, shared=0.0, network_sd=0.006))
    assert got["seed_sd"] == pytest.approx(0.006, rel=0.05)
    assert got["shared_fraction"] < 0.05
    assert got["network_sd"] == pytest.approx(0.006, rel=0.1)
    # A mean of three and its network: sqrt(0.006²/3 + 0.006²), and the surface's own error.
    assert 0.0069 < got["left_out_error"] < 0.0085


@pytest.mark.slow
def test_what_networks_share_of_a_seed_is_measured() -> None:
    shares = spread_points(30)
    luck = Luck(seed_sd=0.006, shared=0.6)
    # Many seeds, since the shared part is estimated from the seeds alone.
    data = trainings(shares, TRUTH, luck, num_seeds=100)
    found = diagnose(fit_surface(data))
    assert found.shared_fraction == pytest.approx(0.6, abs=0.1)
    assert found.seed_sd == pytest.approx(0.006, rel=0.1)


def test_seed_sd_is_that_of_the_results_table() -> None:
    data = trainings(spread_points(12), TRUTH, Luck(seed_sd=0.006))
    found, other = diagnose(fit_surface(data)), noise(results_of(data), VAL_LOSS)
    assert other.seed_sd is not None
    assert found.seed_sd == pytest.approx(other.seed_sd, rel=1e-9)


def test_one_seed_says_nothing_about_seeds() -> None:
    found = diagnose(fitted(TRUTH, Luck(0.006), num_seeds=1))
    assert found.seed_sd is None
    assert found.shared_fraction is None
    assert (found.lack_of_fit, found.uneven) == (None, None)
    assert found.left_out_error is not None


def test_left_out_error_is_that_of_fits_without_each_network() -> None:
    data = trainings(spread_points(12), TRUTH, Luck(0.006), num_seeds=1)
    surface = fit_surface(data)
    corrected = surface.corrected()
    missed = []
    for i in range(12):
        others = np.arange(12) != i
        fit = OLS(corrected[others], scheffe(data.shares[others])).fit()
        missed.append(float(corrected[i] - fit.predict(scheffe(data.shares[[i]]))[0]))
    assert diagnose(surface).left_out_error == pytest.approx(np.sqrt(np.mean(np.square(missed))))


def bumpy(height: float) -> Truth:
    def truth(points: Points) -> Values:
        bumps: Values = TRUTH(points) + height * points.prod(axis=1)
        return bumps

    return truth


def test_lack_of_fit_is_that_of_nested_regressions() -> None:
    data = trainings(spread_points(12), bumpy(0.5), Luck(0.003))
    surface = fit_surface(data)
    dummies = np.eye(3)[data.seed][:, 1:]
    terms = scheffe(data.shares)[data.network]
    networks = np.eye(12)[data.network]
    large = OLS(surface.corrected(), np.hstack([networks, dummies])).fit()
    small = OLS(surface.corrected(), np.hstack([terms, dummies])).fit()
    statistic, p_value, numerator = large.compare_f_test(small)
    found = diagnose(surface).lack_of_fit
    assert found is not None
    assert found.statistic == pytest.approx(statistic, rel=1e-8)
    assert found.p_value == pytest.approx(p_value, rel=1e-6)
    assert (found.numerator, found.denominator) == (numerator, large.df_resid) == (6, 22)


@pytest.mark.slow
def test_misfit_is_seen_where_it_is_and_rarely_elsewhere() -> None:
    wrong = diagnose(fitted(bumpy(2.0), Luck(0.003)))
    assert wrong.lack_of_fit is not None
    assert wrong.triple_product is not None
    assert wrong.lack_of_fit.p_value < 0.001
    assert wrong.triple_product.p_value < 0.001
    right = [diagnose(fitted(TRUTH, Luck(0.003), seed=seed)) for seed in range(100)]
    for name in ("lack_of_fit", "triple_product"):
        # Five of a hundred are expected; 12 or more would come once in 230 times.
        assert sum(getattr(found, name).p_value < 0.05 for found in right) < 12


def test_the_product_is_tested_nearly_as_another_regression_does() -> None:
    """Averaging over variances changes little where they are well known: 40 networks, 3 seeds."""
    data = trainings(spread_points(40), bumpy(0.3), Luck(0.003, shared=0.0))
    surface = fit_surface(data)
    product = data.shares.prod(axis=1, keepdims=True)
    terms = np.hstack([scheffe(data.shares), product])
    means = np.bincount(data.network, weights=surface.corrected()) / 3
    other = OLS(means, terms).fit()
    found = diagnose(surface).triple_product
    assert found is not None
    assert found.statistic == pytest.approx(other.tvalues[-1] ** 2, rel=0.25)
    assert (found.numerator, found.denominator) == (1, other.df_resid) == (1, 33)


def test_what_cannot_be_tested_is_left_out() -> None:
    seven = diagnose(fit_surface(trainings(spread_points(7), TRUTH, Luck(0.01), num_seeds=2)))
    assert seven.triple_product is None
    edges = spread_points(40)
    edges = edges[edges.min(axis=1) < 0.02]
    edges = edges - edges.min(axis=1, keepdims=True)
    edges = edges / edges.sum(axis=1, keepdims=True)
    on_edges = diagnose(fit_surface(trainings(edges, TRUTH, Luck(0.01))))
    assert on_edges.triple_product is None
    assert on_edges.lack_of_fit is not None


def test_seeds_that_never_overlap_share_nothing_that_could_be_measured() -> None:
    data = trainings(spread_points(20), TRUTH, Luck(0.01), num_seeds=2)
    # Seed 1 of one network alone.
    lone = subset(data, np.flatnonzero((data.seed == 0) | (data.network == 3)))
    found = diagnose(fit_surface(lone))
    assert found.seed_sd is not None
    assert found.shared_fraction is None
    assert found.lack_of_fit is None
    swapped = replace(lone, loss=lone.loss[::-1])
    assert diagnose(fit_surface(swapped)).left_out_error is not None


def uneven(loud: float, *, number: int = 30, num_seeds: int = 2, seed: int = 0) -> Observations:
    """Trainings whose seed noise is this much larger at resolution alone than without any."""
    data = trainings(spread_points(number), TRUTH, Luck(), num_seeds=num_seeds)
    sds = 0.003 * loud ** data.shares[data.network, 2]
    noise = np.random.default_rng(seed).normal(0, 1, len(data.loss)) * sds
    return replace(data, loss=data.loss + noise)


def test_noise_that_differs_between_networks_is_seen_and_rarely_elsewhere() -> None:
    found = diagnose(fit_surface(uneven(8.0, num_seeds=3))).uneven
    assert found is not None
    assert found.test.p_value < 0.001
    (calm, loud), (low, high) = found.shares, found.sds
    assert calm.resolution < 0.1
    assert loud.resolution > 0.9
    assert (low, high) == pytest.approx((0.003, 0.024), rel=0.5)
    even = [diagnose(fit_surface(uneven(1.0, number=15, seed=seed))).uneven for seed in range(60)]
    # Three of 60 are expected; 9 or more would come once in 300 times.
    assert sum(one is not None and one.test.p_value < 0.05 for one in even) < 9


def test_unequal_noise_is_the_weighted_regression_of_log_variances() -> None:
    data = uneven(4.0, number=20, num_seeds=4)
    surface = fit_surface(data)
    moved = surface.corrected() - surface.offsets[data.seed]
    variances = np.array([np.var(moved[data.network == i], ddof=1) for i in range(20)])
    # With 3 degrees of freedom all logs have one bias and one known variance.
    other = OLS(np.log(variances), data.shares).fit()
    test = other.compare_f_test(OLS(np.log(variances), np.ones(20)).fit())
    known = float(special.polygamma(1, 1.5))
    found = diagnose(surface).uneven
    assert found is not None
    statistic = test[0] * other.mse_resid / max(known, other.mse_resid)
    assert found.test.statistic == pytest.approx(statistic, rel=1e-6)
    assert (found.test.numerator, found.test.denominator) == (2, 17)


def test_few_second_seeds_say_nothing_about_unequal_noise() -> None:
    data = uneven(8.0, number=20)
    few = subset(data, np.flatnonzero((data.seed == 0) | (data.network < 11)))
    enough = subset(data, np.flatnonzero((data.seed == 0) | (data.network < 12)))
    assert diagnose(fit_surface(few)).uneven is None
    assert diagnose(fit_surface(enough)).uneven is not None
