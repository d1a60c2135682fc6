"""Trainings in the search's own process, one after another."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Annotated, Self

from pydantic import Field

from scaling_search.core.part import part
from scaling_search.core.protocols import Argument, Value
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.runtime.interruption import interruptible
from scaling_search.training.engine import devices, train_trial


@part
class Inline:
    """Runs each training at once, in this process; for a debugger and for tests.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the first if it names several.
        retries: Number of times that a failed training is tried again, unless it diverged.
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
        """Checks the device."""
        devices(self.device)

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Does nothing."""

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Trains, then returns the finished future.

        Raises:
            RuntimeError: After an earlier training this process can no longer use its device.
        """
        future = self.call(train_trial, trial)
        if future.exception() is None and future.result().needs_new_process:
            self.__dict__["_reason"] = future.result().reason
        return future

    def call(self, function: Callable[[Argument, str], Value], argument: Argument) -> Future[Value]:
        """Calls a function with an argument and the device, then returns the finished future.

        Raises:
            RuntimeError: As `submit`.
        """
        future: Future[Value] = Future()
        device = devices(self.device)[0]
        if "_reason" in self.__dict__:
            raise RuntimeError(
                f"{device} must be usable, got {self.__dict__['_reason']!r} from the training "
                "before, after which a process cannot use it; the same command continues in a new "
                "one"
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
        """Ends nothing."""
