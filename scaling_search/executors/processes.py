"""Trainings in warm worker processes of this machine, several for each device."""

import contextlib
import ctypes
import functools
import itertools
import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Annotated, Any, Literal, Self

import pebble
from pydantic import Field

from scaling_search import interruption
from scaling_search.measuring import usable_cores
from scaling_search.protocols import Argument, T, part
from scaling_search.timing import time_training
from scaling_search.training import devices, train_trial
from scaling_search.trial import Trial, TrialResult

log = logging.getLogger(__name__)

TRIED = (1, 2, 4, 8)
"""Workers of a GPU whose speed is measured."""

LOOK_SECONDS = 0.5
"""So often it is looked whether a training takes too long."""

WORTHWHILE = 1.05
"""By how much more workers must train faster together to be taken."""


@part
class Processes:
    """Runs trainings in processes that stay and keep their imports, context and data.

    Each device has processes of its own. A worker that is lost ends its own training only and is
    replaced. Several trainings of a device are always several processes, never several streams of
    one: a small network's steps wait for Python to launch their kernels, and the threads of a
    process launch one at a time.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` (all of them), ``cuda:1`` or ``mps``.
        workers_per_device: Trainings at a time on each; ``auto`` is one for each usable core on
            a CPU, where a training has one thread, and on GPUs what `prepare` measures.
        retries: How often a training that failed is tried again; not one that diverged.
        timeout_minutes: A training that takes longer is ended, and its worker replaced; None for
            no limit.
    """

    device: str
    workers_per_device: Annotated[int, Field(ge=1)] | Literal["auto"]
    retries: Annotated[int, Field(ge=0)]
    timeout_minutes: Annotated[float, Field(gt=0)] | None

    @property
    def slots(self) -> int:
        """Trainings that may be in flight; none before `check`, which finds the devices."""
        if "_devices" not in self.__dict__:
            return 0
        return self._workers_per_device * len(self._devices)

    @property
    def device_share(self) -> float:
        """What one of several workers takes of its device."""
        return len(self._devices) / self.slots if self.slots else 1.0

    def check(self) -> None:
        """Looks whether the devices are there."""
        assert self._devices

    def prepare(self, trials: Sequence[Trial]) -> None:
        """On GPUs measures how many workers of one train the fastest, where that is ``auto``.

        Takes about half a minute, once for each object.
        """
        first = self._devices[0]
        if self.workers_per_device != "auto" or not first.startswith("cuda"):
            return
        if trials and "_is_measured" not in self.__dict__:
            numbers = numbers_to_try(usable_cores(), len(self._devices))
            with contextlib.closing(_rates(_middle(trials), first, numbers)) as rates:
                number = most_productive(rates)
            self.__dict__.update(_workers_per_device=number, _is_measured=True)

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Hands the training to a worker, on the device that has the fewest."""
        seconds = math.inf if self.timeout_minutes is None else 60 * self.timeout_minutes
        return self._handed_out(train_trial, trial, seconds)

    def call(self, function: Callable[[Argument, str], T], argument: Argument) -> Future[T]:
        """Hands a function to a worker, on the device that has the fewest."""
        return self._handed_out(function, argument, math.inf)

    def _handed_out(
        self, function: Callable[[Argument, str], T], argument: Argument, seconds: float
    ) -> Future[T]:
        device = min(self._devices, key=lambda name: sum(not f.done() for f in self._handed[name]))
        try:
            call = self._pool_of(device).schedule(function, args=(argument, device))
        except RuntimeError:
            # Pebble gives a pool up once its workers were lost before they took anything.
            self._pools.pop(device).end()
            call = self._pool_of(device).schedule(function, args=(argument, device))
        future = self._watch.watched(call, self._pools[device], seconds)
        self._handed[device] = [f for f in self._handed[device] if not f.done()] + [future]
        return future

    def __enter__(self) -> Self:
        """Checks that the devices are there; workers start with their first training."""
        assert self._devices
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends all workers, whatever they do, and waits until they are gone."""
        for pool in self.__dict__.pop("_pools", {}).values():
            pool.end()
        for future in itertools.chain(*self.__dict__.pop("_handed", {}).values()):
            # Whoever waits for what was in flight learns that it will not come.
            if future.cancel():
                future.set_running_or_notify_cancel()
        if "_watch" in self.__dict__:
            self.__dict__.pop("_watch").end()

    @functools.cached_property
    def _devices(self) -> list[str]:
        return devices(self.device)

    @functools.cached_property
    def _workers_per_device(self) -> int:
        if self.workers_per_device != "auto":
            return self.workers_per_device
        return usable_cores() if self._devices == ["cpu"] else 1

    @functools.cached_property
    def _handed(self) -> dict[str, list[Future[Any]]]:
        return {device: [] for device in self._devices}

    @functools.cached_property
    def _pools(self) -> "dict[str, _Pool]":
        return {}

    @functools.cached_property
    def _watch(self) -> "_Watch":
        return _Watch()

    def _pool_of(self, device: str) -> "_Pool":
        if device not in self._pools:
            self._pools[device] = _Pool(self._workers_per_device)
        return self._pools[device]


def most_productive(rates: Iterable[tuple[int, float]]) -> int:
    """The number of workers beyond which more of them are not worth it.

    Args:
        rates: Rising numbers of workers, and how fast they are together; no more of them are
            asked for than it takes, and none at all make one worker.
    """
    best, fastest = 1, 0.0
    for number, rate in rates:
        if rate < WORTHWHILE * fastest:
            break
        best, fastest = number, rate
    return best


def numbers_to_try(num_cores: int, num_devices: int) -> list[int]:
    """Workers of a device to be measured; each of all devices' workers has a core for itself."""
    return [number for number in TRIED if number == 1 or number * num_devices <= num_cores]


def _middle(trials: Sequence[Trial]) -> Trial:
    """One of the networks in the middle of all by what they keep for the way back."""
    in_order = sorted(trials, key=lambda trial: trial.candidate.activations)
    return in_order[len(in_order) // 2]


def _rates(
    trial: Trial, device: str, numbers: Sequence[int]
) -> Generator[tuple[int, float], None, None]:
    """Images a second of so many workers of a device together, for as long as they all fit."""
    pool = _Pool(numbers[-1])
    try:
        # Workers start at different times, so that the first round only warms them up.
        for is_warm, number in enumerate((numbers[-1], *numbers)):
            interruption.look()
            asked = [pool.schedule(time_training, args=(trial, device)) for _ in range(number)]
            failed = [future for future in asked if future.exception() is not None]
            if is_warm and failed:
                log.info("%d workers on %s: %s", number, device, failed[0].exception())
                return
            if is_warm:
                rate = sum(future.result().images_per_second for future in asked)
                log.info("%d workers on %s: %.0f images/s together", number, device, rate)
                yield number, rate
    finally:
        pool.end()


class _Pool:
    """Pebble's pool of spawned processes, with an end that waits for nobody."""

    def __init__(self, num_workers: int) -> None:
        self._context = _Spawning()
        self._pool = pebble.ProcessPool(
            max_workers=num_workers, context=self._context, initializer=_leave_with_parent
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


class _Watch:
    """Ends calls that take too long, by a clock that nobody sets, and those of broken pools."""

    def __init__(self) -> None:
        self._calls: dict[Future[Any], _Watched] = {}
        self._lock = threading.RLock()  # what is cancelled passes on in the same thread
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch-calls")
        self._thread.start()

    def watched(self, call: Future[T], pool: _Pool, seconds: float) -> Future[T]:
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
        if watched.seconds_left < 0:
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
    pool: _Pool
    seconds_left: float


def _leave_with_parent() -> None:
    """Ends this worker as soon as the coordinator is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()
    if sys.platform == "linux":
        # A worker that is stopped cannot watch, but the kernel can.
        pr_set_pdeathsig = 1  # of prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
