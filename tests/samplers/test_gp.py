"""The Gaussian process looks where losses are small."""

import logging
from typing import Literal

import numpy as np
import pytest

from scaling_search.samplers.gp import Gp
from scaling_search.scaling import Shares
from tests.searches import BESTS, loss, means_by_chance, searched

NUM_STARTUP = 10


def gp(objective: Literal["val_loss", "val_accuracy"] = "val_loss") -> Gp:
    return Gp(objective=objective, num_startup=NUM_STARTUP, seed=0)


@pytest.mark.parametrize("best", BESTS)
def test_after_its_startup_it_trains_better_networks_than_chance_would(best: Shares) -> None:
    found = searched(gp(), best, 20)[NUM_STARTUP:]
    by_chance = np.quantile(means_by_chance(best, 10), 0.01)
    assert np.mean([loss(c, best) for c in found]) < by_chance


def test_losses_are_made_small_and_accuracies_large() -> None:
    # Values are standardised before the fit; what rounding leaves of a difference decides nothing
    # in so few choices.
    best = Shares(0.2, 0.3, 0.5)
    assert searched(gp(), best, 13) == searched(gp("val_accuracy"), best, 13)


def test_it_says_nothing_about_libraries_that_would_make_it_faster(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        searched(gp(), BESTS[0], NUM_STARTUP + 1)
    assert caplog.records == []
