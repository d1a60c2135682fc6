"""Values and types as Python source, in the shape that a formatter gives it."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping

WIDTH = 100
"""Columns of a line."""


def nested(value: object) -> Iterator[object]:
    """A dataclass and all dataclasses in its fields and their tuples, innermost first."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from nested(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from nested(item)
    elif _is_record(value):
        for name, _ in _fields(value):
            yield from nested(getattr(value, name))
        yield value


def literal(value: object, *, indent: int = 0, before: int = 0, after: int = 1) -> str:
    """The expression that makes a value: numbers, strings, tuples, lists, dicts, dataclasses.

    Args:
        value: To be written.
        indent: Columns before the line that it stands in.
        before: Columns of that line before it.
        after: Columns of that line after it.

    Raises:
        ValueError: It has no literal.
    """
    opening, items, closing = _pieces(value)
    if not items:
        return opening + closing
    one = "," if isinstance(value, tuple) and len(items) == 1 else ""
    flat = f"{opening}{', '.join(key + literal(item) for key, item in items)}{one}{closing}"
    if indent + before + len(flat) + after <= WIDTH and "\n" not in flat:
        return flat
    inner = indent + 4
    lines = [
        f"{' ' * inner}{key}{literal(item, indent=inner, before=len(key))}," for key, item in items
    ]
    return "\n".join([opening, *lines, f"{' ' * indent}{closing}"])


def _pieces(value: object) -> tuple[str, list[tuple[str, object]], str]:
    """What stands before, between and behind the commas; items with the key before each."""
    if isinstance(value, str):
        return _quoted(value), [], ""
    if value is None or isinstance(value, bool | int | float):
        return repr(value), [], ""
    if isinstance(value, tuple):
        return "(", [("", item) for item in value], ")"
    if isinstance(value, list):
        return "[", [("", item) for item in value], "]"
    if isinstance(value, Mapping):
        return "{", [(f"{literal(key)}: ", item) for key, item in value.items()], "}"
    if isinstance(value, Code):
        return value.opening, list(value.items), value.closing
    if _is_record(value):
        items = [(f"{name}=", getattr(value, name)) for name, _ in _fields(value)]
        return f"{type(value).__name__}(", items, ")"
    raise ValueError(
        f"a network's options must be numbers, strings, booleans, tuples or dataclasses, got "
        f"{value!r}; export cannot write it as source"
    )


@dataclasses.dataclass(frozen=True)
class Code:
    """A call or a name, written as it stands."""

    opening: str
    items: tuple[tuple[str, object], ...] = ()
    closing: str = ""


def annotation(hint: object) -> str:
    """A type as source, without the checks that it may carry."""
    if hint is types.NoneType or hint is None:
        return "None"
    if hint is Ellipsis:
        return "..."
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return f"Literal[{', '.join(literal(value) for value in arguments)}]"
    if origin in {types.UnionType, typing.Union}:
        return " | ".join(annotation(one) for one in arguments)
    if isinstance(origin, type):
        return f"{origin.__name__}[{', '.join(annotation(one) for one in arguments)}]"
    return hint.__name__ if isinstance(hint, type) else "object"


def _quoted(text: str) -> str:
    return f'"{text}"' if repr(text)[1:-1] == text and '"' not in text else repr(text)


def _is_record(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type | Code)


def _fields(value: object) -> list[tuple[str, object]]:
    return [(f.name, f.type) for f in dataclasses.fields(value) if f.init]  # type: ignore[arg-type]  # it is a dataclass
