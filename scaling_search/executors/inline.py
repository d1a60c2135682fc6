"""Trainings one after another in the process that chooses them."""

from concurrent.futures import Future
from typing import Self

from scaling_search.protocols import part
from scaling_search.training import Trial, TrialResult, devices, train_trial


@part
class Inline:
    """Runs each training at once, in this process; for a debugger and for tests.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the first if it names several.
    """

    device: str

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

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Trains, then returns the finished future."""
        future: Future[TrialResult] = Future()
        future.set_result(train_trial(trial, devices(self.device)[0]))
        return future

    def __enter__(self) -> Self:
        """Starts nothing."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing was started."""
