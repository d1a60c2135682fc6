"""Outputs of products: counted on paper, and by the trace of the built network."""

from scaling_search.core.network import Architecture
from scaling_search.core.part import part
from scaling_search.costs.building import built, checked, image_of
from scaling_search.operators.trace import traced


@part
class Activations:
    """Elements that every product of two tensors puts out for one image, forward.

    Those of convolutions and linear layers, and inside attention and recurrent layers the scores
    and gates too, whether a kernel keeps them or not.

    On accelerators that wait for memory the time of a network follows them rather than its flops.
    Source: Radosavovic et al. 2020, Section 3.1; Dollár et al. 2021, Section 3.
    """

    @property
    def column(self) -> str:
        """Name of what is counted."""
        return "activations"

    def estimate(self, architecture: Architecture) -> int:
        """The activations in closed form, without building the network."""
        return sum(layer.activations for layer in architecture.layers())

    def measure(self, architecture: Architecture) -> int:
        """The activations of the built network, batch 1, evaluating.

        Raises:
            RuntimeError: The closed form says otherwise.
            ValueError: An operator cannot be counted.
        """
        measured = traced(built(architecture), image_of(architecture)).activations
        return checked(measured, self.column, self.estimate(architecture), architecture)
