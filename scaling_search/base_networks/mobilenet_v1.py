"""MobileNetV1: depthwise separable convolutions in a row, without shortcuts.

Source: Howard et al. 2017, Table 1, whose last depthwise convolution keeps the 7 x 7 pixels that
its own output sizes show ("s2" stands there); batch norm and ReLU behind both convolutions.
"""

from functools import lru_cache, partial

from torch import Tensor, nn

from scaling_search.base_networks.blocks import NORM_EPSILON, Conv, depthwise, draw_weights
from scaling_search.base_networks.counting import conv_layer, linear_layer, strided
from scaling_search.base_networks.options import Count, Counts, Probability, check_length
from scaling_search.base_networks.staged import InStages
from scaling_search.core.network import Layer
from scaling_search.core.part import part


@lru_cache(maxsize=100_000)
def block_layers(channels: tuple[int, int], size: int) -> tuple[Layer, ...]:
    """The layers of one block, from and to channels; its output is ``size`` x ``size`` pixels."""
    return (
        conv_layer("depthwise", (channels[0],) * 2, 3, size, depthwise=True),
        conv_layer("pointwise", channels, 1, size),
    )


@part
class MobileNetV1(InStages):
    """A MobileNetV1 on paper.

    Attributes:
        num_layers: Blocks in each stage; the first has the stride and changes the channels.
        strides: Stride of each stage.
        widths: Output channels of the first 3x3 convolution and of each stage.
        stem_stride: Stride of the first convolution: 2 officially, 1 for small images.
        dropout: Probability before the classifier.
    """

    num_layers: Counts = (2, 3, 4)
    strides: Counts = (1, 2, 2)
    widths: Counts = (12, 24, 48, 80)
    stem_stride: Count = 1
    dropout: Probability = 0.1

    def __post_init__(self) -> None:
        """Checks the lengths of the lists."""
        num_stages = len(self.num_layers)
        check_length("strides", self.strides, num_stages, "one for each stage")
        check_length("widths", self.widths, num_stages + 1, "the stem's and each stage's")

    def layers(self) -> tuple[Layer, ...]:
        """Every convolution and linear layer in order."""
        size, channels = strided(self.resolution, self.stem_stride), self.widths[0]
        layers: tuple[Layer, ...] = (conv_layer("stem", (self.in_channels, channels), 3, size),)
        for num, stride, width in zip(self.num_layers, self.strides, self.widths[1:], strict=True):
            size = strided(size, stride)
            layers += block_layers((channels, width), size)
            layers += block_layers((width, width), size) * (num - 1)
            channels = width
        return (*layers, linear_layer("classifier", (channels, self.num_classes)))

    def build(self) -> "Network":
        """The network, freshly initialised from torch's global generator."""
        return Network(self)


class Network(nn.Module):
    """The network of an architecture: images (N, C, H, W) to logits (N, classes)."""

    def __init__(self, architecture: MobileNetV1) -> None:
        super().__init__()
        a = architecture
        norm = partial(nn.BatchNorm2d, eps=NORM_EPSILON)
        channels = a.widths[0]
        self.stem = Conv(
            a.in_channels, channels, norm, kernel_size=3, stride=a.stem_stride, activation=nn.ReLU
        )
        blocks: list[nn.Module] = []
        for num, stage_stride, width in zip(a.num_layers, a.strides, a.widths[1:], strict=True):
            for stride in (stage_stride, *[1] * (num - 1)):
                blocks.append(
                    nn.Sequential(
                        depthwise(channels, norm, stride=stride, activation=nn.ReLU),
                        Conv(channels, width, norm, activation=nn.ReLU),
                    )
                )
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(a.dropout)
        self.classifier = nn.Linear(channels, a.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) of the architecture's resolution."""
        features = self.blocks(self.stem(images)).mean((2, 3))
        return self.classifier(self.dropout(features))  # type: ignore[no-any-return]  # Module.__call__ is untyped
