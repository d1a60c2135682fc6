"""Multiply-adds of a training step, forward and backward, by torch's own count."""

from scaling_search.core.network import Architecture, training_flops
from scaling_search.core.part import part
from scaling_search.costs.building import built, checked, image_of
from scaling_search.operators.trace import traced
from scaling_search.operators.witness import step_flops


@part
class TrainFlops:
    """Multiply-adds for one image of a training step.

    Backward each product costs its forward pass once more for each operand that needs a gradient.
    """

    @property
    def column(self) -> str:
        """Name of what is counted."""
        return "train_flops"

    def estimate(self, architecture: Architecture) -> int:
        """The multiply-adds in closed form, without building the network."""
        return training_flops(architecture.layers())

    def measure(self, architecture: Architecture) -> int:
        """The multiply-adds that torch counts in a step of the built network.

        Raises:
            RuntimeError: The closed form says otherwise.
            ValueError: An operator cannot be counted.
        """
        network, image = built(architecture), image_of(architecture)
        traced(network, image)  # refuses what torch's counter would leave out without a word
        measured = step_flops(network, image)
        return checked(
            measured,
            self.column,
            self.estimate(architecture),
            architecture,
            reason="the architecture's layers() is wrong, or the backward pass of an operator "
            "does not cost each operand's gradient as much as the forward pass: hold cost=flops",
        )
