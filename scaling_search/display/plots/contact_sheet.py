"""A sheet of images of a batch with their labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scaling_search.display.plots.drawing import GREY, INK, styled

ROWS, COLUMNS = 5, 8
GAP = 0.32
"""Room above an image for its label, over its height."""

LONGEST = 14
"""Characters of a label."""


@styled()
def contact_sheet(images: NDArray[np.uint8], labels: Sequence[str], *, title: str) -> Figure:
    """Up to 5 x 8 images (N, H, W, C), each below its label."""
    width, height = COLUMNS * (1 + GAP / 2), ROWS * (1 + GAP)
    figure = Figure(figsize=(0.95 * width, 0.95 * height + 0.4), layout="constrained")
    figure.suptitle(title, x=0.012, ha="left", fontsize=10, fontweight="normal")
    axes = figure.subplots()
    axes.set_axis_off()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        row, column = divmod(number, COLUMNS)
        left, top = column * (1 + GAP / 2), row * (1 + GAP)
        extent = (left, left + 1, top + 1, top)
        pixels = image.repeat(3, axis=2) if image.shape[2] == 1 else image
        axes.imshow(pixels, extent=extent, interpolation="nearest", aspect="equal")
        axes.plot(
            [left, left + 1, left + 1, left, left],
            [top, top, top + 1, top + 1, top],
            color=GREY,
            linewidth=0.5,
        )
        text = label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
        axes.text(left, top - 0.06, text, fontsize=7, color=INK, va="bottom")
    axes.set_xlim(-0.03, width - GAP / 2 + 0.03)
    axes.set_ylim(height - GAP + 0.03, -GAP)
    return figure
