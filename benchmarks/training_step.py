"""One training step of the small proxy, and of it without each measure that makes it fast.

    python benchmarks/training_step.py [--steps 20] [--rounds 7] [--device cpu]
        [--variants ours,float32] [--out benchmarks/training_step.csv]

The arms take --steps steps each in turn, --rounds times; each arm's steps are divided by ours of
the same round. ``efficientnet-pytorch`` is that package's network of the same shape in the same
engine. Compiling takes a minute before the first round. Prints a table and writes CSV.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from composed import experiment_of
from efficientnet_pytorch import EfficientNet as OtherEfficientNet
from efficientnet_pytorch.utils import BlockArgs, GlobalParams
from rows import machine, today, write_rows
from torch import nn
from torch.nn import functional

from scaling_search.base_networks.blocks import NORM_EPSILON
from scaling_search.base_networks.efficientnets import SE_RATIO, EfficientNet
from scaling_search.core.recipe import Recipe
from scaling_search.experiment.experiment import Experiment
from scaling_search.training.batches import Loaded, load, padded_by
from scaling_search.training.engine import settings
from scaling_search.training.steps import Steps

WARM_UP = 5
MANY = 1_000_000.0
"""Epochs of the schedule: no arm reaches its end."""


@dataclass(frozen=True)
class Arm:
    """An implementation of steps, with its number of threads."""

    step: Callable[[], object]
    threads: int = 1


def other_network(architecture: EfficientNet) -> nn.Module:
    """efficientnet-pytorch's network of the same stages; its own stem and head are the official."""
    a = architecture
    channels = a.stem_channels
    blocks = []
    for s in a.stages:
        shape = (s.num_layers, s.kernel_size, s.stride, s.expand_ratio, channels, s.channels)
        blocks.append(BlockArgs(*shape, SE_RATIO, id_skip=True))
        channels = s.channels
    params = GlobalParams(
        image_size=2 * a.resolution // a.stem_stride,  # its stem halves them
        dropout_rate=a.dropout,
        num_classes=a.num_classes,
        batch_norm_momentum=1 - a.norm_momentum,
        batch_norm_epsilon=NORM_EPSILON,
        drop_connect_rate=a.stochastic_depth,
        include_top=True,
    )
    network = OtherEfficientNet(blocks, params)
    norm = partial(nn.BatchNorm2d, momentum=a.norm_momentum, eps=NORM_EPSILON)
    stem = nn.Conv2d(a.in_channels, a.stem_channels, 3, a.stem_stride, padding=1, bias=False)
    network._conv_stem, network._bn0 = stem, norm(a.stem_channels)  # noqa: SLF001 - no other way
    network._conv_head = nn.Conv2d(channels, a.head_channels, 1, bias=False)  # noqa: SLF001
    network._bn1 = norm(a.head_channels)  # noqa: SLF001
    network._fc = nn.Linear(a.head_channels, a.num_classes)  # noqa: SLF001
    ours = sum(p.numel() for p in a.build().parameters())
    assert sum(p.numel() for p in network.parameters()) == ours
    return network  # type: ignore[no-any-return]  # the package is untyped


def unfused(steps: Steps) -> Steps:
    """The steps with the optimiser that torch takes where none is asked for."""
    for group in steps.optimizer.param_groups:
        group.update(fused=None, foreach=None)
    return steps


def image_by_image(steps: Steps, data: Loaded, recipe: Recipe) -> Callable[[], None]:
    """A step whose images are cropped and normalised one by one, as a data loader does it."""
    stream = np.random.default_rng(0)
    train, padding = data.train, padded_by(data, recipe.crop)
    native, device = train.images.shape[-1], train.images.device
    size = data.splits.train.images.shape[-1]

    def moved(index: int) -> torch.Tensor:
        top, left = stream.integers(2 * padding + 1, size=2)
        padded = functional.pad(train.images[index].float(), (padding,) * 4)
        crop = padded[None, :, top : top + native, left : left + native]
        resized = functional.interpolate(crop, size, mode="bilinear", antialias=True)
        return (resized[0] - data.mean[0]) / data.std[0]

    def step() -> None:
        chosen = stream.integers(len(train.labels), size=steps.batch_size).tolist()
        images = torch.stack([moved(index) for index in chosen]).to(device)
        inputs = images.contiguous(memory_format=torch.channels_last)
        labels = torch.stack([train.labels[index] for index in chosen])
        logits = steps.network(inputs)
        loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        loss.backward()
        steps.optimizer.step()
        steps.optimizer.zero_grad(set_to_none=True)

    return step


def arms(experiment: Experiment, device: str) -> dict[str, Callable[[], Arm]]:
    """The makers of the arms, by name."""
    architecture = experiment.base_network
    assert isinstance(architecture, EfficientNet)
    data = load(experiment.dataset, architecture.resolution, device)
    recipe = replace(experiment.recipe, epochs=MANY / len(data.splits.train.labels))

    def steps(network: nn.Module | None = None, **changes: object) -> Steps:
        torch.manual_seed(0)
        built = (network or architecture.build()).to(device).train()
        return Steps(built, data, replace(recipe, **changes), seed=0)

    made: dict[str, Callable[[], Arm]] = {
        "ours": lambda: Arm(steps().advance),
        "efficientnet-pytorch": lambda: Arm(steps(other_network(architecture)).advance),
        "channels first": lambda: Arm(steps(channels_last=False).advance),
        "optimiser not fused": lambda: Arm(unfused(steps(cuda_graph=False)).advance),
        "images one by one": lambda: Arm(image_by_image(steps(), data, recipe)),
        "compiled": lambda: Arm(steps(compile=True).advance),
    }
    if device == "cpu":
        return made | {"two threads": lambda: Arm(steps().advance, threads=2)}
    return made | {
        "float32": lambda: Arm(steps(mixed_precision=False).advance),
        "no CUDA graph": lambda: Arm(steps(cuda_graph=False).advance),
    }


def timed(arm: Arm, number: int, device: str) -> float:
    """Seconds of a step, over so many."""
    torch.set_num_threads(arm.threads)
    if device != "cpu":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(number):
        arm.step()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / number


def main() -> None:
    """Runs steps of the arms in turn, prints and writes their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="of each arm in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--variants", type=partial(str.split, sep=","), help="besides ours")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    experiment = experiment_of()
    seconds: dict[str, list[float]] = {}
    with settings(experiment.recipe, options.device):
        makers = arms(experiment, options.device)
        chosen = ["ours", *(n for n in options.variants or makers if n != "ours")]
        made = {name: makers[name]() for name in chosen}
        for arm in made.values():
            timed(arm, WARM_UP, options.device)
        for _ in range(options.rounds):
            for name, arm in made.items():
                seconds.setdefault(name, []).append(timed(arm, options.steps, options.device))
    where = {"machine": machine(options.device), "date": today()}
    print(f"{', '.join(where.values())}; batches of {experiment.recipe.batch_size}\n")
    print(f"{'arm':24}{'median ms':>11}{'least ms':>10}{'times ours':>12}")
    rows = []
    for name, found in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(found, seconds["ours"], strict=True))
        median, least = 1000 * statistics.median(found), 1000 * min(found)
        print(f"{name:24}{median:11.2f}{least:10.2f}{ratio:12.2f}")
        numbers = {"median_ms": median, "least_ms": least, "times_ours": ratio}
        rounded = {column: round(value, 3) for column, value in numbers.items()}
        row = {"arm": name, **rounded, "rounds": options.rounds, "steps": options.steps}
        rows.append(row | where)
    write_rows(rows, options.out)


if __name__ == "__main__":
    main()
