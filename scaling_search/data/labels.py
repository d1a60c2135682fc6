"""Labels as they lie in files, made to places in the names of classes."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling_search.data.split_names import counted, quoted

NUM_SHOWN = 10
"""Labels that a note shows one by one."""

NUM_ENDS = 3
"""Labels that a note shows of each end, where there are more."""

KINDS = {"b": "booleans", "i": "integers", "u": "integers", "U": "text"}


@dataclass(frozen=True)
class Column:
    """Labels as they lie in one file or array.

    Attributes:
        where: As shown.
        values: One for each image.
        names: Names of the classes by their labels, where the file has them.
        another: Remedy where it is no column of classes.
        filtered: Remedy where some labels are missing.
    """

    where: str
    values: NDArray[Any] | Sequence[Any]
    names: tuple[str, ...] | None = None
    another: str = "give a column of classes"
    filtered: str = "leave those images out"


@dataclass(frozen=True)
class Labels:
    """Labels as they were understood.

    Attributes:
        classes: Names by label.
        by_place: Labels (N,) of each place, in its order; without those that have no labels.
        without: Places whose images have no labels, and the number of these.
        notes: Sentences on what was mapped.
        left_out: Phrases on names of classes that no image has.
    """

    classes: tuple[str, ...]
    by_place: dict[str, NDArray[np.int64]]
    without: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class _Read(NamedTuple):
    """A column whose missing labels are told apart; ``present`` has the others."""

    column: Column
    present: NDArray[Any]
    num_missing: int


def understood(columns: Mapping[str, Sequence[Column]]) -> Labels:
    """The labels of all places, counted from 0 in one order for all.

    Names of classes are matched by name, in the order of the first column. Other labels are sorted.

    Args:
        columns: Column of each place, a split or a part of one.

    Raises:
        ValueError: They are not one class for each image, or do not fit each other.
    """
    read = {place: [_read(column) for column in of] for place, of in columns.items()}
    without = {
        place: sum(r.num_missing for r in of)
        for place, of in read.items()
        if not any(len(r.present) for r in of)
    }
    kept = {place: of for place, of in read.items() if place not in without}
    every = [r for of in kept.values() for r in of if len(r.column.values)]
    for r in every:
        if r.num_missing:
            raise _refused(
                r.column,
                "be there for each image",
                f"{r.num_missing:,} of {len(r.column.values):,} images without one",
                r.column.filtered,
            )
    if not every:
        return Labels((), {}, without)
    has_names = _one_kind(every)
    classes, code, notes = _by_name(every) if has_names else _by_value(every)
    coded = {
        place: np.concatenate([code(r) for r in of if len(r.column.values)])
        for place, of in kept.items()
    }
    counts = np.bincount(np.concatenate(list(coded.values())), minlength=len(classes))
    unused = tuple(name for name, count in zip(classes, counts, strict=True) if count == 0)
    if unused:
        new = np.cumsum(counts > 0) - 1
        coded = {place: new[of] for place, of in coded.items()}
        classes = tuple(name for name in classes if name not in unused)
    what = "class" if len(unused) == 1 else f"{len(unused):,} classes"
    left_out = (f"{what} {quoted(unused)}, which no image has",) if unused else ()
    return Labels(classes, coded, without, tuple(notes) + alike(classes), left_out)


def alike(classes: Iterable[str]) -> tuple[str, ...]:
    """A sentence on classes whose names differ in case, spaces or encoding alone, if some do."""
    found: dict[str, list[str]] = {}
    for name in classes:
        short = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        found.setdefault(short, []).append(name)
    pairs = [names for names in found.values() if len(names) > 1]
    if not pairs:
        return ()
    return (f"Classes {quoted(pairs[0])} differ in case, spaces or encoding alone.",)


def check_classes(
    classes: Sequence[str],
    labels: Mapping[str, NDArray[np.int64]],
    ready: Mapping[str, str],
    place: str,
) -> None:
    """Checks that there are classes to tell apart, and the same ones in each ready split.

    Args:
        classes: Names by label.
        labels: Labels of each split.
        ready: Original name of each ready split.
        place: Place of the labels, as shown.

    Raises:
        ValueError: There are not.
    """
    if len(classes) < 2:
        got = f"one, {classes[0]!r}" if classes else "none"
        raise ValueError(
            f"dataset.path must hold 2 classes or more, got {got}, in {place!r}; there is nothing "
            "to tell apart"
        )
    for name in classes:
        if not name.isascii() and name.encode("utf-8", "replace").decode() != name:
            raise ValueError(
                f"dataset.path must name its classes in UTF-8, got {name!r} in {place!r}; rename it"
            )
    train = np.bincount(labels["train"], minlength=len(classes))
    for split, of in labels.items():
        counts = np.bincount(of, minlength=len(classes))
        if not np.any((counts > 0) != (train > 0)):
            continue
        name, of_train = ready.get(split, split), ready.get("train", "train")
        here = [i for i in range(len(classes)) if counts[i] and not train[i]]
        there = [i for i in range(len(classes)) if train[i] and not counts[i]]
        got = " and ".join(
            f"{_numbered(classes, alone, totals)} in {where!r} alone"
            for alone, totals, where in ((there, train, of_train), (here, counts, name))
            if alone
        )
        near = _near(classes[i] for i in (*here, *there))
        raise ValueError(
            f"dataset.path must hold the same classes in {name!r} as in {of_train!r}, got {got}, "
            f"in {place!r}; {near}give each class one name and images in both, or leave it out of "
            "both"
        )


def _near(names: Iterable[str]) -> str:
    """The sentence on names that are alike, as a part of a longer one."""
    return "".join(f"{told[0].lower()}{told[1:-1]}: " for told in alike(names))


def _numbered(classes: Sequence[str], alone: Sequence[int], counts: NDArray[np.int64]) -> str:
    first = ", ".join(f"{classes[i]!r} ({counted(int(counts[i]), 'image')})" for i in alone[:3])
    return first + (f" and {len(alone) - 3:,} more" if len(alone) > 3 else "")


def _refused(column: Column, rule: str, got: str, remedy: str) -> ValueError:
    return ValueError(f"labels must {rule}, got {got} in {column.where}; {remedy}")


def _no_classes(column: Column, got: str, remedy: str = "") -> ValueError:
    rule = "be one integer, text or boolean for each image"
    return _refused(column, rule, got, remedy or column.another)


def _read(column: Column) -> _Read:
    """The labels that are there, as an array of one kind."""
    values = column.values if isinstance(column.values, np.ndarray) else _of_objects(column)
    if values.ndim > 1:
        raise _no_classes(
            column,
            f"{values.shape[1:]} values of {values.dtype} for each",
            f"one-hot labels become classes by labels.argmax(1); else {column.another}",
        )
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "f":
        values = _integral(column, values[~np.isnan(values)])
    if values.dtype.kind not in KINDS:
        raise _no_classes(column, f"values of {values.dtype}")
    if values.dtype.kind == "U":
        values = values[np.char.strip(values) != ""]
    elif values.dtype.kind in "iu":
        values = _from_0(column, values.astype(np.int64))
    return _Read(column, values, len(column.values) - len(values))


def _of_objects(column: Column) -> NDArray[Any]:
    """The values that are there of a list of Python's."""
    present = [value for value in column.values if value is not None]
    kinds = {type(value) for value in present}
    if kinds == {bytes}:
        return np.array([value.decode("utf-8", "replace") for value in present])
    if kinds <= {list, tuple} and kinds:
        raise _no_classes(
            column,
            f"lists like {present[0]!r}"[:80],
            "one-hot labels become classes by the place of their 1; else " + column.another,
        )
    if kinds not in ({bool}, {int}, {float}, {int, float}, {str}, set()):
        got = next(v for v in present if type(v) not in {bool, int, str}) if present else None
        raise _no_classes(column, f"{got!r}"[:60] if len(kinds) == 1 else f"{_named(kinds)}")
    return np.array(present, None if present else np.int64)


def _named(kinds: Iterable[type]) -> str:
    return " and ".join(sorted(kind.__name__ for kind in kinds)) + " mixed"


def _integral(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    """Numbers with a point but without a fraction, as integers."""
    odd = values[~np.isfinite(values) | (values != np.floor(values))]
    if len(odd):
        raise _no_classes(
            column,
            f"real numbers like {odd[0]:g}, {len(odd):,} of {len(values):,}",
            f"classes are told apart here, not numbers predicted: {column.another}",
        )
    return values.astype(np.int64)


def _from_0(column: Column, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels without -1, which stands for none in public data sets."""
    below = values[values < 0]
    if len(below) and column.names is None and not np.all(values == -1):
        raise _refused(
            column,
            "be integers from 0 on",
            f"{len(below):,} of {len(values):,} below 0, the lowest {below.min()}",
            f"if -1 is a class, add 1 to all labels; if it means no label, {column.filtered}",
        )
    return values[values >= 0]


def _one_kind(every: Sequence[_Read]) -> bool:
    """True if all columns have names of classes; all must be of one kind."""

    def kind(r: _Read) -> str:
        return "named classes" if r.column.names is not None else KINDS[r.present.dtype.kind]

    first = every[0]
    for other in every[1:]:
        if kind(other) != kind(first):
            raise ValueError(
                f"labels must be of one kind, got {kind(first)} in {first.column.where} and "
                f"{kind(other)} in {other.column.where}; save both in the same way"
            )
    return first.column.names is not None


Coded = tuple[tuple[str, ...], Callable[[_Read], NDArray[np.int64]], list[str]]
"""Names of classes, a function from a column to labels, and notes."""


def _by_name(every: Sequence[_Read]) -> Coded:
    first = every[0].column
    classes = first.names or ()
    place = {name: number for number, name in enumerate(classes)}
    differing: list[str] = []
    for r in every:
        names = r.column.names or ()
        if odd := set(names) ^ set(classes):
            alone = {
                where: sorted(odd & set(of))
                for where, of in ((first.where, classes), (r.column.where, names))
            }
            got = " and ".join(
                f"{quoted(of)} in {where} alone" for where, of in alone.items() if of
            )
            raise ValueError(
                f"labels must have the same names of classes everywhere, got {got}; "
                f"{_near(sorted(odd))}save them with one list of names"
            )
        if names != classes:
            differing.append(r.column.where)
        if len(r.present) and (highest := int(r.present.max())) >= len(names):
            raise _refused(
                r.column,
                f"be below {len(names)}, the number of names of classes",
                f"{highest}",
                "fix the labels or their names",
            )
    told = f"Labels of {_listed(differing)} are matched by name with those of {first.where}"
    notes = [f"{told}, which have another order."] if differing else []

    def code(r: _Read) -> NDArray[np.int64]:
        places = np.array([place[name] for name in r.column.names or ()], np.int64)
        return places.take(r.present)

    return classes, code, notes


def _listed(places: Sequence[str]) -> str:
    more = f" and {len(places) - 2:,} more" if len(places) > 2 else ""
    return ", ".join(places[:2]) + more


def _by_value(every: Sequence[_Read]) -> Coded:
    values = np.unique(np.concatenate([np.unique(r.present) for r in every]))
    total, column = sum(len(r.present) for r in every), every[0].column
    if len(values) > max(2, total // 2):
        raise _no_classes(
            column,
            f"{len(values):,} different ones of {total:,} images",
            f"most come once, as numbers of rows or names of files do: {column.another}",
        )
    classes = tuple(map(str, values.tolist()))
    is_as_it_is = values.dtype.kind in "iu" and np.array_equal(values, np.arange(len(values)))
    notes = [] if is_as_it_is else [_mapping(values)]
    return classes, lambda r: np.searchsorted(values, r.present).astype(np.int64), notes


def _mapping(values: NDArray[Any]) -> str:
    shown = [repr(value) for value in values.tolist()]
    if len(shown) > NUM_SHOWN:
        shown = [*shown[:NUM_ENDS], "...", *shown[-NUM_ENDS:]]
    last = len(values) - 1
    if last < NUM_ENDS:
        return f"Labels {', '.join(shown)} are classes {', '.join(map(str, range(last + 1)))}."
    return f"Labels {', '.join(shown)} are classes 0 to {last}."
