"""Multiply-adds of a training step, forward and backward, by torch's own count."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from scaling_search.costs.building import built, checked, image_of
from scaling_search.protocols import Architecture, part, training_flops
from scaling_search.threads import threads


@part
class TrainFlops:
    """Multiply-adds for one image of a training step, convolutions and linear layers."""

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
        """
        network = built(architecture)
        mapping = {torch.ops.aten.convolution_backward: _convolution_backward}
        with threads(1), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            network(image_of(architecture)).sum().backward()
        measured = counter.get_total_flops() // 2  # torch counts a multiply-add as two
        return checked(measured, self.column, self.estimate(architecture), architecture)


def _convolution_backward(
    gradient: Sequence[int],
    _images: Sequence[int],
    weight: Sequence[int],
    *rest: Any,
    **_: Any,
) -> int:
    """What a convolution's backward pass costs, twice its multiply-adds, from shapes.

    Torch's own formula takes every convolution for one without groups (2.13).
    """
    needs_images, needs_weight, _ = rest[7]  # the output mask, before which come the bias's
    return 2 * int(needs_images + needs_weight) * prod(gradient) * prod(weight[1:])
