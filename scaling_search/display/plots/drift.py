"""The best split of each size on the triangle of shares."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scaling_search.answer.region import Region
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.plots.drawing import COLOURS, GREY, INK, PAPER, Keywords, sheet, styled
from scaling_search.display.plots.labels import apart
from scaling_search.display.plots.shares import frame, outline_region, outline_searched, place

LOOKS: list[Keywords] = [
    {"color": INK, "marker": "o", "linestyle": "-"},
    {"color": COLOURS["width"], "marker": "s", "linestyle": (0, (5, 2))},
    {"color": COLOURS["depth"], "marker": "^", "linestyle": (0, (1, 1.2))},
    {"color": COLOURS["mixed"], "marker": "D", "linestyle": (0, (5, 1, 1, 1))},
    {"color": COLOURS["resolution"], "marker": "v", "linestyle": (0, (8, 1))},
]
"""Styles of the sizes, the search's first; repeated after the last."""


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
        6.4,
        title="The best split at each size",
        caption="A place shows shares: how the growth of a network's cost (the logarithm) is "
        "divided among depth, width and resolution. Large marks: the best split of each size's "
        "surface among those that all sizes reach (inside the grey line). Lines around them: the "
        "region that holds the best split with 95\N{NO-BREAK SPACE}% confidence. Hollow: a guess, "
        "because the surface may be flat. Large marks that coincide are drawn side by side. Small "
        "marks: the networks of the larger sizes.",
        equal=equal,
    )
    axes = figure.subplots()
    frame(axes)
    outline_searched(axes, next(iter(regions.values())), colors=[GREY], linewidths=1)
    bests = apart(place([region.best for region in regions.values()]), 0.035)
    if not any(region.is_everything for region in regions.values()):
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
            line |= {"markerfacecolor": PAPER, "markeredgewidth": 1.8, "linestyle": "none"}
        else:
            outline: Keywords = {"colors": [colour], "linestyles": [look["linestyle"]]}
            outline_region(axes, region, linewidths=1.8, zorder=2, **outline)
            line |= {"markeredgecolor": PAPER, "linestyle": look["linestyle"]}
        handles.append(Line2D([], [], linewidth=1.8, label=label, **line))
        line |= {"linestyle": "none", "markersize": 11, "zorder": 5 + len(regions) - i}
        axes.plot(*bests[:, [i]], **line)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.02, 1.03), labelspacing=0.9)
    return figure
