"""What a part must offer, the values that parts exchange, and how a part checks its options."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, dataclass_transform, runtime_checkable

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from scaling_search.scaling import Multipliers

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from scaling_search.training.trial import Trial, TrialResult

CHECKED = pydantic.ConfigDict(
    strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
)
"""How options are checked: no conversions, no unknown keys, no NaN or infinity."""

T = TypeVar("T")
Argument = TypeVar("Argument")


@dataclass_transform(frozen_default=True)
def part(cls: type[T]) -> type[T]:
    """Makes a class a frozen dataclass whose options are checked when Hydra builds it."""
    return pydantic_dataclass(frozen=True, config=CHECKED)(cls)  # type: ignore[return-value]  # it is cls


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution, linear layer or other module that multiplies, the norm behind it included.

    Attributes:
        name: Where it stands, for people.
        flops: Multiply-adds for one image.
        params: Weights, biases and affine terms of the norm.
        activations: Elements that its products put out for one image.
        backward: Multiply-adds of its backward pass for one image, where they were counted; None
            for what a convolution or linear layer takes.
    """

    name: str
    flops: int
    params: int
    activations: int
    backward: int | None = None


def training_flops(layers: "Sequence[Layer]") -> int:
    """Multiply-adds of a training step for one image.

    Backward a layer costs its forward pass twice, once for the gradient of its weights and once
    for that of its input; the first one's input is the image, which has none. Layers that were
    counted say it themselves.
    """
    flops, first = sum(layer.flops for layer in layers), layers[0]
    if first.backward is None:
        return 3 * flops - first.flops
    return flops + sum(layer.backward or 0 for layer in layers)


@dataclass(frozen=True)
class Split:
    """Images and labels in memory; ``images`` is uint8 (N, C, H, W), ``labels`` int64 (N,)."""

    images: "torch.Tensor"
    labels: "torch.Tensor"

    def to(self, device: str) -> "Split":
        """The same on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Splits:
    """A dataset as training sees it: fit on train, choose on val, report on test once."""

    train: Split
    val: Split
    test: Split

    def to(self, device: str) -> "Splits":
        """The same on a device."""
        return Splits(self.train.to(device), self.val.to(device), self.test.to(device))


@runtime_checkable
class Architecture(Protocol):
    """A network on paper: hashable, cheap, without tensors.

    Each dimension is rounded on its own, by its own multiplier, and no cost falls while one grows.
    """

    @property
    def name(self) -> str:
        """Only equal networks of one base share it: sizes that people can read."""

    @property
    def resolution(self) -> int:
        """Height and width of the input in pixels."""

    @property
    def in_channels(self) -> int:
        """Channels of the input."""

    @property
    def num_classes(self) -> int:
        """Number of logits."""

    @property
    def num_layers(self) -> tuple[int, ...]:
        """Blocks in each stage."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the stem, of each stage and of the head."""

    def scaled(self, multipliers: Multipliers) -> Self:
        """The architecture that has these multipliers after rounding."""

    def layers(self) -> tuple[Layer, ...]:
        """Every layer that multiplies, repeated ones as often as they stand."""

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        """The smallest multiplier, to six decimals, of each distinct result within [low, high]."""

    def build(self) -> "torch.nn.Module":
        """The network: images (N, C, H, W) to logits (N, classes); draws from torch's generator."""


@runtime_checkable
class CountsMany(Protocol):
    """An architecture that can count the flops of many networks at once, for faster plans.

    Optional; what `layers` says of each network is what this must say of all.
    """

    def flops_of(
        self,
        depths: "Sequence[Architecture]",
        widths: "Sequence[Architecture]",
        resolutions: "Sequence[Architecture]",
    ) -> "NDArray[np.int64]":
        """Multiply-adds of every combination, (depths, widths, resolutions).

        Each argument holds this network with one dimension scaled: a combination has the layers of
        its first, the channels of its second and the resolution of its third.
        """


@runtime_checkable
class Checked(Protocol):
    """An architecture that looks itself whether it costs and trains as it should; optional.

    One whose `layers` are counted in the built network has no closed form that a measurement could
    be compared with.
    """

    def check(self) -> None:
        """Looks at the built network, before any is trained.

        Raises:
            RuntimeError: A second count says otherwise.
            ValueError: It cannot be trained.
        """


@runtime_checkable
class Dataset(Protocol):
    """Labelled images of one native size. Hashable and small: it describes, `load` reads.

    What is None of its numbers is read from the data before anything is planned.
    """

    @property
    def num_classes(self) -> int | None:
        """Number of labels."""

    @property
    def in_channels(self) -> int | None:
        """Channels of an image."""

    @property
    def resolution(self) -> int | None:
        """Native height and width in pixels; above it, images are only blown up."""

    def __hash__(self) -> int:
        """Of the description, so that loaded data can be kept by it."""

    def check(self) -> None:
        """Makes the data ready, downloading where that is its way.

        Raises:
            RuntimeError: The data are missing or damaged.
        """

    def fingerprint(self) -> str:
        """A hash of all images, labels and splits, equal exactly when the data are."""

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""


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
    ) -> "Trial | None":
        """One of ``remaining``, or None to end; all three sorted by seed, then by candidate."""


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
