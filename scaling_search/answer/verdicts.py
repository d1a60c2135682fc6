"""The best split against others: how much better it is, how sure that is, and one word for it."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from scaling_search.answer.fit import CONTRASTS, FTest, Surface, flatness
from scaling_search.answer.region import LEVEL, Region, find_region, in_region, thresholds
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import as_points, distances, scheffe

Verdict = Literal["better", "as good", "cannot tell"]

MUCH_COMPUTE = 0.2
"""What so much more compute is worth is the difference that matters, unless another is given."""

FARTHEST = 0.25
"""About a point farther than this from every network no word is said."""

MOST_TRAININGS = 1_000
"""Numbers of trainings above this are not told apart."""


@dataclass(frozen=True)
class Comparison:
    """The best point against another, in units of the response.

    Attributes:
        name: ``best`` or one of `REFERENCES`.
        shares: Where it is.
        prediction: The surface there, at exactly the target's cost.
        low: Lower end of the prediction's own 95 % interval (Student's t).
        high: Upper end of it.
        distance: To the nearest network that was trained.
        is_possible: Whether it is in the region; False outside of what was searched.
        difference: By how much the best is better; below 0 only outside of what was searched.
        difference_low: Lower end of an interval that holds for all rivals at once with 95 %.
        difference_high: Upper end; it holds for all rivals at once with 95 %, as the lower does.
        compute: The same as more compute that would gain as much, a fraction; None where more
            compute does not lower the loss.
        compute_low: Of the lower end.
        compute_high: Of the upper end.
        verdict: What the best is against it; None for the best itself and where either point is
            too far from every network.
        trainings: About how many in all, the base network's not counted, would tell; more than
            now, and `MOST_TRAININGS` + 1 stands for more than that. None unless the verdict is
            ``cannot tell`` and the difference that matters is known.
    """

    name: str
    shares: Shares
    prediction: float
    low: float
    high: float
    distance: float
    is_possible: bool
    difference: float
    difference_low: float
    difference_high: float
    compute: float | None
    compute_low: float | None
    compute_high: float | None
    verdict: Verdict | None
    trainings: int | None


@dataclass(frozen=True, eq=False)
class Answer:
    """What a surface says about the best split.

    Attributes:
        surface: The fit.
        flat: The test whether all splits could be equally good.
        region: The best point and all that can be the best; the best is a guess while
            ``region.is_everything``.
        found: Number of the candidate nearest to the best point.
        found_distance: Its distance.
        possible: Numbers of the candidates in the region.
        delta: The difference that matters, in units of the response; None where more compute does
            not lower the loss and none was given.
        comparisons: The best, then each of `REFERENCES`.
    """

    surface: Surface
    flat: FTest
    region: Region
    found: int
    found_distance: float
    possible: tuple[int, ...]
    delta: float | None
    comparisons: tuple[Comparison, ...]


def answer(surface: Surface, *, delta: float | None = None) -> Answer:
    """The best split of a fitted surface against every reference.

    Args:
        surface: The fit.
        delta: The difference that matters, in units of the response; None for what 20 % more
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
    return Answer(
        surface=surface,
        flat=flatness(surface),
        region=region,
        found=int(data.candidates[nearest]),
        found_distance=float(to_best[nearest]),
        possible=tuple(data.candidates[region.networks].tolist()),
        delta=delta,
        comparisons=_comparisons(surface, region, delta),
    )


def _comparisons(surface: Surface, region: Region, delta: float | None) -> tuple[Comparison, ...]:
    data = surface.observations
    references = as_points(list(REFERENCES.values()))
    points = np.vstack([as_points([region.best]), references])
    ends = data.sign * surface.loss(points)
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
        difference, half = float(leads[i]), float(halves[i])
        word: Verdict | None = None
        if i > 0 and max(nearest[i], nearest[0]) <= FARTHEST:
            word = verdict(difference, half, delta, is_flat=region.is_everything)
        trainings = None
        if word == "cannot tell" and delta is not None:
            trainings = trainings_to_tell(len(data.loss), half, delta)
        comparisons.append(
            Comparison(
                name=name,
                shares=Shares(*points[i].tolist()),
                prediction=float(ends[i]),
                low=float(ends[i] - widths[i]),
                high=float(ends[i] + widths[i]),
                distance=float(nearest[i]),
                is_possible=bool(possible[i]),
                difference=difference,
                difference_low=difference - half,
                difference_high=difference + half,
                compute=worth(difference, surface.slope),
                compute_low=worth(difference - half, surface.slope),
                compute_high=worth(difference + half, surface.slope),
                verdict=word,
                trainings=trainings,
            )
        )
    return tuple(comparisons)


def verdict(difference: float, half: float, delta: float | None, *, is_flat: bool) -> Verdict:
    """One word for the best against another point.

    Args:
        difference: By how much the best is better.
        half: Half the width of the difference's interval.
        delta: The difference that matters, if it is known.
        is_flat: Whether the surface may be flat; then nothing can be told.
    """
    if is_flat:
        return "cannot tell"
    if difference - half > 0:
        return "better"
    if delta is not None and abs(difference) + half <= delta:
        return "as good"
    return "cannot tell"


def worth(difference: float, slope: float) -> float | None:
    """How much more compute gains as much as a difference of loss, a fraction.

    The loss falls by slope · log(1 + fraction); below 0 for a difference below 0.
    """
    if slope <= 0:
        return None
    try:
        return math.expm1(difference / slope)
    except OverflowError:
        return math.inf


def trainings_to_tell(now: int, half: float, delta: float) -> int:
    """About how many trainings make an interval as narrow as the difference that matters.

    Half a width falls with the root of the trainings: now · (half / delta)²; always more than now,
    and `MOST_TRAININGS` + 1 for anything above that.
    """
    # Cut off before the square, which a tiny delta would take out of range.
    widths = min(half / delta, math.sqrt(MOST_TRAININGS + 1))
    return min(max(math.ceil(now * widths**2), now + 1), MOST_TRAININGS + 1)
