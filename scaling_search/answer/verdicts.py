"""The best split against each reference: difference, interval, verdict."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from scaling_search.answer.fit import CONTRASTS, LEVEL, FTest, Surface, flatness
from scaling_search.answer.region import Region, find_region, in_region, thresholds
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import as_points, distances, scheffe

MUCH_COMPUTE = 0.2
"""The gain of this much more compute is the difference that matters, unless another is given."""

FARTHEST = 0.25
"""Largest distance to the nearest trained network at which a point is still judged."""

MOST_TRAININGS = 1_000
"""Largest number of trainings that is estimated."""


class Outcome(StrEnum):
    """The four possible results of a comparison; `display.verdicts` has their words."""

    BETTER = "better"
    WORSE = "worse"
    AS_GOOD = "as good"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """A network or split compared with another.

    Attributes:
        against: Name of the other.
        difference: Gain over the other in units of the metric, better above 0.
        outcome: None where no trained network is near enough to judge.
    """

    against: str
    difference: Estimate
    outcome: Outcome | None


def outcome(difference: Estimate, delta: float | None) -> Outcome:
    """The outcome that follows from an interval.

    Args:
        difference: Better above 0.
        delta: The difference that matters; None if unknown.
    """
    if difference.low > 0:
        return Outcome.BETTER
    if difference.high < 0:
        return Outcome.WORSE
    if delta is not None and max(-difference.low, difference.high) <= delta:
        return Outcome.AS_GOOD
    return Outcome.CANNOT_TELL


@dataclass(frozen=True)
class Comparison:
    """The best split against a reference, in units of the metric.

    Attributes:
        verdict: Verdict of the best split; its interval holds for all references at once.
        shares: Shares of the reference.
        prediction: The surface there, at exactly the target's cost, with its own t interval.
        distance: To the nearest trained network.
        is_possible: True if it is in the region of the best split.
        compute: More compute that would gain as much, a fraction; None where more compute does
            not lower the loss.
        trainings: Estimated total number of trainings that would decide, the base network's not
            counted; `MOST_TRAININGS` + 1 for more. None unless the outcome is ``cannot tell``.
    """

    verdict: Verdict
    shares: Shares
    prediction: Estimate
    distance: float
    is_possible: bool
    compute: Estimate | None
    trainings: int | None

    @property
    def name(self) -> str:
        """``best`` or one of `REFERENCES`."""
        return self.verdict.against


@dataclass(frozen=True, eq=False)
class Answer:
    """The best split by a fitted surface.

    Attributes:
        surface: The fit.
        flat: F-test of a flat surface.
        region: The best point and its 95 % region; a guess while ``region.is_everything``.
        found: Number of the candidate nearest to the best point.
        found_distance: Its distance.
        best_mean: Number of the candidate with the best mean at exactly the target's cost.
        possible: Numbers of the candidates in the region.
        delta: The difference that matters, in units of the metric; None where more compute does
            not lower the loss and none was given.
        comparisons: The best split itself, then each of `REFERENCES`.
    """

    surface: Surface
    flat: FTest
    region: Region
    found: int
    found_distance: float
    best_mean: int
    possible: tuple[int, ...]
    delta: float | None
    comparisons: tuple[Comparison, ...]


def answer(surface: Surface, *, delta: float | None = None) -> Answer:
    """Returns the best split of a fitted surface, compared with every reference.

    Args:
        surface: The fit.
        delta: The difference that matters, in units of the metric; None for what 20 % more
            compute is worth.

    Raises:
        ValueError: The difference that matters is not positive.
    """
    if delta is not None and not 0 < delta < math.inf:
        raise ValueError(f"decide.delta must be positive, got {delta!r}; null for 20 % of compute")
    if delta is None and surface.slope > 0:
        delta = surface.slope * math.log(1 + MUCH_COMPUTE)
    data = surface.observations
    region = find_region(surface)
    to_best = distances(as_points([region.best]), data.shares)[0]
    nearest = int(to_best.argmin())
    means = np.bincount(data.network, weights=surface.corrected()) / data.counts
    return Answer(
        surface=surface,
        flat=flatness(surface),
        region=region,
        found=int(data.candidates[nearest]),
        found_distance=float(to_best[nearest]),
        best_mean=int(data.candidates[means.argmin()]),
        possible=tuple(data.candidates[region.networks].tolist()),
        delta=delta,
        comparisons=_comparisons(surface, region, delta),
    )


def _comparisons(surface: Surface, region: Region, delta: float | None) -> tuple[Comparison, ...]:
    data = surface.observations
    references = as_points(list(REFERENCES.values()))
    points = np.vstack([as_points([region.best]), references])
    predictions = data.sign * surface.loss(points)
    widths = stats.t.ppf(1 - LEVEL / 2, surface.freedom) * surface.standard_error(points)
    nearest = distances(points, data.shares).min(axis=1)
    possible = [True, *in_region(surface, references)]
    contrasts = (scheffe(points) - scheffe(points[:1]))[:, [0, 1, 3, 4, 5]]
    leads = contrasts @ (CONTRASTS @ surface.coefficients)
    covariance = CONTRASTS @ surface.covariance @ CONTRASTS.T
    errors = np.sqrt(np.einsum("ij,jk,ik->i", contrasts, covariance, contrasts))
    halves = np.concatenate([[0.0], thresholds(surface, references)]) * errors
    comparisons = []
    for i, name in enumerate(["best", *REFERENCES]):
        half, ends = float(halves[i]), (leads[i], leads[i] - halves[i], leads[i] + halves[i])
        difference = Estimate(*map(float, ends))
        verdict, trainings = None, None
        if i > 0 and max(nearest[i], nearest[0]) <= FARTHEST:
            verdict = outcome(difference, delta)
            if verdict == Outcome.WORSE:
                # Only the extrapolated surface can be better than the best of what was searched.
                is_close = delta is not None and -difference.low <= delta
                verdict = Outcome.AS_GOOD if is_close else Outcome.CANNOT_TELL
            if region.is_everything:
                verdict = Outcome.CANNOT_TELL
            if verdict == Outcome.CANNOT_TELL and delta is not None:
                trainings = trainings_to_tell(len(data.loss), half, delta)
        at, width = float(predictions[i]), float(widths[i])
        comparisons.append(
            Comparison(
                verdict=Verdict(name, difference, verdict),
                shares=Shares(*points[i].tolist()),
                prediction=Estimate(at, at - width, at + width),
                distance=float(nearest[i]),
                is_possible=bool(possible[i]),
                compute=worth(difference, surface.slope),
                trainings=trainings,
            )
        )
    return tuple(comparisons)


def worth(difference: Estimate, slope: float) -> Estimate | None:
    """More compute that lowers the loss by a difference, a fraction; None where none does.

    The loss falls by slope · log(1 + fraction).
    """
    if slope <= 0:
        return None
    with np.errstate(over="ignore"):
        ends = np.expm1(np.array([difference.mean, difference.low, difference.high]) / slope)
    return Estimate(*ends.tolist())


def trainings_to_tell(now: int, half: float, delta: float) -> int:
    """Estimated number of trainings at which half an interval's width equals ``delta``.

    Widths fall with the root of the number: now · (half / delta)², always more than now, and at
    most `MOST_TRAININGS` + 1.
    """
    # Limited before the square, which a tiny delta would take out of range.
    widths = min(half / delta, math.sqrt(MOST_TRAININGS + 1))
    return min(max(math.ceil(now * widths**2), now + 1), MOST_TRAININGS + 1)
