"""Vision transformers: attention among the patches of an image and a class token.

Source: Dosovitskiy et al. 2021, Section 3.1 and Table 1 (base); Touvron et al. 2021, Table 1
(tiny, small). Layer norm's epsilon, 1e-6, and initial weights are those of the first paper's code:
Glorot's uniform ones, patches by the fan-in, positions with deviation 0.02. The class token begins
like a position, the classifier as in Goyal et al. 2017, Section 5.1.
"""

import math
from functools import lru_cache
from typing import Annotated, Literal

import torch
from pydantic import Strict, validate_call
from torch import Tensor, nn

from scaling_search.base_networks.blocks import StochasticDepth
from scaling_search.base_networks.options import Count, Probability, check_resolution
from scaling_search.base_networks.rounding import DepthRounding
from scaling_search.base_networks.staged import InStages
from scaling_search.core.network import Layer
from scaling_search.core.part import CHECKED, part

EXPAND_RATIO, EPSILON = 4, 1e-6

WIDTHS = {"ti": 192, "s": 384, "b": 768}
"""Width of the tokens. Source: Touvron et al. 2021, Table 1."""

Single = Annotated[tuple[Count], Strict(strict=False)]
"""A list of one: a transformer has one stage."""


@lru_cache(maxsize=100_000)
def token_layer(
    name: str, channels: tuple[int, int], tokens: int, *, norms: int = 0, others: int = 0
) -> Layer:
    """A linear layer with bias on every token.

    Args:
        name: Its place in the network.
        channels: Input and output.
        tokens: Number of tokens.
        norms: Layer norms of its input that are counted with it.
        others: Parameters beside it.
    """
    weights = channels[0] * channels[1]
    params = weights + channels[1] + 2 * channels[0] * norms + others
    return Layer(name, weights * tokens, params, channels[1] * tokens)


@lru_cache(maxsize=100_000)
def block_layers(width: int, heads: int, head_size: int, tokens: int) -> tuple[Layer, ...]:
    """The layers of one block, each norm with the layer behind it."""
    inner, expanded, pairs = heads * head_size, width * EXPAND_RATIO, tokens**2
    return (
        token_layer("qkv", (width, 3 * inner), tokens, norms=1),
        Layer("attention", 2 * pairs * inner, 0, pairs * heads + tokens * inner),
        token_layer("out", (inner, width), tokens),
        token_layer("expand", (width, expanded), tokens, norms=1),
        token_layer("project", (expanded, width), tokens),
    )


@part
class VisionTransformer(InStages):
    """A vision transformer on paper; pixels beside the last patch are not seen.

    Attributes:
        num_layers: Number of blocks, a list of one.
        widths: Channels of a token, a list of one.
        patch_size: Height and width of a patch in pixels.
        head_size: Channels of a head. A wider network has more heads of the same size.
        stochastic_depth: Probability to skip the last block's branches; rises linearly from 0 at
            the first block.
    """

    num_layers: Single = (9,)
    widths: Single = (32,)
    patch_size: Count = 2
    head_size: Count = 16
    stochastic_depth: Probability = 0.0
    width_divisor: Count = 1

    def __post_init__(self) -> None:
        """Checks that an image has a patch."""
        check_resolution(self.resolution, self.patch_size)

    @property
    def least_resolution(self) -> int:
        """The size of a patch: a smaller image has none."""
        return self.patch_size

    @property
    def num_heads(self) -> int:
        """Heads of every block's attention: as many as fit the width best, half up."""
        return max(1, (2 * self.widths[0] + self.head_size) // (2 * self.head_size))

    @property
    def num_tokens(self) -> int:
        """One for each patch, and the class token."""
        return (self.resolution // self.patch_size) ** 2 + 1

    def layers(self) -> tuple[Layer, ...]:
        """Every linear layer and product in order, with the layer norms beside it."""
        (num,), (width,), tokens = self.num_layers, self.widths, self.num_tokens
        pixels = self.patch_size**2 * self.in_channels
        places = (tokens + 1) * width  # the class token's own value too
        patches = token_layer("patches", (pixels, width), tokens - 1, others=places)
        blocks = block_layers(width, self.num_heads, self.head_size, tokens) * num
        return (patches, *blocks, token_layer("classifier", (width, self.num_classes), 1, norms=1))

    def build(self) -> "Network":
        """The network, freshly initialised from torch's global generator."""
        return Network(self)


def drawn(in_channels: int, out_channels: int, *, parts: int = 1) -> nn.Linear:
    """A linear layer with Glorot's uniform weights, made of ``parts`` layers side by side.

    Their deviation follows the width, so that narrow and wide networks begin alike.
    """
    layer = nn.Linear(in_channels, out_channels)
    limit = math.sqrt(6 / (in_channels + out_channels / parts))
    nn.init.uniform_(layer.weight, -limit, limit)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """Every token gathers from all others, in each head by weights of its own."""

    def __init__(self, width: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.shape = (3, heads, head_size)
        self.qkv = drawn(width, 3 * heads * head_size, parts=3)
        self.out = drawn(heads * head_size, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of the same shape (N, T, C)."""
        query, key, value = self.qkv(tokens).unflatten(2, self.shape).permute(2, 0, 3, 1, 4)
        gathered = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(gathered.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]  # Module.__call__ is untyped


class Block(nn.Module):
    """Two sums: with attention, then with two linear layers on every token; norms stand before."""

    def __init__(self, width: int, attention: Attention, *, drop_probability: float) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width, eps=EPSILON), attention)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width, eps=EPSILON),
            drawn(width, width * EXPAND_RATIO),
            nn.GELU(),
            drawn(width * EXPAND_RATIO, width),
        )
        self.drop = StochasticDepth(drop_probability)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of the same shape (N, T, C)."""
        tokens = tokens + self.drop(self.attention(tokens))
        return tokens + self.drop(self.mlp(tokens))  # type: ignore[no-any-return]  # as above


class Network(nn.Module):
    """The network of an architecture: images (N, C, H, W) to logits (N, classes)."""

    def __init__(self, architecture: VisionTransformer) -> None:
        super().__init__()
        a = architecture
        (num,), (width,) = a.num_layers, a.widths
        self.patches = nn.Conv2d(a.in_channels, width, a.patch_size, a.patch_size)
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.places = nn.Parameter(torch.empty(1, a.num_tokens, width))
        drops = [a.stochastic_depth * block / max(1, num - 1) for block in range(num)]
        attentions = [Attention(width, a.num_heads, a.head_size) for _ in drops]
        self.blocks = nn.Sequential(
            *(
                Block(width, attention, drop_probability=drop)
                for attention, drop in zip(attentions, drops, strict=True)
            )
        )
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.classifier = nn.Linear(width, a.num_classes)
        self._draw_weights()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) of the architecture's resolution."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = (
            torch.cat([self.token.expand(images.shape[0], -1, -1), patches], dim=1) + self.places
        )
        return self.classifier(self.norm(self.blocks(tokens)[:, 0]))  # type: ignore[no-any-return]  # as above

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that AdamW does not decay, as timm's networks name theirs."""
        return {"token", "places"}

    def _draw_weights(self) -> None:
        """Draws what lies outside the blocks."""
        nn.init.normal_(self.patches.weight, std=1 / math.sqrt(self.patches.weight[0].numel()))
        nn.init.normal_(self.classifier.weight, std=0.01)
        for layer in (self.patches, self.classifier):
            assert layer.bias is not None  # both have one
            nn.init.zeros_(layer.bias)
        for tokens in (self.token, self.places):
            nn.init.normal_(tokens, std=0.02)


@validate_call(config=CHECKED)
def vit(
    variant: Literal["ti", "s", "b"] = "ti",
    *,
    resolution: Count = 224,
    in_channels: Count = 3,
    num_classes: Count = 1000,
    patch_size: Count = 16,
    head_size: Count = 64,
    stochastic_depth: Probability = 0.1,
    width_divisor: Count = 64,
    resolution_divisor: Count = 16,
    depth_rounding: DepthRounding = "ceil",
) -> VisionTransformer:
    """A vision transformer of the papers; its options are those of `VisionTransformer`."""
    return VisionTransformer(
        num_layers=(12,),
        widths=(WIDTHS[variant],),
        patch_size=patch_size,
        head_size=head_size,
        stochastic_depth=stochastic_depth,
        resolution=resolution,
        in_channels=in_channels,
        num_classes=num_classes,
        width_divisor=width_divisor,
        resolution_divisor=resolution_divisor,
        depth_rounding=depth_rounding,
    )
