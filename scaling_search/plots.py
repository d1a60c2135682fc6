"""The figures of a search: accuracy over cost, the triangle of shares, training curves."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scaling_search.drawing import (
    BASE,
    COLOURS,
    FAINT,
    GREY,
    INK,
    MARKERS,
    count_axis,
    empty,
    percent_axis,
    rail,
    sheet,
    styled,
)
from scaling_search.scaling import DIMENSIONS, REFERENCES

NUM_LABELLED = 5
METRIC_NAMES = {
    "val_accuracy": "Validation accuracy",
    "val_loss": "Validation loss (nats)",
    "train_loss": "Training loss (nats)",
}
COST_NAMES = {
    "flops": "Multiply-adds per image",
    "params": "Parameters",
    "activations": "Activations per image",
}


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that none beats in both cost (less) and value (more), by cost."""
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        is_equal = bool(front) and (costs[i], values[i]) == (costs[front[-1]], values[front[-1]])
        if not front or values[i] > values[front[-1]] or is_equal:
            front.append(i)
    return front


@styled()
def accuracy_over_flops(coefficients: pd.DataFrame, cost_column: str = "flops") -> Figure:
    """Every network's mean validation accuracy over its cost, with standard errors over seeds.

    Networks of one cost lie in a narrow band: where that is so, the horizontal axis is broken
    between the base network and the band, so that the band is wide enough to read.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        cost_column: The horizontal axis.
    """
    table = coefficients[coefficients["num_seeds"] > 0].assign(
        error=lambda t: t["val_accuracy_sd"] / np.sqrt(t["num_seeds"])
    )
    has_errors = bool(table["error"].notna().any())
    missing = len(coefficients) - len(table)
    figure = sheet(
        9.2,
        5.0,
        title="Accuracy at measured cost",
        caption="Means over seeds. "
        + ("Bars: one standard error over seeds. " if has_errors else "One seed: no error bars. ")
        + (f"{missing} of {len(coefficients)} networks have no finished training. " * (missing > 0))
        + "Colour: the dimension that takes more than half of the growth in cost, as built.",
    )
    name = COST_NAMES.get(cost_column, cost_column)
    if table.empty:
        axes = figure.subplots()
        empty(axes, "no finished training")
        axes.set(xlabel=name, ylabel=METRIC_NAMES["val_accuracy"])
        return figure
    panels, log = _panels(figure, table, cost_column)
    front = table.iloc[pareto_front(list(table[cost_column]), list(table["val_accuracy_mean"]))]
    for panel in panels:
        low, high = panel.get_xlim()
        shown = table[table[cost_column].between(low, high)]
        _networks(panel, shown, cost_column)
        ends = [*front[cost_column], max(high, table[cost_column].max() * 1.1)]
        steps = [*front["val_accuracy_mean"], front["val_accuracy_mean"].iloc[-1]]
        line = {"color": INK, "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 1.5}
        panel.plot(ends, steps, drawstyle="steps-post", label="Pareto front of means", **line)
        panel.set_xlim(low, high)
    main = panels[-1]
    percent_axis(panels[0])
    panels[0].set_ylabel(METRIC_NAMES["val_accuracy"])
    for panel in panels:
        count_axis(panel, largest=table[cost_column].max(), name=name, log=log)
    if len(panels) > 1:
        _break(*panels, ticks=sorted(set(table.loc[table["candidate"] == 0, cost_column])))
    best = table[table["candidate"] != 0].nlargest(NUM_LABELLED, "val_accuracy_mean")
    rail(
        main,
        [(row[cost_column], row["val_accuracy_mean"], triple(row)) for _, row in best.iterrows()],
        header="best means: alpha, beta, gamma" if len(best) else "",
    )
    handles = {h.get_label(): h for p in panels for h in p.get_legend_handles_labels()[0]}
    main.legend(handles=list(handles.values()), loc="lower left", bbox_to_anchor=(1.01, -0.02))
    return figure


def triple(row: "pd.Series[float]") -> str:
    """The three coefficients with two decimals."""
    return ", ".join(f"{row[name]:.2f}" for name in ("alpha", "beta", "gamma"))


def dominating(coefficients: pd.DataFrame) -> "pd.Series[str]":
    """The dimension with more than half of a network's growth in cost, else ``mixed``."""
    shares = coefficients[[f"{d}_share" for d in DIMENSIONS]].astype(float)
    names = pd.Series("mixed", index=coefficients.index)
    for dimension in DIMENSIONS:
        names = names.mask(shares[f"{dimension}_share"] > 0.5, dimension)
    return names


def _panels(figure: Figure, table: pd.DataFrame, cost_column: str) -> tuple[list[Axes], bool]:
    """Axes with their horizontal limits, two if the axis is broken; whether it is logarithmic."""
    costs = table[cost_column].astype(float)
    scaled = costs[table["candidate"] != 0]
    base = costs[table["candidate"] == 0]
    if len(base) and len(scaled) and scaled.max() / scaled.min() < 1.25:
        width = max(scaled.max() - scaled.min(), 0.01 * scaled.max())
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 6])
        if not scaled.min() - width < base.iloc[0] < scaled.max() + width:
            left.set_xlim(base.iloc[0] * 0.9, base.iloc[0] * 1.1)
            right.set_xlim(scaled.min() - 0.12 * width, scaled.max() + 0.12 * width)
            return [left, right], False
        figure.delaxes(left)
        figure.delaxes(right)
    axes = figure.subplots()
    log = bool(costs.max() / costs.min() > 3)
    axes.set_xlim(costs.min() * 0.93, costs.max() * 1.08)
    return [axes], log


def _break(left: Axes, right: Axes, *, ticks: list[float]) -> None:
    """Shows that the horizontal axis leaves something out between two panels."""
    left.set_xticks(ticks)
    left.set_xlabel("")
    right.spines["left"].set_visible(False)
    right.tick_params(axis="y", left=False, labelleft=False)
    mark = {"marker": [(-0.5, -1), (0.5, 1)], "markersize": 9, "linestyle": "none", "color": GREY}
    left.plot([1], [0], transform=left.transAxes, clip_on=False, **mark)
    right.plot([0], [0], transform=right.transAxes, clip_on=False, **mark)


def _networks(axes: Axes, table: pd.DataFrame, cost_column: str) -> None:
    kinds = dominating(table)
    for kind, marker in MARKERS.items():
        group = table[(kinds == kind) & (table["candidate"] != 0)]
        if group.empty:
            continue
        label = "mixed" if kind == "mixed" else f"mostly {kind}"
        x, y = group[cost_column], group["val_accuracy_mean"]
        errors = group["error"].fillna(0)
        axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=COLOURS[kind], alpha=0.45, linewidth=1)
        look = {"marker": marker, "color": COLOURS[kind], "edgecolor": "white", "linewidth": 0.6}
        axes.scatter(x, y, s=42, label=label, zorder=3, **look)
    base = table[table["candidate"] == 0]
    if len(base):
        x, y = base[cost_column], base["val_accuracy_mean"]
        axes.errorbar(x, y, yerr=base["error"].fillna(0), fmt="none", ecolor=INK, linewidth=1)
        axes.scatter(x, y, s=170, marker="*", color=INK, label="base network", zorder=3)


@styled()
def triangle_of_shares(coefficients: pd.DataFrame, objective: str) -> Figure:
    """The networks on the triangle of shares, coloured by their mean of the objective.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        objective: ``val_accuracy`` or ``val_loss``.
    """
    scaled = coefficients[coefficients["candidate"] != 0].dropna(subset=["depth_share"])
    means = scaled[f"{objective}_mean"].astype(float)
    trained, untrained = scaled[means.notna()], scaled[means.isna()]
    figure = sheet(
        7.6,
        6.2,
        title=f"{METRIC_NAMES[objective]} on the triangle of shares",
        caption="A point is a network: how the logarithm of its cost over the base network's is "
        "split over depth, width and resolution, as built. Means over seeds; "
        f"{len(trained)} of {len(scaled)} networks have a finished training.",
    )
    axes = figure.subplots()
    _triangle(axes)
    axes.scatter(*_place(untrained), s=46, color="#c9c9c9", label="no finished training", zorder=3)
    order = "viridis_r" if objective == "val_loss" else "viridis"
    look = {"cmap": order, "edgecolor": INK, "linewidth": 0.5, "zorder": 4}
    points = axes.scatter(*_place(trained), c=means[trained.index], s=80, **look)
    if len(trained):
        bar = figure.colorbar(points, ax=axes, shrink=0.7, aspect=25, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(METRIC_NAMES[objective])
        if objective == "val_accuracy":
            percent_axis(bar.ax)
        best = means.idxmin() if objective == "val_loss" else means.idxmax()
        ring = {"facecolor": "none", "edgecolor": COLOURS["best"], "linewidth": 2.2, "zorder": 5}
        label = f"best mean: {triple(scaled.loc[best])}"
        axes.scatter(*_place(scaled.loc[[best]]), s=210, label=label, **ring)
    _references(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, 1.02), handletextpad=0.3)
    return figure


def _place(table: pd.DataFrame) -> tuple[Sequence[float], Sequence[float]]:
    """Horizontal and vertical places of shares: depth left, width right, resolution at the top."""
    width = table["width_share"].astype(float)
    resolution = table["resolution_share"].astype(float)
    return list(width + resolution / 2), list(resolution * np.sqrt(3) / 2)


def _places(points: Iterable[Sequence[float]]) -> tuple[Sequence[float], Sequence[float]]:
    return _place(pd.DataFrame(list(points), columns=[f"{d}_share" for d in DIMENSIONS]))


def _triangle(axes: Axes) -> None:
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.1, 1.1)
    axes.set_ylim(-0.1, 0.98)
    axes.plot(*_places([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]), color=GREY, linewidth=1.2)
    for tenths in (2, 4, 6, 8):
        share, rest = tenths / 10, 1 - tenths / 10
        ends = {
            "depth": [(share, 0, rest), (share, rest, 0)],
            "width": [(rest, share, 0), (0, share, rest)],
            "resolution": [(0, rest, share), (rest, 0, share)],
        }
        # Each line's number stands at its first end, on the edge that leads to its corner.
        offsets = {"depth": (-7, 3), "width": (0, -10), "resolution": (9, 3)}
        for dimension, line in ends.items():
            x, y = _places(line)
            axes.plot(x, y, color=FAINT, linewidth=0.8, zorder=1)
            axes.annotate(
                f"{share:.1f}",
                (x[0], y[0]),
                offsets[dimension],
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=8,
                color=COLOURS[dimension],
            )
    corners = {"depth": (-4, -16), "width": (4, -16), "resolution": (0, 11)}
    for (dimension, offset), x, y in zip(
        corners.items(), *_places(tuple(REFERENCES[d]) for d in DIMENSIONS), strict=True
    ):
        axes.annotate(
            dimension,
            (x, y),
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            color=COLOURS[dimension],
        )


def _references(axes: Axes) -> None:
    offsets = {"thirds": (12, -12), "paper": (-12, 12), "pycls": (-12, 12)}
    x, y = _places(tuple(REFERENCES[name]) for name in offsets)
    axes.scatter(
        x, y, s=110, marker="D", facecolor="none", edgecolor=INK, linewidth=1.3, zorder=6,
        label="reference point (nominal)",
    )  # fmt: skip
    for (name, offset), left, up in zip(offsets.items(), x, y, strict=True):
        axes.annotate(
            name,
            (left, up),
            offset,
            textcoords="offset points",
            ha="left" if offset[0] > 0 else "right",
            va="center",
            fontsize=9.5,
            zorder=7,
            path_effects=[patheffects.withStroke(linewidth=3, foreground="white")],
        )


@styled()
def training_curves(curves: pd.DataFrame, objective: str = "val_accuracy") -> Figure:
    """Validation accuracy, validation loss and training loss over epochs, a line a network.

    Lines are means over seeds; the base network and the best network have a thin line for each
    seed too.

    Args:
        curves: As `results.curves_table` gives it.
        objective: By which the best is the best: ``val_accuracy`` or ``val_loss``.
    """
    num_others = curves.loc[curves["candidate"] != 0, "candidate"].nunique()
    figure = sheet(
        9.2,
        3.9,
        title="Training curves",
        caption="Lines: means over a network's seeds; thin lines: its single seeds. Validation is "
        "measured without smoothing and augmentation, training with what the recipe says.",
    )
    panels = figure.subplots(1, 3)
    best = _best_at_end(curves, objective)
    for axes, metric in zip(panels, METRIC_NAMES, strict=True):
        axes.set_title(METRIC_NAMES[metric], fontsize=10, fontweight="normal")
        axes.set_xlabel("Epoch")
        if curves.empty:
            empty(axes, "no finished training")
            continue
        means = curves.pivot_table(index="epoch", columns="candidate", values=metric)
        dots = {"marker": "o", "markersize": 4} if len(means) < 3 else {}
        others = means[[c for c in means.columns if c not in (0, best)]]
        for i, number in enumerate(others):
            label = f"other networks ({num_others - 1})" if i == 0 else None
            axes.plot(others[number], color=GREY, alpha=0.35, linewidth=0.9, label=label, **dots)
        for number, colour, label in (
            (0, INK, "base network"),
            (best, COLOURS["best"], f"network {best}, best mean at the end"),
        ):
            if number not in means:
                continue
            mine = curves[curves["candidate"] == number]
            for _, seed in mine.groupby("seed"):
                axes.plot(seed["epoch"], seed[metric], color=colour, alpha=0.45, linewidth=0.7)
            axes.plot(means[number], color=colour, linewidth=2.0, label=label, zorder=3, **dots)
    percent_axis(panels[0])
    if not curves.empty:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=3)
    return figure


def _best_at_end(curves: pd.DataFrame, objective: str) -> int | None:
    scaled = curves[curves["candidate"] != 0]
    if scaled.empty:
        return None
    ends = scaled[scaled["epoch"] == scaled["epoch"].max()]
    means = ends.groupby("candidate")[objective].mean()
    return int(means.idxmin() if objective == "val_loss" else means.idxmax())
