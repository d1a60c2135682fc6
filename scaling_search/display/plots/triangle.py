"""The networks on the triangle of shares, coloured by their means."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from scaling_search.answer.verdicts import Answer
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS, REFERENCES
from scaling_search.core.space_filling import PLACE
from scaling_search.display.plots.drawing import (
    COLOURS,
    GREY,
    INK,
    NETWORK_MEANS,
    PAPER,
    RULE_MEANS,
    Keywords,
    fence,
    legend_once,
    mark_rule,
    marks,
    network_id,
    percent_axis,
    sheet,
    styled,
)
from scaling_search.display.plots.labels import apart
from scaling_search.display.plots.shares import CENTRED, fill_region, frame, outline_region, place

NAMED = ("thirds", "paper", "pycls")
"""The reference points inside the triangle; the others are its corners."""

SIDES = [(x * 0.08, y * 0.045) for y in (1, -1, 0) for x in (1, -1)] + [(0, 0.06), (0, -0.06)]
"""Where the name of a reference point may stand."""

GAP = 0.023
"""Least distance of points, at which a few of each can be seen."""

NO_TRAINING = "no finished training"


@styled()
def triangle_of_shares(
    coefficients: pd.DataFrame,
    objective: Metric,
    answer: Answer | None = None,
    *,
    equal: str,
) -> Figure:
    """The networks on the triangle of shares, coloured by their mean of the objective.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        objective: The metric that decides.
        answer: The rule, its region and the network; None to draw none.
        equal: `Recipe.equal` of the trainings.
    """
    # Where networks coincide, the best one lies on top.
    is_loss = objective.direction == "min"
    scaled = coefficients[coefficients["candidate"] != 0]
    scaled = scaled.sort_values(f"{objective}_mean", ascending=not is_loss, ignore_index=True)
    exact = place(scaled[[f"{d}_share" for d in DIMENSIONS]].astype(float).to_numpy())
    places = apart(exact, GAP)
    scaled = scaled.assign(x=places[0], y=places[1], mean=scaled[f"{objective}_mean"].astype(float))
    figure = sheet(
        7.6,
        6.6,
        title=f"{objective.axis} on the triangle of shares",
        caption=_caption(scaled, answer, moved=float(np.abs(places - exact).max(initial=0))),
        equal=equal,
    )
    axes = figure.subplots()
    frame(axes)
    if answer is not None:
        fill_region(axes, answer.region, colors=[COLOURS["rule"]], alpha=0.1, zorder=0.5)
        if not answer.region.is_everything:
            line: Keywords = {"colors": [COLOURS["rule"]], "linewidths": 1, "alpha": 0.6}
            outline_region(axes, answer.region, zorder=0.6, **line)
    _networks(axes, scaled, objective)
    marks(axes, scaled, answer)
    if answer is not None:
        (x,), (y,) = place([answer.rule])
        mark_rule(axes, x, y, answer)
    mark_references(axes, places)
    handles = legend_once([axes], [NO_TRAINING])
    if answer is not None:
        box: Keywords = {"facecolor": (COLOURS["rule"], 0.1), "edgecolor": (COLOURS["rule"], 0.6)}
        handles.insert(0, Patch(label="95 % region of the rule", **box))
    corner: Keywords = {"loc": "upper left", "bbox_to_anchor": (-0.02, 1.03)}
    axes.legend(handles=handles, labelspacing=0.9, **corner)
    return figure


def _caption(scaled: pd.DataFrame, answer: Answer | None, *, moved: float) -> str:
    num_trained = int(scaled["mean"].notna().sum())
    points = (
        "A point is a network. Its place shows its shares: how the growth of its cost (the "
        "logarithm) is divided among depth, width and resolution. Colour: the mean over seeds; "
        f"{num_trained} of {len(scaled)} networks have a finished training."
    )
    parts = [points, "Reference points: not rounded to a network."]
    if moved > PLACE:
        parts.append("Networks of nearly equal shares are drawn side by side.")
    if answer is not None:
        parts += [RULE_MEANS, NETWORK_MEANS]
        region = "The region holds the best split with 95\N{NO-BREAK SPACE}% confidence"
        if answer.region.is_everything:
            region += "; here it is all that was searched"
        parts.append(f"{region}.")
    return " ".join(parts)


def _networks(axes: Axes, scaled: pd.DataFrame, objective: Metric) -> None:
    """Draws networks with places ``x`` and ``y`` in the colour of their ``mean``."""
    means = scaled["mean"].dropna()
    low, high = _colour_range(means) if len(means) else (0.0, 1.0)
    scale = "viridis_r" if objective.direction == "min" else "viridis"
    colours = ScalarMappable(Normalize(low, high), scale)
    for _, row in scaled.iterrows():
        look: Keywords = {"s": 46, "facecolor": GREY, "label": NO_TRAINING, "zorder": 3}
        if pd.notna(row["mean"]):
            look = {"s": 80, "facecolor": colours.to_rgba(row["mean"]), "zorder": 4}
            look |= {"edgecolor": INK, "linewidth": 0.5}
        axes.scatter(row["x"], row["y"], gid=network_id(row["candidate"]), **look)
    if means.empty:
        return
    extend = {(True, False): "min", (False, True): "max", (True, True): "both"}
    beyond = extend.get((means.min() < low, means.max() > high), "neither")
    figure = axes.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(colours, ax=axes, shrink=0.7, aspect=25, pad=0.02, extend=beyond)
    bar.outline.set_visible(False)
    bar.set_label(objective.axis)
    if objective.is_percent:
        percent_axis(bar.ax)


def _colour_range(means: "pd.Series[float]") -> tuple[float, float]:
    """Smallest and largest mean without outliers."""
    low, high = fence(means)
    inside = means[means.between(low, high)]
    low, high = float(inside.min()), float(inside.max())
    # Equal means still need a scale.
    return (low, high) if high > low else (low - 0.005, high + 0.005)


def mark_references(axes: Axes, networks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Marks the reference points; each name stands where it hides the fewest networks.

    Returns:
        Places of the marks, and of the names at three points each, (2, places).
    """
    marks = place(REFERENCES[name] for name in NAMED)
    look: Keywords = {"marker": "D", "facecolor": "none", "edgecolor": INK, "linewidth": 1.3}
    axes.scatter(marks[0], marks[1], s=100, label="reference point (nominal)", zorder=6, **look)
    taken = [*networks.T, *marks.T]
    half = np.array([0.065, 0.035])  # of a name and a mark, as they stand on the page
    for name, mark in zip(NAMED, marks.T, strict=True):
        places = [mark + side for side in SIDES]
        hidden = [sum((np.abs(one - at) < half).all() for one in taken) for at in places]
        at = places[hidden.index(min(hidden))]
        taken += [at + np.array([side, 0]) for side in (-0.04, 0, 0.04)]
        halo = [withStroke(linewidth=2, foreground=PAPER)]
        axes.text(at[0], at[1], name, fontsize=9.5, zorder=7, path_effects=halo, **CENTRED)
    return np.stack(taken[len(networks.T) :], axis=1)
