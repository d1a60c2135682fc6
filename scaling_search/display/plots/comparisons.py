"""The rule against the reference splits, with intervals and verdicts."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from scaling_search.answer.verdicts import Answer, Comparison, Outcome
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.formatting import difference, with_interval
from scaling_search.display.plots.drawing import (
    COLOURS,
    FAINT,
    INK,
    NOTE,
    PAPER,
    RULE_MEANS,
    Keywords,
    mark_rule,
    sheet,
    styled,
)
from scaling_search.display.verdicts import PHRASES, is_same

ROW = 0.5
"""Height of a reference, in inches."""


@styled()
def comparison_chart(answer: Answer, *, equal: str) -> Figure:
    """The difference between the rule and each reference, with intervals that hold together.

    Args:
        answer: The rule and its comparisons.
        equal: `Recipe.equal` of the trainings.
    """
    references = [one for one in answer.comparisons if one.name != "rule"]
    objective = answer.surface.observations.response
    figure = sheet(
        9.2,
        1.9 + ROW * len(references),
        title="Against other ways to spend it",
        caption=_caption(answer, objective),
        equal=equal,
    )
    axes = figure.subplots()
    if answer.delta is not None:
        axes.axvspan(-answer.delta, answer.delta, color=FAINT, linewidth=0, zorder=0)
    axes.axvline(0, color=COLOURS["rule"], linewidth=1.4, zorder=1)
    above: Keywords = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
    axes.text(0, 1.01, "the rule", color=COLOURS["rule"], fontsize=9, **above)
    for row, one in enumerate(references):
        _row(axes, row, one, answer, objective)
    axes.set_yticks(range(len(references)), [_name(one) for one in references])
    axes.set_ylim(len(references) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    if objective.is_percent:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}"))
    unit = ", ".join(filter(None, (objective.title.lower(), objective.unit)))
    if objective.is_percent:
        unit = f"points of {objective.noun}"
    axes.set_xlabel(f"The rule is better by ({unit})")
    return figure


def _row(axes: Axes, row: int, one: Comparison, answer: Answer, objective: Metric) -> None:
    verdict, numbers = "the rule itself", ""
    if is_same(one, answer.rule):
        mark_rule(axes, 0, row, answer)
    else:
        outcome = None if one.verdict is None else one.verdict.outcome
        verdict = PHRASES[outcome].format(one.name)
        if one.verdict is not None:
            estimate = one.verdict.difference
            numbers = with_interval(estimate, objective)
            is_told = outcome != Outcome.CANNOT_TELL
            look: Keywords = {"color": INK, "markerfacecolor": INK if is_told else PAPER}
            look |= {"fmt": "o", "markersize": 6.5, "capsize": 3, "linewidth": 1.4, "zorder": 3}
            axes.errorbar(
                estimate.mean,
                row,
                xerr=[[estimate.mean - estimate.low], [estimate.high - estimate.mean]],
                **look,
            )
    right: Keywords = {"transform": axes.get_yaxis_transform(), "clip_on": False}
    if not numbers:
        axes.text(1.03, row, verdict, va="center", fontsize=9, **right)
        return
    axes.text(1.03, row - 0.04, verdict, va="bottom", fontsize=9, **right)
    axes.text(1.03, row + 0.04, numbers, va="top", fontsize=8.5, color=NOTE, **right)


def _name(one: Comparison) -> str:
    if one.name in DIMENSIONS:
        return f"{one.name} alone"
    return f"{one.name}\n{' / '.join(f'{share:.2f}' for share in one.shares)}"


def _caption(answer: Answer, objective: Metric) -> str:
    chart = (
        "Points and bars: the difference by the surface, with 95\N{NO-BREAK SPACE}% intervals that "
        "hold for all at once. Hollow: no significant difference. Numbers below a name: its shares "
        "of the cost's growth in depth, width and resolution."
    )
    parts = [RULE_MEANS, chart]
    if answer.region.is_everything:
        parts.insert(1, "Here it is a guess: no split is seen to be better.")
    if answer.delta is not None:
        matters = difference(answer.delta, objective)
        parts.append(f"Grey band: differences too small to matter, below {matters}.")
    return " ".join(parts)
