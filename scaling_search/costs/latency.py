"""The time of a forward pass, in turns with the base network's."""

import time
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from scaling_search.core.network import Architecture
from scaling_search.core.part import part
from scaling_search.core.protocols import Sample
from scaling_search.costs.building import built, image_of
from scaling_search.costs.flops import Flops
from scaling_search.runtime.threads import threads
from scaling_search.training.cuda_graphs import CapturedWork, capturable_stream
from scaling_search.training.engine import device_name, devices
from scaling_search.training.timing import wait_for

NUM_WARM_UP = 5
"""Runs before the timed ones."""


@part
class Latency:
    """Milliseconds from a batch of images on a device to their logits, evaluating, in float32.

    The network and the base network run in turns, so that what slows the machine down for a while
    slows both. On CUDA a run is a replayed graph between two events of the device: Python would
    take longer to launch the kernels of a small network than the device to run them. A CPU runs one
    thread.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda:0`` or ``mps``; of several the first.
        batch_size: Images at a time.
        repeats: Timed runs.
    """

    device: str = "auto"
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    repeats: Annotated[int, Field(ge=5, le=10_000)] = 30

    @property
    def column(self) -> str:
        """Name of what is measured."""
        return "latency_ms"

    def check(self) -> None:
        """Checks that the device is there."""
        devices(self.device, "cost.device")

    def sample(self, architecture: Architecture, base_network: Architecture) -> Sample:
        """The median of the runs, and of their ratios to the base network's.

        Raises:
            RuntimeError: The device cannot hold a batch, the network cannot be recorded on CUDA, or
                the closed form of its flops is not what is counted.
            ValueError: An operator cannot be counted.
        """
        device = devices(self.device, "cost.device")[0]
        Flops().measure(architecture)
        try:
            with threads(1), capturable_stream(torch.device(device)), torch.inference_mode():
                runs = [
                    _Runs(network, self.batch_size, device)
                    for network in (architecture, base_network)
                ]
                for _ in range(NUM_WARM_UP):
                    for run in runs:
                        run.milliseconds()
                timed = [[run.milliseconds() for run in runs] for _ in range(self.repeats)]
        except torch.OutOfMemoryError as error:
            raise RuntimeError(
                f"cost.batch_size must fit {device}, got {self.batch_size}; use a smaller one"
            ) from error
        mine, base = np.array(timed).T
        low, ratio, high = np.percentile(mine / base, [16, 50, 84])
        return Sample(
            value=float(np.median(mine)),
            ratio=float(ratio),
            spread=float(high - low) / 2,
            device=device_name(device),
        )


class _Runs:
    """A network with a batch on a device, past its first runs."""

    def __init__(self, architecture: Architecture, batch_size: int, device: str) -> None:
        self.network: nn.Module = built(architecture).to(device)
        self.images: Tensor = image_of(architecture, batch_size).to(device)
        self.device = device
        self._recorded = CapturedWork(self.images.device, warm_up=1)
        for _ in range(2):  # as it is written, then recorded
            self._recorded.run(self._run)

    def milliseconds(self) -> float:
        """Duration of one run."""
        if self.images.is_cuda:
            begin, end = (
                torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's
                for _ in range(2)
            )
            begin.record()
            self._recorded.run(self._run)
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end))
        wait_for(self.device)
        started = time.perf_counter()
        self._recorded.run(self._run)
        wait_for(self.device)
        return 1000 * (time.perf_counter() - started)

    def _run(self) -> None:
        self.network(self.images)
