"""Optuna's samplers over the triangle of shares."""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import Field

from scaling_search.core.part import part
from scaling_search.core.scaling import Shares
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.record.study import Objective, direction

# Without greenlet it fits its starts one after the other, and says so into the live view.
logging.getLogger("optuna._gp.batched_lbfgsb").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Coordinates:
    """Two numbers in [0, 1] that say all three shares.

    Attributes:
        names: What a study calls them.
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
        objective: What to make small or large.
        num_startup: So many trainings are chosen at random first.
        seed: Of the model's own draws.
    """

    objective: Objective = "val_loss"
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
    ) -> Trial:
        """The lowest untrained seed of the network nearest to the model's suggestion."""
        sampler = self.sampler(self.seed + len(finished) + len(running))
        wanted = suggestion(sampler, self.objective, running, finished, self.coordinates)
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
    """Chooses the network nearest to the next point of a sequence that fills the triangle evenly.

    However early a search is ended, what it has trained covers the triangle. Every candidate gets
    one seed before any gets two, the base network first, and the sequence begins anew with each
    seed. Results do not change it.

    Attributes:
        sequence: Sobol's or Halton's.
        scramble: True to permute the sequence at random, which keeps it even.
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


def suggestion(
    sampler: BaseSampler,
    objective: Objective,
    running: Sequence[Trial],
    finished: Sequence[TrialResult],
    coordinates: Coordinates,
) -> Shares:
    """The point at which a sampler would look next.

    The study that it sees is made anew from the results, so that nothing is lost between two
    commands; trainings in flight are under way in it, and those that failed are left out.
    """
    study = optuna.create_study(direction=direction(objective), sampler=sampler)
    for result in finished:
        if result.state == "COMPLETE":
            value = getattr(result.curve[-1], objective)
            _tell(study, coordinates, result.trial, value)
    for trial in running:
        _tell(study, coordinates, trial, None)
    asked = study.ask(coordinates.distributions).params
    return coordinates.shares(*(asked[name] for name in coordinates.names))


def of_lowest_seed(remaining: Sequence[Trial]) -> list[Trial]:
    """In each candidate's lowest untrained seed, only those of the lowest of all."""
    lowest = remaining[0].seed
    return [trial for trial in remaining if trial.seed == lowest]


def nearest(remaining: Sequence[Trial], wanted: Shares) -> Trial:
    """The training of the network nearest to what is wanted, of those with the lowest seed.

    So every candidate gets one seed before any gets two; of each seed the base network, which has
    no shares, comes first.
    """
    eligible = of_lowest_seed(remaining)
    if eligible[0].candidate.number == 0:
        return eligible[0]
    return min(eligible, key=lambda trial: (_distance(trial, wanted), trial.order))


def _distance(trial: Trial, wanted: Shares) -> float:
    assert trial.candidate.shares is not None  # only the base network has none
    return trial.candidate.shares.distance(wanted)


def _tell(study: optuna.Study, coordinates: Coordinates, trial: Trial, value: float | None) -> None:
    """Adds a training to a study: with a value what has ended, without what is under way."""
    shares = trial.candidate.shares
    if shares is None:
        return
    clipped = [min(1.0, max(0.0, number)) for number in coordinates.of(shares)]
    frozen: FrozenTrial = create_trial(
        state=TrialState.RUNNING if value is None else TrialState.COMPLETE,
        value=value,
        params=dict(zip(coordinates.names, clipped, strict=True)),
        distributions=coordinates.distributions,
    )
    study.add_trial(frozen)
