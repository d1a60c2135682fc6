"""Architectures that are not what they say."""

from dataclasses import dataclass, replace

from torch import nn

from scaling_search.base_networks.efficientnets import EfficientNet
from scaling_search.core.network import Layer
from scaling_search.core.scaling import Multipliers


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
