"""Searches among many networks with a smooth truth, for samplers that look for small losses."""

import functools
from dataclasses import replace

import numpy as np

from scaling_search.base_networks import small_efficientnet
from scaling_search.candidates import Buildable
from scaling_search.core.candidate import Candidate
from scaling_search.core.metric import VAL_LOSS, Metric
from scaling_search.core.protocols import Sampler
from scaling_search.core.scaling import Shares
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from tests.tiny import ended, tiny_dataset, tiny_recipe

BESTS = [Shares(0.2, 0.3, 0.5), Shares(0.7, 0.2, 0.1), Shares(0.1, 0.8, 0.1)]


@functools.cache
def plan() -> Plan:
    """All 114 networks of twice the small proxy's cost with even channels and sizes.

    Those that a plan selects come first.
    """
    base = small_efficientnet(width_divisor=2, resolution_divisor=2)
    planned = Buildable(max_networks=500).plan(Budget(base, Flops()))
    every = {one.network: one for one in (*planned.candidates, *planned.pool)}
    numbered = (replace(one, number=n) for n, one in enumerate(every.values(), start=1))
    return replace(planned, candidates=tuple(numbered))


def trial_of(candidate: Candidate, seed: int = 0) -> Trial:
    return Trial(candidate, seed, tiny_recipe(), tiny_dataset())


def loss(candidate: Candidate, best: Shares) -> float:
    """A smooth truth: one more for each unit of squared distance from the best shares."""
    assert candidate.shares is not None
    return 1 + sum((a - b) ** 2 for a, b in zip(candidate.shares, best, strict=True))


def searched(
    sampler: Sampler,
    best: Shares,
    num_trainings: int,
    objective: Metric = VAL_LOSS,
) -> list[Candidate]:
    """The candidates in the order in which a sampler chooses them, one at a time."""
    remaining = [trial_of(candidate) for candidate in plan().candidates]
    finished: list[TrialResult] = []
    chosen = []
    for _ in range(num_trainings):
        trial = sampler.choose(remaining, [], finished, objective)
        assert trial is not None
        remaining.remove(trial)
        chosen.append(trial.candidate)
        finished.append(ended(trial, loss(trial.candidate, best)))
        finished.sort(key=lambda result: result.trial.order)
    return chosen


def means_by_chance(best: Shares, num_trainings: int) -> list[float]:
    """The mean losses of a thousand random choices of so many networks."""
    truth = [loss(candidate, best) for candidate in plan().candidates]
    chance = np.random.default_rng(0)
    return [float(chance.choice(truth, num_trainings, replace=False).mean()) for _ in range(1000)]
