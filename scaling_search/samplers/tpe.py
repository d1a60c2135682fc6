"""Optuna's tree-structured Parzen estimator over the triangle of shares."""

from collections.abc import Sequence
from typing import Annotated

from optuna.samplers import TPESampler
from pydantic import Field

from scaling_search.protocols import part
from scaling_search.record.study import Objective
from scaling_search.samplers.suggestions import SQUARE, nearest, suggestion
from scaling_search.training.trial import Trial, TrialResult


@part
class Tpe:
    """Chooses the network nearest to where the estimator would look next.

    Every candidate gets one seed before any gets two, the base network first. The study that the
    estimator sees is made anew from the results for each choice, so that nothing is lost between
    two commands and trainings in flight count as known to be under way.

    Source: Bergstra et al. 2011, in Optuna's implementation.

    Attributes:
        objective: What to make small or large.
        num_startup: So many trainings are chosen at random first.
        seed: Of the estimator's own draws.
    """

    objective: Objective = "val_loss"
    num_startup: Annotated[int, Field(ge=1)] = 10
    seed: Annotated[int, Field(ge=0)] = 0

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
    ) -> Trial:
        """The lowest untrained seed of the network nearest to the estimator's suggestion."""
        sampler = TPESampler(
            n_startup_trials=self.num_startup,
            seed=self.seed + len(finished) + len(running),
            constant_liar=True,  # counts what is under way, so that it is not suggested again
        )
        wanted = suggestion(sampler, self.objective, running, finished, SQUARE)
        return nearest(remaining, wanted)
