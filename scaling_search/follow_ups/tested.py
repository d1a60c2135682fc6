"""A search's winner trained anew, in numbers: how much better it is, and how sure that is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from scaling_search.answer.observations import Values
from scaling_search.answer.power import smallest_difference
from scaling_search.answer.region import LEVEL
from scaling_search.record.study import FinalTest, Objective, Row, scores_on_test

Verdict = Literal["better", "worse", "as good", "cannot tell"]

MEASURES: tuple[Objective, ...] = ("val_loss", "val_accuracy")
SPLITS = ("test", "validation")


def num_seeds_needed(seed_sd: float, delta: float) -> int:
    """The fewest trainings of each network, at least 2, that find a true difference in 80 %.

    Of a t-test of two networks at 5 %. Degrees of freedom are those of two independent arms; a
    test of n pairs has half of them and would need one more.

    Args:
        seed_sd: Standard deviation over seeds, what they share taken out.
        delta: The difference, in the same unit.
    """
    normal = float(stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(0.8))
    num_seeds = max(2, math.floor(2 * (normal * seed_sd / delta) ** 2))  # never more than needed
    while _found_by(num_seeds, seed_sd) > delta:
        num_seeds += 1
    return num_seeds


def _found_by(num_seeds: int, seed_sd: float) -> float:
    return smallest_difference(seed_sd * math.sqrt(2 / num_seeds), 2 * (num_seeds - 1))


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def over_seeds(differences: Values) -> Estimate:
    """The mean of at least two differences within a seed, by Student's t."""
    variance = float(differences.var(ddof=1)) / len(differences)
    return _interval(float(differences.mean()), variance, len(differences) - 1)


def over_seeds_and_images(differences: Values) -> Estimate:
    """The mean of differences (seeds, images) over all seeds and all images that could be drawn.

    Seeds and images are crossed random effects: the mean's variance is (M_s + M_i - M_e) / (s·i)
    with the mean squares of seeds, of images and of what is left; taken at least as large as
    either effect's own, M / (s·i), with Satterthwaite's degrees of freedom.

    Source: Searle, Casella & McCulloch 1992, Section 4.3 (expected mean squares, two-way crossed
    without replicates); Satterthwaite 1946.

    Args:
        differences: At least two seeds and two images.
    """
    num_seeds, num_images = differences.shape
    by_seed, by_image = differences.mean(axis=1), differences.mean(axis=0)
    mean = float(by_seed.mean())
    of_seeds = float(by_seed.var(ddof=1)) / num_seeds
    of_images = float(by_image.var(ddof=1)) / num_images
    left = differences - by_seed[:, None] - by_image + mean
    freedom = (num_seeds - 1) * (num_images - 1)
    of_rest = float((left**2).sum()) / freedom / differences.size
    variance = max(of_seeds + of_images - of_rest, of_seeds, of_images)
    spread = of_seeds**2 / (num_seeds - 1) + of_images**2 / (num_images - 1) + of_rest**2 / freedom
    return _interval(mean, variance, variance**2 / spread if spread else 1.0)


def _interval(mean: float, variance: float, freedom: float) -> Estimate:
    half = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half)


def verdict(estimate: Estimate, delta: float | None) -> Verdict:
    """One word for the found network, above 0 being better.

    Args:
        estimate: By how much it is better.
        delta: The difference that matters, if it is known.
    """
    if estimate.low > 0:
        return "better"
    if estimate.high < 0:
        return "worse"
    if delta is not None and max(-estimate.low, estimate.high) <= delta:
        return "as good"
    return "cannot tell"


@dataclass(frozen=True)
class Contrast:
    """The found network against another by one measure on one split.

    Attributes:
        other: ``paper`` or ``base``.
        split: ``test`` or ``validation``.
        measure: ``val_loss`` or ``val_accuracy``, of whichever split.
        pairs: Seeds that ended in both.
        found: Mean of the found network over them.
        against: Mean of the other.
        better_by: By how much the found one is better, a gain above 0.
        verdict: What it is.
    """

    other: str
    split: str
    measure: Objective
    pairs: int
    found: float
    against: float
    better_by: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class Optimism:
    """How much better a network looked in the search than with fresh seeds.

    Attributes:
        measure: Of the validation split.
        searched: Its mean in the search.
        size: How much better that is than its mean with fresh seeds.
        error: Standard error, from the scatter of both.
        half: Half the width of a 95 % interval.
    """

    measure: Objective
    searched: float
    size: float
    error: float
    half: float


@dataclass(frozen=True)
class Tested:
    """The trainings of a look at the test split that ended.

    Attributes:
        look: What was trained.
        rows: By candidate and seed, failed ones too.
    """

    look: FinalTest
    rows: Mapping[tuple[int, int], Row]

    @property
    def others(self) -> list[str]:
        """Arms that are another network than the found one."""
        arms = self.look.arms
        return [other for other in ("paper", "base") if arms[other] != arms["found"]]

    @property
    def num_failed(self) -> int:
        """Trainings without a result."""
        return sum(row["state"] != "COMPLETE" for row in self.rows.values())

    def ended(self, arm: str) -> dict[int, Row]:
        """An arm's trainings that did not fail, by seed."""
        number = self.look.arms[arm]
        rows = {seed: self.rows.get((number, seed)) for seed in self.look.seeds}
        return {seed: row for seed, row in rows.items() if row and row["state"] == "COMPLETE"}

    def pairs(self, other: str) -> list[tuple[Row, Row]]:
        """The trainings of the found and of another arm, seed by seed, where neither failed."""
        found, against = self.ended("found"), self.ended(other)
        return [(found[seed], against[seed]) for seed in found if seed in against]

    def contrasts(self, objective: Objective) -> list[Contrast]:
        """All that can be told: test before validation, the objective before the other measure."""
        measures = sorted(MEASURES, key=lambda measure: measure != objective)
        return [
            self._contrast(other, split, measure)
            for other in self.others
            if len(self.pairs(other)) > 1
            for split in SPLITS
            for measure in measures
        ]

    def _contrast(self, other: str, split: str, measure: Objective) -> Contrast:
        found, against = (
            np.array([_values(row, split, measure) for row in rows])
            for rows in zip(*self.pairs(other), strict=True)
        )
        gains = _sign(measure) * (found - against)
        better_by = over_seeds(gains) if gains.ndim == 1 else over_seeds_and_images(gains)
        delta = self.look.delta if measure == self.look.objective else None
        return Contrast(
            other,
            split,
            measure,
            len(gains),
            float(found.mean()),
            float(against.mean()),
            better_by,
            verdict(better_by, delta),
        )

    def optimism(self, measure: Objective) -> Optimism | None:
        """What the search's choice by luck added; None where the error is not known."""
        searched = np.array(self.look.searched[measure])
        fresh = np.array(
            [_values(row, "validation", measure) for row in self.ended("found").values()]
        )
        freedom = len(searched) + len(fresh) - 2
        if not len(searched) or not len(fresh) or freedom < 1:
            return None
        squares = sum(float(((x - x.mean()) ** 2).sum()) for x in (searched, fresh))
        error = math.sqrt(squares / freedom * (1 / len(searched) + 1 / len(fresh)))
        return Optimism(
            measure,
            float(searched.mean()),
            _sign(measure) * float(searched.mean() - fresh.mean()),
            error,
            float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error,
        )


def _sign(measure: Objective) -> int:
    return 1 if measure == "val_accuracy" else -1


def _values(row: Row, split: str, measure: Objective) -> Values:
    """One value of a training on the validation split, one for each image on the test split."""
    if split == "validation":
        return np.array(row[measure], dtype=float)
    scores = scores_on_test(row)
    assert scores is not None
    return scores.losses if measure == "val_loss" else scores.hits
