"""Outputs of convolutions and linear layers: counted on paper, measured by fvcore."""

from fvcore.nn import ActivationCountAnalysis

from scaling_search.costs.building import built, checked, counted, image_of
from scaling_search.protocols import Architecture, part


@part
class Activations:
    """Elements of the outputs of convolutions and linear layers for one image, forward.

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
        """The activations that fvcore counts in the built network, batch 1, evaluating.

        Raises:
            RuntimeError: The closed form says otherwise.
        """
        analysis = ActivationCountAnalysis(built(architecture), image_of(architecture))
        measured = counted(analysis)
        return checked(measured, self.column, self.estimate(architecture), architecture)
