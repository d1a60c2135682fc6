"""Multiply-adds of convolutions and linear layers: counted on paper, measured by fvcore."""

from collections.abc import Sequence

import numpy as np
from fvcore.nn import FlopCountAnalysis
from numpy.typing import NDArray

from scaling_search.costs.building import built, checked, counted, image_of
from scaling_search.protocols import Architecture, CountsMany, part


@part
class Flops:
    """Multiply-adds for one image, forward, convolutions and linear layers.

    One multiply-add is one flop, as in the paper: 385,814,752 for B0 at 224 px.
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
        """The multiply-adds that fvcore counts in the built network, batch 1, evaluating.

        Torch's random state is left as it was.

        Raises:
            RuntimeError: The closed form says otherwise.
        """
        measured = counted(FlopCountAnalysis(built(architecture), image_of(architecture)))
        return checked(measured, self.column, self.estimate(architecture), architecture)
