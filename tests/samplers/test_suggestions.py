"""What Optuna is told, and what is made of its answer."""

from collections.abc import Callable

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from scaling_search.samplers.suggestions import SQUARE, TRIANGLE, Coordinates, nearest, suggestion
from scaling_search.scaling import Shares
from scaling_search.training.trial import Trial
from tests.searches import loss, plan, trial_of
from tests.tiny import ended, failed, tiny_trial

BEST = Shares(0.2, 0.3, 0.5)
TRIALS = [trial_of(candidate) for candidate in plan().candidates]
fractions = st.floats(0, 1)


class Listening(RandomSampler):
    """Keeps what its study holds when it is asked."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.told: list[FrozenTrial] = []

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        self.told = study.get_trials()[: trial.number]
        return super().infer_relative_search_space(study, trial)


def gp() -> BaseSampler:
    return GPSampler(seed=0)


def tpe() -> BaseSampler:
    return TPESampler(seed=0, constant_liar=True)


def shares_of(trial: Trial) -> Shares:
    assert trial.candidate.shares is not None
    return trial.candidate.shares


@pytest.mark.parametrize("coordinates", [SQUARE, TRIANGLE])
@given(fractions, fractions)
def test_coordinates_are_those_of_their_shares(
    coordinates: Coordinates, one: float, other: float
) -> None:
    shares = coordinates.shares(one, other)
    assert sum(shares) == pytest.approx(1)
    again = coordinates.shares(*coordinates.of(shares))
    assert tuple(again) == pytest.approx(tuple(shares), abs=1e-9)


@given(fractions, fractions)
def test_nothing_of_the_triangle_s_coordinates_lies_beyond_it(depth: float, width: float) -> None:
    assert min(TRIANGLE.shares(depth, width)) >= -1e-12


def test_a_corner_of_depth_alone_has_coordinates() -> None:
    assert TRIANGLE.of(Shares(1.0, 0.0, 0.0)) == (1.0, 0.5)


def test_a_study_holds_what_ended_and_what_is_under_way_but_no_failures_and_no_base() -> None:
    base, done, lost, running = tiny_trial(0), tiny_trial(1), tiny_trial(2), tiny_trial(3)
    sampler = Listening()
    results = [ended(base, 0.5), ended(done, 0.9, 0.4), failed(lost)]
    suggestion(sampler, "val_accuracy", [running], results, SQUARE)
    complete, under_way = sampler.told
    assert [told.state for told in sampler.told] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert complete.value == pytest.approx(0.96)
    assert under_way.value is None
    for trial, told in ((done, complete), (running, under_way)):
        shares = shares_of(trial)
        assert told.params == {"depth_share": shares.depth, "width_share": shares.width}


@pytest.mark.parametrize("make", [gp, tpe])
def test_where_a_training_is_in_flight_a_sampler_does_not_look_again(
    make: Callable[[], BaseSampler],
) -> None:
    def asked(running: list[Trial]) -> Shares:
        finished = [ended(trial, loss(trial.candidate, BEST)) for trial in TRIALS[::6]]
        return suggestion(make(), "val_loss", running, finished, TRIANGLE)

    alone = asked([])
    there = nearest(TRIALS, alone)
    moved = asked([there])
    assert shares_of(there).distance(moved) > shares_of(there).distance(alone)


def test_the_nearest_of_the_lowest_seed_is_taken_and_the_first_of_equals() -> None:
    trials = [tiny_trial(n, seed=seed) for seed in (1, 2) for n in (1, 2, 3)]
    for trial in trials:
        assert nearest(trials, shares_of(trial)).order == (1, trial.candidate.number)
    assert nearest(trials[1:], shares_of(trials[0])).seed == 1
    assert nearest([trials[0], trials[0]], BEST) is trials[0]


def test_the_base_network_comes_first_wherever_a_sampler_would_look() -> None:
    trials = [tiny_trial(n) for n in range(4)]
    assert nearest(trials, shares_of(trials[2])) == trials[0]
