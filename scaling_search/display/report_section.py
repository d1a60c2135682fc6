"""A part of the report and of the terminal's output."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class ReportSection:
    """A part of the report and of the terminal's output.

    Attributes:
        name: Name of its CSV file, without the suffix.
        title: Its heading.
        sentences: The verdict first.
        lines: Printed table: a header and rows of text; empty for none.
        table: The CSV file.
    """

    name: str
    title: str
    sentences: tuple[str, ...]
    lines: list[list[str]]
    table: pd.DataFrame
