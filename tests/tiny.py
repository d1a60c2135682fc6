"""A whole search in a second: real images, a network of 18,552 multiply-adds, three candidates."""

import functools
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from scaling_search.answer.stopping import Limits
from scaling_search.base_networks.efficientnets import EfficientNet, small_efficientnet
from scaling_search.candidates.buildable import Buildable
from scaling_search.commands.run import Run
from scaling_search.core.candidate import Candidate
from scaling_search.core.recipe import Recipe
from scaling_search.core.trial import Epoch, Trial, TrialResult
from scaling_search.costs.flops import Flops
from scaling_search.costs.latency import Latency
from scaling_search.costs.memory import Memory
from scaling_search.datasets.fashion_mnist_small import FashionMnistSmall
from scaling_search.experiment.experiment import Experiment
from scaling_search.planning.budget import Budget, Caps
from scaling_search.planning.candidates import Plan
from tests.in_process import Executing


def tiny_network(**changes: Any) -> EfficientNet:
    """Two stages for grey images of 8 px and more, ten classes."""
    options: dict[str, Any] = {
        "num_layers": (1, 2),
        "kernel_size": (3, 3),
        "stride": (1, 2),
        "expand_ratio": (1, 2),
        "channels": (4, 8),
        "stem_channels": 4,
        "head_channels": 16,
        "resolution": 8,
        "dropout": 0.2,
        "stochastic_depth": 0.2,
        "width_divisor": 2,
        "resolution_divisor": 2,
    }
    return small_efficientnet(**options | changes)


def caps(**limits: float) -> Caps:
    """No caps but those given."""
    latency = Latency(device="cpu", batch_size=4, repeats=5)
    return Caps(latency=latency, memory=Memory(batch_size=4), **limits)


def tiny_dataset() -> FashionMnistSmall:
    """Ten training and five validation images of each class."""
    return FashionMnistSmall(num_train=100, num_val=50)


def tiny_recipe(**changes: Any) -> Recipe:
    """Two epochs of five steps; no other recipe is asked."""
    options: dict[str, Any] = {"epochs": 2, "batch_size": 20, "learning_rate": 0.1, "check": False}
    options |= {"crop": 0.1, "flip": True}
    return Recipe(**options | changes)


def tiny_experiment(**changes: Any) -> Experiment:
    """Four networks, the base among them, and one seed."""
    options: dict[str, Any] = {
        "name": "tiny",
        "num_seeds": 1,
        "base_network": tiny_network(),
        "candidates": Buildable(tolerance=0.1, max_networks=3),
        "dataset": tiny_dataset(),
        "recipe": tiny_recipe(),
    }
    return Experiment(**options | changes)


def tiny_run(out: Path, **changes: Any) -> Run:
    """The same experiment in a folder, trained in this process; changes of both."""
    own = {field.name for field in fields(Run)} & set(changes)
    options: dict[str, Any] = {
        "executor": Executing(),
        "limits": Limits(failed_share=1.0),
        **{name: changes.pop(name) for name in own},
    }
    return Run(tiny_experiment(**changes), str(out), **options)


def changed(run: Run, **changes: Any) -> Run:
    """The same folder with another choice of the experiment."""
    return replace(run, experiment=replace(run.experiment, **changes))


@functools.cache
def tiny_plan(max_networks: int = 3) -> Plan:
    """Networks of twice the tiny network's cost, ± 10 %; there are eight in five places."""
    return Buildable(tolerance=0.1, max_networks=max_networks).plan(Budget(tiny_network(), Flops()))


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
