"""Trainable parameters: counted on paper and in the built network."""

from scaling_search.core.network import Architecture
from scaling_search.core.part import part
from scaling_search.costs.building import built, checked


@part
class Params:
    """Trainable parameters: weights, biases and affine terms of norms.

    No resolution changes them, so that they can be a cap and cannot be what is held equal.
    """

    @property
    def column(self) -> str:
        """Name of what is counted."""
        return "params"

    def estimate(self, architecture: Architecture) -> int:
        """The parameters in closed form, without building the network."""
        return sum(layer.params for layer in architecture.layers())

    def measure(self, architecture: Architecture) -> int:
        """The parameters of the built network.

        Raises:
            RuntimeError: The closed form says otherwise.
        """
        parameters = built(architecture).parameters()
        measured = sum(p.numel() for p in parameters if p.requires_grad)
        return checked(measured, self.column, self.estimate(architecture), architecture)
