"""The found network against others, trained with fresh seeds and evaluated on the test split."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scaling_search.answer.detectable import POWER, smallest_difference
from scaling_search.answer.fit import LEVEL
from scaling_search.answer.observations import Values
from scaling_search.answer.verdicts import Estimate, Verdict, outcome
from scaling_search.core.metric import VAL_LOSS, Metric
from scaling_search.record.record import FinalTest, Record
from scaling_search.record.results import Row, scores_on_test

SPLITS = ("test", "validation")


def num_seeds_needed(seed_sd: float, delta: float) -> int:
    """Fewest seeds of each network, at least 2, with which a t-test at 5 % has power 0.8.

    Degrees of freedom are those of two independent arms; a test of n pairs has half of them and
    would need one more.

    Args:
        seed_sd: Standard deviation over seeds, without what networks share.
        delta: The difference, in the same unit.
    """
    normal = float(stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER))
    num_seeds = max(2, math.floor(2 * (normal * seed_sd / delta) ** 2))  # never more than needed
    while smallest_difference(seed_sd * math.sqrt(2 / num_seeds), 2 * (num_seeds - 1)) > delta:
        num_seeds += 1
    return num_seeds


def over_seeds(differences: Values) -> Estimate:
    """The mean of at least two differences within a seed, by Student's t."""
    variance = float(differences.var(ddof=1)) / len(differences)
    return _interval(float(differences.mean()), variance, len(differences) - 1)


def over_seeds_and_images(differences: Values) -> Estimate:
    """The mean of differences (seeds, images) over the populations of seeds and of images.

    Seeds and images are crossed random effects: the mean's variance is (M_s + M_i - M_e) / (s·i)
    with the mean squares of seeds, of images and of the residual; taken at least as large as
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


@dataclass(frozen=True)
class PairedComparison:
    """The found network against another by one metric on one split.

    Attributes:
        split: ``test`` or ``validation``.
        measure: The metric, of either split.
        pairs: Number of seeds that ended in both.
        found: Mean of the found network.
        other: Mean of the other.
        verdict: Against ``paper`` or ``base``.
    """

    split: str
    measure: Metric
    pairs: int
    found: float
    other: float
    verdict: Verdict


@dataclass(frozen=True)
class Optimism:
    """Gain of a network's mean in the search over its mean with fresh seeds.

    Attributes:
        searched: Its mean in the search, on the validation split.
        size: The gain, above 0 where the search was optimistic.
        error: Standard error, from the scatter of both.
        half: Half the width of a 95 % interval.
    """

    searched: float
    size: float
    error: float
    half: float


@dataclass(frozen=True)
class Confirmation:
    """Trainings with fresh seeds that were evaluated on the test split.

    Attributes:
        look: Networks and seeds that were trained.
        number: Evaluations of the test split so far, this one counted.
        rows: By candidate and seed, failed ones too.
    """

    look: FinalTest
    number: int
    rows: Mapping[tuple[int, int], Row]

    @classmethod
    def last(cls, record: Record) -> "Confirmation | None":
        """The last evaluation of the test split; None before there was one."""
        looks = [(number, look) for number, look in enumerate(record.final_tests, 1) if look.when]
        if not looks:
            return None
        number, look = looks[-1]
        wanted = {(arm, seed) for arm in look.arms.values() for seed in look.seeds}
        rows = {(int(str(row["candidate"])), int(str(row["seed"]))): row for row in record.rows()}
        return cls(look, number, {key: row for key, row in rows.items() if key in wanted})

    @property
    def others(self) -> list[str]:
        """Arms that are another network than the found one."""
        arms = self.look.arms
        return [other for other in ("paper", "base") if arms[other] != arms["found"]]

    @property
    def num_failed(self) -> int:
        """Number of failed trainings."""
        return sum(row["state"] != "COMPLETE" for row in self.rows.values())

    def ended(self, arm: str) -> dict[int, Row]:
        """An arm's trainings that did not fail, by seed."""
        number = self.look.arms[arm]
        rows = {seed: self.rows.get((number, seed)) for seed in self.look.seeds}
        return {seed: row for seed, row in rows.items() if row and row["state"] == "COMPLETE"}

    def pairs(self, other: str) -> list[tuple[Row, Row]]:
        """The trainings of the found and of another arm, by seed, where neither failed."""
        found, against = self.ended("found"), self.ended(other)
        return [(found[seed], against[seed]) for seed in found if seed in against]

    def comparisons(self, objective: Metric) -> list[PairedComparison]:
        """All comparisons with an interval: test before validation, the objective first."""
        return [
            self._comparison(other, split, measure)
            for other in self.others
            if len(self.pairs(other)) > 1
            for split in (SPLITS if self.has_test(objective) else SPLITS[1:])
            for measure in self.measures(objective)
        ]

    def measures(self, objective: Metric) -> list[Metric]:
        """The objective, and this package's other metric where all trainings have it."""
        other = objective.other
        if other is None or other.name not in self.look.searched:
            return [objective]
        names = {other.name, *([other.on_test] if self.has_test(objective) else [])}
        ended = [row for row in self.rows.values() if row["state"] == "COMPLETE"]
        has_all = all(row.get(name) is not None for row in ended for name in names)
        return [objective, other] if has_all else [objective]

    def has_test(self, objective: Metric) -> bool:
        """True if all finished trainings have the objective on the test split."""
        ended = [row for row in self.rows.values() if row["state"] == "COMPLETE"]
        return all(row.get(objective.on_test) is not None for row in ended)

    def _comparison(self, other: str, split: str, measure: Metric) -> PairedComparison:
        found, against = (
            np.array([_values(row, split, measure) for row in rows])
            for rows in zip(*self.pairs(other), strict=True)
        )
        gains = measure.sign * (against - found)
        difference = over_seeds(gains) if gains.ndim == 1 else over_seeds_and_images(gains)
        delta = self.look.delta if measure.name == self.look.objective else None
        verdict = Verdict(other, difference, outcome(difference, delta))
        means = float(found.mean()), float(against.mean())
        return PairedComparison(split, measure, len(gains), *means, verdict)

    def optimism(self, measure: Metric) -> Optimism | None:
        """The optimism of the search about the found network; None without a standard error."""
        searched = np.array(self.look.searched[measure.name])
        fresh = np.array(
            [_values(row, "validation", measure) for row in self.ended("found").values()]
        )
        freedom = len(searched) + len(fresh) - 2
        if not len(searched) or not len(fresh) or freedom < 1:
            return None
        squares = sum(float(((x - x.mean()) ** 2).sum()) for x in (searched, fresh))
        error = math.sqrt(squares / freedom * (1 / len(searched) + 1 / len(fresh)))
        size = measure.sign * float(fresh.mean() - searched.mean())
        half = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
        return Optimism(float(searched.mean()), size, error, half)


def _values(row: Row, split: str, measure: Metric) -> Values:
    """One value of a training; on the test split one for each image where they are recorded."""
    if split == "validation":
        return np.array(row[measure.name], dtype=float)
    scores = scores_on_test(row)
    if scores is None:  # a training of the user's own has one value
        return np.array(row[measure.on_test], dtype=float)
    return scores.losses if measure == VAL_LOSS else scores.hits
