"""References between options, followed before they are replaced by values."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from scaling_search.experiment.yaml_files import MOST_BYTES, MOST_DEPTH, MOST_VALUES

MOST = 2 * MOST_BYTES
"""Limit of what references add to all options together; in this package it is 2,000."""

EACH = MOST_BYTES // MOST_VALUES
"""Bytes that a value counts for besides its text."""

Place = tuple[str, ...]

_REFERENCE = re.compile(r"\$\{([^${}:]*)\}")
_UNNAMED = re.compile(r"\$\{[^:}]*\}")
"""Rest of a reference whose name holds another one."""


def check_references(options: Any, *, may_circle: bool = False) -> None:
    """Checks that references take moments to replace: a few lines of them can take hours.

    Args:
        options: As composed, with references, or those of files `together`.
        may_circle: True to leave circles to OmegaConf, which tells of them at once: files of which
            one is used can refer to each other.

    Raises:
        ValueError: They make too much of too little, or go in a circle.
    """
    _References(options, may_circle=may_circle).measured((), 0, ())


def together(one: Any, other: Any) -> Any:
    """Options that hold those of two files, of which one may be used or both.

    Where both have a text for a key, it is a tuple of them.
    """
    one, other = _by_text(one), _by_text(other)
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: together(one[key], other[key]) for key in one.keys() & other.keys()}
        return one | other | both
    if isinstance(one, dict) or isinstance(other, dict):
        group, value = (one, other) if isinstance(one, dict) else (other, one)
        return group | {"": value}
    return tuple(dict.fromkeys((*_texts(one), *_texts(other))))


class _References:
    def __init__(self, options: Any, *, may_circle: bool) -> None:
        self._options = _by_text(options)
        self._most = MOST + len(str(options))
        self._known: dict[Place, tuple[int, int]] = {}
        self._may_circle = may_circle
        self._begun: set[Place] = set()

    def measured(self, place: Place, above: int, by: Place) -> tuple[int, int]:
        """The bytes of a value without references, and how deep it is.

        Args:
            place: Its full key.
            above: The number of values that it is within, or that refer to it.
            by: The last of them that refers to it.

        Raises:
            ValueError: As `check_references`.
        """
        if self._may_circle and place in self._begun and place not in self._known:
            return 0, 1
        if place not in self._known and above <= MOST_DEPTH:
            self._begun.add(place)
            value = self._at(place)
            if isinstance(value, dict):
                inner = [(*place, key) for key in value]
                found = [self._sum(inner, EACH, above, by)]
            else:
                found = [
                    self._sum(self._targets(place, text), EACH + len(text), above, place)
                    for text in _texts(value)
                ]
            self._known[place] = max(size for size, _ in found), max(deep for _, deep in found)
        size, depth = self._known.get(place, (0, 1))
        if size > self._most:
            raise _too_much(place)
        if above + depth > MOST_DEPTH:
            raise _too_much(by or place)
        return size, depth

    def _sum(self, inner: Iterable[Place], size: int, above: int, by: Place) -> tuple[int, int]:
        parts = [self.measured(one, above + 1, by) for one in inner]
        depth = max((deep for _, deep in parts), default=0)
        return size + sum(part for part, _ in parts), 1 + depth

    def _targets(self, place: Place, text: str) -> Iterator[Place]:
        """The places that a text refers to."""
        if _UNNAMED.search(_REFERENCE.sub("", text)):
            raise ValueError(
                f"{'.'.join(place)} must refer to options by their names, got {text!r}; write "
                "${name} without another ${...} in it"
            )
        for name in _REFERENCE.findall(text):
            with suppress(LookupError):  # of which OmegaConf tells
                yield self._found(place, name.strip(), 0)

    def _found(self, place: Place, name: str, depth: int) -> Place:
        """The place of a reference's name; dots before it lead up from where it stands."""
        key = name.lstrip(".")
        here = place[: len(key) - len(name)] if key != name else ()
        for part in filter(None, re.split(r"[.\[\]'\"]+", key)):
            value = self._at(here)
            while other := next(filter(None, map(_REFERENCE.fullmatch, _texts(value))), None):
                depth += 1
                if depth > MOST_DEPTH:
                    raise _too_much(place)
                here = self._found(here, other[1].strip(), depth)
                value = self._at(here)
            here = (*here, _key(value, part))
        return here

    def _at(self, place: Place) -> Any:
        value = self._options
        for key in place:
            value = value[key]
        return value


def _texts(value: object) -> tuple[str, ...]:
    """The texts that a value may be; none for a group."""
    if isinstance(value, tuple):
        return value
    return () if isinstance(value, dict) else (str(value),)


def _key(value: object, part: str) -> str:
    """The key in a group that a part of a name means; of a list a number from either end.

    Raises:
        LookupError: There is none.
    """
    if not isinstance(value, dict):
        raise KeyError(part)
    if part not in value and re.fullmatch(r"[+-]?\d+", part):
        part = str(range(len(value))[int(part)])
    if part not in value:
        raise KeyError(part)
    return part


def _too_much(place: Place) -> ValueError:
    return ValueError(
        f"{'.'.join(place) or 'options'} must be at most {MOST:,} bytes longer with references "
        f"replaced, at most {MOST_DEPTH} deep, got more; write values in place of ${{...}}"
    )


def _by_text(options: Any) -> Any:
    """Options with lists as groups, all by keys that are text."""
    if isinstance(options, list):
        options = dict(enumerate(options))
    if isinstance(options, dict):
        return {str(key): _by_text(value) for key, value in options.items()}
    return options
