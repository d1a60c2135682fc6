"""Multiply-adds of convolutions and linear layers: counted on paper, measured by fvcore."""

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from fvcore.nn import FlopCountAnalysis
from numpy.typing import NDArray

from scaling_search.protocols import Architecture, CountsMany, part

COUNTED = frozenset({"conv", "linear", "addmm", "matmul"})
"""fvcore's operators that count. Norms fold into convolutions and pooling differs between
implementations, so that this sum alone is the same everywhere and equals the paper's."""


@part
class Flops:
    """Multiply-adds for one image, forward, convolutions and linear layers.

    One multiply-add is one flop, as in the paper: 385,814,752 for B0 at 224 px.
    """

    @property
    def column(self) -> str:
        """Name of the column in every table."""
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
        with torch.random.fork_rng(devices=[]):
            network = architecture.build().eval()
        size = architecture.resolution
        image = torch.zeros(1, architecture.in_channels, size, size)
        counter = FlopCountAnalysis(network, image)
        counter.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
        logging.getLogger("fvcore").setLevel(logging.ERROR)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # one image is too little work to share; on a busy machine 8x
        try:
            with warnings.catch_warnings(), torch.inference_mode():
                warnings.simplefilter("ignore")  # the tracer's; the count is checked below
                by_operator = counter.by_operator()
        finally:
            torch.set_num_threads(threads)
        measured = int(sum(by_operator[name] for name in COUNTED))
        if measured != (expected := self.estimate(architecture)):
            raise RuntimeError(
                f"the measured flops must equal the closed form, got {measured} instead of "
                f"{expected} for {architecture}; the architecture's layers() is wrong"
            )
        return measured
