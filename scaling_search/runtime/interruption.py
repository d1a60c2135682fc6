"""SIGINT and SIGTERM during a search: the first requests an end, the second ends it at once."""

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
"""Exit code of a command that either signal interrupted."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

DUPLICATE_SECONDS = 1.0
"""SIGTERMs within this time count as one: schedulers signal a process and its parent, which
forwards it."""

POLL_SECONDS = 0.25
"""Time between two checks while waiting."""

SHOW_CURSOR = b"\x1b[?25h"


class Interruption:
    """While it is entered, a signal raises `KeyboardInterrupt` only where the code checks for it.

    An exception at any other place could leave half a row in the record, or a lock of a pool or
    queue taken for ever. A second signal ends the process at once; its workers end with it. In
    threads other than the main one, which get no signals, nothing changes.
    """

    def __init__(self) -> None:
        self._asked, self._first = math.inf, 0
        self._is_interruptible = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        """Replaces the handlers of both signals."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        _entered.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        """Restores the handlers."""
        _entered.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _check(self) -> None:
        if self._asked < math.inf:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._asked < math.inf:
            is_near = time.monotonic() < self._asked + DUPLICATE_SECONDS
            if is_near and number == self._first == signal.SIGTERM:
                return
            with contextlib.suppress(OSError):  # a terminal that is closed
                if os.isatty(2):
                    os.write(2, SHOW_CURSOR)  # a live view had hidden it
                os.write(2, b"\nleft at once; the same command goes on from what is recorded\n")
            os._exit(EXIT_CODE)
        self._asked, self._first = time.monotonic(), number
        if self._is_interruptible:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        self._is_interruptible = True
        try:
            self._check()
            yield
        finally:
            self._is_interruptible = False


_entered: list[Interruption] = []


def check() -> None:
    """Checks for a signal.

    Raises:
        KeyboardInterrupt: A signal has come since the `Interruption` was entered.
    """
    for interruption in _entered:
        interruption._check()  # noqa: SLF001  # of this module


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises `KeyboardInterrupt` at once on a signal: for work that may be lost at any point."""
    with contextlib.ExitStack() as stack:
        for interruption in _entered:
            stack.enter_context(interruption._interruptible())  # noqa: SLF001  # of this module
        yield


def sleep(seconds: float) -> None:
    """Waits, and checks for a signal meanwhile.

    Raises:
        KeyboardInterrupt: A signal has come.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, POLL_SECONDS))
    check()
