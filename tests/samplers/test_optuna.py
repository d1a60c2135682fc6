"""Models look where losses are small; sequences cover the triangle evenly, however early ended."""

import logging
from itertools import pairwise

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import as_points, distances, triangle
from scaling_search.core.trial import Trial
from scaling_search.samplers import Gp, Qmc, Tpe
from scaling_search.samplers.optuna import SQUARE, TRIANGLE, Coordinates, Model, nearest, suggestion
from tests.searches import BESTS, loss, means_by_chance, plan, searched, trial_of
from tests.tiny import ended, failed, tiny_trial

NUM_STARTUP = 10
BEST = Shares(0.2, 0.3, 0.5)
TRIALS = [trial_of(candidate) for candidate in plan().candidates]
fractions = st.floats(0, 1)


# What models choose.


@pytest.mark.parametrize("best", BESTS)
def test_after_its_startup_tpe_trains_better_networks_than_chance_would(best: Shares) -> None:
    means = [
        np.mean([loss(c, best) for c in searched(Tpe(seed=seed), best, 30)[NUM_STARTUP:]])
        for seed in range(6)
    ]
    assert np.mean(means) < min(means_by_chance(best, 20))


@pytest.mark.slow
@pytest.mark.parametrize("best", BESTS)
def test_after_its_startup_gp_trains_better_networks_than_chance_would(best: Shares) -> None:
    found = searched(Gp(), best, 20)[NUM_STARTUP:]
    by_chance = np.quantile(means_by_chance(best, 10), 0.01)
    assert np.mean([loss(c, best) for c in found]) < by_chance


# The process standardises values before its fit; what rounding leaves of a difference decides
# nothing in few choices.
@pytest.mark.parametrize(("model", "number"), [(Tpe, 20), (Gp, 13)])
def test_losses_are_made_small_and_accuracies_large(model: type[Model], number: int) -> None:
    # The accuracy of `ended` falls as its loss grows, so that both are one truth.
    accurate = searched(model(), BEST, number, VAL_ACCURACY)
    assert searched(model(), BEST, number) == accurate


def test_gp_says_nothing_about_libraries_that_would_make_it_faster(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        searched(Gp(), BESTS[0], NUM_STARTUP + 1)
    assert caplog.records == []


# What sequences choose.


def chosen(sampler: Qmc, remaining: list[Trial], number: int) -> list[Trial]:
    """The choices of a sampler, all of them in flight."""
    running: list[Trial] = []
    for _ in range(number):
        rest = [trial for trial in remaining if trial not in running]
        running.append(sampler.choose(rest, sorted(running, key=lambda t: t.order), [], VAL_LOSS))
    return running


def distance(of: list[Trial]) -> float:
    """The mean distance from all points of the triangle to the nearest network."""
    points = as_points([t.candidate.shares for t in of if t.candidate.shares])
    return float(distances(triangle(), points).min(axis=1).mean())


def distances_by_chance(number: int) -> list[float]:
    draws = np.random.default_rng(0)
    return [
        distance([TRIALS[i] for i in draws.choice(len(TRIALS), number, replace=False)])
        for _ in range(200)
    ]


@pytest.mark.parametrize("number", [8, 16, 24])
def test_its_networks_cover_the_triangle_better_than_chance_does(number: int) -> None:
    by_chance = distances_by_chance(number)
    assert distance(chosen(Qmc(), TRIALS, number)) < np.quantile(by_chance, 0.05)


def test_results_do_not_change_the_way_and_what_is_in_flight_is_passed() -> None:
    way = chosen(Qmc(), TRIALS, 6)
    for done, then in pairwise([way[:i] for i in range(1, 7)]):
        rest = [trial for trial in TRIALS if trial not in done]
        results = [ended(t, 1.0) if i % 2 else failed(t) for i, t in enumerate(done)]
        assert Qmc().choose(rest, [], results, VAL_LOSS) == then[-1]


def test_every_seed_begins_the_sequence_anew() -> None:
    twice = [trial_of(c, seed) for seed in range(2) for c in plan().candidates[7::8]]
    way = [t.order for t in chosen(Qmc(), twice, len(twice))]
    half = len(way) // 2
    assert way[half:] == [(1, number) for _, number in way[:half]]


# What Optuna is told, and what is made of its answer.


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
    suggestion(sampler, VAL_ACCURACY, [running], results, SQUARE)
    complete, under_way = sampler.told
    assert [told.state for told in sampler.told] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert complete.value == pytest.approx(0.96)
    assert under_way.value is None
    for trial, told in ((done, complete), (running, under_way)):
        shares = shares_of(trial)
        assert told.params == {"depth_share": shares.depth, "width_share": shares.width}


@pytest.mark.parametrize("model", [Gp, Tpe])
def test_where_a_training_is_in_flight_a_model_does_not_look_again(model: type[Model]) -> None:
    def asked(running: list[Trial]) -> Shares:
        finished = [ended(trial, loss(trial.candidate, BEST)) for trial in TRIALS[2::7]]
        return suggestion(model().sampler(0), VAL_LOSS, running, finished, TRIANGLE)

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
