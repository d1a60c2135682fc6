"""Checks that a user's network gives logits and can be trained."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling_search.base_networks.user_function import KEY, told

SMALLEST_BATCH = 2
"""Images; no recipe has fewer in a step."""


def try_step(
    network: nn.Module, image: Tensor, num_classes: int, *, function: str, at: str
) -> None:
    """Takes a forward and a backward pass of the smallest batch.

    Args:
        network: As it trains.
        image: One image of the network's size, (1, C, H, W).
        num_classes: Number of logits.
        function: Name of what made the network.
        at: The same with its multipliers, as shown.

    Raises:
        ValueError: The network gives no logits, or the step fails.
    """
    images = torch.rand_like(image.expand(SMALLEST_BATCH, -1, -1, -1))
    wanted, labels = (len(images), num_classes), torch.zeros(len(images), dtype=torch.int64)
    try:
        logits = network(images)
        if is_right := is_of(logits, wanted):
            functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    except Exception as error:
        raise ValueError(
            f"{KEY} must make a network that can be trained, got {told(error, function)} in a "
            f"step of {len(images)} images of {at}"
        ) from error
    if not is_right:
        raise ValueError(
            f"{KEY} must make a network that gives logits {wanted} for {len(images)} images in "
            f"training mode, got {shown(logits)} of {at}; return the logits alone, as in "
            "evaluation mode"
        )


def is_of(logits: object, shape: tuple[int, int]) -> bool:
    """True if logits are a tensor of this shape."""
    return isinstance(logits, Tensor) and tuple(logits.shape) == shape


def shown(logits: object) -> str:
    """The shape of a tensor, the type of anything else."""
    return str(tuple(logits.shape)) if isinstance(logits, Tensor) else type(logits).__name__
