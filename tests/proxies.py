"""The small network that tests scale: 1.18 M flops, so that hundreds are built in seconds."""

from scaling_search.base_networks.efficientnet import EfficientNet, small_efficientnet
from scaling_search.base_networks.rounding import DepthRounding


def small_proxy(
    *,
    num_layers: tuple[int, ...] = (2, 3, 4),
    resolution: int = 20,
    dropout: float = 0.2,
    stochastic_depth: float = 0.2,
    width_divisor: int = 2,
    resolution_divisor: int = 2,
    depth_rounding: DepthRounding = "round",
) -> EfficientNet:
    """Three stages for grey images of 20 to 28 px, ten classes."""
    return small_efficientnet(
        num_layers=num_layers,
        kernel_size=(3, 3, 5),
        stride=(1, 2, 2),
        expand_ratio=(1, 4, 4),
        channels=(8, 12, 20),
        stem_channels=8,
        stem_stride=1,
        head_channels=96,
        resolution=resolution,
        in_channels=1,
        num_classes=10,
        se_ratio=0.25,
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        norm_momentum=0.01,
        norm_epsilon=1e-3,
        width_divisor=width_divisor,
        resolution_divisor=resolution_divisor,
        depth_rounding=depth_rounding,
    )
