"""Interfaces of the parts that measure, choose and train."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeVar, runtime_checkable

from scaling_search.core.network import Architecture
from scaling_search.core.trial import Trial, TrialResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
Argument = TypeVar("Argument")


@runtime_checkable
class Cost(Protocol):
    """What an architecture costs, the quantity that is held equal."""

    @property
    def column(self) -> str:
        """Name of what is counted, with its unit where it has one."""

    def estimate(self, architecture: Architecture) -> float:
        """The cost in closed form, without building the network."""

    def measure(self, architecture: Architecture) -> float:
        """The cost of the built network.

        Raises:
            RuntimeError: The closed form says otherwise.
        """


@dataclass(frozen=True, slots=True)
class Sample:
    """What running a network beside the base network said of its cost.

    Attributes:
        value: Median, in the cost's unit.
        ratio: Median of the ratios to the base network, which ran in turns with it.
        spread: Of those ratios, half the distance between their 16th and 84th percentiles.
        device: Where, by the device's own name.
    """

    value: float
    ratio: float
    spread: float
    device: str


@runtime_checkable
class SampledCost(Protocol):
    """A cost that only running the network tells, and that differs from machine to machine."""

    @property
    def column(self) -> str:
        """Name of what is measured, with its unit."""

    def check(self) -> None:
        """Looks whether it can be measured here.

        Raises:
            ValueError: The device is not there, or cannot tell.
        """

    def sample(self, architecture: Architecture, base_network: Architecture) -> Sample:
        """Runs the network in turns with the base network.

        Raises:
            RuntimeError: The device cannot hold it.
        """


@runtime_checkable
class EstimatesMany(Protocol):
    """A cost that can estimate many networks at once; optional, as `CountsMany` is."""

    def estimates(
        self,
        depths: Sequence[Architecture],
        widths: Sequence[Architecture],
        resolutions: Sequence[Architecture],
    ) -> "NDArray[np.float64] | NDArray[np.int64] | None":
        """The closed form of every combination, (depths, widths, resolutions), as in `CountsMany`.

        None where the architecture counts one network at a time.
        """


@runtime_checkable
class Sampler(Protocol):
    """Chooses the next training. Keeps no state: the same arguments give the same choice."""

    def choose(
        self,
        remaining: "Sequence[Trial]",
        running: "Sequence[Trial]",
        finished: "Sequence[TrialResult]",
        objective: Literal["val_loss", "val_accuracy"],
    ) -> "Trial | None":
        """One of ``remaining``, or None to end; all three sorted by seed, then by candidate.

        Args:
            remaining: Trainings to choose from, at least one.
            running: Trainings in flight.
            finished: What came of the others.
            objective: The metric that decides.
        """


@runtime_checkable
class Executor(Protocol):
    """Runs trainings; a context manager that leaves no process behind."""

    @property
    def slots(self) -> int:
        """How many trainings may be in flight now; unknown, 0, before `check`."""

    @property
    def retries(self) -> int:
        """How often a training that failed is tried again."""

    @property
    def device_share(self) -> float:
        """The part of a device that one training takes; known after `check`."""

    def check(self) -> None:
        """Looks whether trainings could run here, before anything is written.

        Raises:
            ValueError: A device is not there.
        """

    def prepare(self, trials: "Sequence[Trial]") -> None:
        """Settles `slots` for such trainings, by a short measurement where that is left to it.

        Once, after it was entered and before anything else is asked of it.
        """

    def submit(self, trial: "Trial") -> "Future[TrialResult]":
        """Starts a training.

        The future raises `TimeoutError` where it took longer than it may, and anything else where
        whoever trained is lost.
        """

    def call(self, function: Callable[[Argument, str], T], argument: Argument) -> "Future[T]":
        """Calls a function with an argument and a device where a training would run.

        What it raises, the future raises. Function, argument and result must be able to travel.
        """

    def __enter__(self) -> Self:
        """Starts what runs trainings."""

    def __exit__(self, *exc: object) -> None:
        """Stops it, trainings in flight included."""
