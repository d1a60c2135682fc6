"""EfficientNet, exact: its stages, its rounding, its cost layer by layer, and the network.

Source: Tan & Le 2019, Table 1 and Eq. 3; rounding, squeeze ratio and initialisation as in the
authors' `efficientnet_builder.py` and `efficientnet_model.py` (tensorflow/tpu).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import validate_call
from torch import Tensor, nn

from scaling_search.base_networks.blocks import NORM_EPSILON, Conv, draw_convolution
from scaling_search.base_networks.counting import conv_layer, linear_layer, strided
from scaling_search.base_networks.mbconv import MBConv
from scaling_search.base_networks.options import (
    Count,
    Counts,
    Probability,
    check_length,
    check_resolution,
)
from scaling_search.base_networks.rounding import DepthRounding
from scaling_search.base_networks.staged import network_name, scaled_sizes, steps
from scaling_search.core.network import Architecture, Layer
from scaling_search.core.part import CHECKED
from scaling_search.core.scaling import Multipliers


@dataclass(frozen=True)
class Stage:
    """Equal MBConv blocks in a row; only the first has the stride and changes the channels."""

    num_layers: int
    kernel_size: int
    stride: int
    expand_ratio: int
    channels: int


B0_STAGES = (
    Stage(num_layers=1, kernel_size=3, stride=1, expand_ratio=1, channels=16),
    Stage(num_layers=2, kernel_size=3, stride=2, expand_ratio=6, channels=24),
    Stage(num_layers=2, kernel_size=5, stride=2, expand_ratio=6, channels=40),
    Stage(num_layers=3, kernel_size=3, stride=2, expand_ratio=6, channels=80),
    Stage(num_layers=3, kernel_size=5, stride=1, expand_ratio=6, channels=112),
    Stage(num_layers=4, kernel_size=5, stride=2, expand_ratio=6, channels=192),
    Stage(num_layers=1, kernel_size=3, stride=1, expand_ratio=6, channels=320),
)
"""Stages 2 to 8 of EfficientNet-B0. Source: Tan & Le 2019, Table 1 (arXiv v5)."""

VARIANTS = {
    "b0": (1.0, 1.0, 224, 0.2),
    "b1": (1.1, 1.0, 240, 0.2),
    "b2": (1.2, 1.1, 260, 0.3),
    "b3": (1.4, 1.2, 300, 0.3),
    "b4": (1.8, 1.4, 380, 0.4),
    "b5": (2.2, 1.6, 456, 0.4),
    "b6": (2.6, 1.8, 528, 0.5),
    "b7": (3.1, 2.0, 600, 0.5),
}
"""Depth, width, resolution and dropout. Source: tensorflow/tpu `efficientnet_builder.py`."""


SE_RATIO = 0.25
"""Squeezed channels over the block's input channels. Source: as above."""


@lru_cache(maxsize=100_000)
def block_layers(
    stage: Stage, in_channels: int, squeezed: int, *, stride: int, size: int
) -> tuple[Layer, ...]:
    """The layers of one MBConv block of a stage; its input is ``size`` x ``size`` pixels."""
    expanded = in_channels * stage.expand_ratio
    out_size = strided(size, stride)
    layers = (
        conv_layer("depthwise", (expanded,) * 2, stage.kernel_size, out_size, depthwise=True),
        linear_layer("squeeze", (expanded, squeezed)),
        linear_layer("excite", (squeezed, expanded)),
        conv_layer("project", (expanded, stage.channels), 1, out_size),
    )
    if stage.expand_ratio == 1:
        return layers
    return (conv_layer("expand", (in_channels, expanded), 1, size), *layers)


@dataclass(frozen=True)
class EfficientNet:
    """An EfficientNet on paper. `efficientnet` and `small_efficientnet` make checked ones.

    Attributes:
        stages: The MBConv stages in order.
        stem_channels: Output of the first 3x3 convolution.
        stem_stride: Its stride: 2 officially, 1 for small images.
        head_channels: Output of the last 1x1 convolution.
        resolution: Height and width of the input in pixels.
        in_channels: Channels of the input.
        num_classes: Number of logits.
        dropout: Probability before the classifier.
        stochastic_depth: Probability to skip the last block; rises linearly from 0 at the first.
        norm_momentum: Weight of a batch in the running statistics: 0.01 officially, 0.1 for short
            trainings.
        width_divisor: Channels are multiples of it.
        resolution_divisor: Scaled resolutions are multiples of it.
        depth_rounding: Rounding of scaled depths.
    """

    stages: tuple[Stage, ...]
    stem_channels: int
    stem_stride: int
    head_channels: int
    resolution: int
    in_channels: int
    num_classes: int
    dropout: float
    stochastic_depth: float
    norm_momentum: float
    width_divisor: int
    resolution_divisor: int
    depth_rounding: DepthRounding

    @property
    def least_resolution(self) -> int:
        """The product of the strides: of smaller images no pixel is left."""
        return self.stem_stride * math.prod(stage.stride for stage in self.stages)

    @property
    def num_layers(self) -> tuple[int, ...]:
        """Blocks in each stage."""
        return tuple(stage.num_layers for stage in self.stages)

    @property
    def name(self) -> str:
        """Only equal networks of one base share it."""
        return network_name(self)

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the stem, of each stage and of the head."""
        return (self.stem_channels, *(s.channels for s in self.stages), self.head_channels)

    def squeezed(self, in_channels: int) -> int:
        """Channels inside the squeeze-and-excitation of a block with so many input channels."""
        return max(1, int(in_channels * SE_RATIO))

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels that are rounded: all of `channels`."""
        return self.channels

    def scaled(self, multipliers: Multipliers) -> "EfficientNet":
        """The network with these multipliers, rounded by the rules of this one."""
        depths, (stem_channels, *channels, head_channels), resolution = scaled_sizes(
            self, multipliers
        )
        stages = zip(self.stages, depths, channels, strict=True)
        return replace(
            self,
            stages=tuple(replace(s, num_layers=n, channels=c) for s, n, c in stages),
            stem_channels=stem_channels,
            head_channels=head_channels,
            resolution=resolution,
        )

    def layers(self) -> tuple[Layer, ...]:
        """Every convolution and linear layer in order; a stride divides the size, rounded up."""
        size = strided(self.resolution, self.stem_stride)
        channels = self.stem_channels
        layers: tuple[Layer, ...] = (conv_layer("stem", (self.in_channels, channels), 3, size),)
        for stage in self.stages:
            layers += block_layers(
                stage, channels, self.squeezed(channels), stride=stage.stride, size=size
            )
            size, channels = strided(size, stage.stride), stage.channels
            repeated = block_layers(stage, channels, self.squeezed(channels), stride=1, size=size)
            layers += repeated * (stage.num_layers - 1)
        return (
            *layers,
            conv_layer("head", (channels, self.head_channels), 1, size),
            linear_layer("classifier", (self.head_channels, self.num_classes)),
        )

    def flops_of(
        self,
        depths: Sequence[Architecture],
        widths: Sequence[Architecture],
        resolutions: Sequence[Architecture],
    ) -> NDArray[np.int64]:
        """Multiply-adds of every combination of scaled depth, width and resolution.

        The sum of `layers` as a matrix product: weights of the convolutions at each size of
        feature maps, (depths, widths, sizes), times the pixels of these, (sizes, resolutions).
        """
        num_layers = np.array([a.num_layers for a in depths], dtype=np.int64).T[:, :, None]
        channels = np.array([a.channels for a in widths], dtype=np.int64).T
        squeezed = np.maximum(1, (channels * SE_RATIO).astype(np.int64))
        size = np.array([-(-a.resolution // self.stem_stride) for a in resolutions], dtype=np.int64)
        stem = 9 * self.in_channels * channels[0] + np.zeros_like(num_layers[0])
        # Of convolutions by size, and last of linear layers, which see one pooled pixel.
        weights = [stem, channels[-1] * self.num_classes + np.zeros_like(num_layers[0])]
        pixels = [size**2, np.ones_like(size)]
        for i, stage in enumerate(self.stages):
            before, after = channels[i], channels[i + 1]
            expanded, repeated = before * stage.expand_ratio, after * stage.expand_ratio
            times = num_layers[i] - 1  # all but the first have the stage's channels on both sides
            depthwise = stage.kernel_size**2
            if stage.expand_ratio != 1:
                weights[-2] = weights[-2] + before * expanded
            size = -(-size // stage.stride)
            pixels.insert(-1, size**2)
            again = repeated * (depthwise + after * (1 + (stage.expand_ratio != 1)))
            weights.insert(-1, expanded * (depthwise + after) + times * again)
            pooled = expanded * squeezed[i] + times * (repeated * squeezed[i + 1])
            weights[-1] = weights[-1] + 2 * pooled
        weights[-2] = weights[-2] + channels[-2] * channels[-1]
        flops: NDArray[np.int64] = np.stack(weights, axis=-1) @ np.stack(pixels)
        return flops

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        """The smallest multiplier, to six decimals, of each distinct result within [low, high]."""
        return steps(self, dimension, low, high)

    def build(self) -> "Network":
        """The network, freshly initialised from torch's global generator."""
        return Network(self)


class Network(nn.Module):
    """The network of an architecture: images (N, C, H, W) to logits (N, classes)."""

    def __init__(self, architecture: EfficientNet) -> None:
        super().__init__()
        a = architecture
        norm = partial(nn.BatchNorm2d, eps=NORM_EPSILON, momentum=a.norm_momentum)
        self.stem = Conv(a.in_channels, a.stem_channels, norm, kernel_size=3, stride=a.stem_stride)
        blocks: list[nn.Module] = []
        channels = a.stem_channels
        total = sum(a.num_layers)
        for stage in a.stages:
            for layer in range(stage.num_layers):
                stride = stage.stride if layer == 0 else 1
                drop = a.stochastic_depth * len(blocks) / total
                block = MBConv(
                    channels,
                    stage.channels,
                    norm,
                    kernel_size=stage.kernel_size,
                    stride=stride,
                    expand_ratio=stage.expand_ratio,
                    squeezed=a.squeezed(channels),
                    drop_probability=drop,
                )
                blocks.append(block)
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = Conv(channels, a.head_channels, norm)
        self.dropout = nn.Dropout(a.dropout)
        self.classifier = nn.Linear(a.head_channels, a.num_classes)
        # As the authors: normal by fan-out for convolutions (of one group), uniform for the
        # classifier, biases zero.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                draw_convolution(module)
        bound = 1 / math.sqrt(a.num_classes)
        nn.init.uniform_(self.classifier.weight, -bound, bound)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) of the architecture's resolution."""
        features = self.head(self.blocks(self.stem(images)))
        return self.classifier(self.dropout(features.mean((2, 3))))  # type: ignore[no-any-return]  # as above


@validate_call(config=CHECKED)
def efficientnet(
    variant: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0",
    *,
    resolution: Count | None = None,
    in_channels: Count = 3,
    num_classes: Count = 1000,
    stem_stride: Literal[1, 2] = 2,
    dropout: Probability | None = None,
    stochastic_depth: Probability = 0.2,
    width_divisor: Count = 8,
    resolution_divisor: Count = 1,
    depth_rounding: DepthRounding = "ceil",
) -> EfficientNet:
    """EfficientNet-B0 to B7, official but for what is asked otherwise.

    The variant itself always has the official rounding; divisors and ``depth_rounding`` are for
    the networks scaled from it. ``resolution`` and ``dropout`` are the variant's if None.

    Raises:
        ValueError: The resolution is smaller than the product of all strides.
    """
    depth, width, variant_resolution, variant_dropout = VARIANTS[variant]
    b0 = EfficientNet(
        stages=B0_STAGES,
        stem_channels=32,
        stem_stride=stem_stride,
        head_channels=1280,
        resolution=resolution or variant_resolution,
        in_channels=in_channels,
        num_classes=num_classes,
        dropout=variant_dropout if dropout is None else dropout,
        stochastic_depth=stochastic_depth,
        norm_momentum=0.01,
        width_divisor=8,
        resolution_divisor=resolution_divisor,
        depth_rounding="ceil",
    )
    scaled = b0.scaled(Multipliers(depth, width, 1.0))
    check_resolution(scaled.resolution, scaled.least_resolution)
    return replace(scaled, width_divisor=width_divisor, depth_rounding=depth_rounding)


@validate_call(config=CHECKED)
def small_efficientnet(
    *,
    num_layers: Counts = (2, 3, 4),
    kernel_size: Counts = (3, 3, 5),
    stride: Counts = (1, 2, 2),
    expand_ratio: Counts = (1, 4, 4),
    channels: Counts = (8, 12, 20),
    stem_channels: Count = 8,
    stem_stride: Literal[1, 2] = 1,
    head_channels: Count = 96,
    resolution: Count = 20,
    in_channels: Count = 1,
    num_classes: Count = 10,
    dropout: Probability = 0.1,
    stochastic_depth: Probability = 0.0,
    width_divisor: Count = 1,
    resolution_divisor: Count = 1,
    depth_rounding: DepthRounding = "round",
) -> EfficientNet:
    """An EfficientNet of any stages: the lists name one value for each stage.

    Raises:
        ValueError: The lists differ in length, or the resolution is too small for the strides.
    """
    lists = {
        "num_layers": num_layers,
        "kernel_size": kernel_size,
        "stride": stride,
        "expand_ratio": expand_ratio,
        "channels": channels,
    }
    for option, values in lists.items():
        check_length(option, values, len(num_layers), "one for each stage")
    network = EfficientNet(
        stages=tuple(Stage(*row) for row in zip(*lists.values(), strict=True)),
        stem_channels=stem_channels,
        stem_stride=stem_stride,
        head_channels=head_channels,
        resolution=resolution,
        in_channels=in_channels,
        num_classes=num_classes,
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        norm_momentum=0.1,
        width_divisor=width_divisor,
        resolution_divisor=resolution_divisor,
        depth_rounding=depth_rounding,
    )
    check_resolution(network.resolution, network.least_resolution)
    return network
