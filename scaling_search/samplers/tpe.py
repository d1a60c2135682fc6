"""Optuna's tree-structured Parzen estimator over the triangle of shares."""

from collections.abc import Sequence
from typing import Annotated

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import Field

from scaling_search.protocols import part
from scaling_search.scaling import Shares
from scaling_search.study import Objective, direction
from scaling_search.training import Trial, TrialResult

FREE: dict[str, BaseDistribution] = {
    "depth_share": FloatDistribution(0.0, 1.0),
    "width_share": FloatDistribution(0.0, 1.0),
}
"""Two shares say all: the third is what they leave of 1."""


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

    objective: Objective
    num_startup: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
    ) -> Trial:
        """The lowest untrained seed of the network nearest to the estimator's suggestion."""
        eligible = _of_lowest_seed(remaining)
        if eligible[0].candidate.number == 0:
            return eligible[0]
        study = optuna.create_study(
            direction=direction(self.objective),
            sampler=optuna.samplers.TPESampler(
                n_startup_trials=self.num_startup,
                seed=self.seed + len(finished) + len(running),
                constant_liar=True,  # counts what is under way, so that it is not suggested again
            ),
        )
        for result in finished:
            _tell(study, result.trial, self._value(result), TrialState.COMPLETE)
        for trial in running:
            _tell(study, trial, None, TrialState.RUNNING)
        asked = study.ask(FREE).params
        depth, width = asked["depth_share"], asked["width_share"]
        wanted = Shares(depth, width, 1 - depth - width)
        return min(eligible, key=lambda trial: (_distance(trial, wanted), trial.order))

    def _value(self, result: TrialResult) -> float | None:
        return getattr(result.curve[-1], self.objective) if result.state == "COMPLETE" else None


def _of_lowest_seed(remaining: Sequence[Trial]) -> list[Trial]:
    """In each candidate's lowest untrained seed, only those of the lowest of all."""
    lowest = min(trial.seed for trial in remaining)
    return [trial for trial in remaining if trial.seed == lowest]


def _distance(trial: Trial, wanted: Shares) -> float:
    assert trial.candidate.shares is not None  # only the base network has none
    return trial.candidate.shares.distance(wanted)


def _tell(study: optuna.Study, trial: Trial, value: float | None, state: TrialState) -> None:
    shares = trial.candidate.shares
    if shares is None or (value is None and state == TrialState.COMPLETE):
        return
    clipped = {
        "depth_share": min(1.0, max(0.0, shares.depth)),
        "width_share": min(1.0, max(0.0, shares.width)),
    }
    frozen: FrozenTrial = create_trial(state=state, value=value, params=clipped, distributions=FREE)
    study.add_trial(frozen)
