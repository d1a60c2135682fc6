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

SHOW_CURSOR = b"\x1b[?25h"


class Interruption:
    """While it is entered, a signal raises `KeyboardInterrupt`, but only where that is heeded.

    What is written to the record is never torn in the middle. A second signal ends the process
    without another look; its workers leave with it. In a thread that is not the main one, which no
    signal reaches, nothing changes.
    """

    def __init__(self) -> None:
        self._asked, self._first = math.inf, 0
        self._is_heeded = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        """Takes the signals over."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *exc: object) -> None:
        """Gives them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Here an interruption is raised at once, one from before on entering."""
        self._is_heeded = True
        try:
            if self._is_asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_heeded = False

    def sleep(self, seconds: float) -> None:
        """Waits, but not for an interruption.

        Raises:
            KeyboardInterrupt: There is one.
        """
        with self.heeded():
            time.sleep(seconds)

    @property
    def _is_asked(self) -> bool:
        return self._asked < math.inf

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._is_asked:
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
