"""SIGINT and SIGTERM during a search: the first asks it to end, the second ends it at once."""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Self

EXIT_CODE = 130
"""Of a command that was interrupted, by either signal."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SAME_SECONDS = 1.0
"""SIGTERMs so close together are one: schedulers tell a process and its parent, which tells it."""

LOOK_SECONDS = 0.25
"""So often whoever waits looks whether to go on."""

SHOW_CURSOR = b"\x1b[?25h"


class Interruption:
    """While it is entered, a signal raises `KeyboardInterrupt` only where somebody looks for it.

    Nothing is torn in the middle: neither what is written to the record, nor the locks of pools
    and queues, which an exception at any place could leave as nothing gets out of. A second signal
    ends the process without another look; its workers leave with it. In a thread that is not the
    main one, which no signal reaches, nothing changes.
    """

    def __init__(self) -> None:
        self._asked, self._first = math.inf, 0
        self._is_heeded = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        """Takes the signals over."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        _entered.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        """Gives them back."""
        _entered.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _look(self) -> None:
        if self._asked < math.inf:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._asked < math.inf:
            is_near = time.monotonic() < self._asked + SAME_SECONDS
            if is_near and number == self._first == signal.SIGTERM:
                return
            if os.isatty(2):
                os.write(2, SHOW_CURSOR)  # a live view had hidden it
            os.write(2, b"\nleft at once; the same command goes on from what is recorded\n")
            os._exit(EXIT_CODE)
        self._asked, self._first = time.monotonic(), number
        if self._is_heeded:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _heeded(self) -> Iterator[None]:
        self._is_heeded = True
        try:
            self._look()
            yield
        finally:
            self._is_heeded = False


_entered: list[Interruption] = []


def look() -> None:
    """Ends here what was asked to end.

    Raises:
        KeyboardInterrupt: A signal has come since the `Interruption` was entered.
    """
    for interruption in _entered:
        interruption._look()  # noqa: SLF001  # of this module


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Here a signal raises `KeyboardInterrupt` at once, in whatever is done: work that is lost."""
    with contextlib.ExitStack() as stack:
        for interruption in _entered:
            stack.enter_context(interruption._heeded())  # noqa: SLF001  # of this module
        yield


def sleep(seconds: float) -> None:
    """Waits, but not for an interruption.

    Raises:
        KeyboardInterrupt: There is one.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        look()
        time.sleep(min(left, LOOK_SECONDS))
    look()
