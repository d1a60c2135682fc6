"""Progress of long loops: a loop reports it, and whoever has a screen shows it."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")

Show = Callable[[Iterable[Any], str, int | None], Iterable[Any]]
"""Yields the items again, and shows how many of a total are done, under a description.

The total is None where it is not known.
"""

SILENT_SECONDS = 2.0
"""No bar is shown for what takes less, where it is not known beforehand."""

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


def waiting(description: str) -> AbstractContextManager[object]:
    """A sign on a terminal while something takes seconds that are not counted."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return nullcontext()
    from rich.console import Console  # noqa: PLC0415  # only for a terminal

    return Console(stderr=True).status(description)


def slow_progress(
    items: Iterable[Item], description: str, total: int, done: int = 0
) -> Generator[Item, None, None]:
    """The items, and a bar on a terminal's error stream once they take a while; not in workers.

    Args:
        items: Items that are not done yet.
        description: What is done.
        total: Number of all items.
        done: Number of items that were done before.
    """
    is_shown = multiprocessing.parent_process() is None and sys.stderr.isatty()
    started, bar = time.monotonic(), None
    try:
        for number, item in enumerate(items, done + 1):
            yield item
            if bar is None and is_shown and time.monotonic() - started > SILENT_SECONDS:
                bar = _bar()
                task = bar.add_task(description, total=total, completed=number)
                bar.start()
            elif bar is not None:
                bar.update(task, completed=number)
    finally:
        if bar is not None:
            bar.stop()


def _bar() -> "Progress":
    from rich import progress  # noqa: PLC0415  # workers show nothing
    from rich.console import Console  # noqa: PLC0415  # as above

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
