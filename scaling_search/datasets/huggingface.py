"""Images that Hugging Face's `datasets` reads: from its hub, or from Parquet and Arrow files."""

import contextlib
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from scaling_search.core.part import part
from scaling_search.data import listings, pictures, sources, tables
from scaling_search.data.labels import Column
from scaling_search.data.left_out import LeftOut
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import Broken, Listing, Row, Rows
from scaling_search.data.split_names import Found, counted, split_of, split_words
from scaling_search.data.tables import SUFFIXES, Arrow, Table
from scaling_search.data.trees import files_in, is_picture, state_of
from scaling_search.datasets.own_images import OwnPictures

SAVED = ("dataset_dict.json", "state.json")
"""Files that ``save_to_disk`` leaves in its folder."""

REMEDY = "give a name on the hub, or a Parquet or Arrow file, or a folder of them"


@part
class HuggingFace(OwnPictures):
    """A data set of images and labels, by its name on the hub or by where it lies.

    Local are Parquet and Arrow files, folders of them (``train-00000.parquet``,
    ``test/0000.parquet``) and what ``save_to_disk`` leaves. Splits that are called train, val and
    test (`split_names` has all names) are taken as they are; what is not there of the last two is
    drawn from train, class by class. Splits of other names, and those without any labels, are left
    out. Pictures become pixels as those of `ImageFolder` do; paths of pictures that are not
    absolute begin at the folder of the file that names them. No code of a data set is run.

    Attributes:
        config: Which of its configurations, on the hub; None for the only one.
        revision: Commit or tag on the hub; None for the newest.
        image: The column of pictures.
        label: The column of classes: class labels, which are matched by name, or integers, text or
            booleans, which are sorted.
    """

    config: str | None = None
    revision: str | None = None
    image: str = "image"
    label: str = "label"

    def stamp(self) -> Iterator[object]:
        """The state of each file, and of the pictures that its rows only name.

        Of the hub's data sets, of the files on this machine.
        """
        place = _local(self)
        if place is None:
            opened = _opened(self).tables.values()
            arrows = [table for of in opened for table in of if isinstance(table, Arrow)]
            files = [Path(file["filename"]) for arrow in arrows for file in arrow.table.cache_files]
        else:
            files = files_in(place)
        for path in files:
            if path.suffix.lower() in SUFFIXES or place is None:
                yield from tables.states(path, self.image)
            else:
                yield state_of(path)  # as state.json, which names the tables

    def listing(self) -> Listing:
        """The labels of each split.

        Raises:
            ValueError: Names of splits have two readings, or labels are no classes.
            RuntimeError: A table cannot be read, or lacks a column.
        """
        found = _opened(self)
        return listings.listing(
            found.names,
            self.splits,
            lambda name: _columns(self, found.tables[name]),
            lambda name: sum(map(len, found.tables[name])),
            found.left_out,
        )

    def heads(self, listing: Listing, count: int) -> Iterator[Head]:
        """Sizes of pictures from everywhere."""
        found = _opened(self).tables
        every = [table for of in listing.tables.values() for name in of for table in found[name]]
        chosen = every[:: -(-len(every) // count)]
        for table in chosen:
            with _explained(self):
                for picture in table.some(self.image, -(-count // len(chosen))):
                    content = _content(picture, table)
                    if isinstance(content, bytes) and (head := pictures.head(content)) is not None:
                        yield head

    def span(self, listing: Listing) -> tuple[int, int] | None:
        """The smallest and largest value of all pictures of more than 8 bits."""
        return sources.common(sources.in_order(_extremes, self._pictures(listing)))

    def rows(self, listing: Listing, way: Way, *, first: int = 0) -> Rows:
        """All pictures from one on, decoded by threads; those before are passed over."""
        left = itertools.islice(self._pictures(listing), first, None)
        return sources.in_order(functools.partial(_row, way), left)

    def _pictures(self, listing: Listing) -> Iterator["Picture"]:
        found = _opened(self).tables
        for split, names in listing.tables.items():
            number = itertools.count()
            for table in (table for name in names for table in found[name]):
                for value in _column(self, table, self.image):
                    yield Picture(f"{split} {next(number)}", value, table)


class Picture(NamedTuple):
    """A picture's name as shown, what its row holds, and its table."""

    name: str
    value: Any
    table: Table


def _content(value: Any, table: Table) -> bytes | str:
    """The bytes of a picture's file, or why there are none."""
    content, path = value, value
    if isinstance(value, Mapping):
        content, path = value.get("bytes"), value.get("path")
    if isinstance(content, bytes):
        return content
    if not isinstance(path, str) or not path:
        return "no picture"
    place = table.folder / path
    try:
        inside = [place.resolve().is_relative_to(folder) for folder in table.within]
        if inside and not any(inside):
            return f"{str(place)!r}: outside of what comes from the hub"
        if place.exists() and not place.is_file():
            return f"{str(place)!r}: not a file"  # reading a pipe or device may never end
        return pictures.read(place)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        return f"{str(place)!r}: {getattr(error, 'strerror', None) or error}"


def _row(way: Way, picture: Picture) -> Row | Broken:
    content = _content(picture.value, picture.table)
    if isinstance(content, str):
        return Broken(picture.name, content)
    return sources.row_of(way, picture.name, content)


def _extremes(picture: Picture) -> tuple[int, int] | None:
    content = _content(picture.value, picture.table)
    return None if isinstance(content, str) else pictures.extremes(content)


@dataclass(frozen=True)
class Opened:
    """Tables that were found, by split.

    Attributes:
        tables: By the name of a split, or of the first file of one.
        names: Which of these names mean splits.
        left_out: Files that are no tables.
    """

    tables: Mapping[str, tuple[Table, ...]]
    names: Found
    left_out: tuple[str, ...] = ()


def _local(dataset: HuggingFace) -> Path | None:
    """Its path on this machine; None for a name on the hub."""
    path = dataset.path or ""
    is_name = re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", path) and not path.lower().endswith(
        SUFFIXES
    )
    if is_name and not Path(path).exists():
        return None
    return sources.existing(dataset, REMEDY)


def _opened(dataset: HuggingFace) -> Opened:
    """The tables that lie there, whatever their names."""
    datasets, place = tables.library(), _local(dataset)
    if place is not None and not any((place / name).is_file() for name in SAVED):
        return _of_files(dataset, place)
    if place is None:
        found = _of_hub(dataset)
    else:
        with _explained(dataset):
            found = datasets.load_from_disk(str(place))
    splits = found if isinstance(found, dict) else {"data": found}
    within = tables.hub_folders() if place is None else ()
    # A format that was saved with a table would make other values of its labels.
    made = {
        str(name): (Arrow(str(name), table.with_format(None), within),)
        for name, table in splits.items()
    }
    by_name = {name: split for name in made if (split := split_of(name))}
    others = [name for name in made if name not in by_name and split_words(name)]
    extra = [name for name in made if name not in by_name and name not in others]
    return Opened(made, Found(str(dataset.path), by_name, others, extra))


@functools.cache
def _builder(path: str, config: str | None, revision: str | None) -> Any:
    """The builder of a name on the hub, asked once: a hub out of reach takes half a minute."""
    return tables.library().load_dataset_builder(path, name=config, revision=revision)


def _of_hub(dataset: HuggingFace) -> Any:
    """The splits of a name on the hub; where this cannot be asked, those that were read last."""
    assert dataset.path is not None
    with _explained(dataset):
        from datasets.packaged_modules.cache.cache import Cache  # noqa: PLC0415 - an extra

        builder = _builder(dataset.path, dataset.config, dataset.revision)
    if isinstance(builder, Cache) and dataset.revision not in {None, builder.hash}:
        raise RuntimeError(
            f"dataset.revision must be read from the hub, got {builder.hash!r} of this machine's "
            f"cache for {dataset.revision!r}; look at the connection, or add "
            f"dataset.revision={builder.hash}"
        )
    with _explained(dataset):
        builder.download_and_prepare()
        return builder.as_dataset()


def _of_files(dataset: HuggingFace, place: Path) -> Opened:
    """The tables of Parquet and Arrow files, by the splits that their names mean."""
    groups: dict[tuple[str, str], list[Path]] = {}
    left, num_pictures = LeftOut(), 0
    for path in files_in(place):
        if path.suffix.lower() in SUFFIXES:
            groups.setdefault(_told(dataset, path, place), []).append(path)
        elif is_picture(path.name):
            num_pictures += 1
        else:
            left.file(path.name)
    if num_pictures:
        what = counted(num_pictures, "picture")
        left.phrases.append(f"{what} beside the tables, unless a row names them")
    if not groups:
        raise RuntimeError(
            f"dataset.path must hold Parquet or Arrow files, got none in {str(place)!r}; {REMEDY}"
        )
    found, by_name, others = {}, {}, []
    root = place if place.is_dir() else place.parent
    with _explained(dataset):
        for (split, _), paths in groups.items():
            names = [path.relative_to(root).as_posix() for path in paths]
            name = names[0] + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
            found[name] = tuple(map(tables.opened, paths, names))
            if split:
                by_name[name] = split
            else:
                others.append(name)
    return Opened(found, Found(str(dataset.path), by_name, others, kind="files"), left.told())


def _told(dataset: HuggingFace, path: Path, root: Path) -> tuple[str, str]:
    """The split that a file's name or folders mean, and by which word; both empty if none does."""
    below = path.relative_to(root) if root.is_dir() else Path(path.name)
    parts = (below.name.removesuffix(path.suffix), *reversed(below.parts[:-1]))
    told = [words for part in parts if (words := split_words(part))]
    if not told:
        return "", ""
    nearest = told[:1] if dataset.splits == "given" else told
    if dataset.splits != "drawn" and len({s for words in nearest for s in words.values()}) > 1:
        raise ValueError(
            f"dataset.path must hold files whose names mean one split each, got {str(below)!r} in "
            f"{dataset.path!r}; rename it, or add dataset.splits=given if the file's own name "
            "counts, or dataset.splits=drawn if all are one whole"
        )
    word, split = next(iter(told[0].items()))
    return split, word


@contextlib.contextmanager
def _explained(dataset: HuggingFace) -> Iterator[None]:
    """Makes one line of what goes wrong inside the package."""
    try:
        yield
    except Exception as error:  # what lies in the files decides which
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RuntimeError(
            f"dataset.path must be a data set that can be read, got {reason!r} for "
            f"{dataset.path!r}; "
            + (
                REMEDY
                if _local(dataset)
                else f"look at the name, dataset.config and the connection, or {REMEDY}"
            )
        ) from error


def _check_columns(dataset: HuggingFace, table: Table) -> None:
    """Checks that a table has the columns."""
    with _explained(dataset):
        columns = table.features
    for key in ("image", "label"):
        if (wanted := getattr(dataset, key)) not in columns:
            raise RuntimeError(
                f"dataset.{key} must be a column of {dataset.path!r}, got {wanted!r}; in "
                f"{table.where!r} there are {', '.join(columns)}"
            )


def _column(dataset: HuggingFace, table: Table, column: str) -> Iterator[Any]:
    """The values of a column, few in memory at a time."""
    batches = table.batches(column)
    while True:
        with _explained(dataset):
            batch = next(batches, None)
        if batch is None:
            return
        yield from batch


def _columns(dataset: HuggingFace, of: Iterable[Table]) -> list[Column]:
    """The labels of tables, as they lie there."""
    filtered = (
        "save the table without such rows and give that as dataset.path, as by table.filter(lambda "
        f"row: str(row[{dataset.label!r}]) not in ('None', 'nan', '-1', ''))"
        ".to_parquet('labelled.parquet')"
    )
    columns = []
    for table in of:
        _check_columns(dataset, table)
        names = getattr(table.features[dataset.label], "names", None)
        columns.append(
            Column(
                f"{dataset.label!r} of {table.where!r}",
                list(_column(dataset, table, dataset.label)),
                tuple(map(str, names)) if names else None,
                _another(dataset, table),
                filtered,
            )
        )
    return columns


def _another(dataset: HuggingFace, table: Table) -> str:
    """Advice for a column that holds no classes."""
    others = [name for name in table.features if name not in {dataset.image, dataset.label}]
    if not others:
        return "add a column of classes"
    return f"name the column of classes by dataset.label=NAME, one of {', '.join(others[:10])}"
