"""The best split of each size on the triangle of shares."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.tri import Triangulation

from scaling_search.answer.region import GRID, Mask, Region
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.core.space_filling import triangle
from scaling_search.display.plots.drawing import COLOURS, GREY, INK, Keywords, sheet, styled
from scaling_search.display.plots.triangle import frame, place

LOOKS: list[Keywords] = [
    {"color": INK, "marker": "o", "linestyle": "-"},
    {"color": COLOURS["width"], "marker": "s", "linestyle": (0, (5, 2))},
    {"color": COLOURS["depth"], "marker": "^", "linestyle": (0, (1, 1.2))},
    {"color": COLOURS["mixed"], "marker": "D", "linestyle": (0, (5, 1, 1, 1))},
    {"color": COLOURS["resolution"], "marker": "v", "linestyle": (0, (8, 1))},
]
"""Styles of the sizes, the search's first; repeated after the last."""

RIM = 0.004
"""Distance of outlines from the triangle's edge, where they stay visible."""


@styled()
def best_by_size(regions: Mapping[float, Region], networks: pd.DataFrame, *, equal: str) -> Figure:
    """The best split and the outline of its 95 % region for each size, on the triangle of shares.

    Args:
        regions: By size, the search's first.
        networks: Networks of the larger sizes: ``size`` and shares.
        equal: `Recipe.equal` of the trainings.
    """
    figure = sheet(
        7.6,
        6.2,
        title="The best split at each size",
        caption="Large marks: the best split of the surface among those that all sizes reach "
        "(inside the grey line), and its 95\N{NO-BREAK SPACE}% region. Hollow: a guess, because "
        "the surface may be flat. Small marks: the networks of the larger sizes.",
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
            small: Keywords = {"marker": marker, "s": 26, "facecolor": "none", "edgecolor": colour}
            axes.scatter(*place(mine.to_numpy(dtype=float)), linewidth=0.9, zorder=3, **small)
        label = f"{size:g}x{'' if i else ', searched'}"
        line: Keywords = {"marker": marker, "color": colour, "markersize": 9}
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


def _outline(axes: Axes, mask: Mask, look: Keywords, *, width: float) -> None:
    """Draws the outline of some points of the grid, halfway to those beside them or on the edge."""
    steps = round(1 / GRID[1, 1])
    whole = (triangle(1 / (steps + 3)) * (steps + 3)).round() - 1  # with a ring around the grid
    heights = np.zeros(len(whole))
    heights[whole.min(axis=1) >= 0] = mask
    shares = np.maximum(whole / steps, -RIM)
    x, y = place(shares / shares.sum(axis=1, keepdims=True))
    lattice = Triangulation(x, y, Triangulation(*place(whole)).triangles)
    lines: Keywords = {"colors": [look["color"]], "linestyles": [look["linestyle"]]}
    axes.tricontour(lattice, heights, levels=[0.5], linewidths=width, zorder=2, **lines)
