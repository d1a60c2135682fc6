"""Style and files of all figures."""

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from scaling_search.answer.verdicts import Answer
from scaling_search.runtime.files import replace_file

Keywords = dict[str, Any]
"""Arguments that matplotlib checks itself."""

INK, GREY, FAINT = "#222222", "#8c8c8c", "#e4e4e4"

COLOURS = {
    "depth": "#0072B2",
    "width": "#D55E00",
    "resolution": "#009E73",
    "mixed": "#CC79A7",
    "answer": "#D55E00",
}
"""For colour-blind readers. Source: Okabe & Ito 2008."""

MARKERS = {"depth": "^", "width": "s", "resolution": "o", "mixed": "D"}
"""Colour never stands alone."""

RULE: Keywords = {
    "marker": "P",
    "s": 190,
    "color": COLOURS["answer"],
    "edgecolor": "white",
    "linewidth": 1.2,
    "label": "the rule, for other sizes",
    "zorder": 5.5,
}
NETWORK: Keywords = {
    "marker": "o",
    "s": 210,
    "facecolor": "none",
    "edgecolor": COLOURS["answer"],
    "linewidth": 2.2,
    "label": "the network, for this size",
    "zorder": 5,
}
LEFT_OUT: Keywords = {
    "marker": "x",
    "s": 90,
    "color": INK,
    "linewidth": 1.1,
    "label": "has trainings left out of the fit",
    "zorder": 6,
}
"""The marks of an answer, the same in every figure."""

METRIC_NAMES = {
    "val_accuracy": "Validation accuracy",
    "val_loss": "Validation loss (nats)",
    "train_loss": "Training loss (nats)",
}
FLOPS = "Multiply-adds per image"
EQUAL_NAMES = {"epochs": "equal epochs", "training_flops": "equal training FLOPs"}
"""Equal amount of training, by `Recipe.equal`."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name begins no formula
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "svg.hashsalt": "scaling_search",
    "svg.fonttype": "path",
}


@contextmanager
def styled() -> Iterator[None]:
    """The style of all figures, as a context manager or decorator."""
    with mpl.rc_context(_STYLE):
        yield


class Sheet(Figure):
    """A figure that Jupyter shows by itself; others need pyplot's backend for notebooks."""

    def _repr_png_(self) -> bytes:
        return rendered(self, suffixes=(".png",))[".png"]


def sheet(
    width: float, height: float, *, title: str, caption: str, equal: str | None = None
) -> Figure:
    """An empty figure with a title above and a caption below all axes.

    Args:
        width: In inches.
        height: In inches.
        title: Title of the figure.
        caption: Follows the amount of training.
        equal: `Recipe.equal` of the trainings; None for published ones.
    """
    if equal is not None:
        caption = f"Trained at {EQUAL_NAMES[equal]}. {caption}".strip()
    figure = Sheet(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.012, ha="left")
    lines = textwrap.wrap(caption, width=round(width * 15))
    figure.supxlabel("\n".join(lines), x=0.012, ha="left", fontsize=8.5, color="#555555")
    return figure


def triple(row: "pd.Series[Any]") -> str:
    """A network's three coefficients with two decimals."""
    return ", ".join(f"{row[name]:.2f}" for name in ("alpha", "beta", "gamma"))


def marks(axes: Axes, networks: pd.DataFrame, answer: Answer | None) -> None:
    """Marks the network of an answer, and those with trainings left out of the fit.

    Args:
        axes: Axes with the networks.
        networks: Numbers as ``candidate``, places as ``x`` and ``y``, and ``left_out`` if known.
        answer: None to mark no network.
    """
    if answer is not None:
        mine = networks[networks["candidate"] == answer.network]
        axes.scatter(mine["x"], mine["y"], **NETWORK)
    if "left_out" in networks and (has := networks["left_out"] > 0).any():
        axes.scatter(networks.loc[has, "x"], networks.loc[has, "y"], **LEFT_OUT)


def empty(axes: Axes, text: str) -> None:
    """Writes in the middle of empty axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def percent_axis(axes: Axes) -> None:
    """Writes fractions on the vertical axis as percentages."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}%"))


def count_axis(axes: Axes, name: str, *, log: bool, digits: int = 6) -> None:
    """Writes counts on the horizontal axis in thousands, M or G; its limits must be final."""
    low, high = axes.get_xlim()
    size, prefix = next((s, p) for s, p in _PREFIXES if high >= s or s == 1)
    if log:
        axes.set_xscale("log")
        subs = (1, 2, 5) if high / low > 20 else (1, 1.5, 2, 3, 4, 6, 8)
        axes.xaxis.set_major_locator(LogLocator(subs=subs))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(low, high)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:.{digits}g}"))
    axes.set_xlabel(f"{name} ({prefix})" if prefix else name)


_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "thousands"), (1, ""))


def fence(values: "pd.Series[float]") -> tuple[float, float]:
    """Limits of outliers; infinite for fewer than eight values.

    Source: Tukey 1977, with four interquartile ranges for "far out".
    """
    low, high = values.quantile(0.25), values.quantile(0.75)
    if len(values) < 8 or low == high:
        return -math.inf, math.inf
    return float(low - 4 * (high - low)), float(high + 4 * (high - low))


def rail(axes: Axes, labels: Sequence[tuple[float, float, str]], *, header: str) -> None:
    """Writes labels of points (x, y, text) beside axes with final limits, without overlap."""
    low, high = axes.get_ylim()
    gap, place = 0.062, 1.0
    axes.text(1.03, place, header, transform=axes.transAxes, va="center", fontsize=8.5, color=GREY)
    ordered = sorted(labels, key=lambda label: -label[1])
    for num_below, (x, y, text) in zip(reversed(range(len(labels))), ordered, strict=True):
        place = min(place - gap, max((y - low) / (high - low), 0.4 + gap * num_below))
        line: Keywords = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "relpos": (0, 0.5)}
        axes.annotate(
            text,
            (x, y),
            (1.03, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops=line | {"shrinkA": 0, "shrinkB": 5},
        )


def rendered(figure: Figure, suffixes: Sequence[str] = (".png", ".svg")) -> dict[str, bytes]:
    """A figure as PNG (160 dpi) and SVG, by suffix; equal figures give equal bytes."""
    metadata: dict[str, Mapping[str, str | None]] = {".png": {}, ".svg": {"Date": None}}
    images, layout = {}, figure.get_layout_engine()
    with styled():
        for suffix in suffixes:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], dpi=160, metadata=metadata[suffix])
            images[suffix] = buffer.getvalue()
            figure.set_layout_engine("none")  # the next format has the same, which takes long
    figure.set_layout_engine(layout)
    return images


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes ``<name>.png`` and ``<name>.svg``; a reader sees the old file or the new one."""
    paths = []
    for suffix, image in rendered(figure).items():
        replace_file(folder / f"{name}{suffix}", image)
        paths.append(folder / f"{name}{suffix}")
    return paths
