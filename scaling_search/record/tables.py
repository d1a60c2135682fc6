"""Tables as files."""

import re
from pathlib import Path

import pandas as pd

from scaling_search.runtime.files import replace_file
from scaling_search.runtime.visible_text import visible

_FORMULA = re.compile(r"'*[=+@-]")
"""The beginning of text that a spreadsheet would run, and of what `csv` has made of it."""


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table as CSV, whole or not at all.

    Raises:
        RuntimeError: It cannot be written.
    """
    replace_file(path, csv(table))


def read_table(path: Path) -> pd.DataFrame:
    """A table that `write_table` wrote.

    Raises:
        RuntimeError: It cannot be read.
    """
    try:
        # Classes are called NA, null or 007 too: only an empty cell is missing, none is a number.
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"class": str})
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise RuntimeError(
            f"{path.name} must be a table that this program wrote, got {error} for {str(path)!r}; "
            "run the command that makes it again"
        ) from error
    words = _words(table)
    table[words] = table[words].map(_read, na_action="ignore")
    if "order" in table:
        table["order"] = table["order"].astype("Int64")
    if "reason" in table:
        table["reason"] = table["reason"].astype(object).fillna("")
    return table


def csv(table: pd.DataFrame) -> bytes:
    """A table as CSV, with seven digits: rounded coefficients must still build their network.

    An apostrophe stands before text that a spreadsheet would take for a formula.
    """
    table = table.infer_objects()
    words = _words(table)
    table[words] = table[words].map(_written, na_action="ignore")
    return table.to_csv(index=False, float_format="%.7g", lineterminator="\n").encode()


def _words(table: pd.DataFrame) -> list[str]:
    """Names of the columns that may hold text."""
    return list(table.select_dtypes(exclude=["number", "bool"]).columns)


def _written(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = visible(cell)
    return f"'{text}" if _FORMULA.match(text) else text


def _read(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell):
        return cell[1:]
    return cell
