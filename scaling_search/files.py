"""Files that a reader sees whole or not at all, and tables in them."""

import os
from contextlib import suppress
from pathlib import Path

import pandas as pd


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file by renaming a finished one over it; makes its folder.

    Raises:
        RuntimeError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:  # its mode is the user's umask's
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a lost power supply could leave the new name empty
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RuntimeError(
            f"{path.name} must be writable, got {error.strerror!r} for {str(path)!r}; "
            "take another folder or make room"
        ) from error


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table as CSV, whole or not at all.

    Seven digits, because coefficients have six decimals and must still build their network.

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
    """A table as CSV; seven digits, for coefficients have six decimals."""
    text = table.infer_objects().to_csv(index=False, float_format="%.7g", lineterminator="\n")
    return text.encode()
