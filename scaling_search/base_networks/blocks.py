"""Layers of several families, and the initialisation of their weights."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
"""Makes the norm of so many channels."""

NORM_EPSILON = 1e-3
"""Batch norm's of EfficientNets and MobileNets. Source: the authors' TensorFlow code."""


class Conv(nn.Sequential):
    """Convolution with "same" padding, batch norm, and an activation where it is not linear."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm: Norm,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding=kernel_size // 2,
                groups=groups,
                bias=False,
            ),
            norm(out_channels),
            nn.Identity() if linear else activation(),
        )


def depthwise(
    channels: int,
    norm: Norm,
    *,
    stride: int,
    kernel_size: int = 3,
    activation: type[nn.Module] = nn.SiLU,
) -> Conv:
    """One k x k convolution for each channel: mixes pixels."""
    return Conv(
        channels,
        channels,
        norm,
        kernel_size=kernel_size,
        stride=stride,
        groups=channels,
        activation=activation,
    )


class StochasticDepth(nn.Module):
    """Zeroes whole images of a residual branch with a probability while training.

    Source: Huang et al. 2016.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, ...), each image kept and scaled up, or zero."""
        if not self.training or self.probability == 0:
            return features
        kept = 1 - self.probability
        shape = (features.shape[0], *(1,) * (features.ndim - 1))
        noise = torch.empty(shape, device=features.device)
        return features * noise.bernoulli_(kept).div_(kept).to(features.dtype)


def draw_convolution(convolution: nn.Conv2d) -> None:
    """Draws weights from a normal by the fan-out of one group; biases are zero.

    Source: He et al. 2015, Eq. 14, where a unit's inputs are those of its own group.
    """
    fan_out = convolution.kernel_size[0] ** 2 * convolution.out_channels // convolution.groups
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / fan_out))
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def draw_weights(network: nn.Module) -> None:
    """Draws every convolution as `draw_convolution` does and linear layers with deviation 0.01.

    Source: He et al. 2015 (convolutions); Goyal et al. 2017, Section 5.1 (classifier).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            draw_convolution(module)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
