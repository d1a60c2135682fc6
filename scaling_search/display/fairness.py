"""The sections on other learning rates and lengths of training."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scaling_search.answer.fit import FTest, Surface, flatness
from scaling_search.answer.region import find_region
from scaling_search.core.metric import Metric
from scaling_search.display.formatting import (
    count,
    difference,
    level,
    named_shares,
    p_value,
    shares_of,
)
from scaling_search.display.report_section import ReportSection
from scaling_search.follow_ups.factorial_design import FACTORS, FactorialDesign
from scaling_search.follow_ups.fairness import ENDS, FairnessChecks, LengthCheck
from scaling_search.follow_ups.interactions import CellMeans, RankCorrelation, Trend

RATES = ("half the rate", "the search's own rate", "twice the rate")


def fairness_sections(checks: FairnessChecks) -> list[ReportSection]:
    """Returns a section for each setting that was checked."""
    sections = []
    if (design := checks.learning_rate) is not None:
        sections.append(
            ReportSection(
                name="fairness_learning_rate",
                title="Does the learning rate favour some networks?",
                sentences=(
                    *about_rates(design.cells, design.complete, design.objective, checks.span),
                    *_about_missing(design),
                ),
                lines=_lines(design),
                table=design.table(),
            )
        )
    if checks.length is not None:
        sections.append(_length_section(checks.length, checks.span))
    return sections


def without_sign(
    what: str, test: FTest, found: str, detectable: float, *, span: float | None, objective: Metric
) -> list[str]:
    """A test that is not significant in words: no sign, or too little power to tell.

    Args:
        what: The effect that was tested.
        test: The test.
        found: The effect that it finds in 80 of 100 cases, after "if", with `detectable` in it.
        detectable: Size of that effect.
        span: Range of the search's surface, which an effect must reach to change the answer; None
            if unknown.
        objective: The metric.
    """
    can_see = span is not None and detectable <= span
    known = "How much the fit differs between splits is not known."
    if span is not None:
        size = difference(span, objective)
        known = f"The fit of the search differs by {size} between its best and its worst split."
    verdict = "No sign that" if can_see else "These results cannot show whether"
    return [
        f"{verdict} {what} ({f_text(test)}).",
        f"The test finds an effect in 80 of 100 cases if {found}. {known}",
    ]


def about_rates(
    cells: CellMeans | None, names: Sequence[str], objective: Metric, span: float | None
) -> list[str]:
    """The F-test of network times rate in words.

    Args:
        cells: Networks at half, once and twice the rate; None where none has all three.
        names: Names of the networks.
        objective: The metric.
        span: Range of the search's surface; None if unknown.
    """
    if cells is None or cells.test is None or cells.detectable is None:
        unknown = "These results cannot show whether the learning rate favours some networks"
        return [f"{unknown}; the test needs two networks with two seeds at each rate."]
    best = RATES[int(cells.means.mean(axis=0).argmin())]
    of_all = f"The mean of all {len(names)} networks is best at {best}."
    if not cells.test.is_significant:
        found = (
            f"one of the {len(names)} networks gains "
            f"{difference(cells.detectable, objective)} more than the others from half to twice "
            "the rate"
        )
        what = "the learning rate favours some networks"
        test, least = cells.test, cells.detectable
        return [*without_sign(what, test, found, least, span=span, objective=objective), of_all]
    gains = cells.means[:, [1]] - cells.means[:, [0, 2]]
    leads = gains - gains.mean(axis=0)
    network, end = (int(i) for i in np.unravel_index(int(leads.argmax()), leads.shape))
    said = (
        f"The learning rate favours some networks ({f_text(cells.test)}). At "
        f"{ENDS[end]} the rate {names[network]} gains most: "
        f"{difference(float(leads.max()), objective)} more than the mean of all {len(names)}."
    )
    places = cells.means.argsort(axis=0, kind="stable").argsort(axis=0)
    if (places == places[:, [0]]).all():
        return [said, "The order of the networks is the same at all three rates.", of_all]
    orders = [", ".join(names[i] for i in column.argsort()) for column in places.T]
    told = "; ".join(f"at {rate}: {order}" for rate, order in zip(RATES, orders, strict=True))
    return [said, f"From best to worst {told}.", of_all]


def _length_section(check: LengthCheck, span: float | None) -> ReportSection:
    design, lines = check.design, _lines(check.design)
    objective, table = design.objective, design.table()
    said = about_trend(check.trend, design.complete, objective, span)
    if check.gains is not None:
        gains = dict(zip(design.complete, check.gains.tolist(), strict=True))
        table["gain_per_doubling"] = table["name"].map(gains)
        shown = [difference(gains[n], objective) if n in gains else "–" for n in design.names]
        last = ["gain / doubling", *shown]
        lines = [[*line, text] for line, text in zip(lines, last, strict=True)]
    if check.correlations:
        said.append(about_order(*check.correlations, check.spread))
    if check.surfaces:
        said.append(about_shift(*check.surfaces))
    else:
        said.append(f"There is no fit {check.missing}.")
    return ReportSection(
        name="fairness_length",
        title="Does the length of training favour some networks?",
        sentences=(*said, *_about_missing(design)),
        lines=lines,
        table=table,
    )


def about_trend(
    trend: Trend | None, names: Sequence[str], objective: Metric, span: float | None
) -> list[str]:
    """The F-test of shares times log length in words.

    Args:
        trend: Gain of each doubling over shares; None where that cannot be fitted.
        names: Names of the networks.
        objective: The metric.
        span: Range of the search's surface; None if unknown.
    """
    if trend is None:
        unknown = "These results cannot show whether the length of training favours some splits"
        needed = "seven networks of different splits, each trained at all three lengths"
        return [f"{unknown}; the test needs {needed}, got {len(names)}."]
    if not trend.test.is_significant:
        found = (
            f"the gain with each doubling is {difference(trend.detectable, objective)} higher "
            f"for one dimension alone than without it, with these {len(names)} networks"
        )
        what, least = "the length of training favours some splits", trend.detectable
        return without_sign(what, trend.test, found, least, span=span, objective=objective)
    most, least = int(trend.fitted.argmax()), int(trend.fitted.argmin())
    lead = difference(float(trend.fitted[most] - trend.fitted[least]), objective)
    near = f"network {names[most]}, {lead} more than near network {names[least]}, by the fit"
    favours = f"The length of training favours some splits ({f_text(trend.test)})"
    return [f"{favours}. Each doubling gains most near {near}."]


def about_order(half: RankCorrelation, twice: RankCorrelation, spread: float) -> str:
    """The rank correlations with the search's own length in words.

    Args:
        half: At half the length.
        twice: At twice the length.
        spread: Standard deviation of the networks' true means.
    """
    said = (
        "Rank correlation of the means with those at the search's own length: "
        f"{half.value:.2f} at half, {twice.value:.2f} at twice the length."
    )
    if spread == 0:
        return f"{said} The means differ no more than noise explains, so they have no order."
    moved = [end for end, one in zip(ENDS, (half, twice), strict=True) if one.has_changed]
    verdict = "No sign that the order changes."
    if moved:
        verdict = f"The order changes at {' and '.join(moved)} the length."
    return (
        f"{said} Because of noise, an unchanged order would show {half.expected:.2f} and "
        f"{twice.expected:.2f}, and in 5 % of cases less than {half.low:.2f} and {twice.low:.2f}. "
        f"{verdict}"
    )


def about_shift(half: Surface, twice: Surface) -> str:
    """The rule at half and at twice the length in words."""
    flat = [
        f"at {end} the length ({f_text(test)})"
        for end, surface in zip(ENDS, (half, twice), strict=True)
        if not (test := flatness(surface)).is_significant
    ]
    if flat:
        return (
            "These results cannot show whether the rule, the best split by the fit, changes with "
            f"the length: noise alone could explain the differences {' and '.join(flat)}."
        )
    first, last = find_region(half), find_region(twice)
    said = (
        f"The rule, the best split by the fit, is {named_shares(first.best)} at half the length "
        f"and {named_shares(last.best)} at twice the length."
    )
    if (first.mask & last.mask).any():
        return f"{said} Their 95 % regions overlap, so the rule may be the same."
    return f"{said} Their 95 % regions do not overlap: the rule changes."


def _about_missing(design: FactorialDesign) -> list[str]:
    said = []
    if failed := int(design.rows["loss"].isna().sum()):
        are = "is" if failed == 1 else "are"
        said.append(f"{failed} of {count(len(design.rows), 'training')} failed and {are} left out.")
    if missing := [name for name in design.names if name not in design.complete]:
        said.append(
            f"Not in the test, for lack of a finished training at each {design.setting}: "
            f"{', '.join(missing)}."
        )
    return said


def _lines(design: FactorialDesign) -> list[list[str]]:
    """A header and a line for each network, its place at each factor in brackets."""
    lines = [["network", "shares d / w / r", *(f"{design.setting} × {f:g}" for f in FACTORS)]]
    for name, own in design.table().groupby("name", sort=False):
        means = zip(own[f"{design.objective}_mean"], own["place"], strict=True)
        levels = [
            "–" if pd.isna(place) else f"{level(mean, design.objective, in_table=True)} ({place})"
            for mean, place in means
        ]
        lines.append([str(name), shares_of(own.iloc[0]), *levels])
    return lines


def f_text(test: FTest) -> str:
    """An F-test in brackets: degrees of freedom, statistic, p-value."""
    return f"F({test.numerator}, {test.denominator}) = {test.statistic:.2f}, {p_value(test)}"
