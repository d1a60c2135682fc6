"""The triangle of shares with the rows of a table of scaled networks."""

import pandas as pd
from matplotlib.figure import Figure

from scaling_search.core.scaling import DIMENSIONS, REFERENCES
from scaling_search.display.plots.drawing import COLOURS, INK, Keywords, rail, sheet, styled
from scaling_search.display.plots.triangle import NAMED, frame, place

MOST_NAMED = 14
"""Most names that fit beside the triangle."""


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
        "How the logarithm of a network's cost over the base network's is split over depth, width "
        "and resolution: as built and, joined to it, by its multipliers."
    )
    if num_beyond:
        caption += f" {num_beyond} of {len(audited)} rows shrink one dimension while another grows."
    figure = sheet(7.6, 6.2, title="Scaled networks on the triangle of shares", caption=caption)
    axes = figure.subplots()
    frame(axes)
    built, nominal = (place(drawn[_columns(kind)].to_numpy()) for kind in ("", "nominal_"))
    for (x, y), (to_x, to_y) in zip(built.T, nominal.T, strict=True):
        axes.plot([x, to_x], [y, to_y], color=COLOURS["answer"], linewidth=1.2, zorder=3)
    look = {"facecolor": "white", "edgecolor": COLOURS["answer"], "zorder": 3.5}
    axes.scatter(nominal[0], nominal[1], s=26, label="nominal: nothing rounded", **look)
    look = {"color": COLOURS["answer"], "edgecolor": INK, "linewidth": 0.5, "zorder": 4}
    axes.scatter(built[0], built[1], s=60, label="as built", **look)
    marks = place(REFERENCES[name] for name in NAMED)
    look = {"marker": "D", "facecolor": "none", "edgecolor": INK, "linewidth": 1.3, "zorder": 5}
    axes.scatter(marks[0], marks[1], s=90, label="reference point (nominal)", **look)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, 1.03))
    if len(drawn) <= MOST_NAMED:
        named = zip(built.T, drawn["variant"], strict=True)
        labels = [(float(x), float(y), name) for (x, y), name in named]
        rail(axes, labels, header="as built")
    return figure


def _columns(kind: str) -> list[str]:
    return [f"{kind}{dimension}_share" for dimension in DIMENSIONS]
