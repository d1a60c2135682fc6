"""Tables of the report's page: their cells, and the network of each row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from scaling_search.core.metric import Metric
from scaling_search.display.formatting import Formatter, coefficient_columns, family_columns

ONLY_IF_ANY = ("failed", "left out")
"""Columns of counts that are shown where one is above 0."""


@dataclass(frozen=True)
class PageTable:
    """A table of a page.

    Attributes:
        header: Names of the columns.
        lines: Cells of each row.
        networks: The network of each row, named as in figures; empty where rows are none.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    networks: tuple[str, ...] = ()

    @classmethod
    def of_lines(cls, lines: Iterable[Iterable[str]]) -> "PageTable | None":
        """A table of a header and rows of text; None of nothing."""
        header, *rows = [tuple(line) for line in lines] or [()]
        return cls(header, tuple(rows)) if header else None


def network_table(coefficients: pd.DataFrame, objective: Metric) -> PageTable:
    """The base network and each other with its coefficients, cost and means."""
    columns = coefficient_columns(coefficients, objective)
    numbers = coefficients["candidate"].astype(str)
    table = _table(coefficients, columns, numbers)
    empty = [
        i
        for i, name in enumerate(table.header)
        if name in ONLY_IF_ANY and not any(line[i] != "0" for line in table.lines)
    ]
    return PageTable(
        _without(table.header, empty),
        tuple(_without(line, empty) for line in table.lines),
        table.networks,
    )


def family_table(families: pd.DataFrame, members: Mapping[str, str]) -> PageTable:
    """The members of each family; ``members`` are their networks, of `family_members`."""
    networks = [members[member_name(row)] for _, row in families.iterrows()]
    return _table(families, family_columns(families), networks)


def family_members(families: pd.DataFrame, candidates: pd.DataFrame) -> dict[str, str]:
    """The network of each member of a family, by the member's name in figures.

    It is the search's number where the search has the network, else the first such member's name.
    """
    known = dict(zip(candidates["network"], candidates["candidate"].astype(str), strict=True))
    return {
        member_name(row): known.setdefault(row["network"], member_name(row))
        for _, row in families.iterrows()
    }


def member_name(row: "pd.Series[Any]") -> str:
    """The name in figures of a family's member."""
    return f"family-{row['family']}-{row['phi']:g}"


def _table(
    table: pd.DataFrame, columns: Mapping[str, Formatter], networks: Iterable[str]
) -> PageTable:
    lines = tuple(tuple(text(row) for text in columns.values()) for _, row in table.iterrows())
    return PageTable(tuple(columns), lines, tuple(networks))


def _without(cells: tuple[str, ...], places: Iterable[int]) -> tuple[str, ...]:
    return tuple(cell for i, cell in enumerate(cells) if i not in set(places))
