"""Families of networks over phi: this project's and the published one."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scaling_search.display.plots.drawing import (
    COLOURS,
    FLOPS,
    GREY,
    INK,
    MARKERS,
    METRIC_NAMES,
    Keywords,
    count_axis,
    empty,
    percent_axis,
    sheet,
    styled,
)

LOOKS: dict[str, Keywords] = {
    "compound": {"color": INK, "marker": "X"},
    "paper": {"color": COLOURS["mixed"], "marker": MARKERS["mixed"], "linestyle": (0, (5, 2))},
    "depth": {"color": COLOURS["depth"], "marker": MARKERS["depth"]},
    "width": {"color": COLOURS["width"], "marker": MARKERS["width"]},
    "resolution": {"color": COLOURS["resolution"], "marker": MARKERS["resolution"]},
    "thirds": {"color": "#56B4E9", "marker": "P", "linestyle": (0, (1, 1))},
    "pycls": {"color": "#E69F00", "marker": "v", "linestyle": (0, (1, 1))},
}
OTHER: Keywords = {"color": GREY, "marker": "d"}
PUBLISHED_SOURCE = (
    "Source: Tan & Le, Table 2 of arXiv:1905.11946v5 and of ICML 2019; multiply-adds as in the "
    "paper. One number a network: no error bars."
)


@styled()
def family_curves(families: pd.DataFrame, *, equal: str) -> Figure:
    """Accuracy over measured cost, a curve for each way of scaling, with standard errors.

    Members off their family's ray are hollow; a curve ends with a bar where the data have no more
    pixels.

    Args:
        families: A row for each family and phi, of `planning.families.members`, with means.
        equal: `Recipe.equal` of the trainings.
    """
    title, caption = "Accuracy of scaled families at measured cost", _caption(families)
    figure = sheet(9.2, 5.0, title=title, caption=caption, equal=equal)
    _families(figure.subplots(), families)
    return figure


@styled()
def published_family(table: pd.DataFrame) -> Figure:
    """The published top-1 accuracies of EfficientNet-B0 to B7 over their multiply-adds.

    Args:
        table: ``reference/efficientnet_family.csv``.
    """
    title = "EfficientNet-B0 to B7 as published: ImageNet top-1 accuracy"
    figure = sheet(9.2, 4.8, title=title, caption=PUBLISHED_SOURCE)
    axes = figure.subplots()
    flops = table["flops_paper_b"] * 1e9
    columns = {"top1_paper": "arXiv v5", "top1_paper_icml2019": "ICML 2019"}
    looks: list[Keywords] = [
        {"color": COLOURS["depth"], "marker": "o"},
        {"color": COLOURS["width"], "marker": "s", "markerfacecolor": "white"},
    ]
    for (column, name), look in zip(columns.items(), looks, strict=True):
        axes.plot(flops, table[column] / 100, label=name, linewidth=1.4, markersize=6.5, **look)
    highest = table[list(columns)].max(axis=1) / 100
    for x, y, name in zip(flops, highest, table["variant"], strict=True):
        above: Keywords = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
        axes.annotate(name, (x, y), (-5, 8), **above)
    axes.set_xlim(flops.min() * 0.75, flops.max() * 1.35)
    axes.margins(y=0.1)
    count_axis(axes, FLOPS, log=True)
    percent_axis(axes)
    axes.set_ylabel("ImageNet top-1 accuracy")
    axes.legend(loc="lower right")
    return figure


def _families(axes: Axes, families: pd.DataFrame) -> None:
    axes.set_ylabel(METRIC_NAMES["val_accuracy"])
    table = families[families["num_seeds"] > 0]
    if table.empty:
        empty(axes, "no finished training")
        axes.set_xlabel(FLOPS)
        return
    handles = []
    present = set(table["family"])
    for family in [*(f for f in LOOKS if f in present), *sorted(present - set(LOOKS))]:
        look = LOOKS.get(family, OTHER)
        _curve(axes, table[table["family"] == family].sort_values("phi"), look)
        handles.append(Line2D([], [], label=family, markersize=6.5, **look))
    base = table[table["candidate"] == 0].head(1)
    star: Keywords = {"marker": "*", "s": 200, "edgecolor": "white", "linewidth": 0.6, "zorder": 4}
    axes.scatter(base["flops"], base["val_accuracy_mean"], color=INK, **star)
    grey: Keywords = {"color": INK, "linestyle": "none", "markersize": 6.5}
    if len(base):
        big = {"marker": "*", "markersize": 12}
        handles.append(Line2D([], [], label="base network", **grey | big))
    if not table["is_on_ray"].all():
        hollow: Keywords = {"marker": "o", "markerfacecolor": "white"}
        handles.append(Line2D([], [], label="off its ray", **grey | hollow))
    if _ends(table).any():
        end: Keywords = {"marker": "|", "markersize": 12, "markeredgewidth": 2}
        handles.append(Line2D([], [], label="data have no\nmore pixels", **grey | end))
    low, high = table["flops"].min(), table["flops"].max()
    axes.set_xlim(low * 0.88, high * 1.12)
    count_axis(axes, FLOPS, log=bool(high > 3 * low))
    percent_axis(axes)
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=3)


def _curve(axes: Axes, family: pd.DataFrame, look: Keywords) -> None:
    x, y = family["flops"], family["val_accuracy_mean"]
    errors = (family["val_accuracy_sd"] / np.sqrt(family["num_seeds"])).fillna(0)
    axes.plot(x, y, color=look["color"], linestyle=look.get("linestyle", "-"), linewidth=1.4)
    axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=look["color"], alpha=0.6, capsize=2.5)
    last = family[_ends(family)]
    for at, height in zip(last["flops"], last["val_accuracy_mean"], strict=True):
        stop: Keywords = {"marker": "|", "markersize": 12, "markeredgewidth": 2, "markevery": [1]}
        axes.plot([at, 1.12 * at], [height, height], color=look["color"], linewidth=1.4, **stop)
    x, y = x[family["candidate"] != 0], y[family["candidate"] != 0]
    exact = family.loc[x.index, "is_on_ray"].astype(bool)
    dots: Keywords = {"marker": look["marker"], "s": 52, "zorder": 3, "edgecolor": look["color"]}
    axes.scatter(x[exact], y[exact], facecolor=look["color"], **dots)
    axes.scatter(x[~exact], y[~exact], facecolor="white", linewidth=1.4, **dots)


def _caption(families: pd.DataFrame) -> str:
    table = families[families["num_seeds"] > 0]
    parts = []
    if len(table) < len(families):
        missing = len(families) - len(table)
        parts.append(f"{missing} of {len(families)} members have no finished training.")
    if table["val_accuracy_sd"].notna().any():
        parts.append("Means over seeds; bars: one standard error, with two seeds or more.")
    elif len(table):
        parts.append("One seed: no error bars.")
    if not table["is_on_ray"].all():
        parts.append("Hollow: the nearest network is off the family's ray.")
    for _, row in table[_ends(table)].iterrows():
        ends = f"The {row['family']} family ends at phi = {row['phi']:g}"
        parts.append(f"{ends}: the data have no more pixels.")
    return " ".join(parts)


def _ends(table: pd.DataFrame) -> "pd.Series[bool]":
    return table["ends_at_native_resolution"].fillna(value=False).astype(bool)
