"""Tables of images in Parquet and Arrow files, and the pictures that these only name."""

import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scaling_search.data.trees import State, state_of

AT_ONCE = 64
"""Rows that are read at a time; their bytes are in memory."""

PATHS_AT_ONCE = 4096

SUFFIXES = (".parquet", ".arrow")

NUM_GROUPS = 16
"""Groups of rows that some pictures are taken from."""

GROUP_BYTES = 16_000_000
"""Size of a group of rows that is read whole for some pictures; of larger ones the first."""


class Table(Protocol):
    """A file or split: columns that are read by their names."""

    @property
    def where(self) -> str:
        """Its name, as shown."""

    @property
    def folder(self) -> Path:
        """Folder at which paths of pictures begin that are not absolute."""

    @property
    def within(self) -> tuple[Path, ...]:
        """Folders that all pictures must lie in that rows name; empty for any."""

    @property
    def features(self) -> Mapping[str, Any]:
        """The kind of each column, as `datasets` has them."""

    def __len__(self) -> int:
        """Number of rows."""

    def batches(self, column: str) -> Iterator[list[Any]]:
        """The values of a column, few at a time; pictures as the bytes of their files."""

    def some(self, column: str, count: int) -> Iterator[Any]:
        """About so many values of a column, from everywhere."""


@dataclass(frozen=True)
class Arrow:
    """A table of `datasets`, which maps its files into memory."""

    where: str
    table: Any
    within: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """Folder of its first file."""
        files = self.table.cache_files
        return Path(files[0]["filename"]).parent if files else Path()

    @property
    def features(self) -> Mapping[str, Any]:
        """The kind of each column."""
        features: Mapping[str, Any] = self.table.features
        return features

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.table)

    def batches(self, column: str) -> Iterator[list[Any]]:
        """The values of a column."""
        datasets, table = library(), self.table.select_columns([column])
        if isinstance(self.features[column], datasets.Image):
            table = table.cast_column(column, datasets.Image(decode=False))
        for batch in table.iter(AT_ONCE):
            yield batch[column]

    def some(self, column: str, count: int) -> Iterator[Any]:
        """Values of rows at equal distances."""
        chosen = self.table.select(range(0, len(self), max(1, -(-len(self) // count))))
        for batch in Arrow(self.where, chosen).batches(column):
            yield from batch


@dataclass(frozen=True)
class Parquet:
    """A Parquet file, read by pyarrow itself.

    `datasets` would copy it first, or stream whole row groups by threads that can abort the
    process at its end (pyarrow 26.0).
    """

    where: str
    path: Path
    within: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """Folder of the file."""
        return self.path.parent

    @functools.cached_property
    def features(self) -> Mapping[str, Any]:
        """The kind of each column."""
        with _parquet(self.path) as file:
            names = file.schema_arrow.names
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{self.where!r} has several columns called {twice[0]!r}")
            features: Mapping[str, Any] = library().Features.from_arrow_schema(file.schema_arrow)
            return features

    def __len__(self) -> int:
        """Number of rows."""
        with _parquet(self.path) as file:
            return int(file.metadata.num_rows)

    def batches(self, column: str) -> Iterator[list[Any]]:
        """The values of a column; others are not read."""
        with _parquet(self.path) as file:
            for batch in file.iter_batches(AT_ONCE, columns=[column], use_threads=False):
                yield batch.column(0).to_pylist()

    def some(self, column: str, count: int) -> Iterator[Any]:
        """Values of rows at equal distances, of some groups of rows."""
        with _parquet(self.path) as file:
            num_groups = file.metadata.num_row_groups
            chosen = range(0, num_groups, max(1, -(-num_groups // min(count, NUM_GROUPS))))
            for group in chosen:
                about, of_each = file.metadata.row_group(group), -(-count // len(chosen))
                batch_rows = of_each
                if about.total_byte_size <= GROUP_BYTES:
                    batch_rows = max(1, about.num_rows)
                options = {"row_groups": [group], "columns": [column], "use_threads": False}
                batch = next(file.iter_batches(batch_rows, **options), None)
                if batch is not None:
                    step = max(1, -(-batch.num_rows // of_each))
                    yield from (
                        batch.column(0).take(list(range(0, batch.num_rows, step))).to_pylist()
                    )


def library() -> Any:
    """The package `datasets`, which is loaded when it is needed.

    Raises:
        RuntimeError: It is not installed.
    """
    # The hub's client would print each of its tries; what fails in the end is told in one line.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        import datasets  # noqa: PLC0415 - an extra, and seconds to load
    except ImportError as error:
        raise RuntimeError(
            "dataset=huggingface must have the package datasets, got an installation without it; "
            "run: pip install 'scaling-search[hf]'"
        ) from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    return datasets


def hub_folders() -> tuple[Path, ...]:
    """Folders of this machine that hold what comes from the hub."""
    from huggingface_hub import constants  # noqa: PLC0415 - comes with datasets

    config = library().config
    folders = constants.HF_HUB_CACHE, config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH
    return tuple(Path(folder).resolve() for folder in folders)


def opened(path: Path, where: str) -> Table:
    """The table in a file, read as it goes: no second copy of the data is made."""
    if path.suffix.lower() == ".parquet":
        return Parquet(where, path)
    return Arrow(where, library().Dataset.from_file(str(path)))


def states(path: Path, column: str) -> Iterator[State]:
    """The state of a file of a table, and of all pictures that its rows only name."""
    yield state_of(path)
    try:
        for named in (
            _outside_parquet(path, column)
            if path.suffix.lower() == ".parquet"
            else _outside_arrow(path, column)
        ):
            yield state_of(path.parent / named)
    except (OSError, ValueError, KeyError, ImportError):  # which is told where it is read
        return


def _parquet(path: Path) -> Any:
    from pyarrow import parquet  # noqa: PLC0415 - comes with datasets

    return parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)


def _outside_parquet(path: Path, column: str) -> Iterator[str]:
    """Paths in a column of pictures, of groups of rows in which some have no bytes."""
    with _parquet(path) as file:
        leaves = {file.schema.column(i).path: i for i in range(len(file.schema))}
        wanted = column if column in leaves else f"{column}.path"
        if wanted not in leaves:
            return
        if str(file.schema.column(leaves[wanted]).logical_type) not in {"String", "JSON"}:
            return
        of_bytes = leaves.get(f"{column}.bytes")
        groups = [
            group
            for group in range(file.metadata.num_row_groups)
            if of_bytes is None or _has_gaps(file.metadata.row_group(group).column(of_bytes))
        ]
        options = {"row_groups": groups, "columns": [wanted], "use_threads": False}
        for batch in file.iter_batches(PATHS_AT_ONCE, **options) if groups else ():
            values = batch.column(0).to_pylist()
            yield from _paths(v.get("path") if isinstance(v, Mapping) else v for v in values)


def _has_gaps(about: Any) -> bool:
    return about.statistics is None or about.statistics.null_count != 0


def _outside_arrow(path: Path, column: str) -> Iterator[str]:
    """Paths of pictures in rows without bytes."""
    import pyarrow as pa  # noqa: PLC0415 - comes with datasets

    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as batches:
        for batch in batches:
            if column not in batch.schema.names:
                return
            values = batch.column(column)
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                yield from _paths(values.to_pylist())
            elif pa.types.is_struct(values.type) and "path" in values.type.names:
                paths = values.field("path")
                if "bytes" in values.type.names:
                    paths = paths.filter(values.field("bytes").is_null())
                yield from _paths(paths.to_pylist())


def _paths(values: Sequence[Any] | Iterator[Any]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and value)
