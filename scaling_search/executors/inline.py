"""Trainings one after another in the process that chooses them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Annotated, Self

from pydantic import Field

from scaling_search.core.part import part
from scaling_search.core.protocols import Argument, T
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.runtime.interruption import interruptible
from scaling_search.training.engine import devices, train_trial


@part
class Inline:
    """Runs each training at once, in this process; for a debugger and for tests.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the first if it names several.
        retries: How often a training that failed is tried again; not one that diverged.
    """

    device: str = "auto"
    retries: Annotated[int, Field(ge=0)] = 1

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
        """Trains, then returns the finished future.

        Raises:
            RuntimeError: A training before it left this process without the use of its device.
        """
        future = self.call(train_trial, trial)
        if future.exception() is None and future.result().needs_new_process:
            self.__dict__["_reason"] = future.result().reason
        return future

    def call(self, function: Callable[[Argument, str], T], argument: Argument) -> Future[T]:
        """Calls a function with an argument and the device, then returns the finished future.

        Raises:
            RuntimeError: As `submit`.
        """
        future: Future[T] = Future()
        device = devices(self.device)[0]
        if "_reason" in self.__dict__:
            raise RuntimeError(
                f"{device} must be usable, got {self.__dict__['_reason']!r} from the training "
                "before, after which a process can use it no more; the same command goes on in a "
                "new one"
            )
        try:
            with interruptible():
                future.set_result(function(argument, device))
        except Exception as error:  # noqa: BLE001 - the future's, as it would be in a worker
            future.set_exception(error)
        return future

    def __enter__(self) -> Self:
        """Starts nothing."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing was started."""
