"""The answer of a results table, and what it rests on."""

from dataclasses import dataclass

import pandas as pd

from scaling_search.answer.diagnosis import Diagnosis, diagnose
from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import observations
from scaling_search.answer.verdicts import Answer, answer
from scaling_search.core.scaling import DIMENSIONS

OTHER = {"val_loss": "val_accuracy", "val_accuracy": "val_loss"}


@dataclass(frozen=True, eq=False)
class Conclusion:
    """The answer of a results table.

    Attributes:
        answer: By the surface; None where none can be fitted.
        diagnosis: Variance components and tests of the fit; None as above.
        by_other: The answer by the metric that is not the objective; None where it has none.
        missing: Why no surface is fitted; empty where one is.
        sentences: All of it in words; `Run.conclusion` has them.
    """

    answer: Answer | None
    diagnosis: Diagnosis | None = None
    by_other: Answer | None = None
    missing: str = ""
    sentences: tuple[str, ...] = ()

    def comparisons(self) -> pd.DataFrame:
        """The best split and each reference as columns; empty without an answer."""
        rows = []
        for one in self.answer.comparisons if self.answer else ():
            difference, compute = one.verdict.difference, one.compute
            row: dict[str, object] = {"split": one.name}
            row |= {f"{d}_share": s for d, s in zip(DIMENSIONS, one.shares, strict=True)}
            row["prediction"] = one.prediction.mean
            row |= {"low": one.prediction.low, "high": one.prediction.high}
            row |= {"distance": one.distance, "is_possible": one.is_possible}
            row["difference"] = difference.mean
            row |= {"difference_low": difference.low, "difference_high": difference.high}
            row["compute"] = compute and compute.mean
            row |= {
                "compute_low": compute and compute.low,
                "compute_high": compute and compute.high,
            }
            row |= {"verdict": one.verdict.outcome, "trainings": one.trainings}
            rows.append(row)
        return pd.DataFrame(rows)


def conclude(
    results: pd.DataFrame, *, objective: str, target: float, delta: float | None
) -> Conclusion:
    """Returns the best split at the target's cost, or what is missing for it.

    Args:
        results: As `results.results_table` gives it.
        objective: ``val_loss`` or ``val_accuracy``.
        target: Cost over the base network's.
        delta: The difference that matters, in units of the objective; None for what 20 % more
            compute is worth.
    """
    try:
        surface = fit_surface(observations(results, response=objective, target=target))
    except ValueError as error:
        return Conclusion(None, missing=str(error))
    try:
        other = fit_surface(observations(results, response=OTHER[objective], target=target))
    except ValueError:
        by_other = None
    else:
        by_other = answer(other)
    return Conclusion(answer(surface, delta=delta), diagnose(surface), by_other)
