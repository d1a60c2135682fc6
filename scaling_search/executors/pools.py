"""Pools of worker processes, for `executors/processes.py`."""

import contextlib
import itertools
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

import pebble

from scaling_search.core.protocols import Value
from scaling_search.runtime.files import replace_file
from scaling_search.runtime.parent_death import exit_with_parent
from scaling_search.training.device_sharing import share_device

SEEN_SECONDS = 1.0
"""Time after which pebble has noticed that a process has a call; it loses earlier results."""


class Pool:
    """Pebble's pool of the worker processes of a device.

    A process whose result says that it needs a new one writes that result to a file and ends, so
    that pebble replaces it.
    """

    def __init__(self, num_workers: int) -> None:
        self._context = _Spawning()
        self._folder = tempfile.TemporaryDirectory(prefix="scaling-search-")
        self._files: dict[Future[Any], Path] = {}
        self._numbers = itertools.count()
        self._pool = pebble.ProcessPool(
            max_workers=num_workers,
            context=self._context,
            initializer=_begin,
            initargs=(num_workers, Path(self._folder.name) / "device.lock"),
        )

    def schedule(self, function: Callable[..., Value], args: tuple[object, ...]) -> Future[Value]:
        """Submits a call to the next idle process.

        Raises:
            RuntimeError: The pool is broken.
        """
        file = Path(self._folder.name) / f"{next(self._numbers)}.result"
        future: Future[Value] = self._pool.schedule(_given_or_left, args=(file, function, args))
        self._files[future] = file
        return future

    def left_by(self, call: Future[Any]) -> Any:
        """The result that a call's process wrote to a file before it ended, else None.

        Args:
            call: A call that has ended; asked for once.
        """
        file = self._files.pop(call)
        if not file.exists():
            return None
        result = pickle.loads(file.read_bytes())  # our own process wrote it, in our own folder
        file.unlink()
        return result

    @property
    def is_broken(self) -> bool:
        """True if pebble has given up; then no call ends any more."""
        return not self._pool.active

    def end(self) -> None:
        """Kills all processes, also stopped ones, and waits until they are gone.

        Pebble alone would end one after the other and wait for each.
        """
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble's
        for process in self._context.spawned:
            if process.pid is not None:  # else it was about to start
                process.kill()
        self._pool.join()
        self._folder.cleanup()


def _begin(num_workers: int, lock: Path) -> None:
    """Sets up a process."""
    exit_with_parent()
    share_device(num_workers, lock)


def _given_or_left(file: Path, function: Callable[..., Value], args: tuple[object, ...]) -> Value:
    """The result of a function; if it asks for a new process, this one writes it and ends."""
    result = function(*args)
    if getattr(result, "needs_new_process", False):
        with contextlib.suppress(RuntimeError):  # then the worker counts as lost
            replace_file(file, pickle.dumps(result))
        time.sleep(SEEN_SECONDS)
        os._exit(1)
    return result


class _Spawning(SpawnContext):
    """Spawns processes: CUDA does not survive a fork, and a forked torch may hold locks."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[SpawnProcess] = []

    def Process(self, *args: Any, **options: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802  # a class there
        """Creates a process that is not started yet."""
        process = SpawnProcess(*args, **options)
        self.spawned = [p for p in self.spawned if p.exitcode is None] + [process]
        return process
