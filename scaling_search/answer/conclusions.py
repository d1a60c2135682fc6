"""The answer of a results table, and what it rests on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling_search.answer.detectable import FEWEST_PLACES
from scaling_search.answer.diagnosis import Diagnosis, diagnose
from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import Observations, observations
from scaling_search.answer.outliers import (
    LeftOut,
    collapsed,
    outlying,
    without,
    without_trainings,
)
from scaling_search.answer.verdicts import Answer, answer
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.core.space_filling import PLACE


@dataclass(frozen=True, eq=False)
class Conclusion:
    """The answer of a results table.

    Attributes:
        answer: By the surface; None where it cannot be fitted, or places or seeds are too few.
        diagnosis: Variance components and tests of the fit; None as above.
        by_other: The answer by the metric that is not the objective; None where it has none.
        missing: Why there is no answer; empty where there is one.
        left_out: Trainings that collapsed or are outlying, by candidate and seed.
        with_all: The answer with these too; None where none is left out, or there is no answer.
        sentences: The same as sentences; filled by `Run.conclusion`.
    """

    answer: Answer | None
    diagnosis: Diagnosis | None = None
    by_other: Answer | None = None
    missing: str = ""
    left_out: tuple[LeftOut, ...] = ()
    with_all: Answer | None = None
    sentences: tuple[str, ...] = ()

    def kept(self, results: pd.DataFrame) -> pd.DataFrame:
        """The results without trainings left out, unless their network would have none."""
        whole = without_trainings(results, self.left_out)
        if len(whole) == len(results):
            return results
        has_others = results["candidate"].isin(whole.loc[whole["state"] == "COMPLETE", "candidate"])
        return results[results.index.isin(whole.index) | ~has_others]

    def comparisons(self) -> pd.DataFrame:
        """The rule and each reference as columns; empty without an answer."""
        rows = []
        for one in self.answer.comparisons if self.answer else ():
            row: dict[str, object] = {"split": one.name}
            row |= {f"{d}_share": s for d, s in zip(DIMENSIONS, one.shares, strict=True)}
            row["prediction"] = one.prediction.mean
            row |= {"low": one.prediction.low, "high": one.prediction.high}
            row |= {"distance": one.distance, "is_possible": one.is_possible}
            lead, cost = one.verdict and one.verdict.difference, one.equal_cost
            for name, value in (("difference", lead), ("equal_cost", cost)):
                row[name] = value and value.mean
                row |= {f"{name}_low": value and value.low, f"{name}_high": value and value.high}
            row["verdict"] = one.verdict and one.verdict.outcome
            rows.append(row)
        return pd.DataFrame(rows)


def conclude(
    results: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    objective: Metric,
    target: float,
    delta: float | None,
    num_classes: int,
) -> Conclusion:
    """Returns the rule and the network at the target's cost, or the reason for no answer.

    Args:
        results: As `results.results_table` gives it.
        curves: As `results.curves_table` gives it.
        objective: The metric that decides.
        target: Cost over the base network's.
        delta: The difference that matters, in units of the objective; None for what 20 % more
            compute is worth.
        num_classes: Number of labels.
    """
    bad = tuple(collapsed(results, curves, num_classes, objective))
    kept = without_trainings(results, bad)
    data = observations(kept, response=objective, target=target)
    found, base = outlying(data)
    far = [
        *zip(data.candidates[data.network[found]], data.seed[found], data.loss[found], strict=True),
        *(
            (0, seed, loss)
            for seed, loss in zip(data.base_seed[base], data.base_loss[base], strict=True)
        ),
    ]
    bad += tuple(LeftOut(int(c), int(s), "outlying", data.sign * float(v)) for c, s, v in far)
    bad = tuple(sorted(bad, key=lambda one: (one.candidate, one.seed)))
    used = without(data, found, base)
    try:
        _check_enough(used)
        surface = fit_surface(used)
    except ValueError as error:
        return Conclusion(None, missing=str(error), left_out=bad)
    whole, other = without_trainings(results, bad), objective.other
    by_other = None
    if other is not None and other.name in whole:
        by_other = _answer(observations(whole, response=other, target=target))
    every = observations(results, response=objective, target=target)
    return Conclusion(
        answer(surface, delta=delta),
        diagnose(surface),
        by_other,
        left_out=bad,
        with_all=_answer(every, delta) if bad else None,
    )


def _check_enough(data: Observations) -> None:
    """Checks that there are enough places and seeds for an answer."""
    failed = f" ({data.num_failed} failed)" if data.num_failed else ""
    missing = []
    if data.num_places < FEWEST_PLACES:
        missing.append(
            f"trained networks in {FEWEST_PLACES} places or more (networks whose shares differ by "
            f"at most {PLACE} count once), got {data.num_places}{failed}; for more places use "
            "candidates.max_networks=null, a wider candidates.tolerance or smaller divisors in "
            "base_network, with another out="
        )
    if data.counts.max(initial=0) < 2:
        missing.append(
            "a second seed of some networks, to measure noise, got none; num_seeds=1.25 trains a "
            "quarter of the networks with a second seed"
        )
    if missing:
        raise ValueError(f"an answer needs {'; and '.join(missing)}")


def _answer(data: Observations, delta: float | None = None) -> Answer | None:
    try:
        return answer(fit_surface(data), delta=delta)
    except (ValueError, np.linalg.LinAlgError):
        return None
