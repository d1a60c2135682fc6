"""The most memory that a training step takes of a GPU."""

import gc
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.nn import functional

from scaling_search.core.network import Architecture, Checked
from scaling_search.core.part import part
from scaling_search.core.protocols import Sample
from scaling_search.core.recipe import Recipe
from scaling_search.costs.building import built, image_of
from scaling_search.costs.flops import Flops
from scaling_search.training.cuda_graphs import capturable_stream
from scaling_search.training.engine import device_name, devices
from scaling_search.training.optimizer import make_optimizer


@part
class Memory:
    """Bytes of a GPU at the peak of a training step: weights, optimizer, activations, gradients.

    In float32; SGD keeps one number for each weight, its momentum, and AdamW two. Bytes are those
    that tensors ask for, without what torch's allocator rounds up or keeps, over those that were
    taken before; the network has taken its steps once already then, so that workspaces of
    libraries, which a process keeps, do not count.

    Attributes:
        device: ``auto`` or ``cuda:0``; only CUDA tells its peak.
        batch_size: Images of the step.
        optimizer: ``sgd`` or ``adamw``.
    """

    device: str = "auto"
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"

    @property
    def column(self) -> str:
        """Name of what is measured."""
        return "memory_bytes"

    def check(self) -> None:
        """Checks that the device is there and tells its peak."""
        device = devices(self.device, "cost.device")[0]
        if not device.startswith("cuda"):
            raise ValueError(
                f"cost=memory must be measured on a CUDA device, got {device!r}; use "
                "cost=activations, which grows with memory, on other devices"
            )

    def sample(self, architecture: Architecture, base_network: Architecture) -> Sample:
        """The peak, and its ratio to the base network's; both are the same each time.

        Raises:
            RuntimeError: The device cannot hold it, or the closed form of the network's flops is
                not what is counted.
            ValueError: An operator cannot be counted, or the network not be trained.
        """
        device = devices(self.device, "cost.device")[0]
        if isinstance(architecture, Checked):
            architecture.check()  # tells why a step fails
        Flops().measure(architecture)
        try:
            mine, base = (self._peak(a, device) for a in (architecture, base_network))
        except torch.OutOfMemoryError as error:
            raise RuntimeError(
                f"cost.batch_size must fit {device}, got {self.batch_size}; use a smaller one"
            ) from error
        return Sample(float(mine), mine / base, 0.0, device_name(device))

    def _peak(self, architecture: Architecture, device: str) -> int:
        """The most bytes over what there was before, in the second step of the second turn."""
        with capturable_stream(torch.device(device)):
            for _ in range(2):
                gc.collect()
                before = _requested(device, "current")
                self._take_two_steps(architecture, device)
                peak = _requested(device, "peak") - before
        return peak

    def _take_two_steps(self, architecture: Architecture, device: str) -> None:
        network = built(architecture).to(device).train()
        images = image_of(architecture, self.batch_size).to(device)
        labels = torch.zeros(self.batch_size, dtype=torch.int64, device=device)
        recipe = Recipe(optimizer=self.optimizer)
        optimizer = make_optimizer(network, recipe, torch.zeros((), device=device))
        for _ in range(2):  # the first makes the optimizer's state
            torch.cuda.reset_peak_memory_stats(device)
            functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize(device)


def _requested(device: str, which: str) -> int:
    return int(torch.cuda.memory_stats(device)[f"requested_bytes.all.{which}"])
