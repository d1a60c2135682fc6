"""The networks on the triangle of shares, coloured by their means."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from scaling_search.answer.region import GRID
from scaling_search.answer.verdicts import Answer
from scaling_search.core.scaling import DIMENSIONS, REFERENCES
from scaling_search.display.plots.drawing import (
    COLOURS,
    FAINT,
    GREY,
    INK,
    METRIC_NAMES,
    RULE,
    Keywords,
    fence,
    marks,
    percent_axis,
    sheet,
    styled,
)

NAMED = {"thirds": -1, "paper": 1, "pycls": 1}
"""The reference points inside the triangle, named above (1) or below (-1); the others are its
corners."""

CENTRED: Keywords = {"ha": "center", "va": "center"}


@styled()
def triangle_of_shares(
    coefficients: pd.DataFrame,
    objective: str,
    answer: Answer | None = None,
    *,
    equal: str,
) -> Figure:
    """The networks on the triangle of shares, coloured by their mean of the objective.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        objective: ``val_accuracy`` or ``val_loss``.
        answer: The rule, its region and the network; None to draw none.
        equal: `Recipe.equal` of the trainings.
    """
    look: Keywords
    is_loss = objective == "val_loss"
    # Where networks coincide, the best one lies on top.
    scaled = coefficients[coefficients["candidate"] != 0]
    scaled = scaled.sort_values(f"{objective}_mean", ascending=not is_loss, ignore_index=True)
    means = scaled[f"{objective}_mean"].astype(float)
    places = place(scaled[[f"{d}_share" for d in DIMENSIONS]].astype(float).to_numpy())
    x, y = places
    is_trained = means.notna().to_numpy()
    figure = sheet(
        7.6,
        6.2,
        title=f"{METRIC_NAMES[objective]} on the triangle of shares",
        caption="A point is a network: how the logarithm of its cost over the base network's is "
        "split over depth, width and resolution, as built. Means over seeds; "
        f"{is_trained.sum()} of {len(scaled)} networks have a finished training.",
        equal=equal,
    )
    axes = figure.subplots()
    frame(axes)
    region = None if answer is None else GRID[answer.region.mask]
    if region is not None and len(region):
        look = {"marker": "h", "s": 420, "color": "#dbe7f3", "linewidth": 0, "zorder": 0.5}
        cells = axes.scatter(*place(region), label="95 % region of the rule", **look)
        corners = place([REFERENCES[name] for name in DIMENSIONS]).T
        cells.set_clip_path(Path(corners, closed=False), axes.transData)
    if not is_trained.all():
        look = {"color": "#c9c9c9", "label": "no finished training", "zorder": 3}
        axes.scatter(x[~is_trained], y[~is_trained], s=46, **look)
    if is_trained.any():
        look = {"cmap": "viridis_r" if is_loss else "viridis", "edgecolor": INK, "linewidth": 0.5}
        low, high = _colour_range(means.dropna())
        look |= {"c": means[is_trained], "vmin": low, "vmax": high, "s": 80, "zorder": 4}
        points = axes.scatter(x[is_trained], y[is_trained], **look)
        extend = {(True, False): "min", (False, True): "max", (True, True): "both"}
        beyond = extend.get((means.min() < low, means.max() > high), "neither")
        bar = figure.colorbar(points, ax=axes, shrink=0.7, aspect=25, pad=0.02, extend=beyond)
        bar.outline.set_visible(False)
        bar.set_label(METRIC_NAMES[objective])
        if not is_loss:
            percent_axis(bar.ax)
    marks(axes, scaled.assign(x=x, y=y), answer)
    if answer is not None:
        look = dict(RULE)
        if answer.region.is_everything:
            look |= {"label": "the rule, a guess", "alpha": 0.5}
        axes.scatter(*place([answer.rule]), **look)
    _references(axes, places)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, 1.03), labelspacing=0.9)
    return figure


def place(shares: "Iterable[Iterable[float]] | NDArray[np.float64]") -> NDArray[np.float64]:
    """Horizontal and vertical places of shares, (2, points); the triangle's sides are 1 long.

    All depth lies at the left, all width at the right, all resolution at the top.
    """
    _, width, resolution = np.array([tuple(s) for s in shares], dtype=float).reshape(-1, 3).T
    return np.stack([width + resolution / 2, resolution * np.sqrt(3) / 2])


def frame(axes: Axes) -> None:
    """Draws the empty triangle with its lines of equal shares and the names of its corners."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.1, 1.1)
    axes.set_ylim(-0.1, 0.98)
    axes.plot(*place([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]), color=GREY, linewidth=1.2)
    # Each line's number stands at its first end, on the edge that leads to its corner.
    offsets = {"depth": (-8, 3), "width": (0, -10), "resolution": (10, 3)}
    for tenths in (2, 4, 6, 8):
        share, rest = tenths / 10, 1 - tenths / 10
        lines = {
            "depth": [(share, 0, rest), (share, rest, 0)],
            "width": [(rest, share, 0), (0, share, rest)],
            "resolution": [(0, rest, share), (rest, 0, share)],
        }
        for dimension, line in lines.items():
            ends = place(line)
            axes.plot(*ends, color=FAINT, linewidth=0.8, zorder=1)
            _beside(axes, f"{share:.1f}", ends[:, 0], offsets[dimension], dimension, fontsize=8)
    corners = {"depth": (-4, -16), "width": (4, -16), "resolution": (0, 13)}
    for dimension, offset in corners.items():
        at = place([REFERENCES[dimension]])[:, 0]
        _beside(axes, dimension, at, offset, dimension, fontsize=11, fontweight="bold")


def _beside(
    axes: Axes,
    text: str,
    at: NDArray[np.float64],
    offset: tuple[int, int],
    dimension: str,
    **font: Any,  # matplotlib's own keywords
) -> None:
    axes.annotate(
        text,
        (at[0], at[1]),
        offset,
        textcoords="offset points",
        color=COLOURS[dimension],
        **CENTRED,
        **font,
    )


def _colour_range(means: "pd.Series[float]") -> tuple[float, float]:
    """Smallest and largest mean without outliers."""
    low, high = fence(means)
    inside = means[means.between(low, high)]
    low, high = float(inside.min()), float(inside.max())
    # Equal means still need a scale.
    return (low, high) if high > low else (low - 0.005, high + 0.005)


def _references(axes: Axes, networks: NDArray[np.float64]) -> None:
    """Marks the reference points; each name stands where it hides the fewest networks."""
    marks = place(REFERENCES[name] for name in NAMED)
    look: Keywords = {"marker": "D", "facecolor": "none", "edgecolor": INK, "linewidth": 1.3}
    axes.scatter(marks[0], marks[1], s=100, label="reference point (nominal)", zorder=6, **look)
    taken = np.concatenate([networks, marks], axis=1)
    half = np.array([[0.06], [0.03]])  # of a name, as it stands on the page
    for (name, up), mark in zip(NAMED.items(), marks.T, strict=True):
        sides = [np.array((x, up * y)) for x, y in ((0.07, 0.04), (-0.07, 0.04), (0, 0.055))]
        hidden = [int((np.abs(taken - (mark + s)[:, None]) < half).all(0).sum()) for s in sides]
        x, y = mark + sides[hidden.index(min(hidden))]
        halo = [withStroke(linewidth=3, foreground="white")]
        axes.text(x, y, name, fontsize=9.5, zorder=7, path_effects=halo, **CENTRED)
