"""The blocks that EfficientNets are made of: depthwise, pointwise, squeeze-and-excitation, MBConv.

Source: Sandler et al. 2018 and Tan et al. 2019, as in `efficientnet_model.py` (tensorflow/tpu).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
"""Makes the norm of so many channels."""


class Conv(nn.Sequential):
    """Convolution with "same" padding, batch norm, and SiLU where it is not linear."""

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
            nn.Identity() if linear else nn.SiLU(inplace=True),
        )


class Pointwise(Conv):
    """1x1 convolution: mixes channels."""


class Depthwise(Conv):
    """One k x k convolution for each channel: mixes pixels; the block's stride is here."""

    def __init__(self, channels: int, norm: Norm, *, kernel_size: int, stride: int) -> None:
        super().__init__(
            channels, channels, norm, kernel_size=kernel_size, stride=stride, groups=channels
        )


class SqueezeExcitation(nn.Module):
    """Multiplies each channel by a gate in (0, 1) computed from the means of all channels.

    Source: Hu et al. 2018; the squeezed size follows the block's input as in MnasNet.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Gated features of the same shape (N, C, H, W)."""
        means = features.mean((2, 3), keepdim=True)
        gates: Tensor = self.excite(nn.functional.silu(self.squeeze(means))).sigmoid()
        return features * gates


class StochasticDepth(nn.Module):
    """Zeroes whole images of a residual branch with a probability while training.

    Source: Huang et al. 2016.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, H, W), each image kept and scaled up, or zero."""
        if not self.training or self.probability == 0:
            return features
        kept = 1 - self.probability
        noise = torch.empty(features.shape[0], 1, 1, 1, device=features.device)
        return features * noise.bernoulli_(kept).div_(kept).to(features.dtype)


class MBConv(nn.Module):
    """Expand, depthwise, squeeze-and-excitation, linear projection; a sum where shapes allow.

    Source: Sandler et al. 2018 (block), Tan et al. 2019 (squeeze-and-excitation inside).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm: Norm,
        *,
        kernel_size: int,
        stride: int,
        expand_ratio: int,
        squeezed: int,
        drop_probability: float,
    ) -> None:
        super().__init__()
        expanded = in_channels * expand_ratio
        expand = [] if expand_ratio == 1 else [Pointwise(in_channels, expanded, norm)]
        self.branch = nn.Sequential(
            *expand,
            Depthwise(expanded, norm, kernel_size=kernel_size, stride=stride),
            SqueezeExcitation(expanded, squeezed),
            Pointwise(expanded, out_channels, norm, linear=True),
        )
        self.drop = StochasticDepth(drop_probability)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, H, W) to (N, out channels, H / stride, W / stride)."""
        if not self.is_residual:
            return self.branch(features)  # type: ignore[no-any-return]  # Module.__call__ is untyped
        return features + self.drop(self.branch(features))  # type: ignore[no-any-return]  # as above
