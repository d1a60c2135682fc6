"""What the fitted surface says, in words and as a table; where it cannot say, why not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling_search.answer.diagnosis import Diagnosis, diagnose
from scaling_search.answer.fit import FTest, fit_surface
from scaling_search.answer.observations import observations
from scaling_search.answer.region import LEVEL
from scaling_search.answer.verdicts import MOST_TRAININGS, Answer, Comparison, answer
from scaling_search.core.formatting import coefficient, difference, level
from scaling_search.core.scaling import DIMENSIONS, Shares

SAME = 0.01
"""A reference so near to the best split is the same and not compared with it."""

OTHER = {"val_loss": "val_accuracy", "val_accuracy": "val_loss"}


@dataclass(frozen=True, eq=False)
class Conclusion:
    """What a results table says of the best split.

    Attributes:
        answer: By the surface; None where none can be fitted.
        diagnosis: How large each kind of luck is; None as above.
        sentences: Both in words, or what is missing.
    """

    answer: Answer | None
    diagnosis: Diagnosis | None
    sentences: tuple[str, ...]

    def comparisons(self) -> pd.DataFrame:
        """The best split and each reference as columns; empty without an answer."""
        if self.answer is None:
            return pd.DataFrame()
        return pd.DataFrame([_row(c) for c in self.answer.comparisons])


def conclude(
    results: pd.DataFrame, *, objective: str, target: float, delta: float | None
) -> Conclusion:
    """What the trainings say of the best split at the target's cost.

    Args:
        results: As `results.results_table` gives it.
        objective: The response, ``val_loss`` or ``val_accuracy``, declared before.
        target: Cost over the base network's.
        delta: The difference that matters, in units of the response; None for what 20 % more
            compute is worth.
    """
    try:
        surface = fit_surface(observations(results, response=objective, target=target))
    except ValueError as error:
        return Conclusion(None, None, (f"No surface is fitted: {error}.",))
    found, luck = answer(surface, delta=delta), diagnose(surface)
    said = [*_about_best(found, luck), _about_found(found, results)]
    said += [*_about_region(found, luck), *_about_references(found, luck), _about_luck(found, luck)]
    said += _about_misfit(luck)
    try:
        other = fit_surface(observations(results, response=OTHER[objective], target=target))
    except ValueError:
        return Conclusion(found, luck, tuple(said))
    said += contradiction(found, answer(other))
    return Conclusion(found, luck, tuple(said))


def _about_best(found: Answer, luck: Diagnosis) -> list[str]:
    region, best = found.region, found.comparisons[0]
    at = _shares(best.shares)
    edge = ""
    if region.is_at_edge:
        edge = ", on an edge of the triangle"
    elif region.is_at_limit:
        edge = ", at the limit of what was searched, so that it may lie beyond"
    if region.is_everything:
        return [
            (
                "Whether the split matters cannot be told: a flat surface would give as much "
                f"difference by chance ({_p(found.flat)}). The best split may be any that was "
                f"searched; {at}{edge}, is a guess."
            )
        ]
    value = level(best.prediction, found.surface.observations.response)
    low, high = (level(end, found.surface.observations.response) for end in (best.low, best.high))
    return [
        (
            f"The split matters ({_p(found.flat)} against a flat surface). The surface is best at "
            f"{at}{edge}: {value} ({low} to {high}){_but(luck)}."
        )
    ]


def _about_found(found: Answer, results: pd.DataFrame) -> str:
    """The coefficients to use: those of the network nearest to the best point."""
    row = results[results["candidate"] == found.found].iloc[0]
    triple = ", ".join(f"{name} {coefficient(name)(row)}" for name in ("alpha", "beta", "gamma"))
    guess = ", a guess" if found.region.is_everything else ""
    return (
        f"Found{guess}: {triple}; network {found.found}, {found.found_distance:.2f} away from it."
    )


def _about_region(found: Answer, luck: Diagnosis) -> list[str]:
    region = found.region
    if region.is_everything:
        return []
    extents = ", ".join(
        f"{name} {a:.2f} to {b:.2f}"
        for name, a, b in zip(DIMENSIONS, region.low, region.high, strict=True)
    )
    return [
        (
            f"With 95 % confidence the best split has shares of {extents}: {region.area:.0%} of "
            f"the triangle, {len(found.possible)} of {len(region.networks)} networks"
            f"{_but(luck)}."
        ),
        *_about_best_mean(found),
    ]


def _about_best_mean(found: Answer) -> list[str]:
    """Whether the network of the best mean is one that can be the best."""
    data = found.surface.observations
    means = np.bincount(data.network, weights=found.surface.corrected()) / data.counts
    best = int(means.argmin())
    if found.region.networks[best]:
        return []
    lead = "by the surface, its lead is luck or its own and not its split's"
    return [f"Network {data.candidates[best]}, the best mean, is not among them: {lead}."]


def _about_references(found: Answer, luck: Diagnosis) -> list[str]:
    by_verdict: dict[str, list[str]] = {}
    for comparison in found.comparisons[1:]:
        if comparison.shares.distance(found.region.best) < SAME:
            continue  # the best split itself
        by_verdict.setdefault(comparison.verdict or "too far", []).append(comparison.name)
    ends = {
        "better": "it is better than {}",
        "as good": "as good as {}",
        "cannot tell": "it cannot be told from {}",
        "too far": "no trained network is near enough to {} to say",
    }
    said = [ends[v].format(", ".join(by_verdict[v])) for v in ends if v in by_verdict]
    return [f"Against the references: {'; '.join(said)}{_but(luck)}."]


def _about_luck(found: Answer, luck: Diagnosis) -> str:
    response = found.surface.observations.response
    said = []
    if luck.seed_sd is None:
        said.append("no network has two seeds, so luck of the seed is not known")
    else:
        said.append(f"seeds vary a network by {difference(luck.seed_sd, response)}")
        if luck.shared_fraction is not None:
            said.append(f"{luck.shared_fraction:.0%} of that variance is common to all networks")
        said.append(
            f"networks scatter around the surface by {difference(luck.network_sd, response)}"
        )
    if luck.left_out_error is not None:
        missed = difference(luck.left_out_error, response)
        said.append(f"a network left out is missed by {missed}")
    return f"Luck (standard deviations): {'; '.join(said)}."


def _about_misfit(luck: Diagnosis) -> list[str]:
    tests = {
        "networks lie farther from it than their seeds explain": luck.lack_of_fit,
        "the product of all three shares would help": luck.triple_product,
    }
    found = [f"{why} ({_p(test)})" for why, test in tests.items() if _is_significant(test)]
    return [f"Warning: a quadratic surface misfits: {' and '.join(found)}."] if found else []


def contradiction(found: Answer, other: Answer) -> list[str]:
    """Whether the measure that was not declared puts the best split elsewhere."""
    if found.region.is_everything or other.region.is_everything:
        return []
    name = "accuracy" if other.surface.observations.response == "val_accuracy" else "loss"
    at = _shares(other.region.best)
    shared = bool((found.region.mask & other.region.mask).any())
    if shared:
        return [f"By {name} the best is {at}; the two regions overlap."]
    return [f"Warning: by {name} the best is {at}, and the two regions have nothing in common."]


def _row(comparison: Comparison) -> dict[str, object]:
    row: dict[str, object] = {"split": comparison.name}
    row |= {f"{d}_share": s for d, s in zip(DIMENSIONS, comparison.shares, strict=True)}
    for name in (
        "prediction",
        "low",
        "high",
        "distance",
        "is_possible",
        "difference",
        "difference_low",
        "difference_high",
        "compute",
        "compute_low",
        "compute_high",
        "verdict",
        "trainings",
    ):
        row[name] = getattr(comparison, name)
    return row


def comparison_cells(found: Answer) -> list[list[str]]:
    """The comparisons for people: a header and a line for each split."""
    response = found.surface.observations.response
    header = ["split", "shares d / w / r", "predicted", "the best is better by", "compute"]
    return [
        [*header, "the best is"],
        *(_cells(comparison, response, found.region.best) for comparison in found.comparisons),
    ]


def _cells(comparison: Comparison, response: str, best: Shares) -> list[str]:
    shares = " / ".join(f"{share:.2f}" for share in comparison.shares)
    cells = [comparison.name, shares, level(comparison.prediction, response)]
    if comparison.shares.distance(best) < SAME:
        return [*cells, "–", "–", "–" if comparison.name == "best" else "the same"]
    size, low, high = (
        difference(value, response).removesuffix(" points")
        for value in (comparison.difference, comparison.difference_low, comparison.difference_high)
    )
    worth = "–" if comparison.compute is None else f"{comparison.compute:+.0%}"
    return [*cells, f"{size} ({low} to {high})", worth, _word(comparison)]


def _word(comparison: Comparison) -> str:
    if comparison.verdict is None:
        return "too far to say"
    if comparison.trainings is None:
        return comparison.verdict
    needed = comparison.trainings
    number = "over 1,000" if needed > MOST_TRAININGS else f"{needed:,}"
    return f"{comparison.verdict}; {number} trainings"


def _shares(shares: Shares) -> str:
    return ", ".join(f"{d} {s:.2f}" for d, s in zip(DIMENSIONS, shares, strict=True))


def _p(test: FTest | None) -> str:
    assert test is not None
    return "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"


def _is_significant(test: FTest | None) -> bool:
    return test is not None and test.p_value < LEVEL


def _but(luck: Diagnosis) -> str:
    """What every sentence with an interval says where the surface misfits."""
    misfits = _is_significant(luck.lack_of_fit) or _is_significant(luck.triple_product)
    return ", if a quadratic surface is right, which the misfit below doubts" if misfits else ""
