"""A user's own table of scaled networks, read and checked, and the rule that fits its rows."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scaling_search.core.scaling import DIMENSIONS, Coefficients

MULTIPLIERS = (0.01, 100.0)
"""The smallest and the largest multiplier; beyond, a network on paper would fill the memory."""

PIXELS = (1, 100_000)
PHIS = (-20.0, 20.0)
COUNTS = (1.0, 1e18)
MOST_ROWS, LONGEST_NAME = 1000, 40

NAMES = ("name", "variant")
RESOLUTIONS = {"resolution": PIXELS, "resolution_multiplier": MULTIPLIERS}
NEEDED = {"depth": MULTIPLIERS, "width": MULTIPLIERS}
OPTIONAL = {"phi": PHIS, "flops": COUNTS, "params": COUNTS}
HEADER = "name,depth,width,resolution"


def read_variants(file: str) -> pd.DataFrame:
    """A table of multipliers, a row for each network.

    Columns: ``variant``, ``depth`` and ``width``, multipliers; either ``resolution``, in pixels, or
    ``resolution_multiplier``; and, where the file has them, ``phi`` and the published ``flops`` and
    ``params``, which may be missing in some rows. Other columns are left out.

    Raises:
        RuntimeError: The file cannot be read.
        ValueError: It does not hold such a table.
    """
    try:
        rows = list(csv.reader(io.StringIO(_text(file)), strict=True))
    except csv.Error as error:
        raise ValueError(
            f"audit.table must be comma-separated values, got {str(error)!r} in {file!r}; save it "
            "as CSV"
        ) from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    name = _one_of(NAMES, header, file)
    resolution = _one_of(tuple(RESOLUTIONS), header, file)
    for column in NEEDED:
        _one_of((column,), header, file)
    if not 1 <= len(rows) - 1 <= MOST_ROWS:
        raise ValueError(
            f"audit.table must hold 1 to {MOST_ROWS} rows below its header, got {len(rows) - 1} in "
            f"{file!r}; a row is a network"
        )
    limits = NEEDED | {resolution: RESOLUTIONS[resolution]}
    limits |= {column: OPTIONAL[column] for column in OPTIONAL if column in header}
    read = []
    for number, cells in enumerate(rows[1:], start=2):
        if len(cells) != len(header):
            raise ValueError(
                f"audit.table must have {len(header)} cells in each row, got {len(cells)} in row "
                f"{number} of {file!r}; fix the commas"
            )
        by_column = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        variant = _name(by_column[name], number, file)
        numbers = {c: _number(by_column[c], c, span, variant, file) for c, span in limits.items()}
        read.append({"variant": variant} | numbers)
    table = pd.DataFrame(read)
    if len(twice := table.loc[table["variant"].duplicated(), "variant"]):
        raise ValueError(
            f"audit.table must name each row differently, got {twice.iloc[0]!r} twice in {file!r}; "
            "rename one"
        )
    return table


def resolution_multipliers(variants: pd.DataFrame, base_resolution: int) -> list[float]:
    """The multiplier of each row's resolution.

    Pixels are over those of the row whose depth and width are 1; of several, over those of the one
    with the base network's own, else of the first. Without one they are over the base network's.
    """
    if "resolution_multiplier" in variants:
        return [float(m) for m in variants["resolution_multiplier"]]
    is_base = (variants["depth"] == 1) & (variants["width"] == 1)
    pixels = [float(p) for p in variants.loc[is_base, "resolution"]] or [float(base_resolution)]
    base = float(base_resolution) if base_resolution in pixels else pixels[0]
    return [float(p) / base for p in variants["resolution"]]


def fitted(variants: pd.DataFrame, base_resolution: int) -> Coefficients | None:
    """The coefficients that a table's own phi give its multipliers; None without any.

    Least squares of their logarithms on phi, through the base network.

    Raises:
        ValueError: No coefficients would be of a sensible size.
    """
    if "phi" not in variants or not variants["phi"].any():
        return None
    scaled = variants.assign(resolution=resolution_multipliers(variants, base_resolution))
    phi = variants["phi"].to_numpy(dtype=float)
    slopes = {
        d: float(phi @ np.log(scaled[d].to_numpy(dtype=float)) / (phi @ phi)) for d in DIMENSIONS
    }
    if max(abs(slope) for slope in slopes.values()) > math.log(MULTIPLIERS[1]):
        raise ValueError(
            f"phi in audit.table must be the power that gives the multipliers, got "
            f"{float(np.abs(phi).max()):g} as the largest; twice the cost is usually 1"
        )
    return Coefficients(*(math.exp(slopes[d]) for d in DIMENSIONS))


def _text(file: str) -> str:
    path = Path(file).expanduser()
    try:
        if path.exists() and not path.is_file():
            raise RuntimeError(f"audit.table must be a CSV file, got {file!r}, which is none")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RuntimeError(
            f"audit.table must be UTF-8, got {error.reason} in {file!r}; save it as CSV in UTF-8"
        ) from error
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise RuntimeError(
            f"audit.table must be a CSV file that can be read, got {file!r} "
            f"({getattr(error, 'strerror', None) or error}); give one with {HEADER}"
        ) from error


def _one_of(names: Sequence[str], header: Sequence[str], file: str) -> str:
    """The one of these columns that the header has."""
    found = [column for column in header if column in names]
    if len(found) == 1:
        return found[0]
    got = ", ".join(cell[:LONGEST_NAME] for cell in header[:20]) or "nothing"
    raise ValueError(
        f"audit.table must have one column {' or '.join(names)}, got {got!r} in {file!r}; its "
        f"first line is for instance {HEADER}"
    )


def _name(cell: str, number: int, file: str) -> str:
    if not cell or not cell.isprintable() or len(cell) > LONGEST_NAME:
        raise ValueError(
            f"audit.table must name each row in 1 to {LONGEST_NAME} printable characters, got "
            f"{cell[: LONGEST_NAME + 1]!r} in row {number} of {file!r}; fix the cell"
        )
    return cell


def _number(cell: str, column: str, span: tuple[float, float], variant: str, file: str) -> float:
    """A cell's number; not a number where a published one is missing."""
    if not cell and column in ("flops", "params"):
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    low, high = span
    if not low <= value <= high or "_" in cell:  # Python's own separator of digits
        raise ValueError(
            f"audit.table must have a number from {low:g} to {high:g} in column {column!r}, got "
            f"{cell[:LONGEST_NAME]!r} for {variant!r} in {file!r}; fix the cell"
        )
    return value
