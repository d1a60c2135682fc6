"""Multiply-adds of a training step, forward and backward, by torch's own count."""

from torch import Tensor, nn

from scaling_search.core.network import Architecture, training_flops
from scaling_search.core.part import part
from scaling_search.costs.building import Counted
from scaling_search.operators.trace import traced
from scaling_search.operators.witness import step_flops


@part
class TrainFlops(Counted):
    """Multiply-adds for one image of a training step.

    Backward each product costs its forward pass once more for each operand that needs a gradient.
    """

    reason = (
        "the architecture's layers() is wrong, or the backward pass of an operator does not cost "
        "each operand's gradient as much as the forward pass: hold cost=flops"
    )

    @property
    def column(self) -> str:
        """Name of what is counted."""
        return "train_flops"

    def estimate(self, architecture: Architecture) -> int:
        """The multiply-adds in closed form, without building the network."""
        return training_flops(architecture.layers())

    def count(self, network: nn.Module, image: Tensor) -> int:
        """The multiply-adds that torch counts in a step."""
        traced(network, image)  # refuses what torch's counter would leave out without a word
        return step_flops(network, image)
