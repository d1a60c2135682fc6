"""What trainings will take, against what their record says by hand."""

import math
from dataclasses import replace

import pytest

from scaling_search.price import predicted_seconds, price
from scaling_search.training import Trial, TrialResult
from tests.tiny import ended, failed, tiny_trial


def result(number: int, seconds: float, *, seed: int = 0, flops: int | None = None) -> TrialResult:
    """One of two epochs, as all tiny trainings."""
    trial = tiny_trial(number, seed=seed) if flops is None else costing(number, flops)
    return replace(ended(trial, 0.5), total_seconds=seconds)


def costing(number: int, flops: int) -> Trial:
    trial = tiny_trial(number)
    return replace(trial, candidate=replace(trial.candidate, flops=flops))


def test_a_network_takes_the_mean_of_its_own_trainings() -> None:
    predicted = predicted_seconds([result(1, 4.0), result(1, 8.0, seed=1), result(2, 30.0)])
    assert predicted(tiny_trial(1)) == 6.0
    assert predicted(tiny_trial(2)) == 30.0


def test_seconds_grow_with_the_epochs() -> None:
    predicted = predicted_seconds([result(1, 4.0), result(2, 30.0)])
    assert predicted(tiny_trial(1, epochs=5)) == 10.0
    assert predicted(tiny_trial(1, epochs=0.5)) == 1.0
    assert predicted_seconds([replace(ended(tiny_trial(1, epochs=4), 0.5), total_seconds=8.0)])(
        tiny_trial(1)
    ) == pytest.approx(4.0)


def test_an_untried_network_takes_what_the_line_over_costs_says() -> None:
    predicted = predicted_seconds([result(0, 5.0, flops=100), result(1, 8.0, flops=200)])
    assert predicted(costing(2, 400)) == pytest.approx(14.0)


def test_with_one_cost_known_it_takes_seconds_in_proportion() -> None:
    assert predicted_seconds([result(0, 5.0, flops=100)])(costing(2, 400)) == pytest.approx(20.0)


def test_a_line_below_zero_gives_way_to_the_proportion() -> None:
    predicted = predicted_seconds([result(0, 9.0, flops=100), result(1, 1.0, flops=200)])
    assert predicted(costing(2, 400)) == pytest.approx(400 * 10 / 300)


def test_failed_trainings_say_nothing_about_seconds_and_without_any_cost_decides() -> None:
    predicted = predicted_seconds([failed(tiny_trial(1))])
    assert predicted(costing(1, 400)) == 2 * predicted(costing(2, 200)) > 0


def test_the_price_is_what_is_left_over_all_slots_and_as_whole_devices() -> None:
    trials = [tiny_trial(1), tiny_trial(1, seed=1), tiny_trial(2)]
    finished = [result(1, 4.0), result(2, 30.0, seed=5)]
    cost = price(trials, finished, known=finished, slots=2, device_share=0.5)
    assert (cost.num_trainings, cost.num_known) == (2, 1)
    assert cost.seconds == 17.0
    assert cost.device_seconds == 17.0
    alone = price(trials, finished, known=finished, slots=1, device_share=1.0)
    assert (alone.seconds, alone.device_seconds) == (34.0, 34.0)


def test_before_anything_has_ended_the_price_is_unknown_and_nothing_left_costs_nothing() -> None:
    failure = failed(tiny_trial(1))
    unknown = price([tiny_trial(2)], [failure], known=[failure], slots=2, device_share=0.5)
    assert math.isnan(unknown.seconds)
    assert unknown.num_trainings == 1
    done = price([tiny_trial(1)], [failure], known=[failure], slots=2, device_share=0.5)
    assert (done.num_trainings, done.num_known, done.seconds) == (0, 1, 0.0)
