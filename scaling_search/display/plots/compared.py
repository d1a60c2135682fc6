"""The rules, regions and networks of several runs on one triangle of shares."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from scaling_search.answer.agreement import FINE, Agreement
from scaling_search.answer.region import Mask
from scaling_search.answer.verdicts import Answer
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.display.plots.drawing import INK, Keywords, drawable, sheet, styled
from scaling_search.display.plots.shares import frame, place

RUN_COLOURS = (
    *("#332288", "#882255", "#117733", "#AA4499", "#999933", "#44AA99", "#CC6677", "#88CCEE"),
)
"""For colour-blind readers; none of them is a dimension's. Source: Tol 2021, muted scheme."""

RUN_MARKERS = ("P", "X", "D", "s", "^", "v", "*")
"""Colour never stands alone; seven to eight colours, so that 56 runs look different."""

INSIDE = {"thirds": -1, "paper": 1, "pycls": 1}
"""Reference points inside the triangle, named above (1) or below (-1)."""

SAME = 0.02
"""Rules nearer to each other are drawn side by side."""

IN_A_ROW = 4
"""Marks side by side before a new row begins."""

WIDEST = 34
"""Characters of a line of the legend."""


@styled()
def triangle_of_runs(
    labels: Mapping[str, str],
    answers: Mapping[str, Answer],
    found: Agreement | None,
    *,
    equal: str | None,
) -> Figure:
    """The rule, the outline of the region and the network of each run.

    Args:
        labels: Texts of the legend, by the name of the run.
        answers: The answers there are, by the name of the run.
        found: Their agreement, in their order; None where there are none.
        equal: `Recipe.equal` of the trainings; None where the runs differ.
    """
    shown = {
        name: drawable(label, f"row {row} of compared.csv")
        for row, (name, label) in enumerate(labels.items(), start=1)
    }
    without = [text for name, text in shown.items() if name not in answers]
    caption = (
        "Shares: how the logarithm of a network's cost over its base network's is split over "
        "depth, width and resolution. Mark: the rule, the best split, to scale other sizes with; "
        "pale where it is a guess. Line: its 95 % region; dashed where the run cannot show that "
        "the split matters. Ring: the run's best expected network. What coincides stands side "
        "by side, or one ring around the other."
    )
    if without:
        caption += f" Without an answer: {', '.join(without)}."
    figure = sheet(9.6, 6.4, title="Best splits of several runs", caption=caption, equal=equal)
    axes = figure.subplots()
    frame(axes)
    _references(axes)
    regions: Sequence[Mask] = () if found is None else tuple(found.regions)
    rules = _coinciding([answer.rule for answer in answers.values()])
    rings = _coinciding([_network(answer) for answer in answers.values()])
    guesses = [name for name, answer in answers.items() if answer.region.is_everything]
    entries = []
    for number, (name, answer) in enumerate(answers.items()):
        colour = RUN_COLOURS[number % len(RUN_COLOURS)]
        if name in guesses:
            _dashes(axes, regions[number], colour, guesses.index(name), len(guesses))
        else:
            _outline(axes, regions[number], colour)
        ring: Keywords = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.8}
        x, y = place([_network(answer)])
        axes.scatter(x, y, s=340 + 300 * rings[number][0], zorder=5, **ring)
        look: Keywords = {
            "color": colour,
            "marker": RUN_MARKERS[number % len(RUN_MARKERS)],
            "alpha": 0.5 if name in guesses else 1.0,
        }
        moved = axes.transData + ScaledTranslation(*_beside(*rules[number]), figure.dpi_scale_trans)
        edge: Keywords = {"edgecolor": "white", "linewidth": 1.0, "s": 150, "zorder": 6}
        x, y = place([answer.rule])
        axes.scatter(x, y, transform=moved, **look, **edge)
        look |= {"linestyle": "--" if name in guesses else "-"}
        label = "\n".join(textwrap.wrap(shown[name], WIDEST))
        entries.append(Line2D([], [], markersize=9, label=label, **look))
    if entries:
        figure.legend(handles=entries, loc="outside right upper", labelspacing=0.9)
    return figure


def _network(answer: Answer) -> Shares:
    """The shares of the network of an answer."""
    data = answer.surface.observations
    return Shares(*data.shares[data.candidates == answer.network][0].tolist())


def _references(axes: Axes) -> None:
    """Marks and names the reference points inside the triangle."""
    marks = place(REFERENCES[name] for name in INSIDE)
    look: Keywords = {"marker": "D", "facecolor": "none", "edgecolor": INK, "linewidth": 0.9}
    axes.scatter(marks[0], marks[1], s=50, zorder=2, **look)
    for (name, up), (x, y) in zip(INSIDE.items(), marks.T, strict=True):
        axes.annotate(
            name, (x, y), (0, 11 * up), textcoords="offset points", ha="center", va="center"
        )


def _coinciding(points: Sequence[Shares]) -> list[tuple[int, int]]:
    """The rank of each point among those that coincide with it, and how many those are."""
    groups: list[list[int]] = []
    for i, point in enumerate(points):
        near = next((g for g in groups if points[g[0]].distance(point) < SAME), None)
        groups.append([i]) if near is None else near.append(i)
    found = {i: (rank, len(group)) for group in groups for rank, i in enumerate(group)}
    return [found[i] for i in range(len(points))]


def _beside(rank: int, number: int) -> tuple[float, float]:
    """Inches to the right and up by which one of some coinciding marks is moved."""
    middle = (min(number, IN_A_ROW) - 1) / 2
    return 0.18 * (rank % IN_A_ROW - middle), -0.18 * (rank // IN_A_ROW)


def _outline(axes: Axes, region: Mask, colour: str, **look: Any) -> None:
    """Fills a region a little and draws the line around it; ``look`` is of a line alone."""
    ring = _outside()
    x, y = place(np.vstack([FINE, ring]))
    inside = np.concatenate([region, np.zeros(len(ring), dtype=bool)]).astype(float)
    if not inside.any():  # narrower than the points: the rule alone
        return
    if not look:
        axes.tricontourf(x, y, inside, levels=[0.5, 1.5], colors=[colour], alpha=0.1)
        look = {"linewidths": 2.0}
    axes.tricontour(x, y, inside, levels=[0.5], colors=[colour], zorder=3, **look)


def _dashes(axes: Axes, region: Mask, colour: str, rank: int, number: int) -> None:
    """The same in dashes, those of equal regions in each other's gaps."""
    length = 7.0
    dashes = (rank * length, (length, length * max(1, number - 1)))
    _outline(axes, region, colour, linestyles=[dashes], linewidths=1.6)


def _outside() -> NDArray[np.float64]:
    """Points one step outside the triangle, so that lines close along its sides."""
    steps = round((len(FINE) * 2) ** 0.5) - 1
    sides = itertools.product(range(3), range(-1, steps + 2))
    ring = []
    for side, along in sides:
        point = [along, steps + 1 - along]
        point.insert(side, -1)
        ring.append(point)
    return np.unique(np.array(ring) / steps, axis=0)
