"""The answer of a search in words and as a printed table."""

import pandas as pd

from scaling_search.answer.conclusions import Conclusion
from scaling_search.answer.diagnosis import Diagnosis
from scaling_search.answer.verdicts import MOST_TRAININGS, Answer, Comparison, Outcome
from scaling_search.core.scaling import Shares
from scaling_search.display.formatting import (
    coefficient,
    difference,
    level,
    named_ranges,
    named_shares,
    p_value,
    with_interval,
)
from scaling_search.display.verdicts import PHRASES

SAME = 0.01
"""A reference nearer to the best split than this is the same and not compared with it."""


def answer_sentences(conclusion: Conclusion, results: pd.DataFrame) -> list[str]:
    """Returns a conclusion in sentences.

    Args:
        conclusion: The answer, or what is missing.
        results: The trainings that it rests on, as `results.results_table` gives them.
    """
    found, diagnosis = conclusion.answer, conclusion.diagnosis
    if found is None or diagnosis is None:
        return [f"No surface is fitted: {conclusion.missing}."]
    region = found.region
    guess = ", a guess" if region.is_everything else ""
    row = results[results["candidate"] == found.found].iloc[0]
    triple = ", ".join(f"{name} {coefficient(name)(row)}" for name in ("alpha", "beta", "gamma"))
    # Every sentence with an interval says where the surface misfits.
    misfit = ", if a quadratic surface fits, which the warning below doubts"
    misfit = misfit if diagnosis.misfits else ""
    said = [
        f"{_about_best(found, misfit)}.",
        f"Found{guess}: {triple}; network {found.found}, {found.found_distance:.2f} away from it.",
    ]
    if not region.is_everything:
        said.append(
            "With 95 % confidence the best split has shares of "
            f"{named_ranges(region.low, region.high)}: {region.area:.0%} of the triangle, "
            f"{len(found.possible)} of {len(region.networks)} networks{misfit}."
        )
        if found.best_mean not in found.possible:
            said.append(
                f"Network {found.best_mean} has the best mean and is not among them: it leads by "
                "luck or by something specific to it; its split does not explain the lead."
            )
    said += [f"{_about_references(found)}{misfit}.", _about_noise(diagnosis, found)]
    return [*said, *_about_misfit(diagnosis), *_about_other(found, conclusion.by_other)]


def _about_best(found: Answer, misfit: str) -> str:
    region, best = found.region, found.comparisons[0].prediction
    at = named_shares(region.best)
    if region.is_at_edge:
        at = f"{at}, on an edge of the triangle"
    elif region.is_at_limit:
        at = f"{at}, at the limit of what was searched, so that it may lie beyond"
    if region.is_everything:
        return (
            "These results cannot show that the split matters; noise alone could explain the "
            f"differences ({p_value(found.flat)}). The best split may be any that was searched; "
            f"{at}, is a guess"
        )
    response = found.surface.observations.response
    value, low, high = (level(one, response) for one in (best.mean, best.low, best.high))
    return (
        f"The split matters ({p_value(found.flat)} against a flat surface). The surface is best at "
        f"{at}: {value} ({low} to {high}){misfit}"
    )


def _about_references(found: Answer) -> str:
    by_outcome: dict[Outcome | None, list[str]] = {}
    for one in found.comparisons[1:]:
        if not _is_same(one, found.region.best):
            by_outcome.setdefault(one.verdict.outcome, []).append(one.name)
    said = [PHRASES[key].format(", ".join(by_outcome[key])) for key in PHRASES if key in by_outcome]
    return f"The best split against the references: {'; '.join(said)}"


def _about_noise(diagnosis: Diagnosis, found: Answer) -> str:
    response, said = found.surface.observations.response, []
    if diagnosis.seed_sd is None:
        said.append("no network has two seeds, so the noise of the seed is not known")
    else:
        said.append(f"seeds vary a network by {difference(diagnosis.seed_sd, response)}")
        if diagnosis.shared_fraction is not None:
            common = f"{diagnosis.shared_fraction:.0%} of that variance"
            said.append(f"{common} is common to all networks")
        scatter = difference(diagnosis.network_sd, response)
        said.append(f"networks scatter around the surface by {scatter}")
    if diagnosis.left_out_error is not None:
        error = difference(diagnosis.left_out_error, response)
        said.append(f"predicting a network from the others is off by {error}")
    return f"Noise (standard deviations): {'; '.join(said)}."


def _about_misfit(diagnosis: Diagnosis) -> list[str]:
    tests = {
        "networks lie farther from it than their seeds explain": diagnosis.lack_of_fit,
        "the product of all three shares would help": diagnosis.triple_product,
    }
    found = [f"{why} ({p_value(t)})" for why, t in tests.items() if t and t.is_significant]
    return [f"Warning: a quadratic surface misfits: {' and '.join(found)}."] if found else []


def _about_other(found: Answer, other: Answer | None) -> list[str]:
    """The best split by the metric that is not the objective."""
    if other is None or found.region.is_everything or other.region.is_everything:
        return []
    metric = other.surface.observations.response.removeprefix("val_")
    best = f"y {metric} the best is {named_shares(other.region.best)}"
    if (found.region.mask & other.region.mask).any():
        return [f"B{best}; the two regions overlap."]
    return [f"Warning: b{best}, and the two regions have nothing in common."]


def comparison_lines(found: Answer) -> list[list[str]]:
    """The printed table of comparisons: a header and a line for each split."""
    response = found.surface.observations.response
    header = ["split", "shares d / w / r", "predicted", "the best is better by", "compute"]
    lines = [[*header, "the best is"]]
    for one in found.comparisons:
        shares = " / ".join(f"{share:.2f}" for share in one.shares)
        line = [one.name, shares, level(one.prediction.mean, response)]
        if _is_same(one, found.region.best):
            line += ["–", "–", "–" if one.name == "best" else "the same"]
        else:
            line += [
                with_interval(one.verdict.difference, response, unit=False),
                "–" if one.compute is None else f"{one.compute.mean:+.0%}",
                _outcome(one),
            ]
        lines.append(line)
    return lines


def _is_same(one: Comparison, best: Shares) -> bool:
    return one.shares.distance(best) < SAME


def _outcome(one: Comparison) -> str:
    """The outcome, with the number of trainings that would decide."""
    if one.trainings is None:
        return one.verdict.outcome or "too far to say"
    number = "over 1,000" if one.trainings > MOST_TRAININGS else f"{one.trainings:,}"
    return f"{one.verdict.outcome}; {number} trainings"
