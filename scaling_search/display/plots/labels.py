"""Points that coincide, and labels of points, without overlap."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from scaling_search.display.plots.drawing import GREY, INK, PAPER, Keywords

Places = NDArray[np.float64]
"""Horizontal and vertical places of points, (2, points)."""

NOWHERE: Places = np.zeros((2, 0))

ROUNDS = 200
"""Moves of `apart` at most; a few are enough."""

LINE = 0.062
"""Height of a line of `key`, over the axes'."""

SIDES = np.exp(1j * np.arange(16) * np.pi / 8)
DISTANCES = (11, 14, 18, 24, 32, 42)
"""Where a label may stand around its point, in points of 1/72 inch."""

WIDTH, HEIGHT = 16, 11
"""Room of a label of two letters, in these points."""


def apart(
    places: Places, gap: float, *, unit: Sequence[float] = (1, 1), level: bool = False
) -> Places:
    """Moves points that nearly coincide, until none is nearer to another than a gap.

    Args:
        places: Where the points are, (2, points).
        gap: Least distance, in units.
        unit: Length of one unit, horizontally and vertically.
        level: True to move points horizontally alone.
    """
    scale = np.array(unit)
    points = places.T / scale
    for _ in range(ROUNDS):
        steps = points[:, None] - points
        lengths = np.hypot(steps[..., 0], steps[..., 1])
        lacking = np.triu(np.clip(gap - lengths, 0, None), 1)
        if lacking.max(initial=0) < 0.01 * gap:
            break
        # Points of one place go ways of their own, each pair another.
        first, second = np.nonzero(lacking)
        turns = np.outer(2.4 * (first + second), [1, 1]) - np.array([0, np.pi / 2])
        away = np.where(lengths[first, second, None] > 0, steps[first, second], np.cos(turns))
        if level:
            away = np.where(steps[first, second, :1] < 0, [[-1.0, 0.0]], [[1.0, 0.0]])
        away *= (lacking[first, second] / np.hypot(*away.T) / 2)[:, None]
        np.add.at(points, first, away)
        np.add.at(points, second, -away)
    moved: Places = (points * scale).T
    return moved


def key(
    axes: Axes,
    labelled: Sequence[tuple[float, float, str]],
    others: Places,
    *,
    header: str,
    numbers: Sequence[int] = (),
    names: Places = NOWHERE,
) -> None:
    """Numbers some points and writes their labels beside the axes, which need final limits.

    Args:
        axes: Axes with all else that takes room beside them.
        labelled: Points (x, y, label).
        others: All points, which numbers do not hide, (2, points).
        header: Stands above the labels.
        numbers: Their numbers; empty for 1, 2, 3, ...
        names: Places of other texts, (2, places).
    """
    beside: Keywords = {"transform": axes.transAxes, "va": "center"}
    axes.text(1.03, 1, header, fontsize=8.5, color=GREY, **beside)
    numbers = numbers or range(1, len(labelled) + 1)
    for line, (number, (_, _, label)) in enumerate(zip(numbers, labelled, strict=True), start=1):
        axes.text(1.03, 1 - LINE * line, f"{number}", fontsize=9, **beside)
        axes.text(1.09, 1 - LINE * line, label, fontsize=9, **beside)
    numbered = [(x, y, f"{n}") for n, (x, y, _) in zip(numbers, labelled, strict=True)]
    name_points(axes, numbered, others, names=names)


def name_points(
    axes: Axes,
    labelled: Sequence[tuple[float, float, str]],
    others: Places,
    *,
    names: Places = NOWHERE,
) -> None:
    """Writes a label of few letters beside each of some points.

    Args:
        axes: As `key` takes it.
        labelled: Points (x, y, label).
        others: As `key` takes it.
        names: Places of other texts, (2, places).
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)  # lengths on the page are known after it
    axes.apply_aspect()
    points, texts = (axes.transData.transform(p.T) @ np.array([1, 1j]) for p in (others, names))
    taken = list(texts)
    halo = [withStroke(linewidth=2.5, foreground=PAPER)]
    font: Keywords = {"ha": "center", "va": "center", "fontsize": 8.5, "color": INK, "zorder": 7}
    for x, y, label in labelled:
        at = complex(*axes.transData.transform((x, y)))
        offset, is_clear = _free_side(axes, at, points, taken)
        taken.append(at + offset * figure.dpi / 72)
        away: Keywords = {"xytext": (offset.real, offset.imag), "textcoords": "offset points"}
        if not is_clear:
            line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
            away["arrowprops"] = line
        text = axes.annotate(label, (x, y), path_effects=halo, **away, **font)
        text.set_in_layout(False)


def _free_side(
    axes: Axes, at: complex, points: NDArray[np.complex128], labels: list[complex]
) -> tuple[complex, bool]:
    """Offset of a label from its point where it hides least; True if it is clearly its own."""
    scale = 72 / axes.figure.dpi  # points of a pixel
    inside = axes.get_window_extent()
    others = (points[np.abs(points - at) > 1] - at) * scale
    near = (np.array(labels, dtype=complex) - at) * scale
    found: list[tuple[float, ...]] = []
    offsets = [complex(distance * side) for distance in DISTANCES for side in SIDES]
    for i, offset in enumerate(offsets):
        place = at + offset / scale
        gaps = near - offset
        on_label = ((np.abs(gaps.real) < WIDTH) & (np.abs(gaps.imag) < HEIGHT)).sum()
        is_out = not inside.contains(place.real, place.imag)
        away = np.abs(others - offset)
        # A label belongs to the point that is clearly the nearest, else a line leads to it.
        is_unclear = (away < 1.3 * abs(offset)).any()
        along = np.clip((others / offset).real, 0, 1)
        crossed = (np.abs(others - along * offset) < 4).sum() if is_unclear else 0
        hidden = (away < WIDTH / 2).sum()
        found.append((int(on_label + is_out), int(crossed), bool(is_unclear), int(hidden), i))
    best = min(found)
    return offsets[int(best[-1])], not best[2]
