"""The estimator looks where losses are small."""

from typing import Literal

import numpy as np
import pytest

from scaling_search.samplers.tpe import Tpe
from scaling_search.scaling import Shares
from tests.searches import BESTS, loss, means_by_chance, searched

SAMPLER_SEEDS = range(6)
NUM_STARTUP = 10


def tpe(seed: int, objective: Literal["val_loss", "val_accuracy"] = "val_loss") -> Tpe:
    return Tpe(objective=objective, num_startup=NUM_STARTUP, seed=seed)


@pytest.mark.parametrize("best", BESTS)
def test_after_its_startup_it_trains_better_networks_than_chance_would(best: Shares) -> None:
    means = [
        np.mean([loss(c, best) for c in searched(tpe(seed), best, 30)[NUM_STARTUP:]])
        for seed in SAMPLER_SEEDS
    ]
    assert np.mean(means) < min(means_by_chance(best, 20))


def test_losses_are_made_small_and_accuracies_large() -> None:
    # The accuracy of `ended` falls as its loss grows, so that both are one truth.
    best = Shares(0.2, 0.3, 0.5)
    assert searched(tpe(0), best, 20) == searched(tpe(0, "val_accuracy"), best, 20)
