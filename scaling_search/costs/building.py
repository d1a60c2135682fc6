"""Networks built to be measured, and costs that are counted on paper and in them."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from scaling_search.core.network import Architecture


def built(architecture: Architecture) -> nn.Module:
    """The network, evaluating, freshly initialised; torch's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return architecture.build().eval()


def image_of(architecture: Architecture, number: int = 1) -> Tensor:
    """Black images (number, C, H, W) of the architecture's size."""
    size = architecture.resolution
    return torch.zeros(number, architecture.in_channels, size, size)


class Counted(ABC):
    """A cost in closed form, compared with a count in the built network."""

    reason: ClassVar[str] = "the architecture's layers() is wrong"

    @property
    @abstractmethod
    def column(self) -> str:
        """Name of what is counted."""

    def estimate(self, architecture: Architecture) -> int:
        """The count in closed form, without building the network."""
        return sum(getattr(layer, self.column) for layer in architecture.layers())

    @abstractmethod
    def count(self, network: nn.Module, image: Tensor) -> int:
        """The count in a built network that evaluates one image."""

    def measure(self, architecture: Architecture) -> int:
        """The count in the network, which is built; torch's random state is left as it was.

        Raises:
            RuntimeError: The closed form says otherwise.
            ValueError: An operator cannot be counted.
        """
        measured = self.count(built(architecture), image_of(architecture))
        if measured != (expected := self.estimate(architecture)):
            raise RuntimeError(
                f"the measured {self.column} must equal the closed form, got {measured} instead "
                f"of {expected} for {architecture.name}; {self.reason}"
            )
        return measured
