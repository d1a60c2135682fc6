"""The triangle of shares with the rows of a table of scaled networks."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.plots.drawing import COLOURS, GREY, INK, PAPER, Keywords, sheet, styled
from scaling_search.display.plots.labels import apart, key, name_points
from scaling_search.display.plots.shares import frame, place
from scaling_search.display.plots.triangle import GAP, mark_references

MOST_NAMED = 14
"""Most names that fit beside the triangle."""

SHORT = 3
"""Letters of a name that fits beside its point."""


@styled()
def triangle_of_variants(audited: pd.DataFrame) -> Figure:
    """The split of each row's cost, by its multipliers and as built.

    Args:
        audited: As `audit.audit` gives it. Rows that are not within the triangle, or are the base
            network, are not drawn.
    """
    look: Keywords
    drawn = audited[audited[_columns("")].ge(0).all(axis=1)].reset_index(drop=True)
    num_beyond = int(audited[_columns("")].lt(0).any(axis=1).sum())
    caption = (
        "A place shows shares: how the growth of a network's cost (the logarithm) is divided among "
        "depth, width and resolution. As built: measured on the rounded network. Nominal: by its "
        "multipliers alone, joined to it by a line. Networks of nearly equal shares are drawn side "
        "by side."
    )
    if num_beyond:
        caption += f" {num_beyond} of {len(audited)} rows shrink one dimension while another grows."
    figure = sheet(7.6, 6.2, title="Scaled networks on the triangle of shares", caption=caption)
    axes = figure.subplots()
    frame(axes)
    built, nominal = (place(drawn[_columns(kind)].to_numpy()) for kind in ("", "nominal_"))
    built = apart(built, GAP)
    for (x, y), (to_x, to_y) in zip(built.T, nominal.T, strict=True):
        axes.plot([x, to_x], [y, to_y], color=GREY, linewidth=1.2, zorder=3)
    look = {"facecolor": PAPER, "edgecolor": COLOURS["depth"], "zorder": 3.5}
    axes.scatter(nominal[0], nominal[1], s=26, label="nominal: nothing rounded", **look)
    look = {"color": COLOURS["depth"], "edgecolor": INK, "linewidth": 0.5, "zorder": 4}
    axes.scatter(built[0], built[1], s=60, label="as built", **look)
    joined = np.hstack([built + part * (nominal - built) for part in (0, 0.25, 0.5, 0.75, 1)])
    named = mark_references(axes, joined)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, 1.03))
    rows = zip(built.T, drawn["variant"], strict=True)
    labels = [(float(x), float(y), str(name)) for (x, y), name in rows]
    if max(map(len, drawn["variant"]), default=0) <= SHORT:
        name_points(axes, labels, joined, names=named)
    elif len(drawn) <= MOST_NAMED:
        key(axes, labels, joined, header="as built", names=named)
    return figure


def _columns(kind: str) -> list[str]:
    return [f"{kind}{dimension}_share" for dimension in DIMENSIONS]
