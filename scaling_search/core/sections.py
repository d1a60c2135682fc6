"""The answer to one more question: a part of the report and of the terminal."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class Section:
    """What trainings beyond the search said.

    Attributes:
        name: Of its CSV file, without the suffix.
        title: For people.
        sentences: What the numbers say, the verdict first.
        cells: A table for people: a header and lines; empty for none.
        table: The same for machines.
    """

    name: str
    title: str
    sentences: tuple[str, ...]
    cells: list[list[str]]
    table: pd.DataFrame
