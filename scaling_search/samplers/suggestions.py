"""What Optuna's samplers have in common: the free shares, what is told, the nearest network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from scaling_search.record.study import Objective, direction
from scaling_search.scaling import Shares
from scaling_search.training.trial import Trial, TrialResult


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
        """What a study searches."""
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


def suggestion(
    sampler: BaseSampler,
    objective: Objective,
    running: Sequence[Trial],
    finished: Sequence[TrialResult],
    coordinates: Coordinates,
) -> Shares:
    """Where a sampler would look next.

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
