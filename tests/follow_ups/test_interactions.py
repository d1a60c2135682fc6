"""The interaction of a setting with networks: against statsmodels and against known truths."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from scaling_search.answer.observations import Indices, Values
from scaling_search.core.space_filling import scheffe
from scaling_search.follow_ups.interactions import (
    CellMeans,
    RankCorrelation,
    fit_cells,
    fit_trend,
    rank_correlation,
    true_spread,
)
from tests.surfaces import spread_points

Grid = tuple[Indices, Indices, Indices]


def grid(num_networks: int = 5, num_seeds: int = 2) -> Grid:
    """Network, setting and seed of trainings with all three settings."""
    axes = np.meshgrid(np.arange(num_networks), np.arange(3), np.arange(num_seeds), indexing="ij")
    network, setting, seed = (axis.ravel() for axis in axes)
    return network, setting, seed


def losses(trainings: Grid, *, luck: int = 0, interaction: float = 0.0) -> Values:
    """Losses with an offset for each network and for each seed at each setting.

    The first network gains so much more than the others from the first to the last setting.
    """
    network, setting, seed = trainings
    stream = np.random.default_rng(luck)
    offsets = stream.normal(0, 3, (3, int(seed.max()) + 1))
    favoured = np.where(network == 0, interaction * (1 - setting) / 2, 0.0)
    luck_of_each: Values = stream.normal(0, 1, len(network))
    return (
        stream.normal(0, 5, int(network.max()) + 1)[network]
        + offsets[setting, seed]
        + favoured
        + luck_of_each
    )


@pytest.mark.parametrize("missing", [[], [0], [3, 17]])
def test_the_f_test_of_cells_is_that_of_statsmodels(missing: list[int]) -> None:
    trainings = grid()
    loss = np.delete(losses(trainings), missing)
    network, setting, seed = (np.delete(axis, missing) for axis in trainings)
    cells = fit_cells(network, setting, seed, loss)
    blocks = np.eye(6)[2 * setting + seed]
    reduced = sm.OLS(loss, np.hstack([np.eye(5)[network], blocks[:, 1:]])).fit()
    offsets = blocks[:, [1, 3, 5]]
    full = sm.OLS(loss, np.hstack([np.eye(15)[3 * network + setting], offsets])).fit()
    statistic, p_value, numerator = full.compare_f_test(reduced)
    assert cells.test is not None
    assert cells.test.statistic == pytest.approx(statistic)
    assert cells.test.p_value == pytest.approx(p_value)
    assert (cells.test.numerator, cells.test.denominator) == (numerator, 12 - len(missing))
    assert cells.residual_sd == pytest.approx(math.sqrt(full.mse_resid))


@pytest.mark.parametrize(
    ("num_networks", "num_seeds", "freedom"), [(5, 2, 12), (4, 2, 9), (5, 3, 24), (2, 2, 3)]
)
def test_degrees_of_freedom_are_counted_after_cells_and_blocks(
    num_networks: int, num_seeds: int, freedom: int
) -> None:
    trainings = grid(num_networks, num_seeds)
    cells = fit_cells(*trainings, losses(trainings))
    assert cells.test is not None
    assert cells.freedom == cells.test.denominator == freedom
    assert cells.test.numerator == 2 * (num_networks - 1)


def test_what_seeds_and_settings_do_to_all_networks_alike_changes_nothing() -> None:
    trainings = grid()
    network, setting, seed = trainings
    loss = losses(trainings)
    moved = loss + 7.0 * setting + 2.0 * seed * (setting == 1) + 3.0 * network
    first, second = fit_cells(*trainings, loss), fit_cells(*trainings, moved)
    assert first.test is not None
    assert second.test is not None
    assert first.test.statistic == pytest.approx(second.test.statistic)


def test_means_of_as_many_seeds_are_plain_means() -> None:
    trainings = grid()
    loss = losses(trainings)
    cells = fit_cells(*trainings, loss)
    np.testing.assert_allclose(cells.means, loss.reshape(5, 3, 2).mean(axis=2))
    np.testing.assert_allclose(cells.errors, cells.residual_sd / math.sqrt(2))


def test_a_lost_training_does_not_leave_its_seeds_offset_in_the_mean() -> None:
    trainings = grid(num_networks=30)
    network, setting, seed = trainings
    loss = 10.0 * seed + 0.001 * losses(trainings)
    kept = ~((network == 4) & (setting == 2) & (seed == 1))
    cells = fit_cells(network[kept], setting[kept], seed[kept], loss[kept])
    assert cells.means[4, 2] == pytest.approx(cells.means[3, 2], abs=0.1)
    assert cells.errors[4, 2] > cells.errors[3, 2]


def test_one_seed_leaves_nothing_to_test_with() -> None:
    trainings = grid(num_seeds=1)
    cells = fit_cells(*trainings, losses(trainings))
    assert cells.test is None
    assert cells.detectable is None
    assert cells.freedom == 0


def drawn(interaction: float, luck: int) -> CellMeans:
    trainings = grid()
    return fit_cells(*trainings, losses(trainings, luck=luck, interaction=interaction))


@pytest.mark.parametrize("share", [0.05, 0.8])
def test_an_interaction_is_found_as_often_as_is_said(share: float) -> None:
    # What is found with 80 % at the true standard deviation, 1; no interaction is found with 5 %.
    one = drawn(0.0, luck=0)
    assert one.detectable is not None
    size = one.detectable / one.residual_sd if share == 0.8 else 0.0
    tests = [drawn(size, luck).test for luck in range(800)]
    found = np.mean([test is not None and test.p_value < 0.05 for test in tests])
    # Four standard errors of a share of 800.
    assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 800))


def test_the_f_test_of_a_trend_is_that_of_statsmodels() -> None:
    shares = spread_points(10)
    stream = np.random.default_rng(0)
    values, weights = stream.normal(0, 1, 10), stream.uniform(0.5, 2, 10)
    trend = fit_trend(shares, values, weights)
    terms = scheffe(shares)
    full = sm.WLS(values, terms, weights=weights).fit()
    statistic, p_value, _ = full.compare_f_test(sm.WLS(values, np.ones(10), weights=weights).fit())
    assert trend is not None
    assert trend.test.statistic == pytest.approx(statistic)
    assert trend.test.p_value == pytest.approx(p_value)
    assert (trend.test.numerator, trend.test.denominator) == (5, 4)
    np.testing.assert_allclose(trend.fitted, full.fittedvalues)


@pytest.mark.parametrize("share", [0.05, 0.8])
def test_a_trend_is_found_as_often_as_is_said(share: float) -> None:
    shares, stream = spread_points(10), np.random.default_rng(0)
    luck = stream.normal(0, 1, (800, 10))
    one = fit_trend(shares, luck[0], np.ones(10))
    assert one is not None
    rest = luck[0] - one.fitted
    size = one.detectable / math.sqrt(rest @ rest / 4) if share == 0.8 else 0.0
    # Of the three dimensions that which is hardest to find.
    hardest = shares[:, int(shares.var(axis=0).argmin())]
    trends = [fit_trend(shares, size * hardest + values, np.ones(10)) for values in luck]
    found = np.mean([trend is not None and trend.test.p_value < 0.05 for trend in trends])
    assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 800))


def test_too_few_networks_or_places_have_no_trend() -> None:
    values = np.arange(10.0)
    assert fit_trend(spread_points(6), values[:6], np.ones(6)) is None
    line = np.column_stack([np.linspace(0, 1, 10), np.linspace(1, 0, 10), np.zeros(10)])
    assert fit_trend(line, values, np.ones(10)) is None
    assert fit_trend(spread_points(7), values[:7] ** 2, np.ones(7)) is not None


def expected(num_networks: int, error: float, network_sd: float) -> RankCorrelation:
    """The rank correlation of an order that does not change."""
    means = np.arange(float(num_networks))
    return rank_correlation(means, means, error, error, network_sd)


def test_noise_gives_the_known_rank_correlation() -> None:
    # 25 networks with a true standard deviation of 0.005, three seeds of 0.0065: 0.62.
    found = expected(25, 0.0065 / math.sqrt(3), 0.005)
    assert found.expected == pytest.approx(0.62, abs=0.05)
    assert 0.2 < found.low < 0.5
    assert not found.has_changed


def test_noise_gives_one_without_error_and_nothing_without_spread() -> None:
    assert expected(10, 0.0, 1.0).low == 1
    nothing = expected(10, 1.0, 0.0)
    assert nothing.expected == pytest.approx(0, abs=0.02)
    # Spearman's quantile for ten pairs. Source: Zar 1972.
    assert nothing.low == pytest.approx(-0.564, abs=0.03)


def test_the_rank_correlation_is_spearmans() -> None:
    first, second = np.array([1.0, 2.0, 3.0, 5.0]), np.array([2.0, 1.0, 3.0, 9.0])
    found = rank_correlation(first, second, 1.0, 1.0, 1.0)
    assert found.value == pytest.approx(stats.spearmanr(first, second)[0])
    assert math.isnan(rank_correlation(first, np.ones(4), 1.0, 1.0, 1.0).value)
    assert rank_correlation(first, first[::-1], 0.1, 0.1, 9.0).has_changed


def test_the_true_spread_is_that_of_the_means_less_their_errors() -> None:
    stream = np.random.default_rng(0)
    means = stream.normal(0, 3, 4000) + stream.normal(0, 4, 4000)
    assert true_spread(means, np.full(4000, 4.0)) == pytest.approx(3, abs=0.2)
    assert true_spread(means, np.full(4000, 9.0)) == 0
