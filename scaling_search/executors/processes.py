"""Trainings in worker processes of this machine, several for each device."""

import contextlib
import functools
import itertools
import logging
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from scaling_search.core.part import part
from scaling_search.core.protocols import Argument, Value
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.executors.pools import Pool
from scaling_search.runtime import interruption
from scaling_search.runtime.cores import usable_cores
from scaling_search.training.batches import load
from scaling_search.training.device_sharing import share_device
from scaling_search.training.engine import devices, train_trial
from scaling_search.training.price import timed_seconds, work
from scaling_search.training.timing import Timing, time_training

log = logging.getLogger(__name__)

TRIED = (1, 2, 4, 8)
"""Numbers of workers of a GPU whose speed is measured."""

WORTHWHILE = 1.05
"""Least ratio of speeds at which more workers are used."""


@part
class Processes:
    """Runs trainings in processes that keep their imports, context and data.

    Each device has its own processes, one for each training at a time, so that a lost worker ends
    only its own training and is replaced.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` (all of them), ``cuda:1`` or ``mps``.
        workers_per_device: Trainings at a time on each; ``auto`` is one for each usable core on
            a CPU, where a training has one thread, and on GPUs what `prepare` measures.
        retries: Number of times that a failed training is tried again, unless it diverged.
        timeout_minutes: A training that takes longer is ended, and its worker replaced; None for
            no limit.
    """

    device: str = "auto"
    workers_per_device: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    retries: Annotated[int, Field(ge=0)] = 1
    timeout_minutes: Annotated[float, Field(gt=0)] | None = None

    @property
    def slots(self) -> int:
        """Trainings that may be in flight; 0 before `check`, which finds the devices."""
        if "_devices" not in self.__dict__:
            return 0
        return self._workers_per_device * len(self._devices)

    @property
    def device_share(self) -> float:
        """Part of a device that one training takes."""
        return len(self._devices) / self.slots if self.slots else 1.0

    def check(self) -> None:
        """Checks the devices."""
        assert self._devices

    def prepare(self, trials: Sequence[Trial]) -> None:
        """On GPUs with ``auto``, measures the number of workers that train the fastest together.

        Takes about half a minute, once for each object.
        """
        first = self._devices[0]
        if self.workers_per_device != "auto" or not first.startswith("cuda"):
            return
        if trials and "_is_measured" not in self.__dict__:
            numbers = numbers_to_try(usable_cores(), len(self._devices))
            with contextlib.closing(rates(trials, first, numbers)) as measured:
                number = most_productive(measured)
            self.__dict__.update(_workers_per_device=number, _is_measured=True)

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Submits the training to a worker of the device with the fewest."""
        seconds = math.inf if self.timeout_minutes is None else 60 * self.timeout_minutes
        return self._handed_out(train_trial, trial, seconds)

    def call(self, function: Callable[[Argument, str], Value], argument: Argument) -> Future[Value]:
        """Submits a function to a worker of the device with the fewest."""
        return self._handed_out(function, argument, math.inf)

    def _handed_out(
        self, function: Callable[[Argument, str], Value], argument: Argument, seconds: float
    ) -> Future[Value]:
        device = min(self._devices, key=lambda name: sum(not f.done() for f in self._handed[name]))
        future = self._pool_of(device).schedule(function, (argument, device), seconds)
        self._handed[device] = [f for f in self._handed[device] if not f.done()] + [future]
        return future

    def __enter__(self) -> Self:
        """Checks the devices; workers start with their first training."""
        assert self._devices
        return self

    def __exit__(self, *exc: object) -> None:
        """Kills all workers and cancels their calls."""
        for pool in self.__dict__.pop("_pools", {}).values():
            pool.end()
        for future in itertools.chain(*self.__dict__.pop("_handed", {}).values()):
            if future.cancelled():
                future.set_running_or_notify_cancel()  # else whoever waits would go on waiting

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
    def _pools(self) -> dict[str, Pool]:
        return {}

    def _pool_of(self, device: str) -> Pool:
        if device not in self._pools:
            self._pools[device] = Pool(self._workers_per_device)
        return self._pools[device]


def most_productive(rates: Iterable[tuple[int, float]]) -> int:
    """The number of workers beyond which more are not `WORTHWHILE`; 1 without rates.

    Args:
        rates: Rising numbers of workers with their common speed; read only as far as needed.
    """
    best, fastest = 1, 0.0
    for number, rate in rates:
        if rate < WORTHWHILE * fastest:
            break
        best, fastest = number, rate
    return best


def numbers_to_try(num_cores: int, num_devices: int) -> list[int]:
    """Numbers of workers of a device to measure, for which every worker has its own core."""
    return [number for number in TRIED if number == 1 or number * num_devices <= num_cores]


def middle(trials: Sequence[Trial], number: int) -> list[Trial]:
    """Trainings of the networks with median activations, the median first.

    With fewer networks than ``number`` they are repeated.
    """
    networks = {trial.candidate.network: trial for trial in reversed(trials)}
    in_order = sorted(networks.values(), key=lambda trial: trial.candidate.activations)
    center = len(in_order) // 2
    places = sorted(range(len(in_order)), key=lambda place: abs(place - center))
    return [in_order[place] for place in itertools.islice(itertools.cycle(places), number)]


def rates(
    trials: Sequence[Trial], device: str, numbers: Sequence[int]
) -> Generator[tuple[int, float], None, None]:
    """Yields numbers of workers with their trainings an hour together, as long as all fit.

    Each worker times another network, so that it starts as in a search, with kernels that are not
    compiled yet.

    Args:
        trials: The trainings of a search.
        device: The device.
        numbers: Rising numbers of workers.
    """
    pool = Pool(numbers[-1])
    try:
        # Workers start at different times; the first round only warms them up.
        for is_warm, number in enumerate((numbers[-1], *numbers)):
            interruption.check()
            asked = [
                pool.schedule(_timed_beside, (trial, device, number))
                for trial in middle(trials, number)
            ]
            failed = [future for future in asked if future.exception() is not None]
            if is_warm and failed:
                log.info("%d workers on %s: %s", number, device, failed[0].exception())
                return
            if is_warm:
                rate = trainings_an_hour([future.result() for future in asked])
                log.info("%d workers on %s: %.0f trainings an hour together", number, device, rate)
                yield number, rate
    finally:
        pool.end()


def trainings_an_hour(timings: Sequence[Timing]) -> float:
    """Trainings of the first network that all workers do together in an hour.

    Args:
        timings: One for each worker, measured at the same time. Networks differ, so that each
            counts by the work of its whole training over its seconds.
    """
    pace = sum(work(t.trial) / timed_seconds([t])(t.trial) for t in timings)
    return 3600 * pace / work(timings[0].trial)


def _timed_beside(trial: Trial, device: str, number: int) -> Timing:
    """Times a training on a device that ``number`` workers share."""
    share_device(number)
    load.cache_clear()
    return time_training(trial, device)
