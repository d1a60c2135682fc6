"""Rows of what benchmarks measured: on which machine, on which day, and as CSV."""

import csv
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from scaling_search.training.engine import device_name


def machine(device: str = "cpu") -> str:
    """The model of a device, the machine's cores and the versions of Python and PyTorch."""
    model = device_name(device) if device.startswith("cuda") else _processor()
    python = platform.python_version()
    return f"{model}, {os.cpu_count()} cores, Python {python}, torch {torch.__version__}"


def today() -> str:
    """The date in UTC, as ISO 8601."""
    return datetime.now(UTC).date().isoformat()


def write_rows(rows: Sequence[Mapping[str, object]], path: Path, *, is_added: bool = False) -> None:
    """Writes rows as CSV, with every column that one of them has.

    Args:
        rows: In order; a column that a row lacks stays empty.
        path: The file.
        is_added: True if the rows follow those that are there, which have the same columns.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    has_header = is_added and path.is_file()
    with path.open("a" if is_added else "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
        if not has_header:
            writer.writeheader()
        writer.writerows(rows)


def _processor() -> str:
    """The processor's own name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
