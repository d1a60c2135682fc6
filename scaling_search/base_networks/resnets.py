"""ResNets of basic or bottleneck blocks.

Source: He et al. 2016, Table 1 and Section 4.2 (small images). The stride of a bottleneck is in
its 3x3 convolution ("v1.5", Goyal et al. 2017), not in the first 1x1 one: that gives ResNet-50 its
4,089,184,256 multiply-adds, where the paper's own placement gives 3.86 G.
"""

from functools import lru_cache
from typing import Literal

from pydantic import validate_call
from torch import Tensor, nn

from scaling_search.base_networks.blocks import Conv, draw_weights
from scaling_search.base_networks.counting import conv_layer, linear_layer, strided
from scaling_search.base_networks.options import Count, Counts, check_length
from scaling_search.base_networks.rounding import DepthRounding
from scaling_search.base_networks.staged import InStages
from scaling_search.core.network import Layer
from scaling_search.core.part import CHECKED, part

Block = Literal["basic", "bottleneck"]
Stem = Literal["7x7", "3x3"]

EXPANSION: dict[Block, int] = {"basic": 1, "bottleneck": 4}
"""Output channels of a block over its width."""

VARIANTS: dict[int, tuple[Block, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}
"""Blocks in each stage. Source: He et al. 2016, Table 1."""


@lru_cache(maxsize=100_000)
def block_layers(
    block: Block, in_channels: int, width: int, *, stride: int, size: int, projects: bool
) -> tuple[Layer, ...]:
    """The layers of one block; its input is ``size`` x ``size`` pixels."""
    out_channels, out_size = width * EXPANSION[block], strided(size, stride)
    if block == "basic":
        layers = [
            conv_layer("first", (in_channels, width), 3, out_size),
            conv_layer("second", (width, width), 3, out_size),
        ]
    else:
        layers = [
            conv_layer("reduce", (in_channels, width), 1, size),
            conv_layer("spatial", (width, width), 3, out_size),
            conv_layer("expand", (width, out_channels), 1, out_size),
        ]
    if projects:
        layers.append(conv_layer("shortcut", (in_channels, out_channels), 1, out_size))
    return tuple(layers)


@part
class ResNet(InStages):
    """A ResNet on paper; `resnet` makes those of the paper.

    Attributes:
        block: Two 3x3 convolutions, or 1x1, 3x3 and 1x1 with four times the channels outside.
        stem: 7x7 with stride 2 and max pooling, or 3x3 with stride 1 for small images.
        num_layers: Blocks in each stage; all stages but the first halve the size.
        widths: Channels of each stage's 3x3 convolutions; the stem has the first stage's.
    """

    block: Block = "basic"
    stem: Stem = "3x3"
    num_layers: Counts = (2, 3, 4)
    widths: Counts = (6, 12, 20)
    width_divisor: Count = 1

    def __post_init__(self) -> None:
        """Checks the lengths of the lists."""
        check_length("widths", self.widths, len(self.num_layers), "one for each stage")

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the stem and of each stage; there is no head."""
        return (self.widths[0], *(width * EXPANSION[self.block] for width in self.widths))

    def projects(self, stage: int) -> bool:
        """True if the first block of a stage has a 1x1 convolution in its shortcut.

        Said by the place and not by the channels, or a cost would fall where two widths round to
        the same.
        """
        return stage > 0 or self.block == "bottleneck"

    def layers(self) -> tuple[Layer, ...]:
        """Every convolution and linear layer in order."""
        channels, *outputs = self.channels
        kernel_size, size = 3, self.resolution
        if self.stem == "7x7":
            kernel_size, size = 7, strided(size, 2)
        layers: tuple[Layer, ...] = (
            conv_layer("stem", (self.in_channels, channels), kernel_size, size),
        )
        if self.stem == "7x7":
            size = strided(size, 2)  # max pooling
        for i, (num, width) in enumerate(zip(self.num_layers, self.widths, strict=True)):
            layers += block_layers(
                self.block,
                channels,
                width,
                stride=stride_of(i),
                size=size,
                projects=self.projects(i),
            )
            size, channels = strided(size, stride_of(i)), outputs[i]
            again = block_layers(self.block, channels, width, stride=1, size=size, projects=False)
            layers += again * (num - 1)
        return (*layers, linear_layer("classifier", (channels, self.num_classes)))

    def build(self) -> "Network":
        """The network, freshly initialised from torch's global generator."""
        return Network(self)


def stride_of(stage: int) -> int:
    """The stride of a stage's first block: all but the first halve the size."""
    return 1 if stage == 0 else 2


class Residual(nn.Module):
    """A block: ReLU of the branch and the shortcut."""

    def __init__(
        self, block: Block, in_channels: int, width: int, *, stride: int, projects: bool
    ) -> None:
        super().__init__()
        out_channels, norm, relu = width * EXPANSION[block], nn.BatchNorm2d, nn.ReLU
        if block == "basic":
            self.branch = nn.Sequential(
                Conv(in_channels, width, norm, kernel_size=3, stride=stride, activation=relu),
                Conv(width, width, norm, kernel_size=3, linear=True),
            )
        else:
            self.branch = nn.Sequential(
                Conv(in_channels, width, norm, activation=relu),
                Conv(width, width, norm, kernel_size=3, stride=stride, activation=relu),
                Conv(width, out_channels, norm, linear=True),
            )
        self.shortcut: nn.Module = nn.Identity()
        if projects:
            self.shortcut = Conv(in_channels, out_channels, norm, stride=stride, linear=True)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, H, W) to (N, out channels, H / stride, W / stride)."""
        return nn.functional.relu(self.shortcut(features) + self.branch(features))


class Network(nn.Module):
    """The network of an architecture: images (N, C, H, W) to logits (N, classes)."""

    def __init__(self, architecture: ResNet) -> None:
        super().__init__()
        a = architecture
        norm = nn.BatchNorm2d
        channels, *outputs = a.channels
        if a.stem == "7x7":
            stem = Conv(a.in_channels, channels, norm, kernel_size=7, stride=2, activation=nn.ReLU)
            self.stem = nn.Sequential(stem, nn.MaxPool2d(3, 2, padding=1))
        else:
            self.stem = Conv(a.in_channels, channels, norm, kernel_size=3, activation=nn.ReLU)
        blocks: list[nn.Module] = []
        for i, (num, width) in enumerate(zip(a.num_layers, a.widths, strict=True)):
            stride, projects = stride_of(i), a.projects(i)
            blocks.append(Residual(a.block, channels, width, stride=stride, projects=projects))
            channels = outputs[i]
            blocks += [
                Residual(a.block, channels, width, stride=1, projects=False) for _ in range(num - 1)
            ]
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, a.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) of the architecture's resolution."""
        return self.classifier(self.blocks(self.stem(images)).mean((2, 3)))  # type: ignore[no-any-return]  # Module.__call__ is untyped


@validate_call(config=CHECKED)
def resnet(
    variant: Literal[18, 34, 50, 101] = 50,
    *,
    resolution: Count = 224,
    in_channels: Count = 3,
    num_classes: Count = 1000,
    width_divisor: Count = 8,
    resolution_divisor: Count = 1,
    depth_rounding: DepthRounding = "ceil",
) -> ResNet:
    """A ResNet of the paper; its options are those of `ResNet`."""
    block, num_layers = VARIANTS[variant]
    return ResNet(
        block=block,
        stem="7x7",
        num_layers=num_layers,
        widths=(64, 128, 256, 512),
        resolution=resolution,
        in_channels=in_channels,
        num_classes=num_classes,
        width_divisor=width_divisor,
        resolution_divisor=resolution_divisor,
        depth_rounding=depth_rounding,
    )
