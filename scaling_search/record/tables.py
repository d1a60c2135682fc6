"""Tables as files."""

from pathlib import Path

import pandas as pd

from scaling_search.runtime.files import replace_file


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
        table = pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise RuntimeError(
            f"{path.name} must be a table that this program wrote, got {error} for {str(path)!r}; "
            "run the command that makes it again"
        ) from error
    if "order" in table:
        table["order"] = table["order"].astype("Int64")
    if "reason" in table:
        table["reason"] = table["reason"].astype(object).fillna("")
    return table


def csv(table: pd.DataFrame) -> bytes:
    """A table as CSV, with seven digits: rounded coefficients must still build their network."""
    text = table.infer_objects().to_csv(index=False, float_format="%.7g", lineterminator="\n")
    return text.encode()
