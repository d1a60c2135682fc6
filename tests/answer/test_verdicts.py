"""One word for the best point, by rules, each shown both ways."""

import math
from dataclasses import replace

import numpy as np
import pytest

from scaling_search.answer.fit import LEVEL, fit_surface
from scaling_search.answer.verdicts import (
    Answer,
    Comparison,
    Estimate,
    Outcome,
    answer,
    outcome,
    trainings_to_tell,
    worth,
)
from scaling_search.core.scaling import REFERENCES
from tests.surfaces import Luck, around, fitted, flat, plan_shares, spread_points, trainings


def against(found: Answer, name: str) -> Comparison:
    return next(c for c in found.comparisons if c.name == name)


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


def test_worth_is_the_compute_that_gains_as_much() -> None:
    slope = 0.03
    difference = Estimate(slope * math.log(1.2), -slope * math.log(1.25), 0.0)
    fraction = worth(difference, slope)
    assert fraction is not None
    assert (fraction.mean, fraction.low, fraction.high) == pytest.approx((0.2, -0.2, 0.0))
    assert worth(difference, 0.0) is None
    assert worth(difference, -0.03) is None
    assert worth(Estimate(1.0, 0.0, 1.0), 1e-9) == Estimate(math.inf, 0.0, math.inf)


@pytest.mark.parametrize(
    ("now", "half", "delta", "expected"),
    [
        (90, 0.01, 0.005, 360),
        (90, 0.0051, 0.005, 94),
        (90, 0.004, 0.005, 91),
        (90, 0.0166, 0.005, 993),
        (90, 0.017, 0.005, 1001),
        (90, 100.0, 1e-300, 1001),
        (1200, 0.001, 0.005, 1001),
    ],
)
def test_trainings_that_would_tell(now: int, half: float, delta: float, expected: int) -> None:
    assert trainings_to_tell(now, half, delta) == expected


def test_a_clear_best_is_better_than_what_is_far_and_as_good_as_what_is_near() -> None:
    found = answer(fitted(around(0.33, 0.335), Luck(0.0005)))
    assert found.flat.p_value < LEVEL
    for name in ("depth", "width", "resolution", "pycls"):
        assert against(found, name).verdict.outcome == "better"
        assert against(found, name).verdict.difference.low > 0
        assert not against(found, name).is_possible
    assert against(found, "thirds").verdict.outcome == "as good"
    assert found.delta == pytest.approx(found.surface.slope * math.log(1.2))
    assert against(found, "best").verdict.outcome is None
    assert against(found, "best").is_possible


def test_a_flat_truth_lets_nothing_be_told() -> None:
    found = answer(fitted(flat, Luck(0.0065)))
    assert found.flat.p_value >= LEVEL
    assert found.region.is_everything
    assert {c.verdict.outcome for c in found.comparisons[1:]} == {"cannot tell"}
    assert len(found.possible) == 30
    assert all(c.trainings and c.trainings > 90 for c in found.comparisons[1:])


def test_no_word_about_a_point_far_from_every_network() -> None:
    shares = spread_points(40)
    shares = shares[shares[:, 1] < 0.6][:20]
    found = answer(fit_surface(trainings(shares, around(0.3, 0.35), Luck(0.0003))))
    far, near = against(found, "width"), against(found, "thirds")
    assert far.distance > 0.25
    assert far.verdict.outcome is None
    assert far.trainings is None
    assert near.distance <= 0.25
    assert near.verdict.outcome is not None


def test_a_larger_delta_makes_more_points_as_good() -> None:
    surface = fitted(around(0.3, 0.35), Luck(0.003))
    strict, generous = answer(surface, delta=1e-5), answer(surface, delta=1.0)
    assert against(strict, "thirds").verdict.outcome == "cannot tell"
    assert against(strict, "thirds").trainings == 1001
    assert against(generous, "thirds").verdict.outcome == "as good"
    assert against(generous, "thirds").trainings is None


def test_a_reference_beyond_the_search_can_be_as_good_but_never_better() -> None:
    # The surface goes on falling towards depth, of which no network has over 0.25.
    shares = spread_points(60)
    shares = shares[shares[:, 0] < 0.25]
    surface = fit_surface(
        trainings(shares, lambda points: 0.5 + points @ [-0.05, 0.01, 0.0], Luck(0.0005))
    )
    strict, generous = answer(surface, delta=0.0001), answer(surface, delta=0.05)
    beyond = [c.name for c in strict.comparisons[1:] if c.verdict.difference.high < 0]
    assert [name for name in beyond if against(strict, name).verdict.outcome is not None]
    for name in beyond:
        assert against(strict, name).verdict.outcome in {"cannot tell", None}
        assert against(generous, name).verdict.outcome in {"as good", None}


@pytest.mark.parametrize("delta", [0.0, -0.01, math.nan, math.inf])
def test_a_delta_that_is_no_difference_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match=r"decide\.delta must be positive, got"):
        answer(fitted(flat, Luck(0.003)), delta=delta)


def test_compute_that_does_not_help_is_worth_nothing() -> None:
    data = trainings(spread_points(20), around(0.3, 0.35), Luck(0.0003), slope=-0.01)
    found = answer(fit_surface(data))
    assert found.surface.slope < 0
    assert found.delta is None
    assert {c.compute for c in found.comparisons} == {None}
    assert against(found, "depth").verdict.outcome == "better"
    assert against(found, "thirds").trainings is None


def test_found_is_the_network_nearest_to_the_best() -> None:
    found = answer(fitted(around(0.3, 0.35), Luck(0.0003)))
    data = found.surface.observations
    gaps = {
        int(number): found.region.best.distance(type(found.region.best)(*shares))
        for number, shares in zip(data.candidates, data.shares.tolist(), strict=True)
    }
    assert found.found == min(gaps, key=lambda number: gaps[number])
    assert found.found_distance == pytest.approx(min(gaps.values()))


def test_an_accuracy_is_told_as_an_accuracy() -> None:
    shares = spread_points(20)
    luck = Luck(0.001)
    losses = trainings(shares, around(0.3, 0.35), luck)
    accuracies = replace(losses, response="val_accuracy")
    one, other = answer(fit_surface(losses)), answer(fit_surface(accuracies))
    for by_loss, by_accuracy in zip(one.comparisons, other.comparisons, strict=True):
        lost, won = by_loss.prediction, by_accuracy.prediction
        assert won.mean == -lost.mean
        assert (won.low, won.high) == pytest.approx((-lost.high, -lost.low))
        assert by_accuracy.verdict == by_loss.verdict
    assert one.region.best == other.region.best


def test_every_reference_is_compared_and_intervals_hold_their_middle() -> None:
    found = answer(fitted(around(0.3, 0.35), Luck(0.0065, network_sd=0.003)))
    assert [c.name for c in found.comparisons] == ["best", *REFERENCES]
    for c in found.comparisons:
        assert c.prediction.low < c.prediction.mean < c.prediction.high
        assert c.verdict.difference.mean >= 0
        assert c.compute is not None
        for one in (c.verdict.difference, c.compute):
            assert one.low <= one.mean <= one.high


@pytest.mark.slow
def test_a_flat_truth_seldom_has_a_better_point() -> None:
    num_draws = 200
    luck = Luck(seed_sd=0.0065, shared=0.5, network_sd=0.006)
    wrong = 0
    for seed in range(num_draws):
        found = answer(fit_surface(trainings(plan_shares(), flat, luck, seed=seed)))
        wrong += any(c.verdict.outcome == "better" for c in found.comparisons)
    # The bar is 0.065; two binomial standard errors of 200 draws are 0.035.
    assert wrong / num_draws <= 0.065 + 2 * np.sqrt(0.065 * 0.935 / num_draws)
