"""The answer in three lines: the network to use, how sure that is, and what to do next."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from scaling_search.answer.conclusions import Conclusion
from scaling_search.answer.verdicts import Answer, Estimate, Outcome, gain_of_network
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.formatting import count, level, p_value, percent, rounded
from scaling_search.display.verdicts import SPLITS, is_same
from scaling_search.follow_ups.confirmation import Confirmation

VERBS = {
    Outcome.BETTER: "is better than {}",
    Outcome.WORSE: "is worse than {}",
    Outcome.AS_GOOD: "is as good as {}",
    Outcome.CANNOT_TELL: "shows no significant difference from {}",
    None: "was not searched near {}",
}
"""Words of each outcome, with the splits that were compared."""


@dataclass(frozen=True)
class Headline:
    """The answer in three lines.

    Attributes:
        use: The network, its metrics and its cost.
        how_sure: What the trainings show, and what they cannot show.
        next: The next command and its price.
    """

    use: str
    how_sure: str
    next: str

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Each line as its first word and its text."""
        return ("Use", self.use), ("How sure", self.how_sure), ("Next", self.next)

    def __str__(self) -> str:
        """The three lines."""
        return f"Use {self.use}\nHow sure: {self.how_sure}\nNext: {self.next}"


def about_network(
    conclusion: Conclusion,
    coefficients: pd.DataFrame,
    tested: Confirmation | None,
    objective: Metric,
) -> str:
    """The network to use: its shape, its metrics, its gain over the base network, its cost.

    Args:
        conclusion: The answer, or what is missing.
        coefficients: As `Run.coefficients` gives it.
        tested: Its trainings with fresh seeds; None before there are any.
        objective: The metric that decides.
    """
    ranked = coefficients[coefficients["order"].notna() & (coefficients["candidate"] != 0)]
    if ranked.empty:
        return "the base network for now: no larger one is trained yet."
    answer = conclusion.answer
    number = int(ranked["candidate"].iloc[0]) if answer is None else answer.network
    row = coefficients[coefficients["candidate"] == number].iloc[0]
    base = coefficients[coefficients["candidate"] == 0].iloc[0]
    now = " for now, the first of the means" if answer is None else ""
    cost = f"{row['cost_ratio']:.2f}x the base network's cost"
    if tested is not None and tested.look.arms["found"] == number and tested.ended("found"):
        metrics = _tested(tested, objective)
    else:
        metrics = _searched(row, base, answer, objective)
        if tested is not None:
            before = tested.look.arms["found"]
            metrics += f"; not tested: fresh seeds are of network {before}, the first choice before"
    return f"network {number}{now}: {shape(row)}: {metrics}; {cost}."


def shape(row: "pd.Series[Any]") -> str:
    """A network's blocks, channels, pixels and coefficients, from its row of a table."""
    coefficients = ", ".join(f"{name} {rounded(row[name])}" for name in ("alpha", "beta", "gamma"))
    parts = [f"{row['layers']} blocks", f"{row['channels']} channels", f"{row['resolution']} px"]
    return f"{', '.join(parts)} ({coefficients})"


def _searched(
    row: "pd.Series[Any]", base: "pd.Series[Any]", answer: Answer | None, objective: Metric
) -> str:
    """Metrics of the search; with an answer the expected one, which luck flatters less."""
    other = objective.other
    if f"{other}_mean" not in row:  # a training of the user's own need not have it
        other = None
    seeds = count(int(row["num_seeds"]), "seed")
    second = "" if other is None else _value(row[f"{other}_mean"], other)
    if answer is not None:
        gain = _over_base(gain_of_network(answer), answer.expected_of()[0], objective)
        second = f"{second} (mean of {seeds})" if second else seeds
        return f"expected {_value(answer.expected, objective)}, {gain}; {second}"
    means = [_value(row[f"{objective}_mean"], objective), *([second] if second else [])]
    said = f"mean {', '.join(means)} ({seeds})"
    if base["num_seeds"] == 0:
        return said
    return f"{said}; base network {_value(base[f'{objective}_mean'], objective)}"


def _tested(tested: Confirmation, objective: Metric) -> str:
    """Metrics with fresh seeds, on the test split if it was used; the gain over the base."""
    rows = list(tested.ended("found").values())
    split = "test" if tested.has_test(objective) else "validation"
    means = []
    for metric in tested.measures(objective):
        column = metric.on_test if split == "test" else metric.name
        means.append(_value(sum(float(str(row[column])) for row in rows) / len(rows), metric))
    said = f"{split} {', '.join(means)} ({count(len(rows), 'fresh seed')})"
    compared = next(
        (
            one
            for one in tested.comparisons(objective)
            if one.verdict.against == "base" and one.split == split and one.measure == objective
        ),
        None,
    )
    if compared is None:
        return said
    return f"{said}, {_over_base(compared.verdict.difference, compared.other, objective)}"


def _over_base(gain: Estimate, base: float, metric: Metric) -> str:
    """The gain over the base network and its interval."""
    word = "better"
    if gain.mean < 0:
        word, gain = "worse", Estimate(-gain.mean, -gain.high, -gain.low)
    mean, interval = _with_interval(gain, metric)
    against = f"the base network ({_value(base, metric)})"
    if gain.low <= 0:
        return f"no significant difference from {against}: {mean} {word}, 95 % interval {interval}"
    return f"{word} than {against} by {mean} (95 % interval {interval})"


def about_certainty(conclusion: Conclusion) -> str:
    """The sentences on what the trainings show of the split, and what they cannot show."""
    answer, diagnosis = conclusion.answer, conclusion.diagnosis
    if answer is None or diagnosis is None:
        return f"Not known yet: {conclusion.missing}."
    if answer.region.is_everything:
        return (
            "These results cannot show that the split matters; noise alone could explain the "
            f"differences ({p_value(answer.flat)}). {_against(answer)}"
        )
    said = [_against(answer), _about_rule(answer)]
    if diagnosis.misfits:
        said.append("Warning: the fitted surface misfits, so that all this is doubtful.")
    return " ".join(said)


def _against(answer: Answer) -> str:
    """The rule against the references, those that it is better than first."""
    by_outcome: dict[Outcome | None, list[str]] = {}
    for one in answer.comparisons[1:]:
        if is_same(one, answer.rule):
            continue
        name, outcome = SPLITS[one.name], None if one.verdict is None else one.verdict.outcome
        if outcome == Outcome.CANNOT_TELL and one.name == "paper" and one.verdict is not None:
            metric = answer.surface.observations.response
            by = ", ".join(_with_interval(one.verdict.difference, metric))
            name = f"{name.removesuffix(')')}; {by})"
        by_outcome.setdefault(outcome, []).append(name)
    told = [
        phrase.format(_listed(by_outcome[outcome]))
        for outcome, phrase in VERBS.items()
        if outcome in by_outcome
    ]
    shares = zip(DIMENSIONS, answer.rule, strict=True)
    rule = ", ".join(f"{name} {percent(share)}" for name, share in shares)
    guess = "; a guess" if answer.region.is_everything else ""
    return f"The rule (best split by the fit, for other sizes: {rule}{guess}) {'; it '.join(told)}."


def _about_rule(answer: Answer) -> str:
    """The region of the rule in percent of the growth in cost."""
    region = answer.region
    ends = zip(DIMENSIONS, region.low, region.high, strict=True)
    ranges = ", ".join(f"{name} {100 * low:.0f} to {percent(high)}" for name, low, high in ends)
    return f"With 95 % confidence the best split gives {ranges} of the growth in cost."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _value(value: float, metric: Metric) -> str:
    return f"{metric.noun} {level(value, metric)}"


def _with_interval(estimate: Estimate, metric: Metric) -> tuple[str, str]:
    """A difference and its interval; in points of accuracy or in units of the metric."""
    half = estimate.high - estimate.mean
    digits = metric.level_decimals(half, in_table=False)
    if metric.decimals is None:
        digits = metric.difference_decimals(half)
    mean, low, high = (
        f"{metric.scale * value:.{digits}f}"
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    return f"{mean}{' points' if metric.is_percent else ''}", f"{low} to {high}"
