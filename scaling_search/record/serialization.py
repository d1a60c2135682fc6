"""Architectures and other parts as JSON: the class and its fields, by name."""

import dataclasses
import math
import pkgutil
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import cast

from scaling_search.core.network import Architecture
from scaling_search.core.part import IMPORTED

OWN = __name__.partition(".")[0]


def to_json(part: object) -> dict[str, object]:
    """The class of an architecture or another part as module.QualName, and its fields.

    Dataclasses in fields are written the same way, tuples as lists. Two parts are equal
    exactly when these are, also once they were text.

    Raises:
        ValueError: A class is no dataclass or cannot be imported, or a value is not plain.
    """
    kind = type(part)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if _dataclass(name) is not kind:
        raise ValueError(
            f"a part must be a dataclass at the top of a module, got {name}; move it there"
        )
    fields = dataclasses.fields(part)  # type: ignore[arg-type]  # it is a dataclass
    plain = {f.name: _plain(getattr(part, f.name), f"{name}.{f.name}") for f in fields if f.init}
    return {"class": name, **plain}


def from_json(data: object, allowed: Collection[str] = ()) -> Architecture:
    """The architecture that `to_json` wrote.

    Only modules of this package and of the allowed ones are imported. A function of the user's own,
    which a field marked `IMPORTED` names, must lie in an allowed package.

    Args:
        data: Output of `to_json`, also read from text.
        allowed: Packages of the user's own architectures.

    Raises:
        ValueError: A class is not allowed, cannot be imported, or has other fields.
    """
    return cast("Architecture", _read(data, {OWN, *allowed}))


def completed(data: object) -> object:
    """The output of `to_json`, with the defaults of fields that were added since."""
    is_own = isinstance(data, Mapping) and str(data.get("class")).startswith(f"{OWN}.")
    return to_json(_read(data, {OWN}, names_code=True)) if is_own else data


def packages_of(part: object) -> set[str]:
    """The packages, besides this one, that `from_json` must be allowed for a part."""
    return {name.partition(".")[0] for name in _code_names(to_json(part))} - {OWN}


def _code_names(data: object) -> Iterator[str]:
    if isinstance(data, list):
        for one in data:
            yield from _code_names(one)
    elif isinstance(data, Mapping):
        if "class" in data:
            yield str(data["class"])
            kind = _dataclass(str(data["class"]))
            yield from (
                str(data[f.name]) for f in dataclasses.fields(kind) if IMPORTED in f.metadata
            )
        for one in data.values():
            yield from _code_names(one)


def _plain(value: object, field: str) -> object:
    if type(value) is tuple:
        return [_plain(one, field) for one in value]
    if isinstance(value, dict) and "class" not in value:
        return {str(key): _plain(one, f"{field}.{key}") for key, one in value.items()}
    if dataclasses.is_dataclass(value):
        return to_json(value)
    is_plain = value is None or isinstance(value, bool | int | float | str)
    if not is_plain or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(
            f"{field} must be text, a finite number, a boolean, None, a tuple, a dict or a "
            f"dataclass, got {value!r}; change its type"
        )
    return value


def _read(data: object, allowed: Collection[str], *, names_code: bool = False) -> object:
    """A value from JSON; with ``names_code`` functions may have any name, for none is called."""
    if isinstance(data, list | tuple):
        return tuple(_read(one, allowed, names_code=names_code) for one in data)
    if not isinstance(data, Mapping):
        return data
    if "class" not in data:
        return {key: _read(one, allowed, names_code=names_code) for key, one in data.items()}
    name = str(data.get("class"))
    if not _lies_in(name, allowed):
        raise ValueError(
            f"architecture must be of a class of {', '.join(sorted(allowed))}, got {name}; allow "
            f"{name.partition('.')[0]} if you trust it"
        )
    given = {key: one for key, one in data.items() if key != "class"}
    fields = {key: _read(one, allowed, names_code=names_code) for key, one in given.items()}
    made = _dataclass(name)
    for field in dataclasses.fields(made):
        code = str(fields.get(field.name))
        if IMPORTED in field.metadata and not (names_code or _lies_in(code, {*allowed} - {OWN})):
            raise ValueError(
                f"{field.name} must be a function of an allowed package, got {code!r}; allow "
                f"{code.partition('.')[0]} if you trust it"
            )
    try:
        return made(**fields)
    except (TypeError, ValueError) as error:  # pydantic's are values'
        raise ValueError(
            f"architecture must have the fields of {name}, got {', '.join(fields)}; use the "
            "version that wrote it"
        ) from error


def _lies_in(name: str, packages: Collection[str]) -> bool:
    return any(name.startswith(f"{package}.") for package in packages)


@cache
def _dataclass(name: str) -> type:
    try:
        kind = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"architecture must be of a class that can be imported, got {name}; put it at the top "
            "of a module"
        ) from error
    is_there = isinstance(kind, type) and f"{kind.__module__}.{kind.__qualname__}" == name
    if not (is_there and isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"architecture must be of a dataclass, got {name}; make it a frozen one")
    return kind
