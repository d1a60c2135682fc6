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

from scaling_search.answer.fit import CONTRASTS, FTest, fit_surface, flatness
from scaling_search.answer.observations import Observations
from scaling_search.core.space_filling import scheffe, triangle
from tests.surfaces import Luck, around, fitted, flat, spread_points, subset, trainings

always_the_same = settings(derandomize=True, deadline=None, max_examples=20)
NOISY = Luck(seed_sd=0.0065, shared=0.5, network_sd=0.006)


def unequal(seed: int = 0) -> Observations:
    """Networks with one to four trainings."""
    counts = np.array([1, 2, 4, 3] * 5)
    shares = spread_points(20)
    return trainings(shares, around(0.3, 0.4), NOISY, num_seeds=counts, seed=seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_variances_are_near_those_of_a_mixed_model(seed: int) -> None:
    # One with fixed seeds, independent networks and the most probable variances instead of means.
    data = trainings(spread_points(60), around(0.3, 0.4), NOISY, num_seeds=4, seed=seed)
    surface = fit_surface(data)
    dummies = np.eye(4)[data.seed][:, 1:]
    design = np.hstack([scheffe(data.shares)[data.network], dummies])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its optimiser says how it went
        model = MixedLM(surface.corrected() * 100, design, groups=data.network)
        other = model.fit(reml=True, method="powell", maxiter=2000)
    assert surface.network_sd == pytest.approx(np.sqrt(other.cov_re[0, 0]) / 100, rel=0.15)
    assert surface.residual_variance == pytest.approx(other.scale / 1e4, rel=0.03)
    theirs = (scheffe(data.shares) @ other.params[:6] + other.params[6:9].sum() / 4) / 100
    missed = np.abs(surface.loss(data.shares) - theirs)
    assert (missed < surface.standard_error(data.shares)).all()


def test_flatness_is_the_f_test_of_statsmodels_with_places_as_the_units() -> None:
    # With a seed each and no effects the test is that of ordinary regression.
    shares = spread_points(24)
    data = trainings(shares, around(0.3, 0.4, spread=0.04), Luck(0.0065), num_seeds=1)
    surface = fit_surface(data)
    other = GLS(surface.corrected(), scheffe(shares))
    fit = other.fit()
    ours = flatness(replace(surface, coefficients=fit.params, covariance=fit.cov_params()))
    theirs = fit.f_test(CONTRASTS)
    assert ours.statistic == pytest.approx(float(theirs.fvalue), rel=1e-8)
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-6)
    assert (ours.numerator, ours.denominator) == (5, 24 - 6)


def test_a_surface_without_noise_is_found_exactly() -> None:
    truth = around(0.3, 0.4)
    surface = fitted(truth, Luck())
    grid = triangle()
    assert surface.loss(grid) == pytest.approx(truth(grid), abs=1e-12)
    assert surface.slope == pytest.approx(0.03, rel=1e-10)
    assert surface.network_sd < 1e-12
    assert surface.standard_error(grid).max() < 1e-12
    assert np.abs(surface.effects).max() < 1e-12


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
    assert other.network_sd == pytest.approx(one.network_sd, rel=1e-6)
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


def test_places_count_and_not_trainings_or_networks() -> None:
    few = trainings(spread_points(20), around(0.3, 0.4), NOISY, num_seeds=1)
    many = trainings(spread_points(20), around(0.3, 0.4), NOISY, num_seeds=8)
    assert fit_surface(few).freedom == fit_surface(many).freedom == 20 - 6
    # Eight seeds leave the luck of a network, which one seed has too.
    points = triangle()
    ratio = fit_surface(many).standard_error(points) / fit_surface(few).standard_error(points)
    assert np.median(ratio) > 0.5


def twice(data: Observations, *, seed: int = 1) -> Observations:
    """Each network once more with its losses, its shares less than a place apart."""
    moved = data.shares + np.random.default_rng(seed).uniform(0, 0.004, data.shares.shape)
    number = len(data.shares)
    return replace(
        data,
        candidates=np.arange(1, 2 * number + 1),
        shares=np.vstack([data.shares, moved / moved.sum(axis=1, keepdims=True)]),
        cost_ratio=np.tile(data.cost_ratio, 2),
        network=np.concatenate([data.network, data.network + number]),
        seed=np.tile(data.seed, 2),
        loss=np.tile(data.loss, 2),
    )


def test_networks_that_are_nearly_the_same_count_once() -> None:
    data = trainings(spread_points(20), around(0.3, 0.4), NOISY, num_seeds=2)
    once, doubled = fit_surface(data), fit_surface(twice(data))
    assert doubled.freedom == once.freedom == 14
    assert len(np.unique(doubled.observations.place)) == 20
    both = np.tile(np.arange(20), 2)
    assert (doubled.effects == doubled.effects[both]).all()
    # As means of a place they are certain, which the luck of a seed alone was before.
    errors = [surface.standard_error(triangle()) for surface in (once, doubled)]
    assert 0.75 < np.median(errors[1] / errors[0]) < 1.1
    apart = np.abs(doubled.loss(triangle()) - once.loss(triangle()))
    assert (apart < errors[0]).all()


def test_one_seed_has_no_offsets_and_leaves_room_for_effects() -> None:
    surface = fitted(around(0.3, 0.4), NOISY, num_seeds=1)
    # Effects cannot be told from luck, and the prior still expects some.
    assert 0 < surface.variance_ratio < 1
    assert np.abs(surface.offsets).max() < 1e-12
    assert surface.freedom == 24


def test_expected_losses_lie_between_the_surface_and_the_means() -> None:
    data = trainings(spread_points(20), around(0.3, 0.4), NOISY, num_seeds=3)
    surface = fit_surface(data)
    assert surface.expected() == pytest.approx(surface.loss(data.shares) + surface.effects)
    means = np.bincount(data.network, weights=surface.corrected()) / 3 - surface.offsets.mean()
    own = means - surface.loss(data.shares)
    far = np.abs(own) > 0.002
    assert far.sum() > 10
    kept = (surface.effects / own)[far]
    assert ((kept > 0.3) & (kept < 1)).all()


def test_shrunken_expectations_are_nearer_to_the_truth_than_means() -> None:
    luck, missed = Luck(seed_sd=0.0065, shared=0.0, network_sd=0.003), {"own": 0.0, "mean": 0.0}
    for seed in range(30):
        data = trainings(spread_points(20), around(0.3, 0.4), luck, num_seeds=1, seed=seed)
        again = trainings(
            spread_points(20), around(0.3, 0.4), replace(luck, seed_sd=0.0), num_seeds=1, seed=seed
        )
        surface, true = fit_surface(data), again.corrected(0.03)
        missed["own"] += float(((surface.expected() - true) ** 2).sum())
        missed["mean"] += float(((surface.corrected() - true) ** 2).sum())
    assert missed["own"] < 0.6 * missed["mean"]


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_the_slope_s_error_is_its_spread_over_searches(num_seeds: int) -> None:
    # The luck of a seed moves the base network and all others together, and is no error of it.
    luck, truth = Luck(0.0065, shared=0.8), around(0.3, 0.4)
    found = [fitted(truth, luck, number=15, num_seeds=num_seeds, seed=s) for s in range(60)]
    spread = float(np.std([surface.slope for surface in found]))
    told = float(np.mean([surface.slope_error for surface in found]))
    # The spread of 60 draws is known to 9 %; possible effects of networks add to what is told.
    assert 0.8 * spread < told < 1.6 * spread


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
    p_values = [flatness(fitted(flat, Luck(0.0065), number=15, seed=s)).p_value for s in range(100)]
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
    assert refused(few).startswith(
        "the surface must have networks with a finished training in 7 places or more"
    )
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


def test_networks_on_a_line_are_refused() -> None:
    steps = np.linspace(0, 1, 20)
    line = np.stack([steps, 1 - steps, np.zeros(20)], axis=1)
    message = refused(trainings(line, flat, Luck(0.01)))
    assert message.startswith("shares must be spread over the triangle")
    assert "20 networks in too few places" in message


def test_networks_in_too_few_places_are_refused() -> None:
    five = spread_points(5)[np.arange(20) % 5]
    message = refused(trainings(five, flat, Luck(0.01)))
    assert "in 7 places or more, got 5;" in message


def test_as_many_coefficients_as_trainings_are_refused() -> None:
    data = trainings(spread_points(7), around(0.3, 0.4), Luck(0.01), num_seeds=1)
    assert refused(data).startswith("trainings must outnumber the 6 coefficients of a surface")
    again = trainings(spread_points(7), around(0.3, 0.4), Luck(0.01), num_seeds=[2, *[1] * 6])
    assert fit_surface(again).freedom == 1
    eight = trainings(spread_points(8), around(0.3, 0.4), Luck(0.01), num_seeds=1)
    assert fit_surface(eight).freedom == 2


def test_smaller_networks_must_leave_no_hole() -> None:
    shares = spread_points(30)
    shallow = shares[shares[:, 0] < 0.5]
    smaller = replace(trainings(shallow, around(0.3, 0.4), NOISY), target=0.5)
    with pytest.raises(ValueError, match=r"leave no gap over 0\.25") as told:
        fit_surface(smaller)
    assert "near depth " in str(told.value)
    assert fit_surface(replace(smaller, target=2.0)).slope != 0
