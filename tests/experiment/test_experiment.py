"""An experiment: what it refuses, and which trainings it asks for."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from scaling_search.answer.stopping import Limits
from scaling_search.experiment.experiment import CHOICES, FREE, Experiment
from scaling_search.experiment.options import Scale
from scaling_search.samplers import Tpe
from scaling_search.spaces import Buildable
from tests.tiny import (
    tiny_dataset,
    tiny_experiment,
    tiny_network,
    tiny_plan,
    tiny_recipe,
)

always_the_same = settings(derandomize=True, deadline=None, max_examples=30)


def below(limit: float) -> SearchStrategy[float]:
    return st.floats(max_value=limit, exclude_max=True, allow_infinity=False)


def at_most(limit: float) -> SearchStrategy[float]:
    return st.floats(max_value=limit, allow_infinity=False)


def at_least(limit: float) -> SearchStrategy[float]:
    return st.floats(min_value=limit, allow_infinity=False)


def above(limit: float) -> SearchStrategy[float]:
    return st.floats(min_value=limit, exclude_min=True, allow_infinity=False)


def tiny_scale(**changes: Any) -> Scale:
    options: dict[str, Any] = {
        "coefficients": [1.2, 1.1, 1.15],
        "families": ["compound", "paper"],
        "phis": [0, 1],
        "num_seeds": 1,
        "tolerance": 0.05,
    }
    return Scale(**options | changes)


def limits(**changes: Any) -> Limits:
    options: dict[str, Any] = {"trainings": None, "hours": None, "gpu_hours": None, "region": None}
    return Limits(**options | {"failed_share": 0.5} | changes)


# Of each option the values that it must not have.
OUT_OF_RANGE: dict[Callable[..., object], dict[str, SearchStrategy[Any]]] = {
    tiny_recipe: {
        "epochs": at_most(0),
        "batch_size": st.integers(max_value=1),
        "learning_rate": at_most(0),
        "warmup_epochs": below(0),
        "momentum": below(0) | at_least(1),
        "weight_decay": below(0),
        "label_smoothing": below(0) | at_least(1),
        "averaging": below(0) | at_least(1),
        "crop": below(0) | above(0.5),
        "flip": st.integers() | st.text() | st.none(),
        "mixed_precision": st.integers() | st.none(),
        "channels_last": st.integers() | st.none(),
        "deterministic": st.integers() | st.none(),
        "compile": st.integers() | st.none(),
        "cuda_graph": st.integers() | st.none(),
        "equal": st.text(),
    },
    Buildable: {
        "tolerance": at_most(0) | at_least(1),
        "max_networks": st.integers(max_value=0) | st.none() | st.floats(),
        "max_resolution": st.integers(max_value=0) | st.floats(),
    },
    tiny_scale: {
        "phis": st.lists(st.integers(max_value=-1) | st.integers(min_value=9), min_size=1),
        "num_seeds": st.integers(max_value=0),
        "tolerance": at_most(0) | at_least(1),
        "coefficients": st.lists(st.floats(1, 2), max_size=2) | st.lists(st.text(), min_size=3),
    },
    Tpe: {
        "objective": st.text(),
        "num_startup": st.integers(max_value=0),
        "seed": st.integers(max_value=-1),
    },
    limits: {
        "trainings": st.integers(max_value=0) | st.text() | st.floats(),
        "hours": at_most(0) | st.text(),
        "gpu_hours": at_most(0) | st.text(),
        "region": at_most(0) | at_least(1),
        "failed_share": below(0) | above(1),
    },
    tiny_network: {
        "num_layers": st.lists(st.integers(max_value=0), min_size=2, max_size=2),
        "stem_stride": st.integers(min_value=3),
        "dropout": below(0) | at_least(1),
        "depth_rounding": st.text(max_size=3),
    },
}


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [
        pytest.param(make, name, values, id=f"{make.__name__}-{name}")
        for make, options in OUT_OF_RANGE.items()
        for name, values in options.items()
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_option(
    make: Callable[..., object], name: str, values: SearchStrategy[Any]
) -> None:
    @always_the_same
    @given(values)
    def refuse(value: object) -> None:
        with pytest.raises(pydantic.ValidationError) as caught:
            make(**{name: value})
        assert {error["loc"][0] for error in caught.value.errors()} == {name}

    refuse()


OPTIONAL = ("checkpoint_minutes",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (field.name, value)
        for field in fields(tiny_recipe())
        for value in (math.nan, math.inf, "1", *([] if field.name in OPTIONAL else [None]))
    ],
)
def test_options_are_neither_converted_nor_infinite(name: str, value: object) -> None:
    with pytest.raises(pydantic.ValidationError, match=name):
        tiny_recipe(**{name: value})


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="colour"):
        tiny_recipe(colour="red")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("out", ""),
        ("objective", "test_accuracy"),
        ("num_seeds", 0),
        ("storage", 3),
        ("base_network", "b0"),
        ("candidates", None),
        ("cost", tiny_network()),
        ("dataset", "cifar10"),
        ("recipe", {"epochs": 3}),
        ("sampler", tiny_dataset()),
        ("executor", "inline"),
    ],
)
def test_a_part_of_another_kind_is_refused_by_its_name(
    experiment: Experiment, name: str, value: object
) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        replace(experiment, **{name: value})  # type: ignore[arg-type]  # which is the point
    assert {error["loc"][0] for error in caught.value.errors()} == {name}


def test_an_experiment_cannot_be_changed(experiment: Experiment) -> None:
    with pytest.raises(AttributeError):
        experiment.num_seeds = 2  # type: ignore[misc]  # which is the point


def test_the_choices_that_decide_are_options_of_an_experiment() -> None:
    assert set(FREE) < set(CHOICES) == {field.name for field in fields(Experiment)}


def test_trials_are_all_candidates_seed_by_seed() -> None:
    experiment = tiny_experiment(num_seeds=3)
    trials = experiment.trials(tiny_plan())
    assert [t.order for t in trials] == [(seed, n) for seed in range(3) for n in range(4)]
    assert trials == sorted(trials, key=lambda trial: trial.order)
    for trial in trials:
        assert trial.recipe == tiny_recipe()
        assert trial.dataset == tiny_dataset()
    networks = [t.candidate for t in trials[:4]]
    assert networks == [tiny_plan().base, *tiny_plan().candidates]
    assert len({trial.key for trial in trials}) == 12


def test_a_trial_is_the_same_in_every_experiment_of_its_recipe_and_data(
    experiment: Experiment,
) -> None:
    elsewhere = replace(experiment, name="other", num_seeds=2)
    candidate = tiny_plan().candidates[1]
    assert experiment.trial(candidate, 1) == elsewhere.trial(candidate, 1)
    assert experiment.trial(candidate, 1) in elsewhere.trials(tiny_plan())


def test_a_plan_is_that_of_its_candidates_for_its_base_network(experiment: Experiment) -> None:
    assert experiment.plan() == tiny_plan()


def test_data_that_fit_are_ready(experiment: Experiment) -> None:
    assert experiment.ready_dataset() == tiny_dataset()


def test_without_data_there_is_nothing_to_train(experiment: Experiment) -> None:
    with pytest.raises(ValueError, match="dataset must be named to train, got null; add for"):
        replace(experiment, dataset=None).ready_dataset()


@pytest.mark.parametrize(("key", "value"), [("num_classes", 1000), ("in_channels", 3)])
def test_a_base_network_that_does_not_fit_the_data_is_refused(
    experiment: Experiment, key: str, value: int
) -> None:
    other = replace(experiment, base_network=tiny_network(**{key: value}))
    wanted = getattr(tiny_dataset(), key)
    rule = f"base_network.{key} must be the dataset's {wanted}, got {value}; add base_network.{key}"
    with pytest.raises(ValueError, match=rule):
        other.ready_dataset()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"families": ["compound", "height"]},
            "should be 'compound', 'depth', 'width', 'resolution' or 'paper'",
        ),
        ({"coefficients": [1.2, 0.9, 1.1]}, "greater than or equal to 1"),
    ],
)
def test_families_and_coefficients_that_cannot_be_are_refused(
    changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(pydantic.ValidationError, match=rule):
        tiny_scale(**changes)
