"""Means at half, once and twice a setting of the search."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from scaling_search.core.metric import Metric
from scaling_search.display.plots.accuracy import dominating
from scaling_search.display.plots.drawing import (
    COLOURS,
    GREY,
    MARKERS,
    Keywords,
    empty,
    network_id,
    percent_axis,
    sheet,
    styled,
)

STYLES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)))
"""Line styles of networks of one colour."""


TITLES = {
    "rate": ("Learning rate over the search's own", "at other learning rates"),
    "length": ("Length of training over the search's own", "after shorter and longer training"),
}
"""Axis label and end of the title of each setting."""


@styled()
def setting_curves(table: pd.DataFrame, objective: Metric, *, equal: str) -> Figure:
    """Means over a setting, a line for each network.

    Args:
        table: Table of a section of `fairness_sections`.
        objective: The metric that decides.
        equal: `Recipe.equal` of the trainings at one setting.
    """
    setting = next(name for name in TITLES if name in table)
    name, when = TITLES[setting]
    metric = objective.axis
    means = table.pivot_table(index=setting, columns="name", values=f"{objective}_mean", sort=False)
    errors = table.pivot_table(index=setting, columns="name", values=f"{objective}_se", sort=False)
    means, errors = means.sort_index(), errors.reindex_like(means).fillna(0.0)
    num_networks = table["name"].nunique()
    missing = num_networks - means.shape[1]
    caption = (
        "Means over seeds; bars: one standard error, from the residuals of all trainings. On the "
        "right the mean of all networks is subtracted: level lines if no network is favoured. "
        "Colour: the dimension with over half of the growth in cost."
    )
    if missing:
        caption += f" Not drawn: {missing} of {num_networks} networks."
    figure = sheet(10.4, 4.8, title=f"{metric} {when}", caption=caption, equal=equal)
    if means.empty:
        axes = figure.subplots()
        empty(axes, "no network has all three")
        axes.set(xlabel=name, ylabel=metric)
        return figure
    panels = figure.subplots(1, 2)
    kinds = dict(zip(table["name"], dominating(table), strict=True))
    numbers = dict(zip(table["name"], table["candidate"], strict=True))
    relative = means.sub(means.mean(axis=1), axis=0)
    for axes, values, title in (
        (panels[0], means, "Means"),
        (panels[1], relative, "Less the mean of all networks"),
    ):
        axes.set_title(title, fontsize=10, fontweight="normal")
        _lines(axes, values, errors, kinds, numbers)
        axes.set_xlabel(name)
        if objective.is_percent:
            percent_axis(axes)
    panels[0].set_ylabel(metric)
    panels[1].axhline(0, color=GREY, linewidth=0.8, zorder=1)
    panels[1].set_ylim(*panels[1].get_ylim())
    _legend(panels[1], relative)
    return figure


def _lines(
    axes: Axes,
    values: pd.DataFrame,
    errors: pd.DataFrame,
    kinds: Mapping[str, str],
    numbers: Mapping[str, int],
) -> None:
    num_of: dict[str, int] = {}
    for side, label in zip(_sides(values), values, strict=True):
        kind = kinds[str(label)]
        style = STYLES[num_of.get(kind, 0) % len(STYLES)]
        num_of[kind] = num_of.get(kind, 0) + 1
        look: Keywords = {"color": COLOURS[kind], "marker": MARKERS[kind], "markersize": 5.5}
        look |= {"linewidth": 1.4, "elinewidth": 1, "capsize": 2.5, "linestyle": style}
        drawn = axes.errorbar(values.index * side, values[label], yerr=errors[label], **look)
        for artist in drawn.get_children():
            artist.set_gid(network_id(numbers[str(label)]))
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(values.index), [f"{factor:g}" for factor in values.index])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(values.index.min() / 1.15, values.index.max() * 1.15)


def _legend(axes: Axes, relative: pd.DataFrame) -> None:
    """Names the lines from the highest to the lowest at the right end."""
    handles = dict(zip(relative, axes.containers, strict=True))
    names = relative.iloc[-1].sort_values(ascending=False).index
    axes.legend(
        [handles[name] for name in names],
        [str(name) for name in names],
        title="network",
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        handlelength=3.5,
        alignment="left",
    )


def _sides(values: pd.DataFrame) -> NDArray[np.float64]:
    """Factors that put networks side by side, so that no bar hides another."""
    reach = min(0.1, 0.02 * (values.shape[1] - 1))
    sides: NDArray[np.float64] = np.exp2(np.linspace(-reach, reach, values.shape[1]))
    return sides
