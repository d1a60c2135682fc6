"""One word for the best point, by rules, each shown both ways."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from scaling_search.answer.fit import LEVEL, Surface, fit_surface
from scaling_search.answer.observations import Observations, Values
from scaling_search.answer.region import band_threshold
from scaling_search.answer.verdicts import (
    Answer,
    Comparison,
    Estimate,
    Outcome,
    answer,
    cost_of_equal,
    gain_of_network,
    gain_of_rule,
    outcome,
    worth_of,
)
from scaling_search.core.metric import VAL_ACCURACY
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import Points, as_points, scheffe
from tests.surfaces import Luck, around, fitted, flat, plan_shares, spread_points, trainings


def against(found: Answer, name: str) -> Comparison:
    return next(c for c in found.comparisons if c.name == name)


def told(found: Answer, name: str) -> Outcome | None:
    verdict = against(found, name).verdict
    return None if verdict is None else verdict.outcome


def difference(found: Answer, name: str) -> Estimate:
    verdict = against(found, name).verdict
    assert verdict is not None
    return verdict.difference


@pytest.mark.parametrize(
    ("low", "high", "delta", "expected"),
    [
        (0.01, 0.03, None, "better"),
        (0.001, 0.003, 0.1, "better"),  # surely, though by less than matters
        (-0.03, -0.01, None, "worse"),
        (-0.03, -0.01, 0.1, "worse"),
        (-0.01, 0.03, 0.03, "as good"),
        (-0.03, 0.01, 0.03, "as good"),
        (0.0, 0.0, 0.005, "as good"),
        (-0.01, 0.03, 0.029, "cannot tell"),
        (-0.03, 0.01, 0.029, "cannot tell"),
        (-0.01, 0.03, None, "cannot tell"),
        (0.0, 0.02, 0.005, "cannot tell"),
        (0.0, 0.0, None, "cannot tell"),
    ],
)
def test_the_outcome_follows_from_the_interval(
    low: float, high: float, delta: float | None, expected: Outcome
) -> None:
    assert outcome(Estimate((low + high) / 2, low, high), delta) == expected


def test_compute_is_worth_its_slope_inside_of_what_was_measured() -> None:
    surface = fitted(around(0.3, 0.35), Luck(0.0003))
    assert worth_of(0.2, surface) == pytest.approx(surface.slope * math.log(1.2))
    assert worth_of(0.2, surface) == pytest.approx(0.03 * math.log(1.2), rel=0.05)
    # Costs from the base network's to the target's, 2.
    assert worth_of(1.0, surface) == pytest.approx(surface.slope * math.log(2))
    assert worth_of(1.01, surface) is None
    small = replace(surface, observations=replace(surface.observations, target=1.1))
    assert worth_of(0.1, small) is not None
    assert worth_of(0.2, small) is None
    limit = stats.t.ppf(0.975, surface.freedom) * surface.slope_error
    assert worth_of(0.2, replace(surface, slope=1.01 * limit)) is not None
    for slope in (0.99 * limit, 0.0, -0.03):
        assert worth_of(0.2, replace(surface, slope=slope)) is None


THIRDS, DEPTH = (as_points([REFERENCES[name]])[0] for name in ("thirds", "depth"))


def gap_of(surface: Surface, point: Values) -> float:
    """Loss of the base network less that of a split at the target's cost."""
    return surface.base_loss - float(surface.loss(point[None])[0])


def test_the_cost_of_an_equal_loss_is_exact_without_noise() -> None:
    truth = around(0.3, 0.35, spread=0.02)
    surface = fitted(truth, Luck())
    best = as_points([Shares(0.3, 0.35, 0.35)])[0]
    found = cost_of_equal(surface, best, THIRDS, 3.0)
    base = truth(surface.observations.shares).mean() + 0.03 * math.log(2)
    at, other = (float(truth(point[None])[0]) for point in (best, THIRDS))
    # The rule's loss falls from the base network's with the log of the cost.
    cost = 2 ** ((base - other) / (base - at))
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((cost, cost, cost), rel=1e-6)
    same = cost_of_equal(surface, best, best, 3.0)
    assert same is not None
    assert same.mean == pytest.approx(2)


def test_its_ends_are_those_of_fieller() -> None:
    """Costs whose difference of losses is just as many standard errors away from zero."""
    surface = fitted(around(0.3, 0.35, spread=0.04), Luck(0.003))
    best, limit = as_points([Shares(0.3, 0.35, 0.35)])[0], 2.5
    found = cost_of_equal(surface, best, DEPTH, limit)
    assert found is not None
    joint = scheffe(np.vstack([best, DEPTH]))
    covariance = np.zeros((3, 3))  # of the base network, the rule and the other
    covariance[1:, 1:] = joint @ surface.covariance @ joint.T
    covariance[0, 0] = surface.base_error**2
    for end in (found.low, found.high):
        part = math.log(end) / math.log(2)
        weights = np.array([1 - part, part, -1.0])
        losses = [surface.base_loss, *surface.loss(np.vstack([best, DEPTH]))]
        missed = abs(weights @ losses) / math.sqrt(weights @ covariance @ weights)
        assert missed == pytest.approx(limit, rel=1e-6)
    assert found.low < found.mean < found.high < 2


def test_the_cost_is_not_known_where_the_rule_gains_nothing_over_the_base() -> None:
    surface = fitted(around(0.3, 0.35), Luck(0.003))
    best = as_points([Shares(0.3, 0.35, 0.35)])[0]
    assert cost_of_equal(surface, best, DEPTH, 2.5) is not None
    gain = gap_of(surface, best)
    for base_loss in (surface.base_loss - gain, surface.base_loss - 2 * gain):
        assert cost_of_equal(replace(surface, base_loss=base_loss), best, DEPTH, 2.5) is None
    assert cost_of_equal(replace(surface, base_error=gain), best, DEPTH, 2.5) is None
    smaller = replace(surface, observations=replace(surface.observations, target=0.5))
    assert cost_of_equal(smaller, best, DEPTH, 2.5) is None


def test_a_reference_worse_than_the_base_has_a_cost_under_one() -> None:
    surface = fitted(around(0.0, 0.5, spread=0.2), Luck(0.0005))
    best = as_points([Shares(0.0, 0.5, 0.5)])[0]
    assert gap_of(surface, DEPTH) < 0
    found = cost_of_equal(surface, best, DEPTH, 2.5)
    assert found is not None
    assert found.low < found.mean < 1


def test_a_clear_best_is_better_than_what_is_far_and_as_good_as_what_is_near() -> None:
    found = answer(fitted(around(0.33, 0.335), Luck(0.0005)))
    assert found.flat.p_value < LEVEL
    for name in ("depth", "width", "resolution", "pycls"):
        assert told(found, name) == "better"
        assert difference(found, name).low > 0
        assert not against(found, name).is_possible
    assert told(found, "thirds") == "as good"
    assert found.delta == pytest.approx(found.surface.slope * math.log(1.2))
    assert against(found, "rule").verdict is None
    assert against(found, "rule").is_possible


def test_a_flat_truth_lets_nothing_be_told() -> None:
    found = answer(fitted(flat, Luck(0.0065)))
    assert found.flat.p_value >= LEVEL
    assert found.region.is_everything
    assert {told(found, name) for name in REFERENCES} == {"cannot tell"}
    assert len(found.possible) == 30


def test_no_word_about_a_point_that_was_not_searched() -> None:
    shares = spread_points(40)
    shares = shares[shares[:, 1] < 0.6][:20]
    found = answer(fit_surface(trainings(shares, around(0.3, 0.35), Luck(0.0003))))
    far, near = against(found, "width"), against(found, "thirds")
    assert far.distance > 0.25
    assert (far.verdict, far.equal_cost, far.is_possible) == (None, None, False)
    assert near.verdict is not None


def test_a_reference_just_beyond_the_networks_is_still_searched() -> None:
    # Rounding leaves a corner's network 0.03 inside; 0.1 inside it is another split.
    middle = np.full(3, 1 / 3)
    for pull, is_searched in ((0.04, True), (0.15, False)):
        shares = spread_points(20) * (1 - pull) + pull * middle
        found = answer(fit_surface(trainings(shares, around(0.3, 0.35), Luck(0.001))))
        for name in ("depth", "width", "resolution"):
            assert (against(found, name).verdict is not None) == is_searched


@pytest.mark.parametrize("seed", range(12))
def test_no_reference_is_ever_better_than_the_rule(seed: int) -> None:
    # Networks of a part of the triangle, on surfaces of any form.
    stream = np.random.default_rng(seed)
    shares = spread_points(60, seed=seed)
    shares = shares[shares[:, seed % 3] < stream.uniform(0.3, 1.0)]
    slopes = stream.normal(0, 0.05, 6)
    data = trainings(shares, lambda points: 0.5 + scheffe(points) @ slopes, Luck(0.003))
    found = answer(fit_surface(data))
    judged = [c.verdict for c in found.comparisons if c.verdict is not None]
    assert judged
    for verdict in judged:
        assert verdict.difference.mean >= -1e-12
        assert verdict.outcome != "worse"


def test_a_larger_delta_makes_more_points_as_good() -> None:
    surface = fitted(around(0.3, 0.35), Luck(0.003), seed=1)
    strict, generous = answer(surface, delta=1e-5), answer(surface, delta=1.0)
    assert told(strict, "thirds") == "cannot tell"
    assert told(generous, "thirds") == "as good"


def test_intervals_of_all_references_hold_at_once() -> None:
    found = answer(fitted(around(0.3, 0.35), Luck(0.0065)))
    surface = found.surface
    single = stats.t.ppf(0.975, surface.freedom)
    rule = as_points([found.rule])
    for name in REFERENCES:
        contrast = (scheffe(as_points([REFERENCES[name]])) - scheffe(rule))[0]
        error = math.sqrt(contrast @ surface.covariance @ contrast)
        one = difference(found, name)
        # Wider than for one reference, and the same width in standard errors for each.
        assert one.high - one.mean == pytest.approx(one.mean - one.low)
        assert (one.high - one.mean) / error > 1.2 * single
    halves = [
        (one.high - one.mean) / math.sqrt(c @ surface.covariance @ c)
        for one, c in (
            (difference(found, name), (scheffe(as_points([REFERENCES[name]])) - scheffe(rule))[0])
            for name in REFERENCES
        )
    ]
    assert halves == pytest.approx([halves[0]] * len(halves))


@pytest.mark.parametrize("delta", [0.0, -0.01, math.nan, math.inf])
def test_a_delta_that_is_no_difference_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match=r"decide\.delta must be positive, got"):
        answer(fitted(flat, Luck(0.003)), delta=delta)


def test_compute_that_does_not_help_is_worth_nothing() -> None:
    data = trainings(spread_points(20), around(0.3, 0.35), Luck(0.0003), slope=-0.01)
    found = answer(fit_surface(data))
    assert found.surface.slope < 0
    assert found.delta is None
    assert told(found, "depth") == "better"


def test_the_rule_is_the_best_split_and_nearest_is_a_network_near_to_it() -> None:
    found = answer(fitted(around(0.3, 0.35), Luck(0.0003)))
    data = found.surface.observations
    assert found.rule == found.region.best
    assert found.rule.distance(Shares(0.3, 0.35, 0.35)) < 0.02
    gaps = {
        int(number): found.rule.distance(Shares(*shares))
        for number, shares in zip(data.candidates, data.shares.tolist(), strict=True)
    }
    assert found.nearest == min(gaps, key=lambda number: gaps[number])


def moved(data: Observations, number: int, by: float, *, seed: int | None = None) -> Observations:
    """The trainings with the loss of one network changed, for one seed or all."""
    is_it = (data.candidates[data.network] == number) & ((data.seed == seed) | (seed is None))
    return replace(data, loss=data.loss + by * is_it)


def test_the_network_is_not_the_lowest_mean_where_that_one_had_luck() -> None:
    # One seed in 20 places, and the corner of depth, 0.03 above the best, has luck of 0.04.
    counts = [1, *[3] * 19]
    data = trainings(spread_points(20), around(0.0, 0.5), Luck(0.006, shared=0.0), num_seeds=counts)
    assert data.shares[0].tolist() == [1, 0, 0]
    means = np.bincount(data.network, weights=data.loss) / data.counts
    lucky = moved(data, 1, means.min() - data.loss[0] - 0.001)
    found = answer(fit_surface(lucky))
    lowest = int((np.bincount(lucky.network, weights=lucky.loss) / lucky.counts).argmin())
    assert lowest == 0
    assert found.network != 1
    assert found.expected == pytest.approx(found.surface.expected().min())
    assert found.expected_of()[found.network] == found.expected
    assert found.expected_of()[1] > lucky.loss[0] + 0.01  # shrunken


def test_the_network_is_the_lowest_mean_where_many_seeds_say_so() -> None:
    data = trainings(spread_points(20), around(0.0, 0.5), Luck(0.001), num_seeds=6)
    thirds = 1 + int(np.abs(data.shares - THIRDS).sum(axis=1).argmin())
    found = answer(fit_surface(moved(data, thirds, -0.02)))
    assert found.network == thirds
    assert found.nearest != thirds


def test_a_network_and_its_twin_leave_the_verdicts_as_they_are() -> None:
    data = trainings(spread_points(20), around(0.3, 0.35), Luck(0.002), num_seeds=2)
    both = replace(
        data,
        candidates=np.arange(1, 41),
        shares=np.vstack([data.shares, data.shares]),
        cost_ratio=np.tile(data.cost_ratio, 2),
        network=np.concatenate([data.network, data.network + 20]),
        seed=np.tile(data.seed, 2),
        loss=np.tile(data.loss, 2),
    )
    once, doubled = answer(fit_surface(data)), answer(fit_surface(both))
    assert doubled.surface.freedom == once.surface.freedom
    assert doubled.rule.distance(once.rule) < 0.02
    assert [told(doubled, name) for name in REFERENCES] == [told(once, name) for name in REFERENCES]


def test_an_accuracy_is_told_as_an_accuracy() -> None:
    shares = spread_points(20)
    luck = Luck(0.001)
    losses = trainings(shares, around(0.3, 0.35), luck)
    accuracies = replace(losses, response=VAL_ACCURACY)
    one, other = answer(fit_surface(losses)), answer(fit_surface(accuracies))
    for by_loss, by_accuracy in zip(one.comparisons, other.comparisons, strict=True):
        lost, won = by_loss.prediction, by_accuracy.prediction
        assert won.mean == -lost.mean
        assert (won.low, won.high) == pytest.approx((-lost.high, -lost.low))
        assert by_accuracy.verdict == by_loss.verdict
    assert one.region.best == other.region.best


def test_every_reference_is_compared_and_intervals_hold_their_middle() -> None:
    found = answer(fitted(around(0.3, 0.35), Luck(0.0065, network_sd=0.003)))
    assert [c.name for c in found.comparisons] == ["rule", *REFERENCES]
    for c in found.comparisons:
        assert c.prediction.low < c.prediction.mean < c.prediction.high
    for name in REFERENCES:
        one = difference(found, name)
        assert one.low <= one.mean <= one.high


def test_the_rule_s_interval_holds_wherever_the_rule_may_lie() -> None:
    found = answer(fitted(around(0.3, 0.35), Luck(0.0065)))
    rule = found.comparisons[0].prediction
    error = float(found.surface.standard_error(as_points([found.rule]))[0])
    assert (rule.high - rule.mean) / error == pytest.approx(band_threshold(found.surface))
    assert (rule.high - rule.mean) / error > 1.3 * stats.t.ppf(0.975, found.surface.freedom)


@pytest.mark.slow
def test_a_flat_truth_seldom_has_a_better_point() -> None:
    num_draws = 200
    luck = Luck(seed_sd=0.0065, shared=0.5, network_sd=0.006)
    wrong = 0
    for seed in range(num_draws):
        found = answer(fit_surface(trainings(plan_shares(), flat, luck, seed=seed)))
        wrong += any(told(found, name) == "better" for name in REFERENCES)
    # The bar is 0.065; two binomial standard errors of 200 draws are 0.035.
    assert wrong / num_draws <= 0.065 + 2 * np.sqrt(0.065 * 0.935 / num_draws)


def test_the_gain_of_the_rule_is_over_the_base_network() -> None:
    truth, slope = around(0.3, 0.3), 0.03
    surface = fitted(truth, Luck(seed_sd=0.004, network_sd=0.002))
    found = answer(surface)
    gain = gain_of_rule(found)
    base = float(truth(spread_points(30)).mean()) + slope * math.log(2)
    assert gain.low < base - float(truth(as_points([found.rule]))[0]) < gain.high
    assert gain.mean == pytest.approx(
        surface.base_loss - found.comparisons[0].prediction.mean, abs=1e-12
    )
    # Wider than the rule's own interval: the base network has noise too.
    rule = found.comparisons[0].prediction
    assert gain.high - gain.low > rule.high - rule.low


def test_the_interval_of_a_gain_holds_although_the_losses_chose_the_rule() -> None:
    shares, luck = spread_points(24), Luck(seed_sd=0.006, shared=0.2, network_sd=0.003)
    missed = 0
    for seed in range(20):
        found = answer(fit_surface(trainings(shares, flat, luck, num_seeds=2, seed=seed)))
        gain = gain_of_rule(found)
        missed += not gain.low <= 0.03 * math.log(2) <= gain.high
    assert missed <= 3  # of 20 at 5 %: more in 1.6 % of all seeds


def test_the_interval_of_the_network_s_gain_holds_although_the_losses_chose_it() -> None:
    shares, luck, missed = spread_points(24), Luck(seed_sd=0.006, shared=0.2), 0
    for seed in range(40):
        losses = 0.4 + 0.006 * np.random.default_rng(1000 + seed).normal(size=len(shares))

        def truth_of(_: Points, losses: Values = losses) -> Values:
            return losses

        found = answer(fit_surface(trainings(shares, truth_of, luck, num_seeds=2, seed=seed)))
        gain = gain_of_network(found)
        truth = losses.mean() + 0.03 * math.log(2) - losses[found.network - 1]
        missed += not gain.low <= truth <= gain.high
        assert gain.mean == pytest.approx(found.surface.base_loss - found.expected, abs=1e-12)
    assert missed <= 4  # of 40 at 5 %: more in 4.8 % of all seeds
