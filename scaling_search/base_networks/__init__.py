"""Families of networks to scale, one file each."""

from typing import TYPE_CHECKING

from scaling_search.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from scaling_search.base_networks.convnext import ConvNeXt
    from scaling_search.base_networks.custom_network import custom
    from scaling_search.base_networks.efficientnets import efficientnet, small_efficientnet
    from scaling_search.base_networks.mobilenet_v1 import MobileNetV1
    from scaling_search.base_networks.mobilenet_v2 import MobileNetV2
    from scaling_search.base_networks.resnets import ResNet, resnet
    from scaling_search.base_networks.vision_transformers import VisionTransformer, vit

__all__ = [
    "ConvNeXt",
    "MobileNetV1",
    "MobileNetV2",
    "ResNet",
    "VisionTransformer",
    "custom",
    "efficientnet",
    "resnet",
    "small_efficientnet",
    "vit",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
