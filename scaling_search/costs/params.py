"""Trainable parameters: counted on paper and in the built network."""

from torch import Tensor, nn

from scaling_search.core.part import part
from scaling_search.costs.building import Counted


@part
class Params(Counted):
    """Trainable parameters: weights, biases and affine terms of norms.

    Resolution changes at most a table of positions, so that they can be a cap and cannot be what is
    held equal.
    """

    @property
    def column(self) -> str:
        """Name of what is counted."""
        return "params"

    def count(self, network: nn.Module, image: Tensor) -> int:  # noqa: ARG002 - weights are there without images
        """The parameters that have a gradient."""
        return sum(p.numel() for p in network.parameters() if p.requires_grad)
