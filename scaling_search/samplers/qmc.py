"""Optuna's quasi-Monte Carlo sequence over the triangle of shares."""

import warnings
from collections.abc import Sequence
from typing import Annotated, Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler
from optuna.trial import TrialState, create_trial
from pydantic import Field

from scaling_search.protocols import part
from scaling_search.samplers.suggestions import SQUARE, nearest, of_lowest_seed
from scaling_search.scaling import Shares
from scaling_search.training.trial import Trial, TrialResult


@part
class Qmc:
    """Chooses the network nearest to the next point of a sequence that fills the triangle evenly.

    However early a search is ended, what it has trained covers the triangle. Every candidate gets
    one seed before any gets two, the base network first, and the sequence begins anew with each
    seed. Results do not change it.

    Attributes:
        sequence: Sobol's or Halton's.
        scramble: Whether the sequence is permuted at random, which keeps it even.
        seed: Of that permutation.
    """

    sequence: Literal["sobol", "halton"] = "sobol"
    scramble: bool = False
    seed: Annotated[int, Field(ge=0)] = 0

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
    ) -> Trial:
        """The lowest untrained seed of the network nearest to the sequence's point."""
        lowest = of_lowest_seed(remaining)[0].seed
        begun = [*running, *(result.trial for result in finished)]
        num_done = sum(t.seed == lowest and t.candidate.number > 0 for t in begun)
        return nearest(remaining, self._point(num_done))

    def _point(self, place: int) -> Shares:
        """The point at a place of the sequence, counted from 0."""
        with warnings.catch_warnings():
            # The class may still change its interface; the tests would say so.
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = QMCSampler(qmc_type=self.sequence, scramble=self.scramble, seed=self.seed)
        study, unused = optuna.create_study(), create_trial(state=TrialState.RUNNING)
        for _ in range(place + 1):  # a study counts the points that were taken in it
            point = sampler.sample_relative(study, unused, SQUARE.distributions)
        depth, width = (point[name] for name in SQUARE.names)
        # The half of the square that lies beyond the triangle is turned into it: as even as before.
        is_beyond = depth + width > 1
        return SQUARE.shares(1 - depth, 1 - width) if is_beyond else SQUARE.shares(depth, width)
