"""Architectures and other parts as JSON: the class and its fields, by name."""

import dataclasses
import math
import pkgutil
from collections.abc import Collection, Mapping
from functools import cache
from typing import cast

from scaling_search.protocols import Architecture

OWN = __name__.partition(".")[0]


def to_json(part: object) -> dict[str, object]:
    """The class of an architecture or another part as module.QualName, and its fields.

    Dataclasses in fields are written the same way, tuples as lists. Two parts are equal
    exactly when these are, also once they were text.

    Raises:
        ValueError: A class is no dataclass or cannot be imported, or a value is not plain.
    """
    return _object(part)


def from_json(data: object, allowed: Collection[str] = ()) -> Architecture:
    """The architecture that `to_json` wrote.

    Only modules of this package and of the allowed ones are imported. A function that a field
    names is imported by ``build``.

    Args:
        data: Of `to_json`, also read from text.
        allowed: Packages of the user's own architectures.

    Raises:
        ValueError: A class is not allowed, cannot be imported, or has other fields.
    """
    return cast("Architecture", _read(data, {OWN, *allowed}))


def completed(data: object) -> object:
    """The output of `to_json` with defaults that this package's classes have got since."""
    is_own = isinstance(data, Mapping) and str(data.get("class")).startswith(f"{OWN}.")
    return to_json(_read(data, {OWN})) if is_own else data


def _object(value: object) -> dict[str, object]:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if _dataclass(name) is not kind:
        raise ValueError(
            f"a part must be a dataclass at the top of a module, got {name}; move it there"
        )
    fields = dataclasses.fields(value)  # type: ignore[arg-type]  # it is a dataclass
    plain = {f.name: _plain(getattr(value, f.name), f"{name}.{f.name}") for f in fields if f.init}
    return {"class": name, **plain}


def _plain(value: object, field: str) -> object:
    if type(value) is tuple:
        return [_plain(one, field) for one in value]
    if isinstance(value, dict) and "class" not in value:
        return {str(key): _plain(one, f"{field}.{key}") for key, one in value.items()}
    if dataclasses.is_dataclass(value):
        return _object(value)
    is_plain = value is None or isinstance(value, bool | int | float | str)
    if not is_plain or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(
            f"{field} must be text, a finite number, a boolean, None, a tuple, a dict or a "
            f"dataclass, got {value!r}; change its type"
        )
    return value


def _read(data: object, allowed: Collection[str]) -> object:
    if isinstance(data, list | tuple):
        return tuple(_read(one, allowed) for one in data)
    if not isinstance(data, Mapping):
        return data
    if "class" not in data:
        return {key: _read(one, allowed) for key, one in data.items()}
    name = str(data.get("class"))
    if (package := name.partition(".")[0]) not in allowed:
        raise ValueError(
            f"architecture must be of a class of {', '.join(sorted(allowed))}, got {name}; allow "
            f"{package} if you trust it"
        )
    fields = {key: _read(one, allowed) for key, one in data.items() if key != "class"}
    made = _dataclass(name)
    try:
        return made(**fields)
    except (TypeError, ValueError) as error:  # pydantic's are values'
        raise ValueError(
            f"architecture must have the fields of {name}, got {', '.join(fields)}; take the "
            "version that wrote it"
        ) from error


@cache
def _dataclass(name: str) -> type:
    try:
        kind = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"architecture must be of a class that can be imported, got {name}; put it at the top "
            "of a module"
        ) from error
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"architecture must be of a dataclass, got {name}; make it a frozen one")
    return kind
