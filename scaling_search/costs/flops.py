"""Multiply-adds: counted on paper, and by the trace of the built network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaling_search.core.network import Architecture, CountsMany
from scaling_search.core.part import part
from scaling_search.costs.building import built, checked, image_of
from scaling_search.operators.trace import traced


@part
class Flops:
    """Multiply-adds for one image, forward, of every product of two tensors.

    One multiply-add is one flop, as in the paper: 385,814,752 for B0 at 224 px, which fvcore counts
    too.
    """

    @property
    def column(self) -> str:
        """Name of what is counted."""
        return "flops"

    def estimate(self, architecture: Architecture) -> int:
        """The multiply-adds in closed form, without building the network."""
        return sum(layer.flops for layer in architecture.layers())

    def estimates(
        self,
        depths: Sequence[Architecture],
        widths: Sequence[Architecture],
        resolutions: Sequence[Architecture],
    ) -> NDArray[np.int64] | None:
        """The closed form of every combination, (depths, widths, resolutions).

        None where the architecture counts one network at a time.
        """
        network = depths[0]
        if not isinstance(network, CountsMany):
            return None
        return network.flops_of(depths, widths, resolutions)

    def measure(self, architecture: Architecture) -> int:
        """The multiply-adds of the built network, batch 1, evaluating.

        Torch's random state is left as it was.

        Raises:
            RuntimeError: The closed form says otherwise.
            ValueError: An operator cannot be counted.
        """
        measured = traced(built(architecture), image_of(architecture)).flops
        return checked(measured, self.column, self.estimate(architecture), architecture)
