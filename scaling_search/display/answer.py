"""The answer of a search in words and as a printed table."""

from collections.abc import Iterator

import pandas as pd

from scaling_search.answer.conclusions import Conclusion
from scaling_search.answer.diagnosis import Diagnosis
from scaling_search.answer.outliers import LeftOut
from scaling_search.answer.verdicts import Answer, Comparison, Outcome
from scaling_search.core.metric import VAL_LOSS, Metric
from scaling_search.display.formatting import (
    coefficients_text,
    count,
    difference,
    level,
    named_ranges,
    named_shares,
    p_value,
    percent,
    with_interval,
)
from scaling_search.display.verdicts import (
    PHRASES,
    PLACE_MEANT,
    SAME,
    SHARE_MEANT,
    SPLITS,
    WHY,
    is_same,
)

DIFFERENT = 0.05
"""Distance from which two rules are told apart in words."""

EQUAL_COST = "equals the rule at"
"""Header of the column that is left out where it is empty."""

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
    misfit = " (if the surface fits; see the warning below)" if diagnosis.misfits else ""
    said = [*_about_split(found, misfit), _about_network(found, results)]
    said += [*_about_other(found, conclusion.by_other), *left_out]
    if not region.is_everything:
        said.append(
            "The 95 % region of the rule, all splits that may be the best, has shares of "
            f"{named_ranges(region.low, region.high)}{misfit}. It is {percent(region.area)} of the "
            f"triangle and holds {len(found.possible)} of {len(region.networks)} networks."
        )
    said += [_about_references(found, misfit), _about_noise(diagnosis, found)]
    return [*said, *_about_misfit(diagnosis)]


def _about_split(found: Answer, misfit: str) -> list[str]:
    """Sentences on the test of the split, and on the rule."""
    region, best = found.region, found.comparisons[0].prediction
    response = found.surface.observations.response
    place = ""
    if region.is_at_edge:
        side = "in a corner" if max(region.best) > 1 - SAME else "on an edge"
        place = f" It lies {side} of the triangle."
    elif region.is_at_limit:
        place = " It lies at the limit of the searched splits; the best may lie beyond."
    rule = f"The rule (the best split by the fit, for other sizes) {{}} {named_shares(region.best)}"
    if region.is_everything:
        return [
            (
                "These results cannot show that the split matters; noise alone could explain the "
                f"differences ({p_value(found.flat)})."
            ),
            (
                f"{rule.format('is a guess:')}.{place} Any split that was searched may be the "
                f"best. {_about_fit(response)}"
            ),
        ]
    value, low, high = (level(one, response) for one in (best.mean, best.low, best.high))
    return [
        (
            f"The split matters: the fitted {response.noun} differs between splits by more "
            f"than noise explains ({p_value(found.flat)})."
        ),
        (
            f"{rule.format('is')}; its {response.noun} is {value} ({low} to {high})"
            f"{misfit}.{place} {_about_fit(response)}"
        ),
    ]


def _about_fit(response: Metric) -> str:
    return f"The fit is a quadratic surface of the {response.noun} over the shares. {SHARE_MEANT}"


def _about_network(found: Answer, results: pd.DataFrame) -> str:
    row = results[results["candidate"] == found.network].iloc[0]
    response = found.surface.observations.response
    said = (
        f"The network (best expected at this size) is number {found.network}: "
        f"{coefficients_text(row)}. Its expected {response.noun} is "
        f"{level(found.expected, response)}: the fit plus the network's own deviation, shrunk "
        "because of noise."
    )
    # A region between the networks holds none, and says nothing of this one.
    if found.possible and found.network not in found.possible:
        said += (
            " Its split is not in the region of the rule: its lead comes from something specific "
            "to it."
        )
    return said


def _about_left_out(conclusion: Conclusion) -> Iterator[str]:
    """Sentences on the trainings that are left out."""
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
    yield f"Left out of the fit: {number}, namely {'; '.join(said)}."
    if conclusion.answer is not None:
        yield _about_all(conclusion.answer, conclusion.with_all)


def _about_all(found: Answer, whole: Answer | None) -> str:
    """The sentence on the answer with the trainings that are left out."""
    if whole is None:
        return "Warning: no surface can be fitted with them."
    if whole.region.is_everything != found.region.is_everything:
        told = "could not show that the split matters"
        if not whole.region.is_everything:
            told = f"would show that the split matters, with the rule {named_shares(whole.rule)}"
        return f"Warning: with them these results {told}."
    if found.rule.distance(whole.rule) > DIFFERENT or whole.network != found.network:
        rule = named_shares(whole.rule)
        return f"With them the rule is {rule}, and the network is number {whole.network}."
    return "With them the rule and the network are the same."


def _about_references(found: Answer, misfit: str) -> str:
    by_outcome: dict[Outcome | None, list[str]] = {}
    for one in found.comparisons[1:]:
        if not is_same(one, found.rule):
            by_outcome.setdefault(_outcome_of(one), []).append(SPLITS[one.name])
    said = [PHRASES[key].format(", ".join(by_outcome[key])) for key in PHRASES if key in by_outcome]
    return f"The rule against other splits{misfit}: {'; '.join(said)}."


def _outcome_of(one: Comparison) -> Outcome | None:
    return None if one.verdict is None else one.verdict.outcome


def _about_noise(diagnosis: Diagnosis, found: Answer) -> str:
    response, said = found.surface.observations.response, []
    if diagnosis.seed_sd is None:
        said.append("unknown between seeds, because no network has two")
    else:
        said.append(f"{difference(diagnosis.seed_sd, response)} between seeds of one network")
        if diagnosis.shared_fraction is not None:
            common = percent(diagnosis.shared_fraction)
            said.append(f"{common} of that variance is common to all networks")
        scatter = difference(diagnosis.network_sd, response)
        said.append(f"{scatter} between networks and the surface")
    unit = "loss (cross-entropy in nats)" if response == VAL_LOSS else response.noun
    noise = f"Noise, as standard deviation of the {unit}: {'; '.join(said)}."
    if diagnosis.left_out_error is None:
        return noise
    error = difference(diagnosis.left_out_error, response)
    return f"{noise} Predicting a place from the others is off by {error}; {PLACE_MEANT}."


def _about_misfit(diagnosis: Diagnosis) -> list[str]:
    said = []
    uneven = diagnosis.uneven
    if uneven is not None and uneven.test.is_significant:
        (low, high), (calm, loud) = uneven.sds, uneven.shares
        said.append(
            f"The noise between seeds differs between networks ({p_value(uneven.test)}): {low:.4f} "
            f"at {named_shares(calm)}, {high:.4f} at {named_shares(loud)}. Intervals use the mean "
            "noise."
        )
    tests = {
        "networks lie farther from it than noise explains": diagnosis.lack_of_fit,
        "the product of all three shares improves it": diagnosis.triple_product,
    }
    found = [f"{why} ({p_value(t)})" for why, t in tests.items() if t and t.is_significant]
    if found:
        said.append(f"Warning: the quadratic surface does not fit: {' and '.join(found)}.")
    return said


def _about_other(found: Answer, other: Answer | None) -> list[str]:
    """The rule by the metric that is not the objective, and a contradiction."""
    if other is None:
        return []
    metric, own = (one.surface.observations.response.noun for one in (other, found))
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
        others = ", ".join(SPLITS[one] for one in only)
        said = f"{said}, better than {others}; {own} does not show that"
    if found.region.is_everything:
        return [f"Warning: b{said}. By {own} no split is shown to be better than another."]
    if (found.region.mask & other.region.mask).any():
        return [f"B{said}. The 95 % regions by {own} and by {metric} overlap."]
    return [f"Warning: b{said}. The 95 % regions by {own} and by {metric} do not overlap."]


def comparison_lines(conclusion: Conclusion) -> list[list[str]]:
    """The printed table of comparisons: a header and a line for each split."""
    found, other = conclusion.answer, conclusion.by_other
    assert found is not None
    response = found.surface.observations.response
    header = ["split", "shares d / w / r", "predicted", "the rule is better by"]
    header += [EQUAL_COST, f"by {response.noun}"]
    if other is not None:
        header.append(f"by {other.surface.observations.response.noun}")
    lines = [header]
    for i, one in enumerate(found.comparisons):
        shares = " / ".join(f"{share:.2f}" for share in one.shares)
        line = [one.name, shares, level(one.prediction.mean, response, in_table=True)]
        line += [_better_by(one, found, response), _equal_cost(one, found), _told(one, found)]
        if other is not None:
            its_rule = " / ".join(f"{share:.2f}" for share in other.rule)
            line.append(_told(other.comparisons[i], other) if i else f"its rule: {its_rule}")
        lines.append(line)
    empty = header.index(EQUAL_COST)
    if all(line[empty] == "–" for line in lines[1:]):
        return [[*line[:empty], *line[empty + 1 :]] for line in lines]
    return lines


def _better_by(one: Comparison, found: Answer, response: Metric) -> str:
    if one.verdict is None or is_same(one, found.rule):
        return "–"
    return with_interval(one.verdict.difference, response, in_table=True)


def _equal_cost(one: Comparison, found: Answer) -> str:
    """Cost at which the rule has the same loss, where it lies in what was measured."""
    cost = one.equal_cost
    if cost is None or found.region.is_everything or is_same(one, found.rule):
        return "–"
    if cost.mean < 1:
        return "under 1x"
    low = f"{cost.low:.2f}" if cost.low >= 1 else "under 1"
    return f"{cost.mean:.2f}x ({low} to {cost.high:.2f})"


def _told(one: Comparison, found: Answer) -> str:
    if one.name == "rule":
        return "–"
    if is_same(one, found.rule):
        return "the same"
    return _outcome_of(one) or "not searched"
