"""Style and files of all figures.

A PNG has a white background, an SVG none. A page with a theme of its own sets INK, NOTE, GREY,
FAINT and PAPER in an inline SVG by CSS, for each as ``fill`` and as ``stroke``::

    svg [style*="fill: #222222"] { fill: var(--ink) !important; }

All other colours can be seen on white and on black. Marks and lines of a network have the ``id``
`network_id` in all figures; more than one of a figure may have it.
"""

import io
import math
import re
import textwrap
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from scaling_search.answer.verdicts import Answer
from scaling_search.runtime.files import replace_file

Keywords = dict[str, Any]
"""Arguments that matplotlib checks itself."""

INK, NOTE, GREY, FAINT, PAPER = "#222222", "#555555", "#8c8c8c", "#e4e4e4", "#ffffff"
"""Texts and marks; captions; axes; grids; edges of marks, and what hollow ones are filled with."""

COLOURS = {
    "depth": "#0072B2",
    "width": "#D55E00",
    "resolution": "#009E73",
    "mixed": "#CC79A7",
    "rule": "#F00048",
    "network": "#8A3FFC",
}
"""Differ for colour-blind readers too. Source of the first four: Okabe & Ito 2008."""

MARKERS = {"depth": "^", "width": "s", "resolution": "o", "mixed": "D"}
"""Colour never stands alone."""

RULE: Keywords = {
    "marker": "P",
    "s": 190,
    "facecolor": COLOURS["rule"],
    "edgecolor": PAPER,
    "linewidth": 1.2,
    "label": "the rule, for other sizes",
    "zorder": 5.5,
}
GUESS: Keywords = {
    "facecolor": "none",
    "edgecolor": COLOURS["rule"],
    "linewidth": 1.8,
    "label": "the rule, a guess",
}
"""What differs where the surface may be flat."""
NETWORK: Keywords = {
    "marker": "o",
    "s": 210,
    "facecolor": "none",
    "edgecolor": COLOURS["network"],
    "linewidth": 2.4,
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

SEEDS = "Means over seeds; bars: one standard error, with two seeds or more."
RULE_MEANS = "The rule: the best split of the fitted surface, to scale other sizes with."
NETWORK_MEANS = "The network: the best expected of those trained, for this size."
"""What captions say of the marks."""

FLOPS = "Multiply-adds per image"
EQUAL_NAMES = {
    "epochs": "Trained at equal epochs",
    "training_flops": "Trained at equal training FLOPs",
    "own": "Trained by a function of the user's own",
}
"""Amount of training, by `Experiment.equal`."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name begins no formula
    "axes.facecolor": "none",
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
    "figure.facecolor": PAPER,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "svg.hashsalt": "scaling_search",
    "svg.fonttype": "path",
}

MARKER_STROKE = re.compile(rb'(<path id="m\w+" d="[^"]*" style=")stroke: #[0-9a-f]{6}(?:; )?')
"""The colour of a marker's definition, which a page's CSS cannot reach; each use has it too."""


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
        caption = f"{EQUAL_NAMES[equal]}. {caption}".strip()
    figure = Sheet(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.012, ha="left")
    lines = textwrap.wrap(caption, width=round(width * 15))
    figure.supxlabel("\n".join(lines), x=0.012, ha="left", fontsize=8.5, color=NOTE)
    return figure


def network_id(number: Hashable) -> str:
    """The ``id`` of a network's marks and lines in an SVG, the same in all figures."""
    return f"network-{number}"


def mark_rule(axes: Axes, x: float, y: float, answer: Answer) -> None:
    """Marks the rule of an answer at its place, hollow if it is a guess."""
    axes.scatter(x, y, **RULE | (GUESS if answer.region.is_everything else {}))


def marks(axes: Axes, networks: pd.DataFrame, answer: Answer | None) -> None:
    """Marks the network of an answer, and those with trainings left out of the fit.

    Args:
        axes: Axes with the networks.
        networks: Numbers as ``candidate``, places as ``x`` and ``y``, and ``left_out`` if known.
        answer: None to mark no network.
    """
    for _, row in networks.iterrows():
        gid = network_id(row["candidate"])
        if answer is not None and row["candidate"] == answer.network:
            axes.scatter(row["x"], row["y"], gid=gid, **NETWORK)
        if row.get("left_out", 0) > 0:
            axes.scatter(row["x"], row["y"], gid=gid, **LEFT_OUT)


def legend_once(axes: Sequence[Axes], order: Sequence[str] = ()) -> list[Artist]:
    """One legend handle for each label, by an order; other labels follow."""
    handles = {h.get_label(): h for one in axes for h in one.get_legend_handles_labels()[0]}
    first = [handles.pop(label) for label in order if label in handles]
    return [*first, *handles.values()]


def empty(axes: Axes, text: str) -> None:
    """Writes in the middle of empty axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


LATIN_END = 0x250
"""The first letter behind those of Latin alphabets, which the font has."""


def drawable(name: str, otherwise: str) -> str:
    """A name, or other text where the font may lack its letters."""
    is_drawable = name.isprintable() and all(ord(letter) < LATIN_END for letter in name)
    return name if is_drawable else otherwise


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


def rendered(figure: Figure, suffixes: Sequence[str] = (".png", ".svg")) -> dict[str, bytes]:
    """A figure as PNG (160 dpi) and SVG, by suffix; equal figures give equal bytes."""
    options: dict[str, Keywords] = {
        ".png": {"facecolor": PAPER},
        ".svg": {"facecolor": "none", "metadata": {"Date": None}},
    }
    images, layout = {}, figure.get_layout_engine()
    with styled():
        for suffix in suffixes:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], dpi=160, **options[suffix])
            images[suffix] = buffer.getvalue()
            if suffix == ".svg":
                images[suffix] = MARKER_STROKE.sub(rb"\1", images[suffix])
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
