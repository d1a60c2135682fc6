"""Networks with attention, as users would write them, and their multiply-adds in closed form."""

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS, PATCH = 4, 4


class Attention(nn.Module):
    """Self-attention by torch's fused operator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, channels = tokens.shape
        parts = self.qkv(tokens).reshape(batch, length, 3, HEADS, channels // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, channels))
        return out


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(channels) for _ in range(2)])
        self.attention = Attention(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )
        self.scale = nn.Parameter(torch.full((1, 1, channels), 0.1))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.scale * self.attention(self.norms[0](tokens))
        mixed: Tensor = tokens + self.mlp(self.norms[1](tokens))
        return mixed


class Transformer(nn.Module):
    """Patches of an image with a class token and learned places, through blocks."""

    def __init__(
        self, in_channels: int, channels: int, size: int, blocks: nn.Module, num_classes: int
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, channels, PATCH, PATCH)
        self.token = nn.Parameter(torch.zeros(1, 1, channels))
        self.places = nn.Parameter(0.02 * torch.randn(1, (size // PATCH) ** 2 + 1, channels))
        self.blocks = blocks
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1)
        logits: Tensor = self.head(self.blocks(tokens + self.places)[:, 0])
        return logits


def sizes(depth: float, width: float, pixels: int) -> tuple[int, int, int]:
    """Blocks, channels and tokens."""
    return round(3 * depth), HEADS * round(6 * width), (pixels // PATCH) ** 2 + 1


def vit(
    *,
    depth: float,
    width: float,
    resolution: float,
    num_classes: int,
    in_channels: int,
    image_size: int,
) -> nn.Module:
    """A vision transformer whose table of places follows the resolution."""
    pixels = round(image_size * resolution)
    num, channels, _ = sizes(depth, width, pixels)
    blocks = nn.Sequential(*(Block(channels) for _ in range(num)))
    return Transformer(in_channels, channels, pixels, blocks, num_classes)


def encoder(
    *,
    depth: float,
    width: float,
    resolution: float,
    num_classes: int,
    in_channels: int,
    image_size: int,
) -> nn.Module:
    """The same of torch's own layers."""
    pixels = round(image_size * resolution)
    num, channels, _ = sizes(depth, width, pixels)
    layer = nn.TransformerEncoderLayer(channels, HEADS, 2 * channels, batch_first=True)
    blocks = nn.TransformerEncoder(layer, num, enable_nested_tensor=False)
    return Transformer(in_channels, channels, pixels, blocks, num_classes)


def transformer_flops(depth: float, width: float, pixels: int) -> int:
    """Of `vit` and `encoder`, for grey images and ten classes."""
    num, channels, tokens = sizes(depth, width, pixels)
    projections = tokens * channels * (3 + 1 + 2 + 2) * channels
    block = projections + 2 * tokens**2 * channels
    return (tokens - 1) * PATCH**2 * channels + num * block + channels * 10


class Mixer(nn.Module):
    """A grid of features attends to itself by torch's own layer, next to a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.attention = nn.MultiheadAttention(channels, HEADS, batch_first=True)

    def forward(self, features: Tensor) -> Tensor:
        features = functional.relu(self.norm(self.local(features)))
        tokens = features.flatten(2).transpose(1, 2)
        mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        out: Tensor = features + mixed.transpose(1, 2).reshape(features.shape)
        return out


def hybrid(
    *, depth: float, width: float, resolution: float, num_classes: int, in_channels: int
) -> nn.Module:
    """Convolutions that halve the image twice, then attention; any resolution."""
    del resolution
    num, channels = round(3 * depth), HEADS * round(4 * width)
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        *(Mixer(channels) for _ in range(num)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, num_classes),
    )


def hybrid_flops(depth: float, width: float, pixels: int) -> int:
    """Of `hybrid`, for grey images and ten classes."""
    num, channels = round(3 * depth), HEADS * round(4 * width)
    half = -(-pixels // 2)
    tokens = (-(-half // 2)) ** 2
    block = 9 * tokens * channels + 4 * tokens * channels**2 + 2 * tokens**2 * channels
    stem = 9 * half**2 * channels + 9 * tokens * channels**2
    return stem + num * block + channels * 10
