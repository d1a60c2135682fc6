"""A few timed steps of some networks, on real images."""

from dataclasses import replace
from multiprocessing import active_children

import pytest

from scaling_search.core.trial import Trial
from scaling_search.executors.inline import Inline
from scaling_search.executors.processes import Processes
from scaling_search.training import timing
from scaling_search.training.timing import NUM_NETWORKS, spread, time_networks, time_training
from tests.faults import Faulty
from tests.searches import plan, trial_of
from tests.tiny import tiny_plan, tiny_trial


@pytest.fixture
def shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times for as short as it goes; how long is an option of nobody."""
    for name in ("WARM_SECONDS", "TIMED_SECONDS", "EVALUATION_SECONDS"):
        monkeypatch.setattr(timing, name, 0.01)


@pytest.mark.usefixtures("shortly")
def test_a_timing_says_what_a_training_is_made_of() -> None:
    trial = tiny_trial(1)
    timed = time_training(trial, "cpu")
    assert timed.trial == trial
    assert timed.steps_per_epoch == 5
    assert 0 < timed.step_seconds < 10
    assert 0 < timed.evaluation_seconds < 10
    assert timed.start_seconds >= 0
    assert timed.images_per_second == pytest.approx(20 / timed.step_seconds)
    assert timed.device == "cpu"


@pytest.mark.usefixtures("shortly")
def test_a_batch_is_no_larger_than_the_data() -> None:
    timed = time_training(tiny_trial(batch_size=5000), "cpu")
    assert timed.steps_per_epoch == 1
    assert timed.images_per_second == pytest.approx(100 / timed.step_seconds)


@pytest.mark.usefixtures("shortly")
def test_fast_steps_end_with_the_steps_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_STEPS", 4)
    monkeypatch.setattr(timing, "TIMED_SECONDS", 1000.0)
    assert time_training(tiny_trial(), "cpu").step_seconds > 0


def many(num_seeds: int = 2) -> list[Trial]:
    candidates = (plan().base, *plan().candidates)
    return [trial_of(candidate, seed) for seed in range(num_seeds) for candidate in candidates]


@pytest.mark.parametrize("slots", [1, 2, 4, 5, 64])
def test_networks_are_far_apart_and_fill_the_slots_equally_often(slots: int) -> None:
    trials = many()
    chosen = spread(trials, slots)
    assert len(chosen) % slots == 0
    assert len(chosen) < NUM_NETWORKS + slots
    networks = {trial.candidate.network for trial in chosen}
    assert len(networks) == len(chosen) >= NUM_NETWORKS
    assert 0 in {trial.candidate.number for trial in chosen}
    for name in ("flops", "activations"):
        all_values = [getattr(trial.candidate, name) for trial in trials]
        values = [getattr(trial.candidate, name) for trial in chosen]
        assert (min(values), max(values)) == (min(all_values), max(all_values))
    assert spread(trials, slots) == chosen


def test_few_networks_are_timed_over_again_so_that_no_slot_is_idle() -> None:
    trials = [tiny_trial(number) for number in range(3)]
    assert len(spread(trials, 8)) == 8
    assert {trial.candidate.number for trial in spread(trials, 8)} == {0, 1, 2}
    assert len(spread(trials, 1)) == 3
    assert len(spread(trials[:1], 1)) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("shortly")
def test_all_chosen_networks_are_timed() -> None:
    trials = [tiny_trial(number) for number in range(len(tiny_plan().candidates) + 1)]
    timings = time_networks(Inline(device="cpu", retries=0), trials)
    assert [timed.trial for timed in timings] == spread(trials, 1)


def test_a_training_that_cannot_be_timed_is_named_in_one_line() -> None:
    broken = replace(tiny_trial(), dataset=Faulty("raise"))
    with pytest.raises(RuntimeError, match=r"^RuntimeError: loaded by process \d+$"):
        time_networks(Inline(device="cpu", retries=0), [broken])


@pytest.mark.slow
def test_workers_time_side_by_side_and_leave() -> None:
    before = active_children()
    trials = [tiny_trial(number) for number in range(4)]
    with Processes(device="cpu", workers_per_device=2, retries=0, timeout_minutes=None) as executor:
        timings = time_networks(executor, trials)
        assert len(timings) == 4
        assert len(active_children()) == len(before) + 2
    assert active_children() == before
    assert all(timed.step_seconds > 0 for timed in timings)


@pytest.mark.gpu
def test_steps_are_timed_on_a_gpu_too() -> None:
    timed = time_training(tiny_trial(1), "cuda:0")
    assert timed.step_seconds > 0
    assert timed.device != "cpu"
