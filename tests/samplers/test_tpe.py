"""The estimator looks where losses are small."""

import functools
from typing import Literal

import numpy as np
import pytest

from scaling_search.candidates import Candidate, Plan
from scaling_search.costs.flops import Flops
from scaling_search.samplers.tpe import Tpe
from scaling_search.scaling import Shares
from scaling_search.training import Trial, TrialResult
from tests.proxies import buildable, small_proxy
from tests.tiny import ended, tiny_dataset, tiny_recipe

SAMPLER_SEEDS = range(6)
NUM_STARTUP = 10


@functools.cache
def plan() -> Plan:
    """All 114 networks of twice the small proxy's cost."""
    return buildable(max_networks=200).plan(small_proxy(), Flops())


def trial_of(candidate: Candidate) -> Trial:
    return Trial(candidate, 0, tiny_recipe(), tiny_dataset())


def loss(candidate: Candidate, best: Shares) -> float:
    """A smooth truth: one more for each unit of squared distance from the best shares."""
    assert candidate.shares is not None
    return 1 + sum((a - b) ** 2 for a, b in zip(candidate.shares, best, strict=True))


def searched(sampler: Tpe, best: Shares, num_trainings: int) -> list[Candidate]:
    """The candidates in the order in which a sampler chooses them, one at a time."""
    remaining = [trial_of(candidate) for candidate in plan().candidates]
    finished: list[TrialResult] = []
    chosen = []
    for _ in range(num_trainings):
        trial = sampler.choose(remaining, [], finished)
        remaining.remove(trial)
        chosen.append(trial.candidate)
        finished.append(ended(trial, loss(trial.candidate, best)))
        finished.sort(key=lambda result: result.trial.order)
    return chosen


def tpe(seed: int, objective: Literal["val_loss", "val_accuracy"] = "val_loss") -> Tpe:
    return Tpe(objective=objective, num_startup=NUM_STARTUP, seed=seed)


@pytest.mark.parametrize(
    "best", [Shares(0.2, 0.3, 0.5), Shares(0.7, 0.2, 0.1), Shares(0.1, 0.8, 0.1)]
)
def test_after_its_startup_it_trains_better_networks_than_chance_would(best: Shares) -> None:
    truth = [loss(candidate, best) for candidate in plan().candidates]
    means = [
        np.mean([loss(c, best) for c in searched(tpe(seed), best, 30)[NUM_STARTUP:]])
        for seed in SAMPLER_SEEDS
    ]
    by_chance = np.random.default_rng(0)
    chance = [by_chance.choice(truth, 20, replace=False).mean() for _ in range(1000)]
    assert np.mean(means) < min(chance)


def test_losses_are_made_small_and_accuracies_large() -> None:
    # The accuracy of `ended` falls as its loss grows, so that both are one truth.
    best = Shares(0.2, 0.3, 0.5)
    assert searched(tpe(0), best, 20) == searched(tpe(0, "val_accuracy"), best, 20)
