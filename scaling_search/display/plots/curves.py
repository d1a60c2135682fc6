"""Training curves: metrics over epochs."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scaling_search.answer.verdicts import Answer
from scaling_search.core.metric import KNOWN, Metric, shown
from scaling_search.display.plots.drawing import (
    COLOURS,
    GREY,
    INK,
    NETWORK_MEANS,
    Keywords,
    empty,
    fence,
    network_id,
    percent_axis,
    sheet,
    styled,
)
from scaling_search.record.results import CURVE_KEY

TRAIN = "train_loss"
MOST_PANELS = 3


@styled()
def training_curves(
    curves: pd.DataFrame,
    answer: Answer | None = None,
    *,
    objective: Metric,
    equal: str,
    label_smoothing: float = 0.0,
) -> Figure:
    """The metrics of each epoch, a line a network.

    Lines are means over seeds; the base network and the network of the answer have a thin line for
    each seed too.

    Args:
        curves: As `results.curves_table` gives it.
        answer: Its network is drawn in colour; None for none.
        objective: The metric that decides.
        equal: `Recipe.equal` of the trainings.
        label_smoothing: `Recipe.label_smoothing` of the trainings.
    """
    names, caption = _panels(curves, objective, label_smoothing)
    figure = sheet(
        9.2,
        4.1,
        title="Training curves",
        caption="A line is a network: its mean over seeds. Thin lines: single seeds of the "
        "named networks. The first epochs, and networks far off, may lie outside the axes. "
        f"{caption}{'' if answer is None else NETWORK_MEANS}",
        equal=equal,
    )
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    network = None if answer is None else answer.network
    for axes, (metric, name) in zip(panels, names.items(), strict=True):
        axes.set_title(name, fontsize=10, fontweight="normal")
        axes.set_xlabel("Epoch")
        if metric not in curves or curves[metric].isna().all():
            empty(axes, "no finished training")
        else:
            _panel(axes, curves, metric, network)
    if not curves.empty:
        if "val_accuracy" in names:
            percent_axis(panels[list(names).index("val_accuracy")])
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=3)
    return figure


def _panels(
    curves: pd.DataFrame, objective: Metric, label_smoothing: float
) -> tuple[dict[str, str], str]:
    """Titles of the panels by metric, and what the caption says of them."""
    names = {metric.name: metric.axis for metric in KNOWN.values()} | {
        TRAIN: "Training loss (nats)"
    }
    if not objective.is_known or not set(names) <= set(curves):
        reported = [str(name) for name in curves if name not in CURVE_KEY]
        return {one.name: one.axis for one in shown(objective, reported)[:MOST_PANELS]}, ""
    training_loss = "Training loss: the mean over an epoch's steps"
    if label_smoothing:
        names[TRAIN] += ", labels smoothed"
        training_loss += f", with label smoothing of {label_smoothing:g}"
    return names, f"{training_loss}, not to be compared with the validation loss. "


def _panel(axes: Axes, curves: pd.DataFrame, metric: str, network: int | None) -> None:
    means = curves.pivot_table(index="epoch", columns="candidate", values=metric)
    dots: Keywords = {"marker": "o", "markersize": 4} if len(means) < 3 else {}
    named = {0: (INK, "base network")}
    if network is not None:
        named[network] = (COLOURS["network"], f"the network, number {network}")
    others = means[[number for number in means if number not in named]]
    for i, number in enumerate(others):
        label = f"other networks ({others.shape[1]})" if i == 0 else None
        look: Keywords = {"color": GREY, "alpha": 0.35, "linewidth": 0.9, "gid": network_id(number)}
        axes.plot(others[number], label=label, **look, **dots)
    shown = [number for number in named if number in means]
    for number in shown:
        colour, label = named[number]
        look = {"color": colour, "gid": network_id(number)}
        for _, seed in curves[curves["candidate"] == number].groupby("seed"):
            axes.plot(seed["epoch"], seed[metric], alpha=0.6, linewidth=0.7, **look)
        axes.plot(means[number], linewidth=1.7, label=label, zorder=3, **look, **dots)
    # The axes' height goes to what differs, not to the first epochs or to networks far off.
    late = means[means.index > means.index.max() / 4]
    values = pd.Series(late.to_numpy().ravel()).dropna()
    low, high = fence(values)
    inside = [*values[values.between(low, high)], *late[shown].to_numpy().ravel()]
    margin = 0.05 * (max(inside) - min(inside)) or 0.01
    axes.set_ylim(min(inside) - margin, max(inside) + margin)
    axes.set_xlim(left=max(1, late.index.min() - 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
