"""What holds for every sampler that conf/sampler/ names."""

from collections.abc import Iterable, Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.protocols import Sampler
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.samplers.grid import Grid
from tests.composed import CONF, part
from tests.tiny import ended, failed, tiny_experiment, tiny_plan

NAMES = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
NUM_SEEDS = 3


def all_trials() -> list[Trial]:
    """Two seeds of the base network and eight others, a third of two of them, in canonical order.

    The eight lie in too few places of the triangle for a surface, so that `focus` goes seed by seed
    as all others do. What it does with a surface is tested in its own file.
    """
    return tiny_experiment(num_seeds=2.25).trials(tiny_plan(max_networks=9))


TRIALS = all_trials()


def result_of(trial: Trial) -> TrialResult:
    """A training that ends as chance has it, one in seven failed."""
    seed, number = trial.order
    luck = number * 37 % 11 / 10 + seed / 100
    return failed(trial) if (3 * number + seed) % 7 == 6 else ended(trial, luck + 1, luck)


def in_order(trials: Iterable[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.order)


def choose(
    sampler: Sampler, running: Sequence[Trial], finished: Sequence[Trial]
) -> tuple[Trial | None, list[Trial]]:
    """What a sampler chooses, and what it chose among."""
    taken = {trial.key for trial in (*running, *finished)}
    remaining = [trial for trial in TRIALS if trial.key not in taken]
    results = [result_of(trial) for trial in in_order(finished)]
    return sampler.choose(remaining, in_order(running), results, VAL_LOSS), remaining


@pytest.fixture(scope="module", params=NAMES)
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return cast("Sampler", part("sampler", request.param))


def test_a_sampler_is_one(sampler: Sampler) -> None:
    assert isinstance(sampler, Sampler)


states = st.tuples(
    st.lists(st.sampled_from(TRIALS), unique=True, max_size=len(TRIALS) - 1),
    st.integers(0, 4),
)


def opening(sampler: Sampler, seed: int) -> tuple[int, int]:
    """Which training of a seed comes first: the base network's, but later by a grid a longer."""
    return seed, int(seed > 0 and isinstance(sampler, Grid))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(states)
def test_the_choice_is_one_of_those_that_remain_and_always_the_same(
    sampler: Sampler, state: tuple[list[Trial], int]
) -> None:
    taken, num_running = state
    running, finished = taken[:num_running], taken[num_running:]
    trial, remaining = choose(sampler, running, finished)
    assert trial in remaining
    # A sampler keeps no state, so that what it was asked in between changes nothing.
    choose(sampler, [], finished[:1])
    assert choose(sampler, running, finished)[0] == trial


@pytest.mark.parametrize("num_slots", [1, 3])
def test_driven_to_the_end_it_chooses_every_training_once_seed_by_seed(
    sampler: Sampler, num_slots: int
) -> None:
    chosen: list[Trial] = []
    running: list[Trial] = []
    finished: list[Trial] = []
    while len(finished) < len(TRIALS):
        while len(running) < num_slots and len(chosen) < len(TRIALS):
            trial, _ = choose(sampler, running, finished)
            assert trial is not None
            chosen.append(trial)
            running.append(trial)
        # The one in the middle ends first: the order of arrival is nobody's.
        finished.append(running.pop(len(running) // 2))
    assert in_order(chosen) == TRIALS
    assert [trial.seed for trial in chosen] == sorted(trial.seed for trial in TRIALS)
    for seed in range(NUM_SEEDS):
        assert chosen[seed * 9].order == opening(sampler, seed)


def test_a_search_of_which_every_training_failed_goes_on(sampler: Sampler) -> None:
    *finished, last = TRIALS
    assert sampler.choose([last], [], [failed(trial) for trial in finished], VAL_LOSS) == last


def test_nothing_is_trained_yet_and_everything_is_in_flight(sampler: Sampler) -> None:
    assert choose(sampler, [], [])[0] == TRIALS[0]
    assert choose(sampler, TRIALS[:-1], [])[0] == TRIALS[-1]
