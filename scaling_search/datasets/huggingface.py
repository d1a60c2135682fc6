"""Images that Hugging Face's `datasets` reads: from its hub, or from Parquet and Arrow files."""

import contextlib
import functools
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling_search.data import gathering, pictures, sources
from scaling_search.data.cache import Part
from scaling_search.data.description import Description
from scaling_search.data.maps import NAMES
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import Broken, Listing, Row, Rows
from scaling_search.protocols import Splits, part

AT_ONCE = 64
"""Rows that are read at a time; their bytes are in memory."""

SUFFIXES = (".parquet", ".arrow")
ALIASES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Splits by the names that are in use."""

REMEDY = "give a name on the hub, or a Parquet or Arrow file, or a folder of them"


@part
class HuggingFace:
    """A data set of images and labels, by its name on the hub or by where it lies.

    Local are Parquet and Arrow files, folders of them (``train-00000.parquet``,
    ``test/0000.parquet``) and what ``save_to_disk`` leaves. Splits called train, validation (val,
    valid) and test are taken as they are; what is not there of the last two is drawn from train,
    class by class. Pictures become pixels as those of `ImageFolder` do. No code of a data set is
    run.

    Attributes:
        path: Name on the hub, file or folder.
        config: Which of its configurations, on the hub; None for the only one.
        revision: Commit or tag on the hub; None for the newest.
        image: The column of pictures.
        label: The column of classes: class labels, integers from 0, or names, which are sorted.
        val_share: The part of the training pictures to choose on, unless there is a ready split.
        test_share: The part to report on, unless there is a ready split.
        split_seed: Of the draw of both.
        broken: Whether pictures that cannot be read end the command or are left out.
        duplicates: Whether exact copies of pictures stay or are taken out.
        background: Paper under transparent pixels.
        aspect: Whether the centre of pictures that are not square is cropped, or the whole
            stretched.
        num_classes: Classes there must be; None for those there are.
        in_channels: 3 for colour, 1 for grey, to which pictures are converted; None for 1 where
            all are grey.
        resolution: Height and width that are kept, in pixels, the largest to train at; None for
            what half of the pictures have, up to 320.
    """

    path: str | None
    config: str | None
    revision: str | None
    image: str
    label: str
    val_share: Annotated[float, Field(gt=0, lt=1)]
    test_share: Annotated[float, Field(gt=0, lt=1)]
    split_seed: Annotated[int, Field(ge=0)]
    broken: Literal["fail", "skip"]
    duplicates: Literal["keep", "drop"]
    background: Literal["white", "black"]
    aspect: Literal["crop", "stretch"]
    num_classes: Annotated[int, Field(ge=2)] | None
    in_channels: Literal[1, 3] | None
    resolution: Annotated[int, Field(ge=1)] | None

    def __post_init__(self) -> None:
        sources.check_shares(self.val_share, self.test_share)

    def check(self) -> None:
        """Reads all pictures into maps unless they are there, with a bar on a terminal.

        Raises:
            ValueError: An option is not what lies there.
            RuntimeError: Pictures are missing or broken, there is no room, or `datasets` is not
                installed.
        """
        gathering.check(self)

    def fingerprint(self) -> str:
        """A hash of the pictures' files of all splits and of how they are read."""
        return gathering.fingerprint(self)

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
        return gathering.load(self, resolution, device)

    def parts(self, resolution: int) -> Iterator[Part]:
        """The splits at a size, some pictures at a time."""
        return gathering.parts(self, resolution)

    def sentences(self, resolutions: Iterable[int]) -> Iterator[str]:
        """What reading the pictures takes, and how much room they need at these sizes."""
        return gathering.sentences(self, resolutions)

    def numbers(self) -> Mapping[str, int]:
        """Classes, channels and resolution that are left open, read from the pictures."""
        return gathering.numbers(self)

    def description(self) -> Description:
        """The pictures as they were understood, once all have been read."""
        return gathering.description(self)

    def outline(self) -> Description:
        """The pictures as they are understood before any is decoded."""
        return gathering.outline(self)

    def stamp(self) -> Iterator[object]:
        """Names, sizes and times of the files; those on this machine, if they are the hub's."""
        if (place := _local(self)) is not None:
            paths = (
                sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
            )
        else:
            paths = [
                Path(file["filename"])
                for table in _tables(self).values()
                if isinstance(table, Arrow)
                for file in table.table.cache_files
            ]
        for path in paths:
            about = path.stat()
            yield str(path), about.st_size, about.st_mtime_ns

    def listing(self) -> Listing:
        """The labels of each split."""
        tables = _tables(self)
        columns = {name: _values(self, table) for name, table in tables.items()}
        classes = _classes(self, tables["train"], columns)
        by_name = {name: label for label, name in enumerate(classes)}
        labels = {}
        for name, values in columns.items():
            of_split = (
                values if values.dtype.kind in "iu" else [by_name[v] for v in values.tolist()]
            )
            labels[name] = np.asarray(of_split, np.int64)
        return Listing(classes, labels)

    def heads(self, listing: Listing, count: int) -> Iterator[Head]:
        """Sizes of the first pictures."""
        for _, picture in itertools.islice(self._pictures(listing), count):
            content = _content(picture)
            if isinstance(content, bytes) and (head := pictures.head(content)) is not None:
                yield head

    def span(self, listing: Listing) -> tuple[int, int] | None:
        """The smallest and largest value of all pictures of more than 8 bits."""
        return sources.common(sources.in_order(_extremes, self._pictures(listing)))

    def rows(self, listing: Listing, way: Way, *, first: int = 0) -> Rows:
        """All pictures from one on, decoded by threads; those before are passed over."""
        left = itertools.islice(self._pictures(listing), first, None)
        return sources.in_order(functools.partial(_row, way), left)

    def _pictures(self, listing: Listing) -> Iterator[tuple[str, Any]]:
        tables = _tables(self)
        for name in listing.labels:
            for number, picture in enumerate(_column(self, tables[name], self.image)):
                yield f"{name} {number}", picture


def _content(picture: Any) -> bytes | str:
    """The bytes of a picture's file, or why there are none."""
    content = picture.get("bytes") if isinstance(picture, Mapping) else picture
    if content is None and isinstance(picture, Mapping) and picture.get("path"):
        try:
            content = Path(str(picture["path"])).read_bytes()
        except OSError as error:
            return error.strerror or str(error)
    return content if isinstance(content, bytes) else "no picture"


def _row(way: Way, numbered: tuple[str, Any]) -> Row | Broken:
    name, picture = numbered
    content = _content(picture)
    return Broken(name, content) if isinstance(content, str) else sources.row_of(way, name, content)


def _extremes(numbered: tuple[str, Any]) -> tuple[int, int] | None:
    content = _content(numbered[1])
    return None if isinstance(content, str) else pictures.extremes(content)


class Table(Protocol):
    """A split: columns that are read by their names."""

    @property
    def features(self) -> Mapping[str, Any]:
        """The kind of each column, as `datasets` has them."""

    def batches(self, column: str) -> Iterator[list[Any]]:
        """The values of a column, few at a time; pictures as the bytes of their files."""


@dataclass(frozen=True)
class Arrow:
    """A table of `datasets`, which maps its files into memory."""

    table: Any

    @property
    def features(self) -> Mapping[str, Any]:
        """The kind of each column."""
        features: Mapping[str, Any] = self.table.features
        return features

    def batches(self, column: str) -> Iterator[list[Any]]:
        """The values of a column."""
        datasets, table = library(), self.table.select_columns([column])
        if isinstance(self.features[column], datasets.Image):
            table = table.cast_column(column, datasets.Image(decode=False))
        for batch in table.iter(AT_ONCE):
            yield batch[column]


@dataclass(frozen=True)
class Parquet:
    """Parquet files, read by pyarrow itself.

    `datasets` would copy them first, or stream whole row groups by threads that can abort the
    process at its end (pyarrow 26.0).
    """

    files: tuple[str, ...]
    features: Mapping[str, Any]

    def batches(self, column: str) -> Iterator[list[Any]]:
        """The values of a column; others are not read."""
        from pyarrow import parquet  # noqa: PLC0415 - comes with datasets

        for path in self.files:
            with parquet.ParquetFile(path) as file:
                if column not in file.schema_arrow.names:
                    raise ValueError(f"no column {column} in {path}")
                for batch in file.iter_batches(AT_ONCE, columns=[column], use_threads=False):
                    yield batch.column(0).to_pylist()


def library() -> Any:
    """The package `datasets`, which is loaded when it is needed.

    Raises:
        RuntimeError: It is not installed.
    """
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


def _local(dataset: HuggingFace) -> Path | None:
    """Where it lies on this machine; None for a name on the hub."""
    path = dataset.path or ""
    is_name = re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", path) and not path.endswith(SUFFIXES)
    if is_name and not Path(path).exists():
        return None
    return sources.existing(dataset, REMEDY)


def _tables(dataset: HuggingFace) -> dict[str, Table]:
    """The splits in the order of `NAMES`.

    Raises:
        RuntimeError: They cannot be read, or are not there.
    """
    datasets = library()
    with _explained(dataset):
        found = _opened(dataset, datasets)
        named = {ALIASES[name]: table for name, table in found.items() if name in ALIASES}
        if "train" not in named:
            raise RuntimeError(
                f"dataset.path must hold a split called train, got {', '.join(map(str, found))} in "
                f"{dataset.path!r}; take another"
            )
    for key in ("image", "label"):
        wanted, columns = getattr(dataset, key), named["train"].features
        if wanted not in columns:
            raise RuntimeError(
                f"dataset.{key} must be a column of {dataset.path!r}, got {wanted!r}; there are "
                f"{', '.join(columns)}"
            )
    return {name: named[name] for name in NAMES if name in named}


@contextlib.contextmanager
def _explained(dataset: HuggingFace) -> Iterator[None]:
    """Makes one line of what goes wrong inside the package."""
    try:
        yield
    except (OSError, ValueError, library().exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RuntimeError(
            f"dataset.path must be a data set that can be read, got {reason!r} for "
            f"{dataset.path!r}; {REMEDY}"
        ) from error


def _opened(dataset: HuggingFace, datasets: Any) -> dict[str, Table]:
    place = _local(dataset)
    if place is None:
        found = datasets.load_dataset(dataset.path, name=dataset.config, revision=dataset.revision)
        return {str(name): Arrow(table) for name, table in found.items()}
    if (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
        found = datasets.load_from_disk(str(place))
        splits = found if isinstance(found, dict) else {"train": found}
        return {str(name): Arrow(table) for name, table in splits.items()}
    by_split: dict[str, list[str]] = {}
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if path.suffix in SUFFIXES:
            by_split.setdefault(_split_of(path, place), []).append(str(path))
    if not by_split:
        raise RuntimeError(
            f"dataset.path must hold Parquet or Arrow files, got none in {str(place)!r}; {REMEDY}"
        )
    return {split: _of_files(files, datasets) for split, files in by_split.items()}


def _split_of(path: Path, root: Path) -> str:
    """The split that a file's name or folder tells; train if none does."""
    below = path.relative_to(root).as_posix() if root.is_dir() else path.name
    for word in re.split(r"[^a-z]+", below.lower()):
        if word in ALIASES:
            return ALIASES[word]
    return "train"


def _of_files(files: list[str], datasets: Any) -> Table:
    """One table, read as it goes: no second copy of the data is made."""
    if files[0].endswith(".parquet"):
        from pyarrow import parquet  # noqa: PLC0415 - comes with datasets

        schema = parquet.read_schema(files[0])
        return Parquet(tuple(files), datasets.Features.from_arrow_schema(schema))
    return Arrow(datasets.concatenate_datasets([datasets.Dataset.from_file(f) for f in files]))


def _column(dataset: HuggingFace, table: Table, column: str) -> Iterator[Any]:
    """The values of a column, few in memory at a time."""
    batches = table.batches(column)
    while True:
        with _explained(dataset):
            batch = next(batches, None)
        if batch is None:
            return
        yield from batch


def _values(dataset: HuggingFace, table: Table) -> NDArray[Any]:
    """The column of labels, integers or text (N,).

    Raises:
        ValueError: It holds neither, or negative ones.
    """
    values = list(_column(dataset, table, dataset.label))
    kinds = {type(value) for value in values}
    if kinds not in ({int}, {str}) or (kinds == {int} and min(values) < 0):
        got = next((v for v in values if not isinstance(v, (int, str)) or v == -1), kinds)
        raise ValueError(
            f"dataset.label must be a column of integers from 0 or of names, got {got!r} in "
            f"{dataset.label!r} of {dataset.path!r}; take another or leave such rows out"
        )
    return np.array(values)


def _classes(
    dataset: HuggingFace, table: Table, columns: Mapping[str, NDArray[Any]]
) -> tuple[str, ...]:
    """Names of the classes by their labels."""
    names = getattr(table.features[dataset.label], "names", None)
    if names:
        return tuple(map(str, names))
    values = np.concatenate(list(columns.values()))
    if values.dtype.kind in "iu":
        return tuple(map(str, range(int(values.max()) + 1)))
    return tuple(sorted(set(values.tolist())))
