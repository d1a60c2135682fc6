"""Pools of worker processes, each with a pipe of its own, for `executors/processes.py`."""

import contextlib
import math
import pickle
import queue
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, cast

from scaling_search.core.protocols import Value
from scaling_search.runtime.parent_death import exit_with_parent
from scaling_search.training.device_sharing import share_device

POLL_SECONDS = 0.5
"""Time between two looks at a process that has a call."""

START_SECONDS = 600.0
"""Time for a process to start where calls have a limit: torch on a cold disk takes minutes."""

_SPAWN = get_context("spawn")
"""CUDA does not survive a fork, and a forked torch may hold locks."""


class WorkerLostError(RuntimeError):
    """A process that ended before its call did.

    Attributes:
        exitcode: Its exit code; negative for the signal that ended it.
    """

    def __init__(self, exitcode: int | None) -> None:
        super().__init__("its process ended")
        self.exitcode = exitcode


class Pool:
    """The worker processes of a device; each has one call at a time.

    They share no lock and no pipe, so that one that is stopped or killed at any moment takes
    nothing with it. A thread waits for each call. A process starts with its first call, and another
    takes its place once it is lost, overdue, or its result says that it needs a new one.
    """

    def __init__(self, num_workers: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="scaling-search-")
        lock = Path(self._folder.name) / "device.lock"
        self._workers = [_Worker(num_workers, lock) for _ in range(num_workers)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()  # the last one is warm
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(num_workers, "worker")

    def schedule(
        self,
        function: Callable[..., Value],
        args: tuple[object, ...],
        seconds: float = math.inf,
    ) -> Future[Value]:
        """Submits a call to the next idle process.

        Its future raises `TimeoutError` once it has run for so many seconds, `WorkerLostError` if
        its process ended, and what the function raised.
        """
        return self._threads.submit(self._called, function, args, seconds)

    def end(self) -> None:
        """Kills all processes, also stopped ones, cancels all calls, and waits for both."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.remove()
        self._folder.cleanup()

    def _called(
        self, function: Callable[..., Value], args: tuple[object, ...], seconds: float
    ) -> Value:
        call = pickle.dumps((function, args))
        worker = self._idle.get()
        try:
            return cast("Value", worker.called(call, seconds))
        finally:
            self._idle.put(worker)


class _Worker:
    """A place for one process, and the pipe to it, which only one thread at a time uses."""

    def __init__(self, *begin: object) -> None:
        self._begin = begin
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._starting = threading.Lock()
        self._is_over = False

    def called(self, call: bytes, seconds: float) -> Any:
        """The result of a call."""
        is_kept = False
        try:
            if self._process is None or self._process.exitcode is not None:
                self._start(seconds)
            result, error = self._answer(seconds, call)
            is_kept = not getattr(result, "needs_new_process", False)
        finally:
            if not is_kept:
                self.remove()
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        """Kills the process, also a stopped one, and lets no other start."""
        with self._starting:
            self._is_over = True
            if self._process is not None:
                self._process.kill()

    def remove(self) -> None:
        """Kills the process and waits for it, so that the next call starts another."""
        if self._process is not None and self._pipe is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._pipe = None

    def _start(self, seconds: float) -> None:
        self.remove()
        with self._starting:
            if self._is_over:
                raise WorkerLostError(None)
            self._pipe, its_end = _SPAWN.Pipe()
            process = _SPAWN.Process(target=_serve, args=(its_end, *self._begin))
            process.start()
            self._process = process
        its_end.close()
        self._answer(seconds + START_SECONDS)

    def _answer(self, seconds: float, call: bytes | None = None) -> Any:
        """The next answer of the process, to a call if there is one."""
        assert self._process is not None
        assert self._pipe is not None
        process, pipe, clock = self._process, self._pipe, _Clock(self._process, seconds)
        try:
            if call is not None:
                with clock.blocking():
                    pipe.send_bytes(call)
            while not pipe.poll(POLL_SECONDS):
                clock.look()
                if process.exitcode is not None and not pipe.poll():
                    raise EOFError  # noqa: TRY301 - as if the pipe had ended, which a child may keep
            with clock.blocking():
                answer = pipe.recv_bytes()
        except (EOFError, OSError):
            process.kill()
            process.join()
            lost = WorkerLostError(process.exitcode)
            raise (TimeoutError() if clock.is_over else lost) from None
        return pickle.loads(answer)  # what our own process sent


class _Clock:
    """The time that a call may still take; its process is killed once that is over."""

    def __init__(self, process: SpawnProcess, seconds: float) -> None:
        self._process = process
        self._seconds_left = seconds
        self._looked = time.monotonic()

    @property
    def is_over(self) -> bool:
        """True if the call has taken too long."""
        return self._seconds_left < 0

    def look(self) -> None:
        """Counts the time since the last look."""
        now = time.monotonic()
        # More has passed if this process was stopped meanwhile, and the worker with it.
        self._seconds_left -= min(now - self._looked, 2 * POLL_SECONDS)
        self._looked = now
        if self.is_over:
            self._process.kill()

    @contextlib.contextmanager
    def blocking(self) -> Iterator[None]:
        """For a read or write, which waits for ever if the process is stopped in its middle."""
        if math.isinf(self._seconds_left):
            yield
            return
        timer = threading.Timer(max(self._seconds_left, POLL_SECONDS), self._end)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self) -> None:
        self._seconds_left = -math.inf
        self._process.kill()


def _serve(pipe: Connection, num_workers: int, lock: Path) -> None:
    """Makes the calls that a pipe brings, in a process of their own, until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, to all: the coordinator decides
    exit_with_parent()
    share_device(num_workers, lock)
    answer = pickle.dumps(None)  # it has started
    while True:
        try:
            pipe.send_bytes(answer)
            call = pipe.recv_bytes()
        except (EOFError, OSError):  # the coordinator has gone
            return
        answer = _answered(call)


def _answered(call: bytes) -> bytes:
    """The result of a call and None, or None and its error."""
    try:
        function, args = pickle.loads(call)  # what our own coordinator sent
        return pickle.dumps((function(*args), None))
    except BaseException as error:  # noqa: BLE001 - the future's
        error.add_note(traceback.format_exc())
        return _pickled(error)


def _pickled(error: BaseException) -> bytes:
    """An error that can be sent: itself, or one with its text."""
    try:
        answer = pickle.dumps((None, error))
        pickle.loads(answer)  # some can be written but not read
    except Exception:  # noqa: BLE001 - whatever its class does
        return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
    return answer
