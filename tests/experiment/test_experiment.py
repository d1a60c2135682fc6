"""An experiment: what it refuses, and which trainings it asks for."""

import math
from dataclasses import fields, replace
from typing import Any

import pydantic
import pytest

from scaling_search.core.trial import Trial
from scaling_search.experiment.experiment import CHOICES, FREE, Experiment
from tests.tiny import (
    tiny_dataset,
    tiny_experiment,
    tiny_network,
    tiny_plan,
    tiny_recipe,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("epochs", value) for value in (0.0, math.nan, math.inf, "1", None)],
        ("crop", 0.6),
        ("flip", 1),
        ("equal", "steps"),
        ("colour", "red"),
    ],
)
def test_a_recipe_takes_only_its_options_in_range_and_converts_nothing(
    name: str, value: object
) -> None:
    with pytest.raises(pydantic.ValidationError, match=name):
        tiny_recipe(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("base_network", "b0"), ("cost", tiny_network()), ("sampler", tiny_dataset())],
)
def test_a_part_of_another_kind_is_refused_by_its_name(
    experiment: Experiment, name: str, value: object
) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        replace(experiment, **{name: value})  # type: ignore[arg-type]  # which is the point
    assert {error["loc"][0] for error in caught.value.errors()} == {name}


def test_a_sampler_that_takes_no_objective_is_refused(experiment: Experiment) -> None:
    class First:
        def choose(self, remaining: list[Trial], running: object, finished: object) -> Trial:
            del running, finished
            return remaining[0]

    with pytest.raises(ValueError, match=r"sampler\.choose must take remaining, running, finished"):
        replace(experiment, sampler=First())  # type: ignore[arg-type]  # which is the point


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


@pytest.mark.parametrize(
    ("num_seeds", "counts"),
    [
        (1, [1, 1, 1, 1]),
        (2, [2, 2, 2, 2]),
        (2.0, [2, 2, 2, 2]),
        (1.25, [2, 1, 1, 1]),
        (1.26, [2, 2, 1, 1]),
        (2.5, [3, 3, 2, 2]),
        (1.25, [2, 1, 1]),
        (1.25, [2, 2, 1, 1, 1]),
        (2.1, [3, *[2] * 9]),  # in floats 10 times the fraction is a little more than 1
    ],
)
def test_a_fraction_of_a_seed_is_one_more_for_the_first_networks(
    num_seeds: float, counts: list[int]
) -> None:
    experiment = tiny_experiment(num_seeds=num_seeds)
    assert experiment.seed_counts(len(counts)) == counts
    assert experiment.most_seeds == counts[0]
    if len(counts) == 3:
        trials = experiment.trials(tiny_plan())
        assert [t.order for t in trials] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]


@pytest.mark.parametrize("num_seeds", [0, 0.5, -1, True, "2", float("nan"), float("inf")])
def test_a_number_of_seeds_is_one_or_more(num_seeds: Any) -> None:
    with pytest.raises(ValueError, match="num_seeds"):
        tiny_experiment(num_seeds=num_seeds)


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
    with pytest.raises(ValueError, match="dataset must be given for training, got null; add for"):
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
