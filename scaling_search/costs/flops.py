"""Multiply-adds: counted on paper, and by the trace of the built network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from scaling_search.core.network import Architecture, CountsMany
from scaling_search.core.part import part
from scaling_search.costs.building import Counted
from scaling_search.operators.trace import traced


@part
class Flops(Counted):
    """Multiply-adds for one image, forward, of every product of two tensors.

    One multiply-add is one flop, as in the paper: 385,814,752 for B0 at 224 px, which fvcore counts
    too.
    """

    @property
    def column(self) -> str:
        """Name of what is counted."""
        return "flops"

    def count(self, network: nn.Module, image: Tensor) -> int:
        """The multiply-adds of a trace."""
        return traced(network, image).flops

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
