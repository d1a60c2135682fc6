"""Outputs of products: counted on paper, and by the trace of the built network."""

from torch import Tensor, nn

from scaling_search.core.part import part
from scaling_search.costs.building import Counted
from scaling_search.operators.trace import traced


@part
class Activations(Counted):
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

    def count(self, network: nn.Module, image: Tensor) -> int:
        """The outputs of a trace's products."""
        return traced(network, image).activations
