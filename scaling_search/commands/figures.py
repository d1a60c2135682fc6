"""Figures of a run, as matplotlib's, which a notebook shows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from scaling_search.answer.verdicts import Answer
from scaling_search.core.metric import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Figures:
    """Figures of a run's results, as they were when `Run.plot` was read.

    Attributes:
        out: The run's folder.
        coefficients: A row for each network.
        epochs: A row for each epoch of each training.
        families_table: A row for each member of each family; None before `scale`.
        answer: The rule and its region; None before there is a fit.
        objective: The metric that decides.
        equal: The quantity that all trainings share, as in `Recipe.equal`.
        label_smoothing: `Recipe.label_smoothing` of all trainings.
    """

    out: str
    coefficients: pd.DataFrame
    epochs: pd.DataFrame
    families_table: pd.DataFrame | None
    answer: Answer | None
    objective: Metric
    equal: str
    label_smoothing: float

    def accuracy(self) -> "Figure":
        """Accuracy, or the metric that decides, over FLOPs of the search's networks."""
        from scaling_search.display.plots.accuracy import accuracy_over_flops  # noqa: PLC0415  # late: slow

        return accuracy_over_flops(
            self.coefficients, self.answer, objective=self.objective, equal=self.equal
        )

    def triangle(self) -> "Figure":
        """The search's networks in the triangle of shares, with the rule and its region."""
        from scaling_search.display.plots.triangle import triangle_of_shares  # noqa: PLC0415  # late: slow

        return triangle_of_shares(self.coefficients, self.objective, self.answer, equal=self.equal)

    def curves(self) -> "Figure":
        """Metrics over epochs."""
        from scaling_search.display.plots.curves import training_curves  # noqa: PLC0415  # late: slow

        return training_curves(
            self.epochs,
            self.answer,
            objective=self.objective,
            equal=self.equal,
            label_smoothing=self.label_smoothing,
        )

    def comparisons(self) -> "Figure":
        """The rule against the reference splits, with intervals and verdicts.

        Raises:
            RuntimeError: There is no answer yet.
        """
        from scaling_search.display.plots.comparisons import comparison_chart  # noqa: PLC0415  # late: slow

        if self.answer is None:
            raise RuntimeError(
                f"out must hold an answer, got {self.out!r} without; `conclusion.missing` says "
                "what to add"
            )
        return comparison_chart(self.answer, equal=self.equal)

    def families(self) -> "Figure":
        """Accuracy over FLOPs of the families, whose cost is 2^phi times the base network's.

        Raises:
            RuntimeError: No family is trained yet.
        """
        from scaling_search.display.plots.families import family_curves  # noqa: PLC0415  # late: slow

        if self.families_table is None:
            raise RuntimeError(
                f"out must hold families, got none in {self.out!r}; train them with "
                "`scaling-search scale` or `scaling_search.scale`"
            )
        return family_curves(
            self.families_table, self.coefficients, objective=self.objective, equal=self.equal
        )
