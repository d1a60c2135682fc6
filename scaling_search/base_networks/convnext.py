"""ConvNeXt: large depthwise kernels, layer norm, GELU and a learnt scale of every branch.

Source: Liu et al. 2022, Section 2 and Appendix A (tiny: 3-3-9-3 blocks of 96 to 768 channels).
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from scaling_search.base_networks.blocks import StochasticDepth
from scaling_search.base_networks.options import (
    Count,
    Counts,
    Positive,
    Probability,
    check_length,
    check_resolution,
)
from scaling_search.base_networks.staged import InStages
from scaling_search.core.network import Layer
from scaling_search.core.part import part

KERNEL_SIZE, EXPAND_RATIO, EPSILON = 7, 4, 1e-6


@lru_cache(maxsize=100_000)
def biased_layer(name: str, weights: int, channels: int, size: int, *, others: int = 0) -> Layer:
    """A layer with bias and ``size`` x ``size`` outputs; ``others`` are parameters beside it."""
    return Layer(name, weights * size**2, weights + channels + others, channels * size**2)


@lru_cache(maxsize=100_000)
def block_layers(width: int, size: int) -> tuple[Layer, ...]:
    """The layers of one block of ``size`` x ``size`` pixels, with its norm and its scale."""
    expanded = width * EXPAND_RATIO
    return (
        biased_layer("depthwise", KERNEL_SIZE**2 * width, width, size, others=2 * width),
        biased_layer("expand", width * expanded, expanded, size),
        biased_layer("project", expanded * width, width, size, others=width),
    )


@part
class ConvNeXt(InStages):
    """A ConvNeXt on paper; pixels that a stride leaves over are not seen.

    Attributes:
        num_layers: Blocks in each stage; all stages but the first halve the size.
        widths: Channels of each stage; the stem has the first stage's.
        patch_size: Kernel and stride of the stem: 4 officially.
        layer_scale: First value of the branches' scales.
        stochastic_depth: Probability to skip the last block; rises linearly from 0 at the first.
    """

    num_layers: Counts = (3, 5)
    widths: Counts = (14, 24)
    patch_size: Count = 2
    layer_scale: Positive = 1.0
    stochastic_depth: Probability = 0.0
    width_divisor: Count = 1

    def __post_init__(self) -> None:
        """Checks the lengths of the lists, and that a pixel is left behind the last stride."""
        check_length("widths", self.widths, len(self.num_layers), "one for each stage")
        check_resolution(self.resolution, self.least_resolution)

    @property
    def least_resolution(self) -> int:
        """The product of the strides: of smaller images no pixel is left."""
        return self.patch_size << (len(self.num_layers) - 1)

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the stem and of each stage; there is no head."""
        return (self.widths[0], *self.widths)

    def layers(self) -> tuple[Layer, ...]:
        """Every convolution and linear layer in order, with the layer norms beside it."""
        size, channels = self.resolution // self.patch_size, self.widths[0]
        weights = self.patch_size**2 * self.in_channels * channels
        stem = biased_layer("stem", weights, channels, size, others=2 * channels)
        layers: tuple[Layer, ...] = (stem,)
        for i, (num, width) in enumerate(zip(self.num_layers, self.widths, strict=True)):
            if i > 0:
                size //= 2
                weights = 4 * channels * width
                layers += (biased_layer("halve", weights, width, size, others=2 * channels),)
            layers += block_layers(width, size) * num
            channels = width
        weights = channels * self.num_classes
        classifier = biased_layer("classifier", weights, self.num_classes, 1, others=2 * channels)
        return (*layers, classifier)

    def build(self) -> "Network":
        """The network, freshly initialised from torch's global generator."""
        return Network(self)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """Normed features of the same shape (N, C, H, W)."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise convolution, norm, two linear layers on every pixel, scale; a sum."""

    def __init__(self, width: int, *, layer_scale: float, drop_probability: float) -> None:
        super().__init__()
        padding = KERNEL_SIZE // 2
        self.depthwise = nn.Conv2d(width, width, KERNEL_SIZE, padding=padding, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.expand = nn.Linear(width, width * EXPAND_RATIO)
        self.project = nn.Linear(width * EXPAND_RATIO, width)
        self.scale = nn.Parameter(torch.full((width,), layer_scale))
        self.drop = StochasticDepth(drop_probability)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape (N, C, H, W)."""
        pixels = self.norm(self.depthwise(features).permute(0, 2, 3, 1))
        pixels = self.scale * self.project(nn.functional.gelu(self.expand(pixels)))
        return features + self.drop(pixels.permute(0, 3, 1, 2))  # type: ignore[no-any-return]  # Module.__call__ is untyped


class Network(nn.Module):
    """The network of an architecture: images (N, C, H, W) to logits (N, classes)."""

    def __init__(self, architecture: ConvNeXt) -> None:
        super().__init__()
        a = architecture
        channels = a.widths[0]
        stem = nn.Conv2d(a.in_channels, channels, a.patch_size, a.patch_size)
        parts: list[nn.Module] = [stem, ChannelNorm(channels)]
        total, before = sum(a.num_layers), 0
        for i, (num, width) in enumerate(zip(a.num_layers, a.widths, strict=True)):
            if i > 0:
                parts += [ChannelNorm(channels), nn.Conv2d(channels, width, 2, 2)]
            for block in range(before, before + num):
                drop = a.stochastic_depth * block / max(1, total - 1)
                parts.append(Block(width, layer_scale=a.layer_scale, drop_probability=drop))
            before, channels = before + num, width
        self.features = nn.Sequential(*parts)
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.classifier = nn.Linear(channels, a.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) of the architecture's resolution."""
        return self.classifier(self.norm(self.features(images).mean((2, 3))))  # type: ignore[no-any-return]  # as above
