"""Accuracy over FLOPs of a search, with error bars and the Pareto front."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scaling_search.answer.verdicts import Answer
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.plots.drawing import (
    COLOURS,
    FLOPS,
    GREY,
    INK,
    LEFT_OUT,
    MARKERS,
    METRIC_NAMES,
    NETWORK,
    Keywords,
    count_axis,
    empty,
    fence,
    marks,
    percent_axis,
    rail,
    sheet,
    styled,
    triple,
)

NUM_LABELLED = 5
EQUAL_COST = 1.25
"""Largest cost over the smallest of networks in one band."""


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats in both cost and value, by cost."""
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        is_equal = bool(front) and (costs[i], values[i]) == (costs[front[-1]], values[front[-1]])
        if not front or values[i] > values[front[-1]] or is_equal:
            front.append(i)
    return front


@styled()
def accuracy_over_flops(
    coefficients: pd.DataFrame, answer: Answer | None = None, *, equal: str
) -> Figure:
    """Every network's mean validation accuracy over FLOPs, with standard errors over seeds.

    The horizontal axis is broken between the base network and a narrow band of equal cost.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        answer: Its network is marked; None to mark none.
        equal: `Recipe.equal` of the trainings.
    """
    is_trained = coefficients["num_seeds"] > 0
    table = pd.DataFrame(
        {
            "base": coefficients["candidate"] == 0,
            "kind": dominating(coefficients),
            "cost": coefficients["flops"].astype(float),
            "mean": coefficients["val_accuracy_mean"].astype(float),
            "error": coefficients["val_accuracy_sd"] / np.sqrt(coefficients["num_seeds"]),
            "label": coefficients.apply(triple, axis=1),
            "candidate": coefficients["candidate"],
            "left_out": coefficients.get("left_out", 0),
        }
    )[is_trained]
    table["below"] = (table["mean"] < fence(table["mean"])[0]) & ~table["base"]
    figure = sheet(
        9.2,
        5.0,
        title="Accuracy at measured cost",
        caption=_caption(table, num_untrained=int((~is_trained).sum())),
        equal=equal,
    )
    if table.empty:
        axes = figure.subplots()
        empty(axes, "no finished training")
        axes.set(xlabel=FLOPS, ylabel=METRIC_NAMES["val_accuracy"])
        return figure
    panels, log = _panels(figure, table)
    bars = table["error"].fillna(0)
    low, high = (table["mean"] - bars)[~table["below"]].min(), (table["mean"] + bars).max()
    margin = 0.06 * (high - low) or 0.01
    panels[0].set_ylim(low - margin, high + margin)
    percent_axis(panels[0])
    panels[0].set_ylabel(METRIC_NAMES["val_accuracy"])
    for panel in panels:
        limits = panel.get_xlim()
        shown = table[table["cost"].between(*limits)]
        _networks(panel, shown[~shown["below"]])
        at = shown["mean"].where(~shown["below"], low - margin / 2)
        marks(panel, shown.assign(x=shown["cost"], y=at), answer)
        below = shown[shown["below"]]
        floor = [low - margin / 2] * len(below)
        panel.scatter(below["cost"], floor, s=42, marker="v", color=GREY, zorder=3)
        _front(panel, table)
        panel.set_xlim(*limits)
        is_base = len(panels) > 1 and panel is panels[0]
        count_axis(panel, FLOPS, log=log, digits=3 if is_base else 6)
    if len(panels) > 1:
        _break(*panels, tick=float(table.loc[table["base"], "cost"].iloc[0]))
    best = table[~table["base"]].nlargest(NUM_LABELLED, "mean")
    rail(
        panels[-1],
        list(zip(best["cost"], best["mean"], best["label"], strict=True)),
        header="highest means: alpha, beta, gamma" if len(best) else "",
    )
    _legend(panels)
    return figure


def dominating(coefficients: pd.DataFrame) -> "pd.Series[str]":
    """The dimension with more than half of a network's growth in cost, else ``mixed``."""
    names = pd.Series("mixed", index=coefficients.index)
    for dimension in DIMENSIONS:
        names = names.mask(coefficients[f"{dimension}_share"].astype(float) > 0.5, dimension)
    return names


def _caption(table: pd.DataFrame, *, num_untrained: int) -> str:
    parts = []
    if num_untrained:
        num_networks = len(table) + num_untrained
        parts.append(f"Without a finished training: {num_untrained} of {num_networks} networks.")
    if table["error"].notna().any():
        parts.append("Means over seeds; bars: one standard error, with two seeds or more.")
    elif len(table):
        parts.append("One seed: no error bars.")
    if table["below"].any():
        lowest = table.loc[table["below"], "mean"].min()
        parts.append(f"Arrows: {table['below'].sum()} far below, down to {lowest:.1%}.")
    if len(table):
        parts.append("Colour: the dimension with over half of the growth in cost.")
    return " ".join(parts)


def _panels(figure: Figure, table: pd.DataFrame) -> tuple[list[Axes], bool]:
    """Axes with their horizontal limits, two if the axis is broken; True if it is logarithmic."""
    scaled, base = table.loc[~table["base"], "cost"], table.loc[table["base"], "cost"]
    if len(scaled) and len(base) and scaled.max() / scaled.min() < EQUAL_COST:
        first, last, at = scaled.min(), scaled.max(), base.iloc[0]
        width = max(last - first, 0.02 * last)
        if not first - width < at < last + width:
            left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 6])
            left.set_xlim(at * 0.9, at * 1.1)
            middle, half = (first + last) / 2, 0.6 * width
            right.set_xlim(middle - half, middle + half)
            return [left, right], False
    axes = figure.subplots()
    first, last = table["cost"].min(), table["cost"].max()
    margin = min(0.08, max((last - first) / last / 10, 0.01))
    axes.set_xlim(first * (1 - margin), last * (1 + margin))
    return [axes], bool(last > 3 * first)


def _networks(axes: Axes, table: pd.DataFrame) -> None:
    for kind, marker in MARKERS.items():
        group = table[(table["kind"] == kind) & ~table["base"]]
        if len(group):
            label = "mixed" if kind == "mixed" else f"mostly {kind}"
            look: Keywords = {"marker": marker, "s": 62 if marker == "^" else 44}
            _points(axes, group, COLOURS[kind], look | {"label": label})
    base = table[table["base"]]
    if len(base):
        _points(axes, base, INK, {"marker": "*", "s": 200, "label": "base network"})


def _points(axes: Axes, table: pd.DataFrame, colour: str, look: Keywords) -> None:
    x, y, errors = table["cost"], table["mean"], table["error"].fillna(0)
    axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=colour, alpha=0.5, elinewidth=1)
    axes.scatter(x, y, color=colour, edgecolor="white", linewidth=0.6, zorder=3, **look)


def _front(axes: Axes, table: pd.DataFrame) -> None:
    front = table.iloc[pareto_front(list(table["cost"]), list(table["mean"]))]
    costs = [*front["cost"], 2 * table["cost"].max()]
    means = [*front["mean"], front["mean"].iloc[-1]]
    look: Keywords = {"color": INK, "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 1.5}
    axes.plot(costs, means, drawstyle="steps-post", label="Pareto front of means", **look)


def _break(left: Axes, right: Axes, *, tick: float) -> None:
    """Marks the break of the horizontal axis between two panels."""
    left.set_xticks([tick])
    left.set_xlabel("")
    right.spines["left"].set_visible(False)
    right.tick_params(axis="y", left=False, labelleft=False)
    look: Keywords = {"marker": [(-0.5, -1), (0.5, 1)], "markersize": 9, "clip_on": False}
    left.plot([1], [0], transform=left.transAxes, color=GREY, **look)
    right.plot([0], [0], transform=right.transAxes, color=GREY, **look)


def _legend(panels: Sequence[Axes]) -> None:
    handles = {h.get_label(): h for p in panels for h in p.get_legend_handles_labels()[0]}
    order = ["base network", *(f"mostly {d}" for d in DIMENSIONS), "mixed", "Pareto front of means"]
    order += [look["label"] for look in (NETWORK, LEFT_OUT)]
    panels[-1].legend(
        handles=[handles[label] for label in order if label in handles],
        loc="lower left",
        bbox_to_anchor=(1.01, -0.02),
    )
