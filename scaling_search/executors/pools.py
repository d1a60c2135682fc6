"""Worker processes that leave no process and no call behind, for `executors/processes.py`."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

import pebble

from scaling_search.orphans import leave_with_parent
from scaling_search.protocols import T

LOOK_SECONDS = 0.5
"""So often it is looked whether a training takes too long."""


class Pool:
    """Pebble's pool of spawned processes, with an end that waits for nobody."""

    def __init__(self, num_workers: int) -> None:
        self._context = _Spawning()
        self._pool = pebble.ProcessPool(
            max_workers=num_workers, context=self._context, initializer=leave_with_parent
        )

    def schedule(self, function: Callable[..., T], args: tuple[object, ...]) -> Future[T]:
        """Hands a call to the next idle process.

        Raises:
            RuntimeError: The pool is broken.
        """
        future: Future[T] = self._pool.schedule(function, args=args)
        return future

    @property
    def is_broken(self) -> bool:
        """Whether it was given up: it ends no call any more, those that it never looked at too."""
        return not self._pool.active

    def end(self) -> None:
        """Ends all processes at once, also those that are stopped, and waits until they are gone.

        Pebble asks one after the other and waits for each; what they do counts for nothing.
        """
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble's
        for process in self._context.spawned:
            if process.pid is not None:  # else it was about to start
                process.kill()
        self._pool.join()


class _Spawning(SpawnContext):
    """Spawns processes, for CUDA does not survive a fork and a forked torch may hold locks.

    Attributes:
        spawned: All of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[SpawnProcess] = []

    def Process(self, *args: Any, **options: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802  # a class there
        """A process that is not started yet."""
        process = SpawnProcess(*args, **options)
        self.spawned = [p for p in self.spawned if p.exitcode is None] + [process]
        return process


class Watch:
    """Ends calls that take too long, by a clock that nobody sets, and those of broken pools."""

    def __init__(self) -> None:
        self._calls: dict[Future[Any], _Watched] = {}
        self._lock = threading.RLock()  # what is cancelled passes on in the same thread
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch-calls")
        self._thread.start()

    def watched(self, call: Future[T], pool: Pool, seconds: float) -> Future[T]:
        """What a call gives; `TimeoutError` once it has run for so long."""
        result: Future[T] = Future()
        self._calls[call] = _Watched(result, pool, seconds)
        call.add_done_callback(self._pass_on)
        return result

    def end(self) -> None:
        """Watches no more."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._is_over.wait(LOOK_SECONDS):
            now = time.monotonic()
            passed = min(now - last, 2 * LOOK_SECONDS)  # more if all of us were stopped meanwhile
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
        elif (error := call.exception()) is not None:
            watched.result.set_exception(error)
        else:
            watched.result.set_result(call.result())


@dataclass
class _Watched:
    """What becomes of a call.

    Attributes:
        result: The future that somebody waits for.
        pool: It was handed to.
        seconds_left: It may still run.
    """

    result: Future[Any]
    pool: Pool
    seconds_left: float
