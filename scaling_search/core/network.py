"""Architectures: networks on paper, with their layers, sizes and scaling."""

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
    """A convolution, linear layer or other module that multiplies, with the norm behind it.

    Attributes:
        name: Its place in the network.
        flops: Multiply-adds for one image.
        params: Weights, biases and affine terms of the norm.
        activations: Output elements of its products for one image.
        backward: Multiply-adds of its backward pass for one image, if they were counted; None for
            those of a convolution or linear layer.
    """

    name: str
    flops: int
    params: int
    activations: int
    backward: int | None = None


def training_flops(layers: "Sequence[Layer]") -> int:
    """Multiply-adds of a training step for one image.

    The backward pass of a layer costs its forward pass twice, for the gradients of weights and of
    input; the first layer's input, the image, needs none. Counted layers have their own number.
    """
    flops, first = sum(layer.flops for layer in layers), layers[0]
    if first.backward is None:
        return 3 * flops - first.flops
    return flops + sum(layer.backward or 0 for layer in layers)


@runtime_checkable
class Architecture(Protocol):
    """The architecture of a network: hashable, cheap, without tensors.

    Each dimension is rounded on its own, by its own multiplier, and no cost falls while one grows.
    """

    @property
    def name(self) -> str:
        """The name, made of sizes: networks of one base network are the same if they share it.

        `base_networks.staged.network_name` makes those of this package.
        """

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
        """The architecture with these multipliers, rounded."""

    def layers(self) -> tuple[Layer, ...]:
        """Every layer that multiplies, also repeated ones."""

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        """The smallest multiplier, to six decimals, of each distinct result within [low, high]."""

    def build(self) -> "torch.nn.Module":
        """The network: images (N, C, H, W) to logits (N, classes); draws from torch's generator."""


@runtime_checkable
class CountsMany(Protocol):
    """An architecture that counts the flops of many networks at once; optional, for speed."""

    def flops_of(
        self,
        depths: "Sequence[Architecture]",
        widths: "Sequence[Architecture]",
        resolutions: "Sequence[Architecture]",
    ) -> "NDArray[np.int64]":
        """Multiply-adds of every combination, (depths, widths, resolutions), as by `layers`.

        Each argument holds this network with one dimension scaled: a combination has the layers of
        its first, the channels of its second and the resolution of its third.
        """


@runtime_checkable
class Checked(Protocol):
    """An architecture that checks its own costs and training; optional.

    For those whose `layers` are counted in the built network and not in closed form.
    """

    def check(self) -> None:
        """Checks the built network, before any is trained.

        Raises:
            RuntimeError: A second count differs.
            ValueError: It cannot be trained.
        """
