"""Accuracy over FLOPs of a search, with error bars."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scaling_search.answer.verdicts import Answer
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.formatting import drawn_metric, level, rounded
from scaling_search.display.plots.drawing import (
    COLOURS,
    FLOPS,
    GREY,
    INK,
    LEFT_OUT,
    MARKERS,
    NETWORK,
    NETWORK_MEANS,
    PAPER,
    SEEDS,
    Keywords,
    count_axis,
    empty,
    fence,
    legend_once,
    marks,
    network_id,
    percent_axis,
    sheet,
    styled,
)
from scaling_search.display.plots.labels import apart, key

NUM_LABELLED = 5
EQUAL_COST = 1.25
"""Largest cost over the smallest of networks in one band."""

SAME_COST = 0.05
"""Part by which a cost must be lower to count as lower: the usual tolerance of a search."""

KINDS = {kind: "mixed" if kind == "mixed" else f"mostly {kind}" for kind in MARKERS}
FRONT, BASE_LEVEL = "Pareto front of means", "mean of the base network"


def pareto_front(
    costs: Sequence[float], values: Sequence[float], *, tolerance: float = 0.0
) -> list[int]:
    """Indices of the points that no other beats in both cost and value, by cost.

    Args:
        costs: Smaller is better.
        values: Greater is better.
        tolerance: Part by which a cost may be higher and still count as equal.
    """
    points = list(zip(costs, values, strict=True))

    def is_beaten(cost: float, value: float) -> bool:
        return any(
            (value < v and c <= cost * (1 + tolerance)) or (value == v and c < cost)
            for c, v in points
        )

    order = sorted(range(len(points)), key=points.__getitem__)
    return [i for i in order if not is_beaten(*points[i])]


@styled()
def accuracy_over_flops(
    coefficients: pd.DataFrame, answer: Answer | None = None, *, objective: Metric, equal: str
) -> Figure:
    """Every network's mean accuracy over FLOPs, with standard errors over seeds.

    Without accuracies it is the metric that decides.

    The horizontal axis is broken between the base network and a narrow band of equal cost.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        answer: Its network is marked; None to mark none.
        objective: The metric that decides.
        equal: `Recipe.equal` of the trainings.
    """
    metric = drawn_metric(coefficients, objective)
    is_trained = coefficients["num_seeds"] > 0
    table = pd.DataFrame(
        {
            "base": coefficients["candidate"] == 0,
            "kind": dominating(coefficients),
            "cost": coefficients["flops"].astype(float),
            "mean": coefficients[f"{metric}_mean"].astype(float),
            "error": coefficients[f"{metric}_sd"] / np.sqrt(coefficients["num_seeds"]),
            "candidate": coefficients["candidate"],
            "left_out": coefficients.get("left_out", 0),
        }
    )[is_trained]
    least, most = fence(table["mean"])
    is_far = table["mean"] > most if metric.direction == "min" else table["mean"] < least
    table["far"] = is_far & ~table["base"]
    num_untrained = int((~is_trained).sum())
    title = f"{metric.heading} at measured cost"
    caption = _caption(table, metric, num_untrained=num_untrained, has_answer=answer is not None)
    figure = sheet(9.2, 5.2, title=title, caption=caption, equal=equal)
    if table.empty:
        axes = figure.subplots()
        empty(axes, "no finished training")
        axes.set(xlabel=FLOPS, ylabel=metric.axis)
        return figure
    panels, log = _panels(figure, table)
    bars = table["error"].fillna(0)
    lower, upper = ((table["mean"] + side * bars)[~table["far"]] for side in (-1, 1))
    low, high = lower.min(), upper.max()
    margin = 0.06 * (high - low) or 0.01
    panels[0].set_ylim(low - margin, high + margin)
    if metric.is_percent:
        percent_axis(panels[0])
    panels[0].set_ylabel(metric.axis)
    is_band = _is_band(table)
    for panel in panels:
        limits = panel.get_xlim()
        shown = _spread(panel, table[table["cost"].between(*limits)], metric)
        _networks(panel, shown, metric)
        marks(panel, shown, answer)
        if is_band and table["base"].any():
            level = table.loc[table["base"], "mean"].iloc[0]
            look: Keywords = {"color": INK, "linewidth": 1, "linestyle": (0, (1, 2))}
            panel.axhline(level, label=BASE_LEVEL, zorder=1.5, **look)
        elif not is_band:
            _front(panel, table, metric)
        panel.set_xlim(*limits)
        is_base = len(panels) > 1 and panel is panels[0]
        count_axis(panel, FLOPS, log=log, digits=3 if is_base else 6)
    if len(panels) > 1:
        _break(*panels, tick=float(table.loc[table["base"], "cost"].iloc[0]))
    _legend(panels)
    best = shown[~shown["base"] & ~shown["far"]]
    best = best.loc[(metric.sign * best["mean"]).nsmallest(NUM_LABELLED).index]
    if len(best):
        names = coefficients.loc[best.index].apply(_name, axis=1)
        labelled = list(zip(best["x"], best["y"], names, strict=True))
        others = shown[["x", "y"]].to_numpy().T
        header = f"{metric.best} means: network, alpha, beta, gamma"
        numbers = coefficients.loc[best.index, "candidate"].tolist()
        key(panels[-1], labelled, others, header=header, numbers=numbers)
    return figure


def dominating(coefficients: pd.DataFrame) -> "pd.Series[str]":
    """The dimension with more than half of a network's growth in cost, else ``mixed``."""
    names = pd.Series("mixed", index=coefficients.index)
    for dimension in DIMENSIONS:
        names = names.mask(coefficients[f"{dimension}_share"].astype(float) > 0.5, dimension)
    return names


def _name(row: "pd.Series[Any]") -> str:
    return ", ".join(rounded(row[name]) for name in ("alpha", "beta", "gamma"))


def _caption(table: pd.DataFrame, metric: Metric, *, num_untrained: int, has_answer: bool) -> str:
    parts = []
    if num_untrained:
        num_networks = len(table) + num_untrained
        parts.append(f"Without a finished training: {num_untrained} of {num_networks} networks.")
    if len(table):
        parts.append("A mark is a network.")
        parts.append(SEEDS if table["error"].notna().any() else "One seed: no error bars.")
    if table["far"].any():
        far = table.loc[table["far"], "mean"]
        where = f"above, up to {level(far.max(), metric)}"
        if metric.direction == "max":
            where = f"below, down to {level(far.min(), metric).replace(' %', '%')}"
        parts.append(f"Arrows: {len(far)} far {where}.")
    if len(table):
        parts.append("Colour and shape: the dimension with over half of the growth in cost.")
        if _is_band(table):
            parts.append("Costs are equal up to rounding: there is no Pareto front.")
        else:
            better = "lower" if metric.direction == "min" else "higher"
            parts.append(
                f"Pareto front: no network of at most {SAME_COST:.0%} more cost has a {better} "
                "mean."
            )
    if has_answer:
        parts.append(NETWORK_MEANS)
    return " ".join(parts)


def _is_band(table: pd.DataFrame) -> bool:
    """True if all scaled networks count as one cost, which has no Pareto front."""
    scaled = table.loc[~table["base"], "cost"]
    return bool(len(scaled) and scaled.max() < EQUAL_COST * scaled.min())


def _panels(figure: Figure, table: pd.DataFrame) -> tuple[list[Axes], bool]:
    """Axes with their horizontal limits, two if the axis is broken; True if it is logarithmic."""
    scaled, base = table.loc[~table["base"], "cost"], table.loc[table["base"], "cost"]
    if len(base) and _is_band(table):
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


def _spread(axes: Axes, table: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Networks with places ``x`` and ``y``; those that coincide are moved apart horizontally."""
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    edge = high - (high - low) / 35 if metric.direction == "min" else low + (high - low) / 35
    at = table["mean"].where(~table["far"], edge)
    # In units of a mark, of which so many fit side by side.
    unit = ((right - left) / 45, (high - low) / 36)
    x, _ = apart(np.stack([table["cost"], at]), 1.0, unit=unit, level=True)
    return table.assign(x=x, y=at)


def _networks(axes: Axes, table: pd.DataFrame, metric: Metric) -> None:
    for _, row in table.iterrows():
        gid = network_id(row["candidate"])
        colour = COLOURS.get(row["kind"], INK)
        look: Keywords = {"marker": MARKERS[row["kind"]], "label": KINDS[row["kind"]]}
        look["s"] = 62 if row["kind"] == "depth" else 44
        if row["base"]:
            colour, look = INK, {"marker": "*", "s": 200, "label": "base network"}
        elif row["far"]:
            colour, look = GREY, {"marker": "^" if metric.direction == "min" else "v", "s": 42}
        if not (row["far"] or pd.isna(row["error"])):
            ends = (row["y"] - row["error"], row["y"] + row["error"])
            axes.vlines(row["x"], *ends, color=colour, alpha=0.5, linewidth=1, gid=gid)
        look |= {"edgecolor": PAPER, "linewidth": 0.6, "zorder": 3, "gid": gid}
        axes.scatter(row["x"], row["y"], facecolor=colour, **look)


def _front(axes: Axes, table: pd.DataFrame, metric: Metric) -> None:
    on_front = pareto_front(
        list(table["cost"]), list(-metric.sign * table["mean"]), tolerance=SAME_COST
    )
    front = table.iloc[on_front]
    costs = [*front["cost"], 2 * table["cost"].max()]
    means = [*front["mean"], front["mean"].iloc[-1]]
    look: Keywords = {"color": INK, "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 1.5}
    axes.plot(costs, means, drawstyle="steps-post", label=FRONT, **look)


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
    order = ["base network", *KINDS.values(), FRONT, BASE_LEVEL]
    order += [look["label"] for look in (NETWORK, LEFT_OUT)]
    handles = legend_once(panels, order)
    panels[-1].legend(handles=handles, loc="lower left", bbox_to_anchor=(1.01, -0.02))
