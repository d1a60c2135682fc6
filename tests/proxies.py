"""The small network that tests scale: 1.18 M flops, so that hundreds are built in seconds."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from scaling_search.base_networks.efficientnets import EfficientNet, small_efficientnet
from scaling_search.base_networks.rounding import DepthRounding
from scaling_search.protocols import Layer
from scaling_search.scaling import Multipliers
from scaling_search.spaces.buildable import Buildable


def small_proxy(
    *,
    num_layers: tuple[int, ...] = (2, 3, 4),
    resolution: int = 20,
    dropout: float = 0.2,
    stochastic_depth: float = 0.2,
    width_divisor: int = 2,
    resolution_divisor: int = 2,
    depth_rounding: DepthRounding = "round",
) -> EfficientNet:
    """Three stages for grey images of 20 to 28 px, ten classes."""
    return small_efficientnet(
        num_layers=num_layers,
        kernel_size=(3, 3, 5),
        stride=(1, 2, 2),
        expand_ratio=(1, 4, 4),
        channels=(8, 12, 20),
        stem_channels=8,
        stem_stride=1,
        head_channels=96,
        resolution=resolution,
        in_channels=1,
        num_classes=10,
        se_ratio=0.25,
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        norm_momentum=0.01,
        norm_epsilon=1e-3,
        width_divisor=width_divisor,
        resolution_divisor=resolution_divisor,
        depth_rounding=depth_rounding,
    )


def buildable(**changes: Any) -> Buildable:
    """Networks of twice the cost, but for what is asked otherwise."""
    options: dict[str, Any] = {
        "target": 2.0,
        "tolerance": 0.05,
        "max_networks": 32,
        "alpha": (1.0, 3.0),
        "beta": (1.0, 2.0),
        "gamma": (1.0, 2.0),
        "max_resolution": 28,
    }
    return Buildable(**options | changes)


@dataclass(frozen=True)
class Lying:
    """An architecture whose closed form leaves out the last layer."""

    truth: EfficientNet

    @property
    def name(self) -> str:
        return self.truth.name

    @property
    def resolution(self) -> int:
        return self.truth.resolution

    @property
    def in_channels(self) -> int:
        return self.truth.in_channels

    @property
    def num_classes(self) -> int:
        return self.truth.num_classes

    @property
    def num_layers(self) -> tuple[int, ...]:
        return self.truth.num_layers

    @property
    def channels(self) -> tuple[int, ...]:
        return self.truth.channels

    def scaled(self, multipliers: Multipliers) -> "Lying":
        return replace(self, truth=self.truth.scaled(multipliers))

    def layers(self) -> tuple[Layer, ...]:
        return self.truth.layers()[:-1]

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        return self.truth.steps(dimension, low, high)

    def build(self) -> nn.Module:
        return self.truth.build()
