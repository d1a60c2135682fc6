"""Networks as rows of a record: columns of a table, and the architecture itself."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from scaling_search.core.candidate import Candidate
from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Coefficients, Shares
from scaling_search.planning.families import FamilyMember, PointNetwork
from scaling_search.record.results import Row
from scaling_search.record.schema import current
from scaling_search.record.serialization import from_json, to_json
from scaling_search.record.tables import read_table

COEFFICIENTS = ("alpha", "beta", "gamma")

NETWORKS = {"search": "candidates.csv", "scale": "families.csv", "transfer": "transfer.csv"}
"""Tables of the networks of these commands, which version 1 keeps instead of a record."""

LAST_COLUMN = {"scale": "ends_at_native_resolution"}
"""The last column that these commands wrote there."""


def network_row(network: Candidate | FamilyMember | PointNetwork) -> Row:
    """A network as a row that `candidate_of` reads."""
    candidate = network if isinstance(network, Candidate) else network.candidate
    return {**network.row(), "architecture": to_json(candidate.architecture)}


def candidate_of(row: Mapping[str, Any], allowed: Sequence[str] = ()) -> Candidate:
    """The candidate of a row.

    Args:
        row: As `network_row` gives it.
        allowed: Packages besides this one whose classes may be built.

    Raises:
        ValueError: The row's architecture is not that of its name, or may not be built.
    """
    try:
        architecture: Architecture = from_json(current(row["architecture"]), allowed=allowed)
    except KeyError as error:
        raise ValueError(
            f"storage must hold networks with their architectures, got one without {error}; use "
            "the run's own record"
        ) from error
    if architecture.name != row["network"]:
        raise ValueError(
            f"base_network must build {row['network']!r} as when it was recorded, got "
            f"{architecture.name!r}; put its code back, or use another out= for another experiment"
        )
    triples = {
        name: Coefficients(*(float(row[f"{one}{end}"]) for one in COEFFICIENTS))
        for name, end in (("coefficients", ""), ("lowest", "_low"), ("highest", "_high"))
    }
    shares = [row[f"{dimension}_share"] for dimension in DIMENSIONS]
    values = {field.name: row[field.name] for field in fields(Candidate) if field.name in row}
    return Candidate(
        **values
        | triples
        | {
            "number": int(row["candidate"]),
            "architecture": architecture,
            "shares": None if shares[0] is None else Shares(*shares),
        }
    )


def networks_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A row for each network, without its architecture."""
    return pd.DataFrame([{k: v for k, v in row.items() if k != "architecture"} for row in rows])


def earlier_networks(
    folder: Path, command: str, base_network: Architecture, target: float, trained: set[str]
) -> list[Row]:
    """Rows of the table in which version 1 kept a command's networks; none if there is none.

    Args:
        folder: The run's.
        command: A command.
        base_network: Base network of the experiment; architectures are built anew from it.
        target: Cost of the networks over the base network's, if no column has it.
        trained: Names of the networks that were trained.

    Raises:
        RuntimeError: The table is damaged, or cut short.
    """
    path, said = folder / NETWORKS[command], "put a copy of it back"
    if not path.is_file():
        return []
    try:
        # A report of version 1 added columns, which are computed anew.
        table = read_table(path).loc[:, : LAST_COLUMN.get(command)]
        rows = _earlier_rows(table, base_network, target)
    except (KeyError, TypeError, ValueError) as error:
        raise RuntimeError(f"{path} must be as {command} wrote it, got {error}; {said}") from error
    if not rows or not path.read_bytes().endswith(b"\n"):
        raise RuntimeError(f"{path} must have a line for each network, got it cut short; {said}")
    if lost := trained - {str(row["network"]) for row in rows}:
        raise RuntimeError(
            f"{path} must have the networks that were trained, got none {min(lost)!r}; {said}"
        )
    return rows


def _earlier_rows(table: pd.DataFrame, base_network: Architecture, target: float) -> list[Row]:
    """Rows of such a table with architectures; ValueError if the base scales to none of a name."""
    rows = []
    for row in table.to_dict("records"):
        size = 2.0 ** row["phi"] if "phi" in row else row.get("size", target)
        values = {str(key): None if pd.isna(value) else value for key, value in row.items()}
        architecture = _scaled(base_network, row, size)
        rows.append({**values, "architecture": to_json(architecture)})
    return rows


def _scaled(base_network: Architecture, row: Mapping[Any, Any], size: float) -> Architecture:
    """The network of a CSV row: by the middle of its coefficients' range, else by them."""
    if row["candidate"] == 0:
        return base_network
    middle = [(row[f"{one}_low"] + row[f"{one}_high"]) / 2 for one in COEFFICIENTS]
    for triple in (middle, [row[one] for one in COEFFICIENTS]):
        multipliers = Coefficients(*map(float, triple)).multipliers(math.log2(size))
        if (found := base_network.scaled(multipliers)).name == row["network"]:
            return found
    raise ValueError(
        f"base_network must scale to {row['network']!r}, got {found.name!r}; put back the run's "
        "config.yaml"
    )
