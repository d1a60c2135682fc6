"""The sequence covers the triangle evenly, however early it is ended."""

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest

from scaling_search.samplers.qmc import Qmc
from scaling_search.space_filling import as_points, distances, triangle
from scaling_search.training.trial import Trial
from tests.searches import plan, trial_of
from tests.tiny import ended, failed

Sequence = Literal["sobol", "halton"]


def qmc(sequence: Sequence = "sobol", *, scramble: bool = False, seed: int = 0) -> Qmc:
    return Qmc(sequence=sequence, scramble=scramble, seed=seed)


def trials(num_seeds: int = 1) -> list[Trial]:
    return [trial_of(c, seed) for seed in range(num_seeds) for c in plan().candidates]


def chosen(sampler: Qmc, remaining: list[Trial], number: int) -> list[Trial]:
    """What a sampler chooses, all of it in flight."""
    running: list[Trial] = []
    for _ in range(number):
        rest = [trial for trial in remaining if trial not in running]
        running.append(sampler.choose(rest, sorted(running, key=lambda t: t.order), []))
    return running


def distance(of: list[Trial]) -> float:
    """The mean distance from all points of the triangle to the nearest network."""
    points = as_points([t.candidate.shares for t in of if t.candidate.shares])
    return float(distances(triangle(), points).min(axis=1).mean())


def distances_by_chance(number: int) -> list[float]:
    draws, everything = np.random.default_rng(0), trials()
    return [
        distance([everything[i] for i in draws.choice(len(everything), number, replace=False)])
        for _ in range(200)
    ]


@pytest.mark.parametrize("number", [8, 16, 24])
def test_its_networks_cover_the_triangle_better_than_chance_does(number: int) -> None:
    by_chance = distances_by_chance(number)
    assert distance(chosen(qmc(), trials(), number)) < np.quantile(by_chance, 0.05)


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_scrambled_they_do_on_average(sequence: Sequence) -> None:
    ways = [chosen(qmc(sequence, scramble=True, seed=seed), trials(), 16) for seed in range(6)]
    assert np.mean([distance(way) for way in ways]) < np.median(distances_by_chance(16))


def test_results_do_not_change_the_way_and_what_is_in_flight_is_passed() -> None:
    everything = trials()
    way = chosen(qmc(), everything, 6)
    for done, then in pairwise([way[:i] for i in range(1, 7)]):
        rest = [trial for trial in everything if trial not in done]
        results = [ended(t, 1.0) if i % 2 else failed(t) for i, t in enumerate(done)]
        assert qmc().choose(rest, [], results) == then[-1]


def test_every_seed_begins_the_sequence_anew() -> None:
    twice = [t for t in trials(num_seeds=2) if t.candidate.number % 8 == 0]
    way = [t.order for t in chosen(qmc(), twice, len(twice))]
    half = len(way) // 2
    assert way[half:] == [(1, number) for _, number in way[:half]]


def test_a_scrambled_sequence_has_a_way_for_each_seed() -> None:
    ways = [chosen(qmc(scramble=True, seed=seed), trials(), 6) for seed in (0, 1)]
    assert ways[0] != ways[1]
    plain = [chosen(qmc(seed=seed), trials(), 6) for seed in (0, 1)]
    assert plain[0] == plain[1]
