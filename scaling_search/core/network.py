"""Networks on paper: their layers, sizes and scaling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from scaling_search.core.scaling import Multipliers

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


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
