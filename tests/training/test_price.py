"""What trainings will take, against what their record says by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.core.candidate import Candidate
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.terminal import price_sentence
from scaling_search.training.price import Price, fitted, predicted_seconds, price, timed_seconds
from scaling_search.training.timing import Timing
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
    trials = [tiny_trial(1), tiny_trial(1, seed=1), tiny_trial(2), tiny_trial(2, seed=1)]
    finished = [result(1, 4.0), result(2, 30.0, seed=5)]
    cost = price(trials, finished, known=finished, slots=2, device_share=0.5)
    assert (cost.num_trainings, cost.num_known) == (3, 1)
    assert (cost.shortest, cost.longest) == (4.0, 30.0)
    assert cost.seconds == 34.0  # one slot trains two of the three
    assert cost.device_seconds == 32.0
    assert not cost.on_gpu
    alone = price(trials, finished, known=finished, slots=1, device_share=1.0)
    assert (alone.seconds, alone.device_seconds) == (64.0, 64.0)


def test_before_anything_has_ended_the_price_is_unknown_and_nothing_left_costs_nothing() -> None:
    failure = failed(tiny_trial(1))
    unknown = price([tiny_trial(2)], [failure], known=[failure], slots=2, device_share=0.5)
    assert math.isnan(unknown.seconds)
    assert math.isnan(unknown.longest)
    assert unknown.num_trainings == 1
    done = price([tiny_trial(1)], [failure], known=[failure], slots=2, device_share=0.5)
    assert (done.num_trainings, done.num_known, done.seconds) == (0, 1, 0.0)


def spread_out(flops: int, activations: int) -> Candidate:
    return replace(tiny_trial(1).candidate, flops=flops, activations=activations)


PLACES = [(1, 9), (2, 4), (3, 7), (5, 5), (7, 1), (8, 6)]
CANDIDATES = [spread_out(flops * 10**6, activations * 10**4) for flops, activations in PLACES]


@pytest.mark.parametrize("truth", [(0.1, 2e-8, 3e-7), (0.0, 2e-8, 3e-7), (0.1, 0.0, 3e-7)])
def test_known_coefficients_are_found_in_seconds_without_noise(
    truth: tuple[float, float, float],
) -> None:
    def seconds(candidate: Candidate) -> float:
        return truth[0] + truth[1] * candidate.flops + truth[2] * candidate.activations

    found = fitted(CANDIDATES, [seconds(candidate) for candidate in CANDIDATES])
    for candidate in (*CANDIDATES, spread_out(10**9, 10**7)):
        assert found(candidate) == pytest.approx(seconds(candidate), rel=1e-9)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.floats(1e-4, 10), min_size=6, max_size=6))
def test_no_time_is_ever_below_zero_nor_falls_with_flops_or_activations(
    seconds: list[float],
) -> None:
    found = fitted(CANDIDATES, seconds)
    assert found(spread_out(0, 0)) >= 0
    assert found(spread_out(10**8, 0)) >= found(spread_out(0, 0))
    assert found(spread_out(10**8, 10**8)) >= found(spread_out(10**8, 0))


def timing(candidate: Candidate, *, steps_per_epoch: int = 5, device: str = "cpu") -> Timing:
    return Timing(
        trial=replace(tiny_trial(1), candidate=candidate),
        start_seconds=2.0,
        step_seconds=candidate.flops * 1e-7,
        evaluation_seconds=candidate.activations * 1e-4,
        steps_per_epoch=steps_per_epoch,
        images_per_second=100.0,
        device=device,
    )


TIMINGS = [timing(candidate) for candidate in CANDIDATES]


def test_a_training_takes_its_start_its_steps_and_its_evaluations() -> None:
    trial = replace(tiny_trial(1), candidate=spread_out(4 * 10**6, 3 * 10**4))
    step, evaluation = 0.4, 3.0
    predicted = timed_seconds(TIMINGS)
    assert predicted(trial) == pytest.approx(2 + 10 * step + 2 * evaluation)
    for epochs, steps, evaluations in ((4, 20, 4), (1.4, 7, 2), (0.2, 1, 1)):
        longer = replace(trial, recipe=replace(trial.recipe, epochs=epochs))
        expected = 2 + steps * step + evaluations * evaluation
        assert predicted(longer) == pytest.approx(expected)
    more = [timing(candidate, steps_per_epoch=50) for candidate in CANDIDATES]
    assert timed_seconds(more)(trial) == pytest.approx(2 + 100 * step + 2 * evaluation)


def test_a_first_training_that_starts_slowly_says_nothing_about_others() -> None:
    slow = [replace(TIMINGS[0], start_seconds=60.0), *TIMINGS[1:]]
    assert timed_seconds(slow)(tiny_trial(1)) == timed_seconds(TIMINGS)(tiny_trial(1))


def test_timings_make_a_price_until_a_training_has_ended() -> None:
    trial = replace(tiny_trial(1), candidate=spread_out(4 * 10**6, 3 * 10**4))
    cost = price([trial], [], known=[], slots=2, device_share=0.5, timings=TIMINGS)
    assert cost.seconds == pytest.approx(12.0)
    assert cost.device_seconds == pytest.approx(6.0)
    ended_one = [result(1, 4.0)]
    known = price([trial], ended_one, known=[], slots=2, device_share=0.5, timings=TIMINGS)
    assert known.seconds == 4.0
    on_gpu = [timing(candidate, device="NVIDIA H100") for candidate in CANDIDATES]
    assert price([trial], [], known=[], slots=1, device_share=1.0, timings=on_gpu).on_gpu


def test_a_price_is_said_in_one_sentence() -> None:
    cost = Price(3, 1, 4.0, 130.0, 3600.0, 5400.0, on_gpu=False)
    assert price_sentence(cost, 2) == (
        "3 trainings (1 more are done): about 1 h 00 min with 2 at a time, 1.50 hours of a device; "
        "one takes 4 s to 2 min 10 s."
    )
    same = replace(cost, num_known=0, shortest=130.0, on_gpu=True)
    assert price_sentence(same, 8).startswith("3 trainings: about 1 h 00 min with 8 at a time")
    assert price_sentence(same, 8).endswith("1.50 GPU-hours; one takes 2 min 10 s.")
