"""Optuna's Gaussian process over the triangle of shares."""

import logging
from collections.abc import Sequence
from typing import Annotated

from optuna.samplers import GPSampler
from pydantic import Field

from scaling_search.protocols import part
from scaling_search.record.study import Objective
from scaling_search.samplers.suggestions import TRIANGLE, nearest, suggestion
from scaling_search.training.trial import Trial, TrialResult

# Without greenlet it fits its starts one after the other, and says so into the live view.
logging.getLogger("optuna._gp.batched_lbfgsb").setLevel(logging.ERROR)


@part
class Gp:
    """Chooses the network nearest to where a Gaussian process expects the largest improvement.

    Every candidate gets one seed before any gets two, the base network first. As with `tpe`, the
    study is made anew for each choice; what is in flight is expected to end as the process says.

    Attributes:
        objective: What to make small or large.
        num_startup: So many trainings of networks are chosen at random first.
        seed: Of the sampler's own draws.
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
        """The lowest untrained seed of the network nearest to the sampler's suggestion."""
        sampler = GPSampler(
            n_startup_trials=self.num_startup, seed=self.seed + len(finished) + len(running)
        )
        # Beyond the triangle nothing is ever known, and the process would look there for ever.
        wanted = suggestion(sampler, self.objective, running, finished, TRIANGLE)
        return nearest(remaining, wanted)
