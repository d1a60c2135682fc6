"""Builds what a cost is measured of, without a trace of it in the random state."""

import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from scaling_search.protocols import Architecture
from scaling_search.threads import threads

COUNTED = frozenset({"conv", "linear", "addmm", "matmul"})
"""fvcore's operators that count. Norms fold into convolutions and pooling differs between
implementations, so that this sum alone is the same everywhere and equals the paper's."""


def built(architecture: Architecture) -> nn.Module:
    """The network, evaluating, freshly initialised; torch's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return architecture.build().eval()


def image_of(architecture: Architecture, number: int = 1) -> Tensor:
    """Black images (number, C, H, W) of the architecture's size."""
    size = architecture.resolution
    return torch.zeros(number, architecture.in_channels, size, size)


def counted(analysis: Any) -> int:
    """What an analysis of fvcore sums up over the operators that count.

    Without the tracer's words, since it is checked, and by one thread: sharing one image
    between threads makes it up to 8 times as slow on a busy machine.
    """
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
    with threads(1), warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        by_operator = analysis.by_operator()
    return int(sum(by_operator[name] for name in COUNTED))


def checked(measured: int, column: str, expected: float, architecture: Architecture) -> int:
    """What was measured, where the closed form says the same.

    Raises:
        RuntimeError: It says otherwise.
    """
    if measured != expected:
        raise RuntimeError(
            f"the measured {column} must equal the closed form, got {measured} instead of "
            f"{expected} for {architecture}; the architecture's layers() is wrong"
        )
    return measured
