"""The rule against each reference: difference, interval, verdict."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from scaling_search.answer.fit import LEVEL, FTest, Surface, flatness
from scaling_search.answer.observations import Values
from scaling_search.answer.region import (
    Hull,
    Region,
    band_threshold,
    find_region,
    in_region,
    simultaneous_threshold,
)
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import as_points, distances, scheffe

MUCH_COMPUTE = 0.2
"""The gain of this much more compute is the difference that matters, unless another is given."""

FARTHEST = 0.25
"""Largest distance to the nearest trained network at which a point is still judged."""


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
    """The rule (the best split by the fit) against a reference, in units of the metric.

    Attributes:
        name: ``rule`` or one of `REFERENCES`.
        verdict: Verdict of the rule; the intervals of all references hold at once. None for
            the rule itself, and for a reference that was not searched.
        shares: Shares of the reference.
        prediction: The surface there, at exactly the target's cost; the interval of the rule
            holds for all that was searched, because the losses chose it.
        distance: To the nearest trained network.
        is_possible: True if it is in the region of the rule.
        equal_cost: Cost at which the rule has the reference's loss, over the base network's;
            what lies under 1 is out of the measured range. None where that is not known.
    """

    name: str
    verdict: Verdict | None
    shares: Shares
    prediction: Estimate
    distance: float
    is_possible: bool
    equal_cost: Estimate | None


@dataclass(frozen=True, eq=False)
class Answer:
    """The rule (the best split by a fitted surface) and the best network.

    Attributes:
        surface: The fit.
        flat: F-test of a flat surface.
        region: The rule and its 95 % region; a guess while
            ``region.is_everything``.
        nearest: Number of the candidate nearest to the rule.
        network: Number of the candidate with the best expected metric: the surface and its own,
            shrunken effect.
        expected: Its expected metric at the target's cost.
        possible: Numbers of the candidates in the region.
        delta: The difference that matters, in units of the metric; None where it is not known what
            compute is worth and none was given.
        comparisons: The rule itself, then each of `REFERENCES`.
    """

    surface: Surface
    flat: FTest
    region: Region
    nearest: int
    network: int
    expected: float
    possible: tuple[int, ...]
    delta: float | None
    comparisons: tuple[Comparison, ...]

    @property
    def rule(self) -> Shares:
        """Shares of the rule, for other sizes."""
        return self.region.best

    def expected_of(self) -> dict[int, float]:
        """The expected metric of each trained network at the target's cost, by its number.

        Of the base network, number 0, it is its mean at its own cost.
        """
        data = self.surface.observations
        expected = data.sign * self.surface.expected()
        by_number = dict(zip(data.candidates.tolist(), expected.tolist(), strict=True))
        return {0: data.sign * self.surface.base_loss} | by_number


def answer(surface: Surface, *, delta: float | None = None) -> Answer:
    """Returns the rule and the best network of a fitted surface.

    Args:
        surface: The fit.
        delta: The difference that matters, in units of the metric; None for what 20 % more
            compute is worth.

    Raises:
        ValueError: The difference that matters is not positive.
    """
    if delta is not None and not 0 < delta < math.inf:
        raise ValueError(f"decide.delta must be positive, got {delta!r}; null for 20 % of compute")
    if delta is None:
        delta = worth_of(MUCH_COMPUTE, surface)
    data = surface.observations
    region = find_region(surface)
    to_best = distances(as_points([region.best]), data.shares)[0]
    expected = surface.expected()
    best = int(expected.argmin())
    return Answer(
        surface=surface,
        flat=flatness(surface),
        region=region,
        nearest=int(data.candidates[to_best.argmin()]),
        network=int(data.candidates[best]),
        expected=data.sign * float(expected[best]),
        possible=tuple(data.candidates[region.networks].tolist()),
        delta=delta,
        comparisons=_comparisons(surface, region, delta),
    )


def _comparisons(surface: Surface, region: Region, delta: float | None) -> tuple[Comparison, ...]:
    data = surface.observations
    references = as_points(list(REFERENCES.values()))
    points = np.vstack([as_points([region.best]), references])
    distance = distances(points, data.shares).min(axis=1)
    is_judged = Hull.of(surface.searched).holds(points) & (distance <= FARTHEST)
    is_judged &= distance[0] <= FARTHEST
    possible = [True, *in_region(surface, references)]
    threshold = math.nan
    if is_judged[1:].any():
        threshold = simultaneous_threshold(
            surface.covariance, surface.freedom, surface.searched, points[1:][is_judged[1:]]
        )
    own = float(stats.t.ppf(1 - LEVEL / 2, surface.freedom))
    widths = np.array([band_threshold(surface)] + [own] * len(references))
    widths *= surface.standard_error(points)
    comparisons = []
    for i, name in enumerate(["rule", *REFERENCES]):
        at, width = data.sign * float(surface.loss(points[[i]])[0]), float(widths[i])
        verdict, equal_cost = None, None
        if i > 0 and is_judged[i]:
            contrast = (scheffe(points[[i]]) - scheffe(points[:1]))[0]
            lead = float(contrast @ surface.coefficients)
            half = threshold * math.sqrt(float(contrast @ surface.covariance @ contrast))
            difference = Estimate(lead, lead - half, lead + half)
            # While the surface may be flat nothing is told.
            found = Outcome.CANNOT_TELL if region.is_everything else outcome(difference, delta)
            verdict = Verdict(name, difference, found)
            equal_cost = cost_of_equal(surface, points[0], points[i], threshold)
        comparisons.append(
            Comparison(
                name=name,
                verdict=verdict,
                shares=Shares(*points[i].tolist()),
                prediction=Estimate(at, at - width, at + width),
                distance=float(distance[i]),
                is_possible=bool(possible[i]),
                equal_cost=equal_cost,
            )
        )
    return tuple(comparisons)


def worth_of(compute: float, surface: Surface) -> float | None:
    """Difference that a fraction of more compute makes.

    None where that lies beyond the costs that were measured, from the base network's to the
    target's, or where the loss does not fall with them by more than chance.
    """
    span = abs(math.log(surface.observations.target))
    limit = float(stats.t.ppf(1 - LEVEL / 2, surface.freedom)) * surface.slope_error
    if math.log1p(compute) > span or surface.slope <= limit:
        return None
    return surface.slope * math.log1p(compute)


def gain_of_rule(found: Answer) -> Estimate:
    """The gain of the rule over the base network, in units of the metric, better above 0.

    The interval is one of those that hold for all splits that were searched, for the losses chose
    the rule.
    """
    surface, best = found.surface, as_points([found.rule])
    return _gain_over_base(surface, best, float(surface.loss(best)[0]), effect_sd=0.0)


def gain_of_network(found: Answer) -> Estimate:
    """The expected gain of the best network over the base network, better above 0.

    The interval is at least as wide as one that holds for all splits that were searched, and counts
    the network's own effect with its whole standard deviation, as if no seed had shown it.
    """
    surface = found.surface
    place = int(np.flatnonzero(surface.observations.candidates == found.network)[0])
    at = surface.observations.shares[[place]]
    expected = float(surface.expected()[place])
    return _gain_over_base(surface, at, expected, effect_sd=surface.network_sd)


def _gain_over_base(surface: Surface, at: Values, loss: float, *, effect_sd: float) -> Estimate:
    gain = surface.base_loss - loss
    errors = float(surface.standard_error(at)[0]), surface.base_error, effect_sd
    half = band_threshold(surface, over_base=True) * math.hypot(*errors)
    return Estimate(gain, gain - half, gain + half)


def cost_of_equal(surface: Surface, best: Values, other: Values, limit: float) -> Estimate | None:
    """Cost, over the base network's, at which the rule has another split's loss.

    The loss of the rule is linear in the log of the cost between the base network, where all
    splits meet, and the target. Its ends are those of the quotient of two estimates (Fieller 1954).

    Args:
        surface: The fit.
        best: Shares of the rule, (3,).
        other: Shares of the other, (3,).
        limit: Critical value, in standard errors.

    Returns:
        None for smaller networks, and where the rule gains nothing by more than chance.
    """
    span = math.log(surface.observations.target)
    terms = scheffe(np.vstack([best, other]))
    low, high = terms @ surface.coefficients
    covariance = terms @ surface.covariance @ terms.T
    error = surface.base_error**2
    # Of the gains over the base network: of the other split, and of the best.
    top, bottom = surface.base_loss - high, surface.base_loss - low
    top_variance, bottom_variance = covariance[1, 1] + error, covariance[0, 0] + error
    together = covariance[0, 1] + error
    square = bottom**2 - limit**2 * bottom_variance
    if span <= 0 or bottom <= 0 or square <= 0:
        return None
    middle = top * bottom - limit**2 * together
    root = math.sqrt(max(0.0, middle**2 - square * (top**2 - limit**2 * top_variance)))
    parts = (top / bottom, (middle - root) / square, (middle + root) / square)
    return Estimate(*(math.exp(span * min(part, 1.0)) for part in parts))
