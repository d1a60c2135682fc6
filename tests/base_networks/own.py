"""A function that makes networks, as a user would write one."""

from torch import nn


def build(
    *,
    depth: float,
    width: float,
    resolution: float,
    num_classes: int,
    in_channels: int,
    blocks: tuple[int, ...] | list[int] = (2, 3, 4),
) -> nn.Module:
    """Three stages of 3x3 convolutions, rounded to the nearest; any resolution."""
    del resolution
    layers: list[nn.Module] = []
    channels = in_channels
    for stage, (num, base) in enumerate(zip(blocks, (6, 10, 16), strict=True)):
        out = round(base * width)
        for block in range(round(num * depth)):
            stride = 2 if stage and not block else 1
            layers += [
                nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels = out
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)
    )
