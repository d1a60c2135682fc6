"""Networks of timm, scaled by its own arguments; docs/timm.md has the commands."""

from collections.abc import Sequence
from typing import Any

import timm
from timm.models.efficientnet import _gen_efficientnet
from torch import nn


def vit(
    depth: float,
    width: float,
    resolution: float,
    num_classes: int,
    in_channels: int,
    image_size: int = 224,
    blocks: int = 12,
    head_size: int = 64,
    **options: Any,
) -> nn.Module:
    """ViT-Ti with three heads, whose size follows the width; it knows the size of its images."""
    return timm.create_model(
        "vit_tiny_patch16_224",
        depth=round(blocks * depth),
        embed_dim=3 * round(head_size * width),
        img_size=round(image_size * resolution),
        num_classes=num_classes,
        in_chans=in_channels,
        **options,
    )


def efficientnet(
    depth: float,
    width: float,
    resolution: float,
    num_classes: int,
    in_channels: int,
    **options: Any,
) -> nn.Module:
    """EfficientNet-B0 for images of any size.

    Of its multipliers `create_model` takes only those of b0 to b8; this is what it calls.
    """
    del resolution
    return _gen_efficientnet(
        "efficientnet_b0",
        channel_multiplier=width,
        depth_multiplier=depth,
        num_classes=num_classes,
        in_chans=in_channels,
        **options,
    )


def convnext(
    depth: float,
    width: float,
    resolution: float,
    num_classes: int,
    in_channels: int,
    blocks: Sequence[int] = (2, 2, 6, 2),
    channels: Sequence[int] = (40, 80, 160, 320),
    **options: Any,
) -> nn.Module:
    """ConvNeXt-Atto for images of any size."""
    del resolution
    return timm.create_model(
        "convnext_atto",
        depths=[round(num * depth) for num in blocks],
        dims=[round(num * width) for num in channels],
        num_classes=num_classes,
        in_chans=in_channels,
        **options,
    )
