"""The empty triangle of shares, and regions on it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.tri import LinearTriInterpolator, Triangulation
from numpy.typing import NDArray

from scaling_search.answer.region import GRID, Hull, Region, leads, thresholds
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import triangle
from scaling_search.display.plots.drawing import COLOURS, FAINT, GREY, Keywords

STEP = 0.0125
FINE = triangle(1 / (1 / STEP + 3)) * (1 + 3 * STEP) - STEP
"""Points at which outlines are evaluated: of the triangle, and of a ring around it."""

RIM = 0.004
"""Distance of outlines from the triangle's edge, where they stay visible."""

CENTRED: Keywords = {"ha": "center", "va": "center"}


def place(shares: "Iterable[Iterable[float]] | NDArray[np.float64]") -> NDArray[np.float64]:
    """Horizontal and vertical places of shares, (2, points); the triangle's sides are 1 long.

    All depth lies at the left, all width at the right, all resolution at the top.
    """
    _, width, resolution = np.array([tuple(s) for s in shares], dtype=float).reshape(-1, 3).T
    return np.stack([width + resolution / 2, resolution * np.sqrt(3) / 2])


LATTICE = Triangulation(*place(FINE))


def frame(axes: Axes) -> None:
    """Draws the empty triangle with its lines of equal shares and the names of its corners."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.1, 1.1)
    axes.set_ylim(-0.1, 0.98)
    axes.plot(*place([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]), color=GREY, linewidth=1.2)
    # Each line's number stands at its first end, on the edge that leads to its corner.
    offsets = {"depth": (-8, 3), "width": (0, -10), "resolution": (10, 3)}
    for tenths in (2, 4, 6, 8):
        share, rest = tenths / 10, 1 - tenths / 10
        lines = {
            "depth": [(share, 0, rest), (share, rest, 0)],
            "width": [(rest, share, 0), (0, share, rest)],
            "resolution": [(0, rest, share), (rest, 0, share)],
        }
        for dimension, line in lines.items():
            ends = place(line)
            axes.plot(*ends, color=FAINT, linewidth=0.8, zorder=1)
            _beside(axes, f"{share:.1f}", ends[:, 0], offsets[dimension], dimension, fontsize=8)
    corners = {"depth": (-4, -16), "width": (4, -16), "resolution": (0, 13)}
    for dimension, offset in corners.items():
        at = place([REFERENCES[dimension]])[:, 0]
        _beside(axes, dimension, at, offset, dimension, fontsize=11, fontweight="bold")


def fill_region(axes: Axes, region: Region, **look: Any) -> None:  # matplotlib's keywords
    """Fills the region of the best split."""
    above = _above(region)
    axes.tricontourf(LATTICE, above, levels=[above.min() - 1, 0], **look)


def outline_region(axes: Axes, region: Region, **look: Any) -> None:  # matplotlib's keywords
    """Draws the outline of the region of the best split."""
    axes.tricontour(LATTICE, _above(region), levels=[0], **look)


def outline_searched(axes: Axes, region: Region, **look: Any) -> None:  # matplotlib's keywords
    """Draws the outline of what was searched."""
    axes.tricontour(LATTICE, _beyond(region), levels=[0], **look)


def _above(region: Region) -> NDArray[np.float64]:
    """A function over `FINE` that is negative inside a region and 0 on its outline."""
    surface = region.surface
    if region.is_everything:
        return _beyond(region)
    limits = LinearTriInterpolator(Triangulation(*place(GRID)), thresholds(surface, GRID))
    inside = np.maximum(FINE, 1e-9)  # an edge's own points may count as outside
    inside /= inside.sum(axis=1, keepdims=True)
    lead = leads(surface, FINE) - limits(*place(inside)).data
    # Both in similar units, so that the outline is smooth where the two meet.
    above: NDArray[np.float64] = np.maximum(lead, _beyond(region) / STEP)
    return above


def _beyond(region: Region) -> NDArray[np.float64]:
    """How far each point of `FINE` lies outside of what was searched, less `RIM`; inside below."""
    sides = Hull.of(region.surface.searched).sides
    beyond: NDArray[np.float64] = (FINE[:, :2] @ sides[:, :2].T + sides[:, 2]).max(axis=1) - RIM
    return beyond


def _beside(
    axes: Axes,
    text: str,
    at: NDArray[np.float64],
    offset: tuple[int, int],
    dimension: str,
    **font: Any,  # matplotlib's own keywords
) -> None:
    axes.annotate(
        text,
        (at[0], at[1]),
        offset,
        textcoords="offset points",
        color=COLOURS[dimension],
        **CENTRED,
        **font,
    )
