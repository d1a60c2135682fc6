"""Watch over calls of worker processes: those that take too long, and those of lost workers."""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from scaling_search.core.protocols import Value
from scaling_search.executors.pools import Pool

POLL_SECONDS = 0.5
"""Time between two checks of the running calls."""


class Watch:
    """Ends calls that take too long, and those of broken pools."""

    def __init__(self) -> None:
        self._calls: dict[Future[Any], _Watched] = {}
        self._lock = threading.RLock()  # what is cancelled passes on in the same thread
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch-calls")
        self._thread.start()

    def watched(self, call: Future[Value], pool: Pool, seconds: float) -> Future[Value]:
        """A call's future, with `TimeoutError` once it has run for so many seconds."""
        result: Future[Value] = Future()
        self._calls[call] = _Watched(result, pool, seconds)
        call.add_done_callback(self._pass_on)
        return result

    def end(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._is_over.wait(POLL_SECONDS):
            now = time.monotonic()
            passed = min(now - last, 2 * POLL_SECONDS)  # more if the process was stopped meanwhile
            last = now
            with self._lock:
                for call, watched in list(self._calls.items()):
                    if watched.pool.is_broken:
                        del self._calls[call]
                        watched.result.set_exception(RuntimeError("all workers were lost"))
                    elif call.running():
                        watched.seconds_left -= passed
                        if watched.seconds_left < 0:
                            call.cancel()  # ends its process

    def _pass_on(self, call: Future[Any]) -> None:
        with self._lock:
            watched = self._calls.pop(call, None)
        if watched is None or watched.result.cancelled():
            return
        if call.cancelled() and watched.seconds_left < 0:
            watched.result.set_exception(TimeoutError())
        elif call.cancelled():
            watched.result.cancel()
            watched.result.set_running_or_notify_cancel()
        elif (left := watched.pool.left_by(call)) is not None:
            watched.result.set_result(left)
        elif (error := call.exception()) is not None:
            watched.result.set_exception(error)
        else:
            watched.result.set_result(call.result())


@dataclass
class _Watched:
    """A call that is watched: its future, its pool, and the time that it may still run."""

    result: Future[Any]
    pool: Pool
    seconds_left: float
