"""The block of EfficientNets, MBConv, and the squeeze-and-excitation in it.

Source: Sandler et al. 2018 and Tan et al. 2019, as in `efficientnet_model.py` (tensorflow/tpu).
"""

from torch import Tensor, nn

from scaling_search.base_networks.blocks import Conv, Norm, StochasticDepth, depthwise


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
        expand = [] if expand_ratio == 1 else [Conv(in_channels, expanded, norm)]
        self.branch = nn.Sequential(
            *expand,
            depthwise(expanded, norm, kernel_size=kernel_size, stride=stride),
            SqueezeExcitation(expanded, squeezed),
            Conv(expanded, out_channels, norm, linear=True),
        )
        self.drop = StochasticDepth(drop_probability)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, H, W) to (N, out channels, H / stride, W / stride)."""
        if not self.is_residual:
            return self.branch(features)  # type: ignore[no-any-return]  # Module.__call__ is untyped
        return features + self.drop(self.branch(features))  # type: ignore[no-any-return]  # as above
