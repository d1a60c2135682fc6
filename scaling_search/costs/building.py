"""Builds what a cost is measured of, without a trace of it in the random state."""

import torch
from torch import Tensor, nn

from scaling_search.core.network import Architecture


def built(architecture: Architecture) -> nn.Module:
    """The network, evaluating, freshly initialised; torch's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return architecture.build().eval()


def image_of(architecture: Architecture, number: int = 1) -> Tensor:
    """Black images (number, C, H, W) of the architecture's size."""
    size = architecture.resolution
    return torch.zeros(number, architecture.in_channels, size, size)


def checked(
    measured: int,
    column: str,
    expected: float,
    architecture: Architecture,
    *,
    reason: str = "the architecture's layers() is wrong",
) -> int:
    """What was measured, where the closed form says the same.

    Raises:
        RuntimeError: It says otherwise.
    """
    if measured != expected:
        raise RuntimeError(
            f"the measured {column} must equal the closed form, got {measured} instead of "
            f"{expected} for {architecture.name}; {reason}"
        )
    return measured
