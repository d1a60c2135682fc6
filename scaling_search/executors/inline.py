"""Trainings one after another in the process that chooses them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Annotated, Self

from pydantic import Field

from scaling_search.interruption import heeded
from scaling_search.protocols import Argument, T, part
from scaling_search.training.engine import devices, train_trial
from scaling_search.training.trial import Trial, TrialResult


@part
class Inline:
    """Runs each training at once, in this process; for a debugger and for tests.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the first if it names several.
        retries: How often a training that failed is tried again; not one that diverged.
    """

    device: str
    retries: Annotated[int, Field(ge=0)]

    @property
    def slots(self) -> int:
        """One training at a time."""
        return 1

    @property
    def device_share(self) -> float:
        """The whole device."""
        return 1.0

    def check(self) -> None:
        """Looks whether the device is there."""
        devices(self.device)

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Has nothing to settle."""

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Trains, then returns the finished future."""
        return self.call(train_trial, trial)

    def call(self, function: Callable[[Argument, str], T], argument: Argument) -> Future[T]:
        """Calls a function with an argument and the device, then returns the finished future."""
        future: Future[T] = Future()
        device = devices(self.device)[0]
        try:
            with heeded():
                future.set_result(function(argument, device))
        except Exception as error:  # noqa: BLE001 - the future's, as it would be in a worker
            future.set_exception(error)
        return future

    def __enter__(self) -> Self:
        """Starts nothing."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing was started."""
