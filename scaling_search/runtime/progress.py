"""Progress of long loops: a loop reports it, and whoever has a screen shows it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Item = TypeVar("Item")

Show = Callable[[Iterable[Any], str, int | None], Iterable[Any]]
"""Yields the items again, and shows how many of a total are done, under a description.

The total is None where it is not known.
"""

_show: ContextVar[Show | None] = ContextVar("show", default=None)


def progress(items: Iterable[Item], description: str, total: int | None) -> Iterable[Item]:
    """The items, shown as they are done where `shown_by` is entered."""
    show = _show.get()
    return items if show is None else show(items, description, total)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Shows the progress of all loops that begin while it is entered."""
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)
