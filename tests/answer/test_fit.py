"""The surface: against another implementation, against truths, and where it must refuse."""

import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.linear_model import GLS
from statsmodels.regression.mixed_linear_model import MixedLM

from scaling_search.answer.fit import CONTRASTS, FTest, Surface, fit_surface, flatness
from scaling_search.answer.observations import Observations, Values
from scaling_search.core.space_filling import scheffe, triangle
from tests.surfaces import Luck, around, fitted, flat, spread_points, subset, trainings

always_the_same = settings(derandomize=True, deadline=None, max_examples=20)
NOISY = Luck(seed_sd=0.0065, shared=0.5, network_sd=0.006)


def design_of(surface: Surface) -> Values:
    """Six terms, then a column for each seed but the last, all offsets summing to zero over
    trainings: other columns than the fit's own, of the same model."""
    data = surface.observations
    counts = np.bincount(np.searchsorted(surface.seeds, data.seed))
    coded = np.vstack([np.eye(len(counts) - 1), -counts[:-1] / counts[-1]])
    rows = coded[np.searchsorted(surface.seeds, data.seed)]
    return np.hstack([scheffe(data.shares)[data.network], rows])


def unequal(seed: int = 0) -> Observations:
    """Networks with one to four trainings."""
    counts = np.array([1, 2, 4, 3] * 5)
    shares = spread_points(20)
    return trainings(shares, around(0.3, 0.4), NOISY, num_seeds=counts, seed=seed)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 5.0])
def test_estimates_and_tests_at_a_given_ratio_are_those_of_statsmodels(ratio: float) -> None:
    surface = fit_surface(unequal(), variance_ratio=ratio)
    network = surface.observations.network
    sigma = np.eye(len(network)) + ratio * (network[:, None] == network)
    other = GLS(surface.corrected(), design_of(surface), sigma=sigma).fit()
    assert surface.coefficients == pytest.approx(other.params[:6], rel=1e-8)
    assert surface.covariance == pytest.approx(other.cov_params()[:6, :6], rel=1e-8, abs=1e-14)
    assert surface.residual_variance == pytest.approx(other.scale, rel=1e-8)
    assert surface.offsets[:-1] == pytest.approx(other.params[6:], rel=1e-8)
    contrasts = np.hstack([CONTRASTS, np.zeros((5, 3))])
    test = other.f_test(contrasts)
    assert flatness(surface).statistic == pytest.approx(float(test.fvalue), rel=1e-8)
    # Trainings of one network are no independent witnesses: fewer degrees than theirs.
    assert (flatness(surface).numerator, flatness(surface).denominator) == (5, 20 - 6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_ratio_is_that_of_a_mixed_model(seed: int) -> None:
    surface = fit_surface(unequal(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its optimiser says how it went
        model = MixedLM(
            surface.corrected() * 100, design_of(surface), groups=surface.observations.network
        )
        other = model.fit(reml=True, method="powell", maxiter=2000)
    assert surface.variance_ratio > 0.05
    assert surface.variance_ratio == pytest.approx(
        float(other.cov_re[0, 0]) / other.scale, rel=0.01
    )


def test_a_surface_without_noise_is_found_exactly() -> None:
    truth = around(0.3, 0.4)
    surface = fitted(truth, Luck())
    grid = triangle()
    assert surface.loss(grid) == pytest.approx(truth(grid), abs=1e-12)
    assert surface.slope == pytest.approx(0.03, rel=1e-10)
    assert surface.variance_ratio == 0
    assert surface.standard_error(grid).max() < 1e-12


def test_offsets_of_seeds_are_found_and_do_not_move_the_surface() -> None:
    truth = around(0.3, 0.4)
    surface = fitted(truth, Luck(seed_sd=0.05, shared=1.0))
    plain = fitted(truth, Luck())
    assert surface.offsets.sum() == pytest.approx(0, abs=1e-12)
    assert np.ptp(surface.offsets) > 0.01
    moved = surface.loss(triangle()) - plain.loss(triangle())
    assert np.ptp(moved) < 1e-12
    assert surface.slope == pytest.approx(0.03, rel=1e-10)


@always_the_same
@given(st.floats(-10, 10), st.integers(0, 3))
def test_a_constant_moves_the_surface_and_nothing_else(constant: float, seed: int) -> None:
    data = unequal(seed)
    one = fit_surface(data)
    other = fit_surface(
        replace(data, loss=data.loss + constant, base_loss=data.base_loss + constant)
    )
    assert other.loss(triangle()) == pytest.approx(one.loss(triangle()) + constant, abs=1e-9)
    assert other.slope == pytest.approx(one.slope, rel=1e-9)
    assert other.variance_ratio == pytest.approx(one.variance_ratio, rel=1e-6)
    assert other.covariance == pytest.approx(one.covariance, rel=1e-5)


@always_the_same
@given(st.permutations(range(4)), st.integers(0, 3))
def test_names_of_seeds_do_not_matter(names: list[int], seed: int) -> None:
    data = unequal(seed)
    one = fit_surface(data)
    renamed = np.array(names) + 7
    other = fit_surface(replace(data, seed=renamed[data.seed], base_seed=renamed[data.base_seed]))
    assert other.coefficients == pytest.approx(one.coefficients, rel=1e-9)
    assert other.covariance == pytest.approx(one.covariance, rel=1e-6, abs=1e-14)
    assert other.slope == pytest.approx(one.slope, rel=1e-9)
    place = {int(s): o for s, o in zip(other.seeds, other.offsets, strict=True)}
    assert [place[int(renamed[s])] for s in one.seeds] == pytest.approx(one.offsets, abs=1e-12)


@always_the_same
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(stream: random.Random) -> None:
    data = unequal()
    order = list(range(len(data.loss)))
    stream.shuffle(order)
    shuffled = replace(
        data, network=data.network[order], seed=data.seed[order], loss=data.loss[order]
    )
    one, other = fit_surface(data), fit_surface(shuffled)
    assert other.coefficients == pytest.approx(one.coefficients, rel=1e-9)
    assert other.covariance == pytest.approx(one.covariance, rel=1e-6, abs=1e-14)


def test_networks_count_and_not_trainings() -> None:
    # With as many seeds everywhere the surface's error is that of a fit to means of networks.
    shares = spread_points(20)
    data = trainings(shares, around(0.3, 0.4), NOISY, num_seeds=4)
    surface = fit_surface(data)
    assert surface.variance_ratio > 0
    means = np.bincount(data.network, weights=surface.corrected()) / 4
    other = GLS(means, scheffe(shares)).fit()
    assert surface.freedom == other.df_resid == 14
    # Not to more digits than the ratio has.
    assert surface.covariance == pytest.approx(other.cov_params(), rel=1e-2, abs=1e-12)


def test_one_seed_has_no_ratio_and_no_offsets() -> None:
    surface = fitted(around(0.3, 0.4), NOISY, num_seeds=1)
    assert surface.variance_ratio == 0
    assert surface.offsets.tolist() == [0]
    assert surface.freedom == 24


def test_costs_off_the_target_are_corrected_with_the_slope() -> None:
    data = trainings(spread_points(20), flat, Luck(), slope=0.5, num_seeds=1)
    assert np.ptp(data.loss) > 0.02
    surface = fit_surface(data)
    assert surface.corrected() == pytest.approx(np.full(20, 0.4), abs=1e-12)


def test_a_base_with_other_seeds_is_compared_at_the_mean_of_the_seeds() -> None:
    data = trainings(spread_points(20), around(0.3, 0.4), Luck(0.05, shared=1.0))
    only_last = replace(data, base_seed=data.base_seed[2:], base_loss=data.base_loss[2:])
    assert fit_surface(only_last).slope == pytest.approx(0.03, rel=1e-9)


def test_flatness_is_rejected_where_there_is_a_slope_and_rarely_elsewhere() -> None:
    assert flatness(fitted(around(0.3, 0.4), Luck(0.0065))).p_value < 0.001
    p_values = [flatness(fitted(flat, Luck(0.0065), seed=s)).p_value for s in range(100)]
    # Five of a hundred are expected; 12 or more would come once in 230 times.
    assert sum(p < 0.05 for p in p_values) < 12


def test_an_f_test_is_the_published_table() -> None:
    # Source: the 95 % point of F with 5 and 24 degrees of freedom is 2.62.
    assert FTest.of(2.6207, 5, 24).p_value == pytest.approx(0.05, abs=1e-4)


def refused(data: Observations) -> str:
    with pytest.raises(ValueError, match="must") as error:
        fit_surface(data)
    return str(error.value)


def test_it_says_what_is_missing() -> None:
    data = trainings(spread_points(20), around(0.3, 0.4), Luck(0.01))
    few = subset(data, np.flatnonzero(data.network < 6))
    assert refused(few).startswith("the surface must have 7 networks or more")
    assert "got 6; train more networks" in refused(few)
    assert "got 6 (3 failed)" in refused(replace(few, num_failed=3))
    none = np.array([], dtype=int)
    assert "got 0 (60 failed)" in refused(replace(subset(data, none), num_failed=60))
    no_base = replace(data, base_seed=data.base_seed[:0], base_loss=data.base_loss[:0])
    assert refused(no_base).startswith("the base network must have a finished training, got none;")
    constant = replace(data, loss=np.full_like(data.loss, 0.5))
    assert refused(constant).startswith("val_loss must differ between trainings, got 0.5 in all 60")
    unknown = data.shares.copy()
    unknown[3] = np.nan
    assert "got none for candidate 4" in refused(replace(data, shares=unknown))


@pytest.mark.parametrize("places", ["line", "five places"])
def test_networks_in_too_few_places_are_refused(places: str) -> None:
    steps = np.linspace(0, 1, 20)
    line = np.stack([steps, 1 - steps, np.zeros(20)], axis=1)
    five = spread_points(5)[np.arange(20) % 5]
    shares = line if places == "line" else five
    message = refused(trainings(shares, flat, Luck(0.01)))
    assert message.startswith("shares must be spread over the triangle")
    assert "20 networks in too few places" in message


def test_as_many_coefficients_as_trainings_are_refused() -> None:
    data = trainings(spread_points(8), around(0.3, 0.4), Luck(0.01), num_seeds=1)
    apart = replace(data, seed=np.array([0, 1, 2, 3, 4, 5, 6, 7]))
    assert refused(apart).startswith("trainings must outnumber the 13 coefficients")
    barely = replace(data, seed=np.array([0, 0, 0, 0, 0, 0, 1, 2]))
    assert refused(barely).startswith("trainings must outnumber the 8 coefficients")


def test_the_fewest_networks_are_enough() -> None:
    data = trainings(spread_points(7), around(0.3, 0.4), Luck(0.01), num_seeds=1)
    assert fit_surface(data).freedom == 1
