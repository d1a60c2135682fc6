"""Trainings in warm worker processes of this machine, several for each device."""

import functools
import multiprocessing
import os
import threading
from concurrent.futures import Future
from typing import Annotated, Literal, Self

import pebble
from pydantic import Field

from scaling_search.protocols import part
from scaling_search.training import Trial, TrialResult, devices, train_trial


@part
class Processes:
    """Runs trainings in processes that stay and keep their imports and data.

    A worker that is lost ends its own training only and is replaced.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` (all of them), ``cuda:1`` or ``mps``.
        workers_per_device: Trainings at a time on each; ``auto`` is one for each usable core on
            a CPU, where a training has one thread, and one on a GPU.
    """

    device: str
    workers_per_device: Annotated[int, Field(ge=1)] | Literal["auto"]

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

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Hands the training to a worker, on the device that has the fewest."""
        device = min(self._devices, key=lambda name: sum(not f.done() for f in self._handed[name]))
        future: Future[TrialResult] = self._pool.schedule(_work, args=(trial, device))
        self._handed[device] = [f for f in self._handed[device] if not f.done()] + [future]
        return future

    def __enter__(self) -> Self:
        """Checks that the devices are there; workers start with their first training."""
        assert self._devices
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends all workers, whatever they do, and waits until they are gone."""
        pool = self.__dict__.pop("_pool", None)
        if pool is not None:
            pool.stop()
            pool.join()

    @functools.cached_property
    def _devices(self) -> list[str]:
        return devices(self.device)

    @functools.cached_property
    def _workers_per_device(self) -> int:
        if self.workers_per_device != "auto":
            return self.workers_per_device
        return usable_cores() if self._devices == ["cpu"] else 1

    @functools.cached_property
    def _handed(self) -> dict[str, list[Future[TrialResult]]]:
        return {device: [] for device in self._devices}

    @functools.cached_property
    def _pool(self) -> pebble.ProcessPool:
        # spawn: CUDA does not survive a fork, and a forked torch may hold locks.
        context = multiprocessing.get_context("spawn")
        return pebble.ProcessPool(max_workers=self.slots, context=context)


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _work(trial: Trial, device: str) -> TrialResult:
    _leave_with_parent()
    return train_trial(trial, device)


@functools.cache
def _leave_with_parent() -> None:
    """Ends this worker as soon as the coordinator is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()
