"""Searches with an answer whose losses are drawn around a known truth, nothing trained."""

import math
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling_search.base_networks import small_efficientnet
from scaling_search.candidates import Buildable
from scaling_search.commands.run import Run
from scaling_search.core import trial as values
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import as_points
from scaling_search.core.trial import Trial, TrialResult
from tests.in_process import InProcess
from tests.surfaces import Truth, around
from tests.tiny import ended, tiny_run

BEST = Shares(0.1, 0.6, 0.3)
"""The best split of the truth."""

TRUTH = around(BEST.depth, BEST.width, spread=0.1)
"""The loss at twice the base network's cost."""

SLOPE = 0.1
"""Decrease of the loss when the cost grows e-fold."""

SEED_SD = 0.003

LEADER = 4
"""A network in the middle of the triangle."""


@dataclass
class Simulating(InProcess):
    """Ends each training at once, with a loss around a truth; the same training gives the same.

    Attributes:
        truth: Loss at twice the base network's cost.
        lead: Gain of network `LEADER` over its split.
        behind: Loss that the base network is behind its truth.
        collapsed: Networks and seeds of trainings that end at chance.
        lost: Seeds and networks of trainings whose worker is lost.
        submitted: All trainings, in order.
    """

    truth: Truth = field(default=TRUTH)
    lead: float = 0.02
    behind: float = 0.0
    collapsed: tuple[tuple[int, int], ...] = ()
    lost: tuple[tuple[int, int], ...] = ()
    submitted: list[Trial] = field(default_factory=list)

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """The finished future."""
        self.submitted.append(trial)
        future: Future[TrialResult] = Future()
        if trial.order in self.lost:
            future.set_exception(RuntimeError("killed by signal 9"))
        else:
            future.set_result(self.result(trial))
        return future

    def result(self, trial: Trial) -> TrialResult:
        """The result of a training; images of the test split are noisier by themselves."""
        candidate = trial.candidate
        stream = np.random.default_rng((candidate.number, trial.seed))
        cost = candidate.flops_ratio or 1.0
        # All splits meet at the base network.
        point = as_points([candidate.shares or BEST])
        loss = float(self.truth(point)[0]) - SLOPE * math.log(cost / 2)
        loss += float(stream.normal(0, SEED_SD)) - self.lead * (candidate.number == LEADER)
        loss += self.behind * (candidate.number == 0)
        if (candidate.number, trial.seed) in self.collapsed:
            loss = math.log(10)
        result = ended(trial, *[loss + 0.3] * (math.ceil(trial.recipe.epochs) - 1), loss)
        if not trial.on_test:
            return result
        losses = (loss + stream.normal(0, 0.1, 40).clip(-0.3)).astype("<f2")
        hits = np.packbits(stream.random(40) < 1 - loss / 10)
        packed = losses.tobytes(), hits.tobytes()
        test = values.TestScores(float(losses.mean()), 0.9, *packed)
        return replace(result, test=replace(test, accuracy=float(test.hits.mean())))


def simulated_run(folder: Path, **changes: Any) -> Run:
    """A search among 20 networks in 12 places or more of the small proxy, two seeds each."""
    options: dict[str, Any] = {
        "base_network": small_efficientnet(width_divisor=1, resolution_divisor=1),
        "candidates": Buildable(max_networks=20),
        "num_seeds": 2,
        "executor": Simulating(),
    }
    return tiny_run(folder, **options | changes)
