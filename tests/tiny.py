"""A whole search in a second: real images, a network of 18,552 multiply-adds, three candidates."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaling_search.base_networks.efficientnet import EfficientNet, small_efficientnet
from scaling_search.costs.flops import Flops
from scaling_search.costs.latency import Latency
from scaling_search.costs.memory import Memory
from scaling_search.datasets.fashion_mnist_small import FashionMnistSmall
from scaling_search.executors.inline import Inline
from scaling_search.experiment import (
    Audit,
    Confirm,
    Decide,
    Experiment,
    Export,
    Fairness,
    Limits,
    Report,
    Scale,
    Transfer,
)
from scaling_search.planning.budget import Budget, Caps
from scaling_search.planning.candidates import Candidate, Plan
from scaling_search.samplers.grid import Grid
from scaling_search.training.recipe import Recipe
from scaling_search.training.trial import Epoch, Trial, TrialResult
from tests.proxies import buildable


def tiny_network(**changes: Any) -> EfficientNet:
    """Two stages for grey images of 8 px and more, ten classes."""
    options: dict[str, Any] = {
        "num_layers": (1, 2),
        "kernel_size": (3, 3),
        "stride": (1, 2),
        "expand_ratio": (1, 2),
        "channels": (4, 8),
        "stem_channels": 4,
        "stem_stride": 1,
        "head_channels": 16,
        "resolution": 8,
        "in_channels": 1,
        "num_classes": 10,
        "se_ratio": 0.25,
        "dropout": 0.2,
        "stochastic_depth": 0.2,
        "norm_momentum": 0.1,
        "norm_epsilon": 1e-3,
        "width_divisor": 2,
        "resolution_divisor": 2,
        "depth_rounding": "round",
    }
    return small_efficientnet(**options | changes)


def caps(**limits: float) -> Caps:
    """No caps but those given."""
    names = ("flops", "params", "activations", "train_flops", "latency_ms", "memory_bytes")
    options: dict[str, Any] = dict.fromkeys(names)
    latency = Latency(device="cpu", batch_size=4, repeats=5, warm_up=1, threads=1)
    measures = {"latency": latency, "memory": Memory(device="auto", batch_size=4)}
    return Caps(**options | measures | limits)


def tiny_dataset() -> FashionMnistSmall:
    """Ten training and five validation images of each class."""
    return FashionMnistSmall(
        num_train=100, num_val=50, num_classes=10, in_channels=1, resolution=28
    )


def tiny_recipe(**changes: Any) -> Recipe:
    """Two epochs of five steps."""
    options: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 20,
        "learning_rate": 0.1,
        "warmup_epochs": 0.5,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "label_smoothing": 0.1,
        "averaging": 0.0,
        "crop": 0.1,
        "flip": True,
        "mixed_precision": True,
        "channels_last": True,
        "deterministic": False,
        "compile": False,
        "cuda_graph": True,
        "checkpoint_minutes": None,
        "equal": "epochs",
    }
    return Recipe(**options | changes)


def tiny_experiment(out: Path, **changes: Any) -> Experiment:
    """Four networks, the base among them, and one seed."""
    options: dict[str, Any] = {
        "name": "tiny",
        "out": str(out),
        "storage": None,
        "objective": "val_loss",
        "num_seeds": 1,
        "base_network": tiny_network(),
        "candidates": buildable(tolerance=0.1, max_networks=3),
        "cost": Flops(),
        "caps": caps(),
        "dataset": tiny_dataset(),
        "recipe": tiny_recipe(),
        "sampler": Grid(),
        "executor": Inline(device="cpu", retries=0),
        "limits": Limits(trainings=None, hours=None, gpu_hours=None, region=None, failed_share=1.0),
        "decide": Decide(delta=None, seed_sd=None),
        "confirm": Confirm(num_seeds=2, force=False),
        "fairness": Fairness(learning_rate=True, length=True, num_seeds=2),
        "transfer": Transfer(phis=(2,), num_seeds=1),
        "scale": Scale(
            coefficients=None, families=("compound",), phis=(0, 1), num_seeds=1, tolerance=0.1
        ),
        "report": Report(most=10, published=False),
        "audit": Audit(table=None, coefficients=None, write=False),
        "export": Export(programs=False, onnx=False, train=False),
        "keep_weights": False,
        "price_only": False,
        "timed": False,
    }
    return Experiment(**options | changes)


@functools.cache
def tiny_plan(max_networks: int = 3) -> Plan:
    """Networks of twice the tiny network's cost, ± 10 %; there are ten."""
    return buildable(tolerance=0.1, max_networks=max_networks).plan(Budget(tiny_network(), Flops()))


def tiny_trial(number: int = 0, *, seed: int = 0, **changes: Any) -> Trial:
    """A training of the base network, or of a candidate of the plan."""
    recipe = tiny_recipe(**changes)
    return Trial(candidate_of(tiny_plan(), number), seed, recipe, tiny_dataset())


def candidate_of(plan: Plan, number: int) -> Candidate:
    """A plan's candidate by its number, the base network being 0."""
    return (plan.base, *plan.candidates)[number]


def with_network(trial: Trial, **changes: Any) -> Trial:
    """The trial, of a tiny network with other options."""
    architecture = tiny_network(**changes)
    return replace(trial, candidate=replace(trial.candidate, architecture=architecture))


def ended(trial: Trial, *val_losses: float) -> TrialResult:
    """A result as a training would leave it; the accuracy is 1 - loss / 10."""
    return TrialResult(
        trial,
        "COMPLETE",
        curve=tuple(Epoch(loss + 1, loss, 1 - loss / 10) for loss in val_losses),
        train_seconds=10.0,
        total_seconds=12.0,
        images_per_second=20.0,
        peak_memory_bytes=1000,
        device="cpu",
        host="here",
        versions="python, torch",
    )


def failed(trial: Trial, reason: str = "RuntimeError: no luck") -> TrialResult:
    """A result as a training that went wrong would leave it."""
    return TrialResult(
        trial, "FAIL", reason=reason, total_seconds=1.0, device="cpu", host="here", versions="v"
    )
