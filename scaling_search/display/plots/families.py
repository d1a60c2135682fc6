"""Families of networks over phi: this project's and the published one."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scaling_search.core.metric import Metric
from scaling_search.display.formatting import drawn_metric
from scaling_search.display.plots.drawing import (
    COLOURS,
    FLOPS,
    GREY,
    INK,
    MARKERS,
    PAPER,
    SEEDS,
    Keywords,
    count_axis,
    empty,
    network_id,
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
FROM = {"network": "before", "flops": "from_flops", "mean": "from_mean"}
OTHER: Keywords = {"color": GREY, "marker": "d"}
PUBLISHED_SOURCE = (
    "Source: Tan & Le, Table 2 of arXiv:1905.11946v5 and of ICML 2019; multiply-adds as in the "
    "paper. One number a network: no error bars."
)


@styled()
def family_curves(
    families: pd.DataFrame, searched: pd.DataFrame, *, objective: Metric, equal: str
) -> Figure:
    """Accuracy over measured cost, a curve for each way of scaling, with standard errors.

    Without accuracies it is the metric that decides. Members off their family's ray are hollow; a
    curve ends with a bar where the data have no more pixels. Where families share networks, all can
    be seen.

    Args:
        families: A row for each family and phi, of `planning.families.members`, with means.
        searched: The search's networks, as `results.coefficient_table` gives them.
        objective: The metric that decides.
        equal: `Recipe.equal` of the trainings.
    """
    metric = drawn_metric(families, objective)
    families = families.assign(mean=families[f"{metric}_mean"], sd=families[f"{metric}_sd"])
    table = _drawn(families, dict(zip(searched["network"], searched["candidate"], strict=True)))
    figure = sheet(
        9.2,
        5.2,
        title=f"{metric.heading} of scaled families at measured cost",
        caption=_caption(table, num_members=len(families)),
        equal=equal,
    )
    axes = figure.subplots()
    axes.set_ylabel(metric.axis)
    if table.empty:
        empty(axes, "no finished training")
        axes.set_xlabel(FLOPS)
        return figure
    for _, member in table.iterrows():
        _line(axes, member)
        _mark(axes, member)
    low, high = table["flops"].min(), table["flops"].max()
    axes.set_xlim(low * 0.88, high * 1.12)
    count_axis(axes, FLOPS, log=bool(high > 3 * low))
    if metric.is_percent:
        percent_axis(axes)
    handles = _handles(table)
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=3)
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
        {"color": COLOURS["width"], "marker": "s", "markerfacecolor": PAPER},
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


def _drawn(families: pd.DataFrame, numbers: Mapping[str, int]) -> pd.DataFrame:
    """Trained members family by family, with what they share.

    ``before`` is the family's network before, ``from_flops`` and ``from_mean`` are its. A
    member is the ``layer``-th of ``layers`` with its network, and its line the ``strand``-th of
    ``strands`` between the same two.
    """
    order = {family: i for i, family in enumerate(_in_order(families["family"]))}
    table = families[families["num_seeds"] > 0]
    table = table.assign(order=table["family"].map(order)).sort_values(["order", "phi"])
    table["error"] = table["sd"].astype(float) / np.sqrt(table["num_seeds"])
    for column, name in FROM.items():
        table[name] = table.groupby("order")[column].shift()
    for columns, rank, number in (
        (["network"], "layer", "layers"),
        (["before", "network"], "strand", "strands"),
    ):
        group = table.groupby(columns, dropna=False)["order"]
        table[rank], table[number] = group.cumcount(), group.transform("size")
    table["gid"] = [
        network_id(numbers[row["network"]])
        if row["network"] in numbers
        else f"family-{row['family']}-{row['phi']}"
        for _, row in table.iterrows()
    ]
    return table


def _in_order(families: Iterable[str]) -> list[str]:
    present = set(families)
    return [*(f for f in LOOKS if f in present), *sorted(present - set(LOOKS))]


def _line(axes: Axes, member: "pd.Series[Any]") -> None:
    look = LOOKS.get(member["family"], OTHER)
    line: Keywords = {"color": look["color"], "linewidth": 1.6}
    x, y = member["flops"], member["mean"]
    if not pd.isna(member["from_flops"]):
        dashes = _dashes(look, member["strand"], member["strands"])
        ends = [member["from_flops"], x], [member["from_mean"], y]
        axes.plot(*ends, linestyle=dashes, **line)
    if member["ends_at_native_resolution"]:
        dashes = _dashes(look, member["layer"], member["layers"])
        axes.plot([x, 1.12 * x], [y, y], linestyle=dashes, **line)
        stop: Keywords = {"marker": "|", "markersize": 14 - 5 * member["layer"]}
        axes.plot([1.12 * x], [y], color=look["color"], markeredgewidth=2, **stop)


def _dashes(look: Keywords, rank: int, number: int) -> object:
    """Line style of one of several lines at one place: between the dashes of the others."""
    if number == 1:
        return look.get("linestyle", "-")
    dash = 4
    return (dash * ((number - rank) % number), (dash, dash * (number - 1)))


def _mark(axes: Axes, member: "pd.Series[Any]") -> None:
    x, y = member["flops"], member["mean"]
    if member["candidate"] == 0:
        if member["layer"] == 0:
            star: Keywords = {"marker": "*", "s": 200, "edgecolor": PAPER, "linewidth": 0.6}
            axes.scatter(x, y, color=INK, zorder=4, gid=member["gid"], **star)
        return
    look = LOOKS.get(member["family"], OTHER)
    colour = look["color"]
    if not pd.isna(member["error"]):
        bar: Keywords = {"fmt": "none", "ecolor": colour, "alpha": 0.6, "capsize": 2.5}
        axes.errorbar(x, y, yerr=member["error"], **bar)
    # The first of several at one place is the largest, so that each has a rim.
    size = 52 * (1 + 2.2 * (member["layers"] - 1 - member["layer"]))
    dot: Keywords = {"marker": look["marker"], "s": size, "zorder": 3 + member["layer"] / 10}
    dot |= {"facecolor": colour, "edgecolor": PAPER if member["layer"] else colour}
    if not member["is_on_ray"]:
        dot |= {"facecolor": PAPER, "edgecolor": colour, "linewidth": 1.4}
    axes.scatter(x, y, gid=member["gid"], **dot)


def _handles(table: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], label=family, markersize=6.5, **LOOKS.get(family, OTHER))
        for family in _in_order(table["family"])
    ]
    grey: Keywords = {"color": INK, "linestyle": "none", "markersize": 6.5}
    if (table["candidate"] == 0).any():
        big = {"marker": "*", "markersize": 12}
        handles.append(Line2D([], [], label="base network", **grey | big))
    if not table["is_on_ray"].all():
        hollow: Keywords = {"marker": "o", "markerfacecolor": PAPER}
        handles.append(Line2D([], [], label="off its ray", **grey | hollow))
    if _ends(table).any():
        end: Keywords = {"marker": "|", "markersize": 12, "markeredgewidth": 2}
        handles.append(Line2D([], [], label="data have no\nmore pixels", **grey | end))
    return handles


def _caption(table: pd.DataFrame, *, num_members: int) -> str:
    parts = ["A family scales the base network by one split of the cost, further at each mark."]
    if len(table) < num_members:
        missing = num_members - len(table)
        parts.append(f"{missing} of {num_members} members have no finished training.")
    if table["error"].notna().any():
        parts.append(SEEDS)
    elif len(table):
        parts.append("One seed: no error bars.")
    parts += _about_shared(table)
    if not table["is_on_ray"].all():
        parts.append("Hollow: rounding leaves no network that splits the cost as the family does.")
    for phi, families in table[_ends(table)].groupby("phi")["family"].agg(list).items():
        end = "ends" if len(families) == 1 else "end"
        cost = f"{2 ** float(str(phi)):g} times the base network's cost"
        parts.append(f"{_and(families)} {end} at {cost}: the data have no more pixels.")
    return " ".join(parts)


def _about_shared(table: pd.DataFrame) -> Iterator[str]:
    if not ((table["layers"] > 1) & (table["candidate"] != 0)).any():
        return
    alike = table.groupby("order").agg({"family": "first", "network": tuple})
    for _, families in alike.groupby("network", sort=False)["family"]:
        if len(families) > 1:
            yield f"{_and(families)} scale to the same networks."
    yield "Where families share a network, one mark lies within the other."


def _and(names: Iterable[str]) -> str:
    """Names that begin a sentence."""
    *first, last = names
    return (f"{', '.join(first)} and {last}" if first else last).capitalize()


def _ends(table: pd.DataFrame) -> "pd.Series[bool]":
    return table["ends_at_native_resolution"].fillna(value=False).astype(bool)
