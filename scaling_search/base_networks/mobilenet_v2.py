"""MobileNetV2: inverted residuals with linear bottlenecks.

Source: Sandler et al. 2018, Table 2 and Section 3; widths are rounded as in their code, and
multipliers below 1 leave the last convolution as wide as it is (Section 6.1).
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Self

from torch import Tensor, nn

from scaling_search.base_networks.blocks import NORM_EPSILON, Conv, Norm, depthwise, draw_weights
from scaling_search.base_networks.counting import conv_layer, linear_layer, strided
from scaling_search.base_networks.options import Count, Counts, Probability, check_length
from scaling_search.base_networks.staged import InStages, Staged, scaled_sizes, scaled_widths, steps
from scaling_search.core.network import Layer
from scaling_search.core.part import part
from scaling_search.core.scaling import Multipliers


@lru_cache(maxsize=100_000)
def block_layers(
    channels: tuple[int, int], expand_ratio: int, *, stride: int, size: int
) -> tuple[Layer, ...]:
    """The layers of one block, from and to channels; its input is ``size`` x ``size`` pixels."""
    expanded, out_size = channels[0] * expand_ratio, strided(size, stride)
    layers = (
        conv_layer("depthwise", (expanded,) * 2, 3, out_size, depthwise=True),
        conv_layer("project", (expanded, channels[1]), 1, out_size),
    )
    if expand_ratio == 1:
        return layers
    return (conv_layer("expand", (channels[0], expanded), 1, size), *layers)


def widths_but_head(network: Staged, multiplier: float) -> tuple[int, ...]:
    """Scaled widths, the head's never below what it is."""
    *widths, head = scaled_widths(network, multiplier)
    return (*widths, max(head, network.widths[-1]))


@part
class MobileNetV2(InStages):
    """A MobileNetV2 on paper.

    Attributes:
        num_layers: Blocks in each stage; the first has the stride and changes the channels.
        strides: Stride of each stage.
        expand_ratio: For each stage, channels inside a block over those of its input.
        widths: Output channels of the first 3x3 convolution, of each stage and of the last 1x1
            convolution.
        stem_stride: Stride of the first convolution: 2 officially, 1 for small images.
        dropout: Probability before the classifier.
    """

    num_layers: Counts = (2, 3, 4)
    strides: Counts = (1, 2, 2)
    expand_ratio: Counts = (1, 4, 4)
    widths: Counts = (8, 8, 12, 20, 96)
    stem_stride: Count = 1
    dropout: Probability = 0.1
    width_divisor: Count = 1

    def __post_init__(self) -> None:
        """Checks the lengths of the lists."""
        num_stages = len(self.num_layers)
        check_length("strides", self.strides, num_stages, "one for each stage")
        check_length("expand_ratio", self.expand_ratio, num_stages, "one for each stage")
        check_length("widths", self.widths, num_stages + 2, "the stem's, each stage's, the head's")

    def scaled(self, multipliers: Multipliers) -> Self:
        """The network with these multipliers, rounded by the rules of this one."""
        sizes = scaled_sizes(self, multipliers)
        widths = widths_but_head(self, multipliers.width)
        return replace(self, **sizes._replace(widths=widths)._asdict())

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        """The smallest multiplier, to six decimals, of each distinct result within [low, high]."""
        return steps(self, dimension, low, high, widths=widths_but_head)

    def layers(self) -> tuple[Layer, ...]:
        """Every convolution and linear layer in order."""
        channels, *widths, head = self.widths
        size = strided(self.resolution, self.stem_stride)
        layers: tuple[Layer, ...] = (conv_layer("stem", (self.in_channels, channels), 3, size),)
        stages = zip(self.num_layers, self.strides, self.expand_ratio, widths, strict=True)
        for num, stride, ratio, width in stages:
            layers += block_layers((channels, width), ratio, stride=stride, size=size)
            size, channels = strided(size, stride), width
            layers += block_layers((width, width), ratio, stride=1, size=size) * (num - 1)
        return (
            *layers,
            conv_layer("head", (channels, head), 1, size),
            linear_layer("classifier", (head, self.num_classes)),
        )

    def build(self) -> "Network":
        """The network, freshly initialised from torch's global generator."""
        return Network(self)


class InvertedResidual(nn.Module):
    """Expand, depthwise, linear projection; a sum where shapes allow."""

    def __init__(
        self, in_channels: int, out_channels: int, norm: Norm, *, stride: int, expand_ratio: int
    ) -> None:
        super().__init__()
        expanded, relu = in_channels * expand_ratio, nn.ReLU6
        expand = [] if expand_ratio == 1 else [Conv(in_channels, expanded, norm, activation=relu)]
        self.branch = nn.Sequential(
            *expand,
            depthwise(expanded, norm, stride=stride, activation=relu),
            Conv(expanded, out_channels, norm, linear=True),
        )
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, H, W) to (N, out channels, H / stride, W / stride)."""
        if not self.is_residual:
            return self.branch(features)  # type: ignore[no-any-return]  # Module.__call__ is untyped
        return features + self.branch(features)  # type: ignore[no-any-return]  # as above


class Network(nn.Module):
    """The network of an architecture: images (N, C, H, W) to logits (N, classes)."""

    def __init__(self, architecture: MobileNetV2) -> None:
        super().__init__()
        a = architecture
        norm = partial(nn.BatchNorm2d, eps=NORM_EPSILON)
        channels, *widths, head = a.widths
        relu = nn.ReLU6
        self.stem = Conv(
            a.in_channels, channels, norm, kernel_size=3, stride=a.stem_stride, activation=relu
        )
        blocks: list[nn.Module] = []
        stages = zip(a.num_layers, a.strides, a.expand_ratio, widths, strict=True)
        for num, stage_stride, ratio, width in stages:
            for stride in (stage_stride, *[1] * (num - 1)):
                block = InvertedResidual(channels, width, norm, stride=stride, expand_ratio=ratio)
                blocks.append(block)
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = Conv(channels, head, norm, activation=relu)
        self.dropout = nn.Dropout(a.dropout)
        self.classifier = nn.Linear(head, a.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) of the architecture's resolution."""
        features = self.head(self.blocks(self.stem(images))).mean((2, 3))
        return self.classifier(self.dropout(features))  # type: ignore[no-any-return]  # as above
