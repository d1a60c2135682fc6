"""Utilisation of a GPU by a training step: matrix products and memory, over their limits.

    python benchmarks/gpu_share.py [--base efficientnet_medium] [--batch 256] [--steps 200]
        [--device cuda:0] [--out benchmarks/gpu_share.csv]

In the same run it measures the most bfloat16 matrix products a second, the most bytes copied a
second, and seconds of a training step as trainings take it. The step's own products are two
operations for each multiply-add of its layers, three times: forward, and backward to the inputs
and to the weights. Its bytes are counted by running one step eagerly: the size of what each
operation reads and writes, as if no cache held it. Prints a table and writes CSV. Needs a CUDA
device.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from composed import experiment_of
from rows import machine, today, write_rows
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scaling_search.core.recipe import Recipe
from scaling_search.experiment.experiment import Experiment
from scaling_search.training.batches import load
from scaling_search.training.engine import settings
from scaling_search.training.steps import Steps

REPEATS = 30


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write.

    Attributes:
        num_bytes: Bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Does the operation; views move nothing."""
        del types
        result = func(*args, **(kwargs or {}))
        moves = not func.is_view and "empty" not in func.name()
        if moves:
            tensors = [
                x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)
            ]
            self.num_bytes += sum(x.numel() * x.element_size() for x in tensors)
        return result


def bytes_of(steps: Steps) -> int:
    """Bytes that the operations of one eager step read and write."""
    with Traffic() as traffic:
        steps.advance()
    return traffic.num_bytes


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Seconds of a piece of work on the current device, over so many after a few more."""
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def most_products(device: str) -> float:
    """Operations a second of a large bfloat16 matrix product."""
    size = 8192
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: one @ other, REPEATS)


def most_bytes(device: str) -> float:
    """Bytes read and written a second by a copy of one GiB."""
    source = torch.empty(1 << 30, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds_of(lambda: target.copy_(source), REPEATS)


def steps_of(experiment: Experiment, recipe: Recipe, device: str) -> Steps:
    """Steps of the base network without end."""
    data = load(experiment.dataset, experiment.base_network.resolution, device)
    torch.manual_seed(0)
    network = experiment.base_network.build().to(device).train()
    return Steps(network, data, replace(recipe, epochs=100.0), seed=0)


def main() -> None:
    """Measures the device and a step, prints the shares and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="efficientnet_medium", help="of conf/base_network")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "gpu_share.py needs a CUDA device, and this machine has none\n")
    experiment = experiment_of(f"base_network={options.base}", f"recipe.batch_size={options.batch}")
    recipe = experiment.recipe
    multiply_adds = sum(layer.flops for layer in experiment.base_network.layers())
    flops = 3 * 2 * multiply_adds * options.batch
    with settings(recipe, options.device):
        eager = steps_of(experiment, replace(recipe, cuda_graph=False), options.device)
        num_bytes = bytes_of(eager)
        del eager
        seconds = seconds_of(steps_of(experiment, recipe, options.device).advance, options.steps)
        products, bandwidth = most_products(options.device), most_bytes(options.device)
    row = {
        "base_network": options.base,
        "batch_size": options.batch,
        "step_ms": round(1000 * seconds, 3),
        "images_per_second": round(options.batch / seconds),
        "step_gflop": round(flops / 1e9, 3),
        "step_mb": round(num_bytes / 1e6, 1),
        "most_tflop_per_second": round(products / 1e12, 1),
        "most_gb_per_second": round(bandwidth / 1e9, 1),
        "share_of_products": round(flops / seconds / products, 4),
        "share_of_bandwidth": round(num_bytes / seconds / bandwidth, 4),
        "machine": machine(options.device),
        "date": today(),
    }
    for name, value in row.items():
        print(f"{name:24}{value}")
    write_rows([row], options.out)


if __name__ == "__main__":
    main()
