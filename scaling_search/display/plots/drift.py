"""How the best split moves with the size: a region on the triangle of shares for each."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.tri import Triangulation

from scaling_search.answer.region import GRID, Mask, Region
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.plots.drawing import COLOURS, GREY, INK, Look, sheet, styled
from scaling_search.display.plots.triangle import frame, place

LOOKS: list[Look] = [
    {"color": INK, "marker": "o", "linestyle": "-"},
    {"color": COLOURS["width"], "marker": "s", "linestyle": (0, (5, 2))},
    {"color": COLOURS["depth"], "marker": "^", "linestyle": (0, (1, 1.2))},
    {"color": COLOURS["mixed"], "marker": "D", "linestyle": (0, (5, 1, 1, 1))},
    {"color": COLOURS["resolution"], "marker": "v", "linestyle": (0, (8, 1))},
]
"""Of the sizes, the search's first; they begin again after the last."""

RIM = 0.004
"""How far outside of the triangle the rim lies: outlines on an edge are seen beside it."""


@styled()
def best_by_size(regions: Mapping[float, Region], networks: pd.DataFrame, *, equal: str) -> Figure:
    """The best split and the outline of its 95 % region for each size, on the triangle of shares.

    Args:
        regions: By size, the search's first.
        networks: Of the larger sizes: ``size`` and shares.
        equal: What the trainings have in common, as `Recipe.equal` has it.
    """
    figure = sheet(
        7.6,
        6.2,
        title="The best split at each size",
        caption="Large marks: the best split of the fitted surface, within what all sizes reach "
        "(inside the grey line), and its 95\N{NO-BREAK SPACE}% region. A hollow one is a guess: "
        "the surface may be flat, so that any split may be the best. Small marks: the networks of "
        "the larger sizes.",
        equal=equal,
    )
    axes = figure.subplots()
    frame(axes)
    searched = next(iter(regions.values())).searched
    _outline(axes, searched, {"color": GREY, "linestyle": "-"}, width=1.0)
    if not any(region.is_everything for region in regions.values()):
        bests = np.hstack([place([region.best]) for region in regions.values()])
        axes.plot(*bests, color=GREY, linewidth=1.2, zorder=4)
    handles = []
    for i, (size, region) in enumerate(regions.items()):
        look = LOOKS[i % len(LOOKS)]
        colour, marker = look["color"], look["marker"]
        mine = networks.loc[networks["size"] == size, [f"{d}_share" for d in DIMENSIONS]]
        if len(mine):
            small: Look = {"marker": marker, "s": 26, "facecolor": "none", "edgecolor": colour}
            axes.scatter(*place(mine.to_numpy(dtype=float)), linewidth=0.9, zorder=3, **small)
        label = f"{size:g}x{'' if i else ', searched'}"
        line: Look = {"marker": marker, "color": colour, "markersize": 9}
        if region.is_everything:
            label += ", a guess"
            line |= {"markerfacecolor": "white", "markeredgewidth": 1.8, "linestyle": "none"}
        else:
            _outline(axes, region.mask, look, width=1.8)
            line |= {"markeredgecolor": "white", "linestyle": look["linestyle"]}
        handles.append(Line2D([], [], linewidth=1.8, label=label, **line))
        line |= {"linestyle": "none", "markersize": 11, "zorder": 5 + len(regions) - i}
        axes.plot(*place([region.best]), **line)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.02, 1.03), labelspacing=0.9)
    return figure


def _outline(axes: Axes, mask: Mask, look: Look, *, width: float) -> None:
    """Draws the outline of some points of the grid, halfway to those beside them or on the edge."""
    lattice, is_inside = _lattice()
    heights = np.zeros(len(is_inside))
    heights[is_inside] = mask
    lines: Look = {"levels": [0.5], "colors": [look["color"]], "linestyles": [look["linestyle"]]}
    axes.tricontour(lattice, heights, linewidths=width, zorder=2, **lines)


@cache
def _lattice() -> tuple[Triangulation, Mask]:
    """The grid with a rim on the triangle's edge, on which outlines close, and what is no rim.

    Points of the grid come in the order of `GRID`.
    """
    num_steps = round(1 / GRID[1, 1])
    ends = range(-1, num_steps + 2)
    nodes = {(i, j): np.array([i, j, num_steps - i - j]) for i in ends for j in ends}
    nodes = {key: node for key, node in nodes.items() if node.min() >= -1}
    number = {key: place for place, key in enumerate(nodes)}
    corners = [
        triple
        for i, j in nodes
        for triple in (
            ((i, j), (i + 1, j), (i, j + 1)),
            ((i + 1, j), (i + 1, j + 1), (i, j + 1)),
        )
        if all(corner in nodes for corner in triple)
    ]
    whole = np.array(list(nodes.values())) / num_steps
    shares = np.maximum(whole, -RIM)
    x, y = place(shares / shares.sum(axis=1, keepdims=True))
    triangles = [[number[corner] for corner in triple] for triple in corners]
    return Triangulation(x, y, triangles), whole.min(axis=1) >= 0
