"""A tiny network whose deeper relatives want more memory than there is; named by allow=tests."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from scaling_search.base_networks.efficientnets import EfficientNet
from scaling_search.core.network import Layer
from scaling_search.core.scaling import Multipliers
from tests.tiny import tiny_network

EXBIBYTE = 1 << 60


@dataclass(frozen=True)
class Greedy:
    """The tiny network.

    Attributes:
        kind: How those that are deeper find out: by the error of a GPU that is full, or by asking
            for an exbibyte of the host's memory.
        truth: What it is.
    """

    kind: Literal["device", "host"]
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

    def scaled(self, multipliers: Multipliers) -> Self:
        return replace(self, truth=self.truth.scaled(multipliers))

    def layers(self) -> tuple[Layer, ...]:
        return self.truth.layers()

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        return self.truth.steps(dimension, low, high)

    def build(self) -> nn.Module:
        network = self.truth.build()
        is_deeper = sum(self.num_layers) > sum(tiny_network().num_layers)
        return GreedyNetwork(network, self.kind) if is_deeper else network


class GreedyNetwork(nn.Module):
    """A network that cannot be trained for want of memory."""

    def __init__(self, network: nn.Module, kind: str) -> None:
        super().__init__()
        self.network = network
        self.kind = kind

    def forward(self, images: Tensor) -> Any:
        if self.training and self.kind == "device":
            raise torch.OutOfMemoryError(f"no memory for {len(images)} images")
        if self.training:
            torch.empty(EXBIBYTE, dtype=torch.uint8)
        return self.network(images)


def greedy(kind: Literal["device", "host"]) -> Greedy:
    """The tiny network as the base."""
    return Greedy(kind, tiny_network())
