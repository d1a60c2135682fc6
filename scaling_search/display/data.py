"""The section on the data."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from scaling_search.data.description import Description
from scaling_search.data.maps import NAMES
from scaling_search.display.formatting import count
from scaling_search.display.report_section import ReportSection

LONGEST_NAME = 40
"""Letters of a class's name that the table shows."""

MOST_CLASSES = 12
"""Most classes in the table; of more only the largest and the smallest are shown."""


def data_section(about: Description) -> ReportSection:
    """The section on the data: splits, classes, and what was mapped, left out and looks wrong."""
    table = pd.DataFrame(
        {
            "label": range(len(about.classes)),
            "class": about.classes,
            **{name: about.counts[name] for name in NAMES},
        }
    )
    totals = table[list(NAMES)].sum(axis=1)
    shown = table
    if len(table) > MOST_CLASSES:
        ends = [int(totals.argmax()), int(totals.argmin())]
        shown = table.iloc[ends if totals.nunique() > 1 else ends[:1]]
    lines = [
        [f"{row['label']} {_short(row['class'])}", *(f"{row[name]:,}" for name in NAMES)]
        for row in shown.to_dict("records")
    ]
    if len(table) > MOST_CLASSES:
        kinds = KINDS if len(shown) > 1 else ("one of equal size:",)
        lines = [[f"{kind} {line[0]}", *line[1:]] for kind, line in zip(kinds, lines, strict=True)]
    whole = [f"all {len(table)} classes", *(f"{table[name].sum():,}" for name in NAMES)]
    return ReportSection(
        name="data",
        title="The data",
        sentences=tuple(_sentences(about)),
        lines=[["images", *NAMES], *lines, whole],
        table=table,
    )


def _short(name: str) -> str:
    """A name in quotes, its middle left out where it would push the numbers out of sight."""
    shown = repr(name)
    half = LONGEST_NAME // 2
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:half]}...{shown[-half:]}"


KINDS = ("largest:", "smallest:")


def _sentences(about: Description) -> Iterator[str]:
    size = f"{about.resolution} x {about.resolution} px"
    known = "not read yet" if math.isnan(about.mean) else f"{about.mean:.1f} of 255"
    sizes = f"of {size}" if about.shapes == size else f"of {about.shapes}, kept as {size}"
    yield (
        f"{int(np.sum(list(about.counts.values()))):,} images {sizes} with "
        f"{count(about.channels, 'channel')}. Mean pixel of train: {known}."
    )
    yield " ".join(f"{name}: {about.origins[name]}." for name in NAMES)
    yield from about.notes
    if about.left_out:
        yield f"Left out: {'; '.join(about.left_out)}."
    for warning in about.warnings:
        yield f"Warning: {warning}"
