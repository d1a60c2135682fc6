"""Metrics: the scores of a trained network, their directions, and how they are written."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["min", "max"]

SMALL = 0.01
"""Value of a user's metric below which it has more decimals."""

MEAN, SPREAD = "_mean", "_sd"
"""Ends of the columns that a table of networks has for a metric."""


@dataclass(frozen=True)
class Metric:
    """A score of a trained network on the validation split.

    Attributes:
        name: Name of its column.
        direction: ``min`` if smaller is better, ``max`` if greater is; None if that is unknown, so
            that values are shown and not compared.
        noun: Its name in a sentence.
        title: Its name in a title.
        unit: Unit of a value, empty if it has none.
        is_percent: True for a fraction that is written in percent, its differences in points.
        decimals: Most decimals of a written difference; None for as many as its size needs.
    """

    name: str
    direction: Direction | None
    noun: str
    title: str
    unit: str = ""
    is_percent: bool = False
    decimals: int | None = None

    def __str__(self) -> str:
        """The name of its column."""
        return self.name

    @property
    def is_known(self) -> bool:
        """True for a metric of this package's own training."""
        return self.name in KNOWN

    @property
    def sign(self) -> float:
        """Factor that makes it a loss, and a loss the metric again."""
        assert self.direction is not None  # nothing compares values without one
        return -1.0 if self.direction == "max" else 1.0

    @property
    def best(self) -> str:
        """Word for the best of several values."""
        return "highest" if self.direction == "max" else "lowest"

    @property
    def heading(self) -> str:
        """Its short name at the beginning of a title; a user's as it is."""
        return self.noun.capitalize() if self.is_known else self.noun

    @property
    def on_test(self) -> str:
        """Name of the column of the same score on the test split."""
        return f"test_{self.name.removeprefix('val_')}"

    @property
    def other(self) -> "Metric | None":
        """The other metric of this package's own training; None for a user's."""
        return next(
            (one for one in KNOWN.values() if self.is_known and one.name != self.name), None
        )

    @property
    def scale(self) -> float:
        """Factor of a value when it is written."""
        return 100.0 if self.is_percent else 1.0

    @property
    def header(self) -> str:
        """Head of a column of values."""
        return self._in_unit(self.noun, "%" if self.is_percent else self.unit)

    @property
    def gain_header(self) -> str:
        """Head of a column of gains."""
        return self._in_unit("gain", self.difference_unit)

    @property
    def difference_unit(self) -> str:
        """Unit of a difference of two values."""
        return "points" if self.is_percent else self.unit

    @property
    def axis(self) -> str:
        """Label of an axis."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @staticmethod
    def _in_unit(name: str, unit: str) -> str:
        return f"{name}, {unit}" if unit else name

    def level_decimals(self, value: float, *, in_table: bool) -> int:
        """Decimals of a value, one more in a table than in a sentence."""
        if self.decimals is None:
            fewest = significant(value, 4 + in_table)
            return fewest if abs(value) < SMALL else min(fewest, 3 + in_table)
        return self.decimals - (not in_table)

    def difference_decimals(self, size: float) -> int:
        """Decimals of differences: two digits of their error, or of the difference itself."""
        most, scaled = self.decimals, abs(size) * self.scale
        if most is None:
            return significant(scaled, 2)
        if not math.isfinite(scaled) or not round(scaled, most):
            return most - 1
        return min(most, max(most - 1, 1 - math.floor(math.log10(scaled))))


def significant(value: float, digits: int) -> int:
    """Decimals that show so many significant digits, at most 12."""
    if not math.isfinite(value) or value == 0:
        return digits - 1
    return min(12, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


VAL_ACCURACY = Metric(
    "val_accuracy", "max", "accuracy", "Validation accuracy", is_percent=True, decimals=2
)
VAL_LOSS = Metric("val_loss", "min", "loss", "Validation loss", unit="nats", decimals=4)

KNOWN = {one.name: one for one in (VAL_ACCURACY, VAL_LOSS)}
"""Metrics of this package's own training, in the order of tables."""


def metric_of(name: str, direction: Direction | None = None) -> Metric:
    """The metric of a name; that of a user's training needs a direction.

    Raises:
        ValueError: The name or the direction is not possible.
    """
    known = KNOWN.get(name)
    if known is None and direction is None:
        raise ValueError(
            f"objective must be {' or '.join(map(repr, reversed(KNOWN)))}, got {name!r}; for a "
            "metric of your own training add objective_direction=min or objective_direction=max"
        )
    if known is not None and direction not in {None, known.direction}:
        raise ValueError(
            f"objective_direction must be {known.direction} for {name}, got {direction!r}; leave "
            "it out"
        )
    if not name.isidentifier() or name.startswith("test_"):
        raise ValueError(
            f"objective must be a name of letters, digits and _ that does not begin with test_, "
            f"got {name!r}; give it another"
        )
    return known or Metric(name, direction, name, name)


def shown(objective: Metric, names: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of a table, the objective first.

    Args:
        objective: The metric that decides.
        names: Names of those that the table has; others than this package's have no direction.
    """
    others = [metric_in(name) for name in names if name != objective.name]
    return objective, *others


def metric_in(name: str, objective: Metric | None = None) -> Metric:
    """The metric of a column; one that is neither known nor the objective has no direction."""
    if objective is not None and name == objective.name:
        return objective
    return KNOWN.get(name) or Metric(name, None, name, name)
