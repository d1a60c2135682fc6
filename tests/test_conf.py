"""Every configuration: it composes, it builds, and it names every option and no other."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from scaling_search.core.dataset import Dataset
from scaling_search.core.network import Architecture
from scaling_search.core.own_training import OwnCommand, OwnTraining
from scaling_search.core.protocols import Cost, Executor, SampledCost, Sampler
from scaling_search.core.recipe import Recipe
from scaling_search.executors import Processes
from scaling_search.experiment.experiment import CHOICES, Experiment
from scaling_search.experiment.options import Options
from scaling_search.planning.budget import Caps
from scaling_search.record.schema import MOVED, current
from tests.composed import CONF, EXPERIMENTS, PARTS, composed, options, part

KINDS: dict[str, Any] = {
    "base_network": Architecture,
    "cost": (Cost, SampledCost),
    "dataset": Dataset,
    "executor": Executor,
    "recipe": Recipe,
    "sampler": Sampler,
    "training": (OwnTraining, OwnCommand, type(None)),
}

PUBLISHED = {
    *("num_layers", "strides", "widths", "stem_stride", "resolution", "dropout"),
    *("width_divisor", "resolution_divisor", "depth_rounding"),
}
LONGER = {"epochs", "batch_size", "learning_rate", "warmup_epochs", "weight_decay", "flip"}
DIFFERENT: dict[str, set[str]] = {
    "sgd": LONGER | {"crop"},
    "adamw": LONGER | {"optimizer", "clip_norm", "label_smoothing", "crop"},
    "imagenet": LONGER
    | {"optimizer", "label_smoothing", "resized_crop", "rand_augment", "erasing", "mixup", "cutmix"}
    | {"checkpoint_minutes"},
    "arrays": {"path"},
    "huggingface": {"path"},
    "imagefolder": {"path"},
    "base_network=custom": {"network"},
    "training=custom": {"function"},
    "training=command": {"command"},
    "caps": {"latency", "memory"},  # None in code
    "convnext_tiny": PUBLISHED - {"strides", "stem_stride", "dropout"}
    | {"patch_size", "layer_scale", "stochastic_depth"},
    "mobilenet_v1": PUBLISHED,
    "mobilenet_v2": PUBLISHED | {"expand_ratio"},
    "efficientnet_medium": {
        *("num_layers", "channels", "stem_channels", "head_channels", "dropout"),
        *("width_divisor", "resolution_divisor"),
    },
    "efficientnet_b0": {"in_channels", "num_classes"},  # ImageNet's in code
    "resnet": {"in_channels", "num_classes"},
    "vit": {"in_channels", "num_classes"},
}
"""Options whose default in code is not what the YAML says: required ones, or another variant's."""


def target(name: str) -> Any:
    """What a ``_target_`` names."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def nodes(given: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All options with a ``_target_``, by their key."""
    if "_target_" in given:
        yield place, given
    for key, value in given.items():
        if isinstance(value, dict):
            yield from nodes(value, f"{place}.{key}".strip("."))


def assert_keys_are_parameters(given: dict[str, Any]) -> None:
    for place, node in nodes(given):
        if "_partial_" in node:
            continue  # a user function with options of its own
        parameters = inspect.signature(target(node["_target_"])).parameters
        assert set(node) - {"_target_"} == set(parameters), place


def test_there_are_parts_of_every_kind() -> None:
    assert {group for group, _ in PARTS} == {*KINDS, "candidates"}


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_every_part_builds_what_its_folder_says(group: str, name: str) -> None:
    made = part(group, name)
    if group in KINDS:
        assert isinstance(made, KINDS[group])


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_every_part_names_every_option_and_no_other(group: str, name: str) -> None:
    assert_keys_are_parameters(composed(f"{group}={name}"))


@pytest.mark.parametrize(("group", "name"), [*PARTS, ("caps", "")])
def test_defaults_in_code_are_those_of_every_part_s_yaml(group: str, name: str) -> None:
    given = composed("~experiment", *[f"{group}={name}"] * bool(name))[group]
    parameters = inspect.signature(target(given["_target_"])).parameters
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    different = {key for key, p in parameters.items() if p.default != values[key]}
    assert different == DIFFERENT.get(f"{group}={name}", DIFFERENT.get(name or group, set()))


@pytest.mark.parametrize(("group", "name"), [part for part in PARTS if part[0] != "recipe"])
def test_every_part_is_offered_by_its_package(group: str, name: str) -> None:
    module, _, part_name = composed(f"{group}={name}")[group]["_target_"].rpartition(".")
    package = importlib.import_module(module.rpartition(".")[0])
    assert {part_name} <= set(package.__all__) == set(dir(package))
    assert getattr(package, part_name) is target(f"{module}.{part_name}")


def test_packages_of_parts_are_imported_without_their_libraries() -> None:
    packages = "base_networks, candidates, costs, datasets, executors, samplers, training"
    said = (
        f"from scaling_search import {packages}; import sys; "
        "assert not {'torch', 'ray', 'datasets', 'optuna', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", said], check=True)


def test_parts_of_older_runs_are_found_by_their_present_names() -> None:
    assert not [old for old in MOVED if old in MOVED.values()]
    runs = [OmegaConf.load(path) for path in (CONF.parent / "experiments").glob("*/config.yaml")]
    present: list[Any] = [current(OmegaConf.to_container(run)) for run in runs]
    assert len(present) > 3
    for name in MOVED.values():
        assert callable(target(name)), name
    for place, node in (one for run in present for one in nodes(run) if one[0]):
        parameters = inspect.signature(target(node["_target_"])).parameters
        assert {*node} - {"_target_"} <= {*parameters}, place


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_builds(name: str) -> None:
    assert_keys_are_parameters(composed(f"experiment={name}"))
    made = options(f"experiment={name}")
    assert made.experiment.name == name
    assert made.out == f"runs/{name}"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_its_command(name: str) -> None:
    lines = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    head = "\n".join(line for line in lines if line.startswith("#"))
    assert f"experiment={name}" in head


def test_the_root_s_defaults_are_those_of_the_code() -> None:
    composed_ones, in_code = (
        options("~experiment"),
        Options(Experiment(), "runs/default", Processes()),
    )
    assert replace(composed_ones.experiment.caps, latency=None, memory=None) == Caps()
    caps = replace(composed_ones.experiment, caps=Caps())
    assert replace(composed_ones, experiment=caps) == in_code
    assert {*composed()} == {*CHOICES, *(field.name for field in fields(Options))} - {"experiment"}


def test_an_experiment_without_data_can_plan_and_takes_data_when_named() -> None:
    assert options("experiment=paper_grid").experiment.dataset is None
    given = options("experiment=paper_grid", "dataset=fashion_mnist_small")
    assert isinstance(given.experiment.dataset, Dataset)


def test_what_is_said_on_the_command_line_wins_over_the_experiment() -> None:
    made = options("experiment=fashion_mnist_small", "recipe.epochs=7", "sampler=tpe").experiment
    assert made.recipe.epochs == 7
    assert made.sampler == part("sampler", "tpe")


def test_options_that_depend_on_each_other_are_said_once() -> None:
    values = composed("num_seeds=5", "name=mine")
    assert values["out"] == "runs/mine"
    assert values["base_network"]["num_classes"] == values["dataset"]["num_classes"] == 10
    assert values["candidates"]["max_resolution"] == values["dataset"]["resolution"] == 28


@pytest.mark.parametrize(
    ("override", "key", "place"),
    [
        ("recipe.epochs=0", "epochs", "recipe"),
        ("+recipe.colour=red", "colour", "recipe"),
        ("scale.families=[height]", "height", "scale"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_option(
    override: str, key: str, place: str
) -> None:
    with pytest.raises(InstantiationException, match=rf"(?s){key}.*full_key: {place}$"):
        options(override)
