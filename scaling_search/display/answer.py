"""The answer of a search in words and as a printed table."""

from collections.abc import Iterator

import pandas as pd

from scaling_search.answer.conclusions import Conclusion
from scaling_search.answer.diagnosis import Diagnosis
from scaling_search.answer.outliers import LeftOut
from scaling_search.answer.verdicts import Answer, Comparison, Outcome
from scaling_search.core.scaling import Shares
from scaling_search.display.formatting import (
    coefficient,
    count,
    difference,
    level,
    named_ranges,
    named_shares,
    p_value,
    with_interval,
)
from scaling_search.display.verdicts import PHRASES, WHY

SAME = 0.01
"""A reference nearer to the best split than this is the same and not compared with it."""

DIFFERENT = 0.05
"""Distance from which two rules are told apart in words."""

SHOWN = 4
"""Trainings that a sentence names."""


def answer_sentences(conclusion: Conclusion, results: pd.DataFrame) -> list[str]:
    """Returns a conclusion in sentences, the answer first.

    Args:
        conclusion: The answer, or what is missing.
        results: The trainings that it rests on, as `results.results_table` gives them.
    """
    found, diagnosis = conclusion.answer, conclusion.diagnosis
    left_out = list(_about_left_out(conclusion))
    if found is None or diagnosis is None:
        return [f"There is no answer yet: {conclusion.missing}.", *left_out]
    region = found.region
    # Every sentence with an interval says where the surface misfits.
    misfit = ", if a quadratic surface fits, which the warning below doubts"
    misfit = misfit if diagnosis.misfits else ""
    said = [f"{_about_rule(found, misfit)}.", _about_network(found, results)]
    said += [*_about_other(found, conclusion.by_other), *left_out]
    if not region.is_everything:
        said.append(
            f"With 95 % confidence the rule has shares of {named_ranges(region.low, region.high)}: "
            f"{region.area:.0%} of the triangle, {len(found.possible)} of "
            f"{len(region.networks)} networks{misfit}."
        )
    said += [f"{_about_references(found)}{misfit}.", _about_noise(diagnosis, found)]
    return [*said, *_about_misfit(diagnosis)]


def _about_rule(found: Answer, misfit: str) -> str:
    region, best = found.region, found.comparisons[0].prediction
    at = named_shares(region.best)
    if region.is_at_edge:
        at = f"{at}, on an edge of the triangle"
    elif region.is_at_limit:
        at = f"{at}, at the limit of what was searched, so that it may lie beyond"
    if region.is_everything:
        return (
            "These results cannot show that the split matters; noise alone could explain the "
            f"differences ({p_value(found.flat)}). The rule, the split to scale other sizes with, "
            f"may be any that was searched; {at}, is a guess"
        )
    response = found.surface.observations.response
    value, low, high = (level(one, response) for one in (best.mean, best.low, best.high))
    return (
        f"The split matters ({p_value(found.flat)} against a flat surface). The rule, the best "
        f"split, to scale other sizes with: {at}; {_metric(response)} {value} ({low} to {high})"
        f"{misfit}"
    )


def _about_network(found: Answer, results: pd.DataFrame) -> str:
    row = results[results["candidate"] == found.network].iloc[0]
    triple = ", ".join(f"{name} {coefficient(name)(row)}" for name in ("alpha", "beta", "gamma"))
    response = found.surface.observations.response
    own = "the surface and what is its own, shrunken by the noise"
    said = (
        f"The network, the best expected at this size: number {found.network} ({triple}); "
        f"{_metric(response)} {level(found.expected, response)}: {own}."
    )
    # A region between the networks holds none, and says nothing of this one.
    if found.possible and found.network not in found.possible:
        said += " Its split is not one of the best: what is its own makes it so."
    return said


def _about_left_out(conclusion: Conclusion) -> Iterator[str]:
    """The trainings that are left out, and whether that changes the answer."""
    if not conclusion.left_out:
        return
    groups: dict[str, list[LeftOut]] = {}
    for one in conclusion.left_out:
        groups.setdefault(one.why, []).append(one)
    said = []
    for why, ones in groups.items():
        names = [f"network {one.candidate} seed {one.seed}" for one in ones[:SHOWN]]
        rest = f" and {len(ones) - SHOWN} more" if len(ones) > SHOWN else ""
        said.append(f"{', '.join(names)}{rest} ({WHY[why]})")
    number = count(len(conclusion.left_out), "training")
    yield f"Left out of the fit: {number}: {'; '.join(said)}."
    found, whole = conclusion.answer, conclusion.with_all
    if found is None:
        return
    if whole is None:
        yield "Warning: with them no surface can be fitted."
    elif whole.region.is_everything != found.region.is_everything:
        told = "could not show that the split matters"
        told = told if whole.region.is_everything else f"would show a rule: {_at(whole)}"
        yield f"Warning: with them the results {told}."
    elif found.rule.distance(whole.rule) > DIFFERENT or whole.network != found.network:
        yield f"With them the rule is {_at(whole)}, the network number {whole.network}."
    else:
        yield "With them the rule and the network are the same."


def _at(found: Answer) -> str:
    return named_shares(found.rule)


def _metric(response: str) -> str:
    return response.removeprefix("val_")


def _about_references(found: Answer) -> str:
    by_outcome: dict[Outcome | None, list[str]] = {}
    for one in found.comparisons[1:]:
        if not _is_same(one, found.rule):
            by_outcome.setdefault(_outcome_of(one), []).append(one.name)
    said = [PHRASES[key].format(", ".join(by_outcome[key])) for key in PHRASES if key in by_outcome]
    return f"The rule against the references: {'; '.join(said)}"


def _outcome_of(one: Comparison) -> Outcome | None:
    return None if one.verdict is None else one.verdict.outcome


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
        said.append(f"predicting a place from the others is off by {error}")
    return f"Noise (standard deviations): {'; '.join(said)}."


def _about_misfit(diagnosis: Diagnosis) -> list[str]:
    said = []
    uneven = diagnosis.uneven
    if uneven is not None and uneven.test.is_significant:
        (low, high), (calm, loud) = uneven.sds, uneven.shares
        said.append(
            f"The noise of seeds differs between networks ({p_value(uneven.test)}): {low:.4f} at "
            f"{named_shares(calm)}, {high:.4f} at {named_shares(loud)}; intervals take its mean."
        )
    tests = {
        "networks lie farther from it than their seeds explain": diagnosis.lack_of_fit,
        "the product of all three shares would help": diagnosis.triple_product,
    }
    found = [f"{why} ({p_value(t)})" for why, t in tests.items() if t and t.is_significant]
    if found:
        said.append(f"Warning: a quadratic surface misfits: {' and '.join(found)}.")
    return said


def _about_other(found: Answer, other: Answer | None) -> list[str]:
    """The rule by the metric that is not the objective, and a contradiction."""
    if other is None:
        return []
    metric, own = (_metric(one.surface.observations.response) for one in (other, found))
    if other.region.is_everything:
        if found.region.is_everything:
            return []
        return [f"By {metric} alone these results cannot show that the split matters."]
    outcomes = {
        name: [one.name for one in each.comparisons if _outcome_of(one) == Outcome.BETTER]
        for name, each in ((own, found), (metric, other))
    }
    only = [name for name in outcomes[metric] if name not in outcomes[own]]
    said = f"y {metric} the rule is {named_shares(other.rule)}"
    if only:
        said = f"{said}, better than {', '.join(only)}, which {own} cannot tell"
    if found.region.is_everything:
        return [f"Warning: b{said}; by {own} no split is seen to be better."]
    if (found.region.mask & other.region.mask).any():
        return [f"B{said}; the two regions overlap."]
    return [f"Warning: b{said}, and the two regions have nothing in common."]


def comparison_lines(conclusion: Conclusion) -> list[list[str]]:
    """The printed table of comparisons: a header and a line for each split."""
    found, other = conclusion.answer, conclusion.by_other
    assert found is not None
    response = found.surface.observations.response
    header = ["split", "shares d / w / r", "predicted", "the rule is better by"]
    header += ["equals the rule at", f"by {_metric(response)}"]
    if other is not None:
        header.append(f"by {_metric(other.surface.observations.response)}")
    lines = [header]
    for i, one in enumerate(found.comparisons):
        shares = " / ".join(f"{share:.2f}" for share in one.shares)
        line = [one.name, shares, level(one.prediction.mean, response)]
        line += [_better_by(one, found, response), _equal_cost(one, found), _told(one, found)]
        if other is not None:
            line.append(_told(other.comparisons[i], other))
        lines.append(line)
    return lines


def _better_by(one: Comparison, found: Answer, response: str) -> str:
    if one.verdict is None or _is_same(one, found.rule):
        return "–"
    return with_interval(one.verdict.difference, response, unit=False)


def _equal_cost(one: Comparison, found: Answer) -> str:
    """Cost at which the rule has the same loss, where it lies in what was measured."""
    cost = one.equal_cost
    if cost is None or found.region.is_everything or _is_same(one, found.rule):
        return "–"
    if cost.mean < 1:
        return "under 1x"
    low = f"{cost.low:.2f}" if cost.low >= 1 else "under 1"
    return f"{cost.mean:.2f}x ({low} to {cost.high:.2f})"


def _told(one: Comparison, found: Answer) -> str:
    if one.name == "rule":
        return "–"
    if _is_same(one, found.rule):
        return "the same"
    return _outcome_of(one) or "not searched"


def _is_same(one: Comparison, rule: Shares) -> bool:
    return one.shares.distance(rule) < SAME
