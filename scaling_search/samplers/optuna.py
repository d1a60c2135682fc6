"""Optuna's models and Sobol's sequence over the triangle of shares."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import TrialState, create_trial
from pydantic import Field
from scipy.stats import qmc

from scaling_search.core.metric import Metric
from scaling_search.core.part import part
from scaling_search.core.scaling import Shares
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.record.record import direction

# Without greenlet it fits its starts one after the other, and says so into the live view.
logging.getLogger("optuna._gp.batched_lbfgsb").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Coordinates:
    """Two numbers in [0, 1] that say all three shares.

    Attributes:
        names: Their names in a study.
        of: Those of some shares.
        shares: The way back.
    """

    names: tuple[str, str]
    of: Callable[[Shares], tuple[float, float]]
    shares: Callable[[float, float], Shares]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distributions of a study."""
        return {name: FloatDistribution(0.0, 1.0) for name in self.names}


def split(depth: float, width: float) -> Shares:
    """Two shares and what they leave of 1, which may be below 0."""
    return Shares(depth, width, 1 - depth - width)


def _width_of_rest(shares: Shares) -> tuple[float, float]:
    rest = shares.width + shares.resolution
    return shares.depth, shares.width / rest if rest > 0 else 0.5


SQUARE = Coordinates(("depth_share", "width_share"), lambda s: (s.depth, s.width), split)
"""Two shares; a half of their square lies beyond the triangle."""

TRIANGLE = Coordinates(
    ("depth_share", "width_of_rest"),
    _width_of_rest,
    lambda depth, width: split(depth, (1 - depth) * width),
)
"""The share of depth, and the part of what it leaves that width has: nowhere beyond."""


@part
class Model(ABC):
    """Chooses the network nearest to where a model of all results would look next.

    Every candidate gets one seed before any gets two, the base network first. The study that the
    model sees is made anew for each choice, so that nothing is lost between two commands; trainings
    in flight are under way in it.

    Attributes:
        num_startup: So many trainings are chosen at random first.
        seed: Seed of the model's own draws.
    """

    num_startup: Annotated[int, Field(ge=1)] = 10
    seed: Annotated[int, Field(ge=0)] = 0

    coordinates: ClassVar[Coordinates]

    @abstractmethod
    def sampler(self, seed: int) -> BaseSampler:
        """Optuna's model with a seed."""

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
        objective: Metric,
    ) -> Trial:
        """The lowest untrained seed of the network nearest to the model's suggestion."""
        sampler = self.sampler(self.seed + len(finished) + len(running))
        wanted = suggestion(sampler, objective, running, finished, self.coordinates)
        return nearest(remaining, wanted)


@part
class Tpe(Model):
    """The tree-structured Parzen estimator.

    Source: Bergstra et al. 2011, in Optuna's implementation.
    """

    coordinates = SQUARE

    def sampler(self, seed: int) -> BaseSampler:
        """The estimator, which does not suggest again what is under way."""
        return TPESampler(n_startup_trials=self.num_startup, seed=seed, constant_liar=True)


@part
class Gp(Model):
    """A Gaussian process, which looks where it expects the largest improvement."""

    # Beyond the triangle nothing is ever known, and the process would look there for ever.
    coordinates = TRIANGLE

    def sampler(self, seed: int) -> BaseSampler:
        """The process; what is under way is expected to end as it says."""
        return GPSampler(n_startup_trials=self.num_startup, seed=seed)


@part
class Qmc:
    """Chooses the network nearest to the next point of Sobol's sequence in the triangle of shares.

    However early a search is ended, what it has trained covers the triangle. Every candidate gets
    one seed before any gets two, the base network first, and the sequence begins anew with each
    seed. Results do not change it. Unscrambled, it covers a little better early on.
    """

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],
        finished: Sequence[TrialResult],
        objective: Metric,  # noqa: ARG002 - the protocol's; a sequence does not look at it
    ) -> Trial:
        """The lowest untrained seed of the network nearest to the sequence's point."""
        lowest = of_lowest_seed(remaining)[0].seed
        begun = [*running, *(result.trial for result in finished)]
        num_done = sum(t.seed == lowest and t.candidate.number > 0 for t in begun)
        points = qmc.Sobol(2, scramble=False).random_base2(num_done.bit_length())
        depth, width = points[num_done].tolist()
        # The half of the square that lies beyond the triangle is turned into it: as even as before.
        is_beyond = depth + width > 1
        return nearest(remaining, split(1 - depth, 1 - width) if is_beyond else split(depth, width))


def suggestion(
    sampler: BaseSampler,
    objective: Metric,
    running: Sequence[Trial],
    finished: Sequence[TrialResult],
    coordinates: Coordinates,
) -> Shares:
    """The point at which a sampler would look next.

    The study that it sees is made anew from the results, so that nothing is lost between two
    commands; trainings in flight are under way in it, and those that failed are left out.
    """
    study = optuna.create_study(direction=direction(objective), sampler=sampler)
    ended = [(r.trial, r.scores[objective.name]) for r in finished if r.state == "COMPLETE"]
    for trial, value in [*ended, *((trial, None) for trial in running)]:
        if (shares := trial.candidate.shares) is None:
            continue
        point = np.clip(coordinates.of(shares), 0, 1).tolist()
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING if value is None else TrialState.COMPLETE,
                value=value,
                params=dict(zip(coordinates.names, point, strict=True)),
                distributions=coordinates.distributions,
            )
        )
    asked = study.ask(coordinates.distributions).params
    return coordinates.shares(*(asked[name] for name in coordinates.names))


def of_lowest_seed(remaining: Sequence[Trial]) -> list[Trial]:
    """In each candidate's lowest untrained seed, only those of the lowest of all."""
    return [trial for trial in remaining if trial.seed == remaining[0].seed]


def nearest(remaining: Sequence[Trial], wanted: Shares) -> Trial:
    """The training of the network nearest to what is wanted, of those with the lowest seed.

    So every candidate gets one seed before any gets two; of each seed the base network, which has
    no shares, comes first.
    """

    def distance(trial: Trial) -> tuple[float, tuple[int, int]]:
        shares = trial.candidate.shares
        return (-1.0 if shares is None else shares.distance(wanted)), trial.order

    return min(of_lowest_seed(remaining), key=distance)
