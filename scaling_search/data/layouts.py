"""Folders of classes and of splits, told apart by names and contents."""

import contextlib
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scaling_search.data.left_out import UNREAD, LeftOut, ending
from scaling_search.data.maps import NAMES
from scaling_search.data.split_names import OPTION, Found, counted, quoted, split_of
from scaling_search.data.trees import (
    Below,
    Walk,
    entries,
    identity,
    is_folder,
    is_picture,
    leads_nowhere,
)
from scaling_search.runtime.command_line import as_override

ARCHIVERS = "__MACOSX"
"""A folder that macOS puts into archives; it holds no pictures."""


@dataclass(frozen=True)
class Layout:
    """Pictures as their folders lie.

    Attributes:
        paths: For each split, the pictures of each class; all under ``train`` where all are one.
        ready: Folder name of each ready split; empty where all are one.
    """

    paths: Mapping[str, Mapping[str, list[str]]]
    ready: Mapping[str, str]


def layout(root: Path, option: OPTION | None, left: LeftOut) -> Layout:
    """The pictures below a folder by split and class.

    Args:
        root: The folder.
        option: True if folders with names of splits are splits; None to decide by the names.
        left: Counts what is not read.

    Raises:
        ValueError: There are two readings, and the option does not say which.
        RuntimeError: A class has no pictures or shares its folder with another.
    """
    top = _folders(root, root, left)
    by_name = {name: split for name in top if (split := split_of(name))}
    if by_name:
        for name in [n for n in top if n not in by_name and not _holds_pictures(top[n])]:
            left.phrases.append(f"folder {name!r}, which holds no pictures")
            del top[name]
    is_pooled = option == "drawn" and _hold_classes(top, by_name)
    if not by_name or (option == "drawn" and not is_pooled):
        return _whole(root, top, option, left)
    if is_pooled:
        by_split = {name: {name: top[name]} for name in by_name}
        ready: dict[str, str] = {}
    else:
        by_split, ready = _split_folders(root, top, by_name, option, left)
    inner = {split: _class_folders(root, of, left) for split, of in by_split.items()}
    above = {top[name] for name in by_name} | {
        os.path.dirname(path)  # noqa: PTH120  # of strings, as everywhere in a tree
        for of in inner.values()
        for path in of.values()
    }
    walk = Walk(root, sorted(above), left)
    found = {split: walk.classes(of) for split, of in inner.items()}
    for split, of in found.items():
        _check_pictures(inner[split], of)
        _check_wrapped(root, inner[split])
        if option is None and (nested := _nested(of)):
            raise ValueError(
                f"dataset.path must hold one folder for each split, got {quoted(nested)} inside "
                f"classes of {ready[split]!r} in {str(root)!r}; add dataset.splits=given if these "
                "pictures belong to that split and class, or move them"
            )
    paths = {split: _paths(inner[split], of) for split, of in found.items()}
    return Layout({"train": _pooled(paths)} if is_pooled else paths, ready)


def _hold_classes(top: Mapping[str, str], by_name: Mapping[str, str]) -> bool:
    """True if all folders are called as splits and hold folders, not only pictures."""
    return len(top) == len(by_name) > 0 and all(
        any(is_folder(entry) for entry in entries(folder)) for folder in top.values()
    )


def _pooled(paths: Mapping[str, Mapping[str, list[str]]]) -> dict[str, list[str]]:
    pooled: dict[str, list[str]] = {}
    for of_folder in paths.values():
        for name, of_class in of_folder.items():
            pooled.setdefault(name, []).extend(of_class)
    return pooled


def _folders(folder: str | Path, root: Path, left: LeftOut) -> dict[str, str]:
    """The folders in one, by name; pictures beside them are counted."""
    found = {}
    up = [Path(folder), *Path(folder).resolve().parents]
    for entry in entries(folder, left):
        if entry.is_symlink() and any(_is_same(entry.path, above) for above in up):
            left.link(f"{os.path.relpath(entry.path, root)!r} leads back up")
        elif is_folder(entry):
            found[entry.name] = entry.path
        elif is_picture(entry.name):
            left.stray(os.path.relpath(folder, root.parent), entry.name)
        elif leads_nowhere(entry):
            raise RuntimeError(
                f"dataset.path must hold folders that can be read, got {entry.path!r}, a link to "
                "nowhere; repair or remove it"
            )
        else:
            left.file(entry.name)
    if ARCHIVERS in found:
        left.phrases.append(f"folder {ARCHIVERS!r}, which archives of macOS hold")
        del found[ARCHIVERS]
    return found


def _whole(root: Path, top: dict[str, str], option: OPTION | None, left: LeftOut) -> Layout:
    """All folders are classes, unless each of them has the splits inside."""
    if not top:
        raise _without_folders(root)
    found = Walk(root, [], left).classes(top)
    filled = {name: top[name] for name, below in found.items() if below.names}
    _check_wrapped(root, filled)
    _check_pictures(top, found)
    nested = _nested(found)
    if option == "drawn" or not nested:
        if option == "given":
            raise ValueError(
                f"dataset.splits must be null or drawn where no folder is called as a split, got "
                f"'given' for {quoted(top)} in {str(root)!r}; rename the folder to train on to "
                "'train', or leave the option out"
            )
        return Layout({"train": _paths(top, found)}, {})
    layout = _class_first(root, top, found)
    if layout is None:
        raise ValueError(
            f"dataset.path must hold splits in all classes or in none, got {quoted(nested)} in "
            f"{str(root)!r}; add dataset.splits=drawn if all pictures of a class are one whole, or "
            "move them so that splits hold classes, like 'train/NAME' and 'test/NAME'"
        )
    return layout


def _class_first(root: Path, top: dict[str, str], found: Mapping[str, Below]) -> Layout | None:
    """The layout if the pictures of each class lie in folders of splits; None if some do not."""
    paths: dict[str, dict[str, list[str]]] = {}
    called: dict[str, str] = {}
    for name, below in found.items():
        of_class: dict[str, str] = {}
        for picture in below.names:
            inner, _, rest = picture.partition("/")
            split = split_of(inner) if rest else None
            if split is None:
                return None
            if (other := of_class.setdefault(split, inner)) != inner:
                raise ValueError(
                    f"dataset.path must hold one folder for {split}, got {other!r} and {inner!r} "
                    f"in {top[name]!r}; rename or move one of them"
                )
            paths.setdefault(split, {}).setdefault(name, []).append(f"{top[name]}/{picture}")
        called |= of_class
    if "train" not in called:
        raise ValueError(
            "dataset.path must hold a folder to train on in each class, got "
            f"{quoted(_nested(found))} alone in {str(root)!r}; rename the ones to train on to "
            "'train', or add dataset.splits=drawn if all pictures of a class are one whole"
        )
    ready = {split: f"CLASS/{called[split]}" for split in NAMES if split in called}
    return Layout({split: paths[split] for split in ready}, ready)


def _split_folders(
    root: Path,
    top: dict[str, str],
    by_name: dict[str, str],
    option: OPTION | None,
    left: LeftOut,
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The folders of each split, or of the classes of train, and what the splits are called."""
    others = [name for name in top if name not in by_name]
    if not others and "train" not in by_name.values():
        raise ValueError(
            f"dataset.path must hold a folder to train on, got {quoted(by_name)} alone in "
            f"{str(root)!r}; rename the one to train on to 'train', or add dataset.splits=drawn if "
            "all are one whole"
        )
    drawn = "each folder is a class" if others else "all are one whole"
    found = Found(str(root), by_name, others, (), "folders", drawn)
    choice = found.choice(option)
    for name in choice.unread:
        number = sum(1 for _ in _pictures(top[name]))
        left.phrases.append(f"folder {name!r} with {counted(number, 'picture')}, no split's")
    by_split = {split: {n: top[n] for n in names} for split, names in choice.by_split.items()}
    return by_split, choice.ready


def _class_folders(root: Path, folders: dict[str, str], left: LeftOut) -> dict[str, str]:
    """The folders of the classes of a split, taken out of a folder that only wraps them."""
    if len(folders) > 1 or (split := split_of(next(iter(folders)))) is None:
        return folders  # classes themselves, beside the folder of another split
    (place,) = folders.values()
    seen = set()
    while True:
        inner = _folders(place, root, left)
        wrapped = [name for name in inner if split_of(name) == split]
        seen.add(identity(place))
        if (
            len(wrapped) != 1
            or identity(inner[wrapped[0]]) in seen
            or any(_holds_pictures(path) for name, path in inner.items() if name != wrapped[0])
        ):
            break
        place = inner[wrapped[0]]
    if not inner:
        name = next(iter(folders))
        raise _without_folders(
            Path(place),
            f", add dataset.splits=drawn if {name!r} is a class, or rename it to {'.' + name!r}, "
            "which leaves it out",
        )
    return inner


def _without_folders(folder: Path, more: str = "") -> RuntimeError:
    number = sum(is_picture(entry.name) for entry in entries(folder))
    if folder.is_file():
        return RuntimeError(
            f"dataset.path must be a folder, got the file {str(folder)!r}; give the folder that "
            "holds a folder for each class"
        )
    got = f"none but {counted(number, 'picture')}" if number else "none"
    return RuntimeError(
        f"dataset.path must hold a folder for each class, got {got} in {str(folder)!r}; put the "
        f"pictures of each class into a folder of its own{more}"
    )


def _check_pictures(folders: Mapping[str, str], found: Mapping[str, Below]) -> None:
    """Checks that each class has pictures."""
    if not any(below.names for below in found.values()) and len(found) > 1:
        place = os.path.dirname(next(iter(folders.values())))  # noqa: PTH120  # of strings
        raise RuntimeError(
            f"dataset.path must hold pictures of each class, got none in {quoted(folders)} of "
            f"{place!r}; put JPEG, PNG or WebP files there, or remove {place!r} if it is a split "
            "to be drawn"
        )
    for name, below in found.items():
        if below.names:
            continue
        endings = Counter(ending(file) for file in _all_files(folders[name]))
        there = ", ".join(f"{n:,} {kind or 'without an ending'}" for kind, n in endings.items())
        raise RuntimeError(
            f"dataset.path must hold pictures of each class, got none in {folders[name]!r}"
            f"{f' but files: {there}' if there else ''}; put JPEG, PNG or WebP files there, remove "
            f"the folder, or rename it to {'.' + name!r}, which leaves it out"
        )


def _check_wrapped(root: Path, folders: Mapping[str, str]) -> None:
    """Checks that the only class holds what should be classes or splits."""
    if len(folders) != 1:
        return
    (place,) = folders.values()
    seen = set()
    while identity(place) not in seen:
        seen.add(identity(place))
        inner = [entry for entry in entries(place) if is_folder(entry)]
        inner = [entry for entry in inner if _holds_pictures(entry.path)]
        if len(inner) > 1 or (inner and split_of(inner[0].name)):
            names = quoted([entry.name for entry in inner])
            remedy = f"add {shlex.quote(as_override('dataset.path', place))}"
            if (above := Path(next(iter(folders.values()))).parent) != root:
                remedy += f", or move them up into {str(above)!r}"
            raise ValueError(
                f"dataset.path must hold 2 classes or more, got one folder {next(iter(folders))!r} "
                f"in {str(root)!r}, which holds {names}; {remedy}"
            )
        if not inner:
            return
        place = inner[0].path


def _nested(found: Mapping[str, Below]) -> list[str]:
    """Folders inside classes that are called as splits and hold pictures."""
    return [
        f"{name}/{inner}"
        for name, below in found.items()
        for inner in below.like_splits
        if any(picture.startswith(f"{inner}/") for picture in below.names)
    ]


def _paths(folders: Mapping[str, str], found: Mapping[str, Below]) -> dict[str, list[str]]:
    return {
        name: [f"{folders[name]}/{picture}" for picture in below.names]
        for name, below in found.items()
    }


def _all_files(folder: str) -> Iterator[str]:
    """Names of all files below a folder, but hidden ones; links to folders are not followed."""
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (name for name in files if not name.startswith("."))


def _pictures(folder: str) -> Iterator[str]:
    return (name for name in _all_files(folder) if is_picture(name) or ending(name) in UNREAD)


def _holds_pictures(folder: str) -> bool:
    """True if a picture lies below a folder, or a link to another folder, which may hold some."""
    links = (
        name
        for place, folders, _ in os.walk(folder)
        for name in folders
        if os.path.islink(f"{place}/{name}")  # noqa: PTH114  # of strings, as everywhere in a tree
    )
    return next(_pictures(folder), None) is not None or next(links, None) is not None


def _is_same(path: str, other: Path) -> bool:
    with contextlib.suppress(OSError):  # a link to nowhere
        return Path(path).samefile(other)
    return False
