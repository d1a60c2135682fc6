"""Interfaces of the parts that measure, choose and train."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, runtime_checkable

from scaling_search.core.metric import Metric
from scaling_search.core.network import Architecture
from scaling_search.core.trial import Trial, TrialResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = TypeVar("Value")
Argument = TypeVar("Argument")


@runtime_checkable
class Cost(Protocol):
    """A cost of architectures, the quantity that is held equal."""

    @property
    def column(self) -> str:
        """Name of the cost, with its unit if it has one."""

    def estimate(self, architecture: Architecture) -> float:
        """The cost in closed form, without building the network."""

    def measure(self, architecture: Architecture) -> float:
        """The cost of the built network.

        Raises:
            RuntimeError: The closed form differs.
        """


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured cost of a network that ran in turns with the base network.

    Attributes:
        value: Median, in the cost's unit.
        ratio: Median of the ratios to the base network.
        spread: Half the distance between the 16th and 84th percentiles of those ratios.
        device: Name of the device.
    """

    value: float
    ratio: float
    spread: float
    device: str


@runtime_checkable
class SampledCost(Protocol):
    """A cost that is measured by running the network, and differs between machines."""

    @property
    def column(self) -> str:
        """Name of the cost, with its unit."""

    def check(self) -> None:
        """Checks that it can be measured here.

        Raises:
            ValueError: The device is not there, or cannot measure it.
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

        None if the architecture counts one network at a time.
        """


@runtime_checkable
class Sampler(Protocol):
    """Chooses the next training. Keeps no state: the same arguments give the same choice."""

    def choose(
        self,
        remaining: "Sequence[Trial]",
        running: "Sequence[Trial]",
        finished: "Sequence[TrialResult]",
        objective: Metric,
    ) -> "Trial | None":
        """One of ``remaining``, or None to end; all three sorted by seed, then by candidate.

        Args:
            remaining: Trainings to choose from, at least one.
            running: Trainings in flight.
            finished: The others, with their metrics.
            objective: The metric that decides.
        """


@runtime_checkable
class Executor(Protocol):
    """Runs trainings; a context manager that leaves no process behind."""

    @property
    def slots(self) -> int:
        """Number of trainings that may be in flight now; 0 before `check`."""

    @property
    def retries(self) -> int:
        """Number of times that a failed training is tried again."""

    @property
    def device_share(self) -> float:
        """Part of a device that a training takes; known after `check`."""

    def check(self) -> None:
        """Checks that trainings can run here, before anything is written.

        Raises:
            ValueError: A device is not there.
        """

    def prepare(self, trials: "Sequence[Trial]") -> None:
        """Determines `slots` for such trainings, if need be by a short measurement.

        Called once, after it was entered and before anything else.
        """

    def submit(self, trial: "Trial") -> "Future[TrialResult]":
        """Starts a training.

        The future raises `TimeoutError` if it took too long, and another error if its worker is
        lost.
        """

    def call(
        self, function: Callable[[Argument, str], Value], argument: Argument
    ) -> "Future[Value]":
        """Calls a function with an argument and a device, in a worker; the future has its error.

        Function, argument and result must be picklable.
        """

    def __enter__(self) -> Self:
        """Starts the workers, or prepares for it."""

    def __exit__(self, *exc: object) -> None:
        """Ends the workers and trainings in flight."""
