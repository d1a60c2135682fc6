"""A recipe: its schedules, its augmentation, and what contradicts itself."""

import re
from dataclasses import fields, replace
from typing import Any

import pydantic
import pytest

from scaling_search.core.recipe import AUGMENTATION, Recipe, learning_rate, text_of
from tests.cli import Cli
from tests.composed import composed, part

ON: dict[str, Any] = {
    "crop": 0.1,
    "resized_crop": (0.3, 1.0),
    "flip": True,
    "color_jitter": 0.4,
    "rand_augment": (2, 9),
    "erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.5, 1.0, 2.0, 1.75, 1.0, 0.25]),
        ("constant", [0.5, 1.0, 2.0, 2.0, 2.0, 2.0]),
        # Half a cosine: cos(45°) = 0.7071.
        ("cosine", [0.5, 1.0, 2.0, 1.9239, 1.0, 0.0761]),
    ],
)
def test_after_warm_up_the_rate_follows_its_schedule(schedule: Any, expected: list[float]) -> None:
    # Three steps of warm-up, then eight: of the height 2, at 0, 1/8, 1/2 and 7/8 of the fall.
    recipe = Recipe(
        epochs=11, warmup_epochs=3.0, learning_rate=2.0, schedule=schedule, batch_size=2
    )
    found = [learning_rate(recipe, step, 1) for step in (0, 1, 3, 4, 7, 10)]
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optimizer": "adamw", "momentum": 0.5},
            "recipe.momentum must be 0.9 with recipe.optimizer=adamw, .*, got 0.5; leave it out or",
        ),
        ({"optimizer": "adamw", "nesterov": False}, "recipe.nesterov must be true .*, got false;"),
        (
            {"betas": (0.9, 0.99)},
            r"recipe.betas must be \[0.9,0.999\] with .*=sgd, .* \[0.9,0.99\]",
        ),
        ({"eps": 1e-6}, "recipe.eps must be 1e-08 with .*=sgd, .*; .* recipe.optimizer=adamw"),
        ({"resized_crop": (0.5, 0.2)}, r"got \[0.5,0.2\]; add recipe.resized_crop=\[0.2,0.5\]"),
        ({"resized_crop": (0.2, 1.0), "crop": 0.1}, "recipe.crop must be 0 .*, got 0.1; add"),
    ],
)
def test_options_that_contradict_each_other_are_refused_by_name(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        Recipe(**options)
    assert re.search(message, str(caught.value))


def test_a_warm_up_that_outlasts_a_training_is_refused_where_it_would_begin() -> None:
    longer = Recipe(warmup_epochs=4.5)  # as in older records, which are read
    with pytest.raises(ValueError, match=r"warmup_epochs must be at most recipe.epochs=4, got 4.5"):
        longer.check_length()


@pytest.mark.parametrize("name", AUGMENTATION)
def test_each_augmentation_is_known_and_left_out_without(name: str) -> None:
    plain = Recipe()
    recipe = Recipe(**{name: ON[name]})
    assert (plain.is_augmented, recipe.is_augmented) == (False, True)
    assert recipe.augmentation == {name: ON[name]}
    assert recipe.without_augmentation() == plain
    assert replace(recipe, **{name: getattr(plain, name)}) == plain


def test_every_option_after_label_smoothing_and_before_the_start_changes_images() -> None:
    names = [one.name for one in fields(Recipe)]
    first, end = names.index("averaging") + 1, names.index("start")
    assert tuple(names[first:end]) == AUGMENTATION


def test_an_open_rate_begins_with_the_optimizers() -> None:
    assert Recipe(learning_rate="auto").rate == 0.4
    assert Recipe(learning_rate="auto", optimizer="adamw").rate == 0.001


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (0.0, "0"), (0.25, "0.25"), ((2, 9), "[2,9]"), (1.0, "1")],
)
def test_values_are_said_as_they_are_written(value: object, text: str) -> None:
    assert text_of(value) == text


def test_imagenet_is_trained_as_published() -> None:
    # Source: Touvron et al. 2021, table 9, for batches of 1024.
    recipe = part("recipe", "imagenet")
    assert recipe.rate == pytest.approx(0.0005 * 1024 / 512)
    assert (recipe.epochs, recipe.warmup_epochs, recipe.weight_decay) == (300, 5, 0.05)
    assert (recipe.mixup, recipe.cutmix, recipe.erasing, recipe.rand_augment) == (
        *(0.8, 1.0, 0.25),
        (2, 9),
    )
    assert (recipe.label_smoothing, recipe.optimizer) == (0.1, "adamw")


def test_a_recipe_that_is_named_is_trained_whole(cli: Cli) -> None:
    # One epoch of the default's first look would end within the warm-up.
    short = ("timed=false", "candidates.max_networks=2")
    assert cli("plan", "recipe=imagenet", *short).code == 0
    said = cli("plan", "experiment=default", "recipe=imagenet", *short).err
    assert "recipe.warmup_epochs must be at most recipe.epochs=1, got 5; add" in said


def test_what_memory_is_measured_of_follows_the_recipe() -> None:
    for name in ("sgd", "adamw"):
        given = composed(f"recipe={name}", "cost=memory", "experiment=fashion_mnist_small")
        assert given["cost"]["optimizer"] == given["caps"]["memory"]["optimizer"] == name


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("recipe.class_weights=equal", "recipe.class_weights must be 'balanced' or be a list, got"),
        ("recipe.class_weights=[1,2]", "recipe.class_weights must be 10 numbers, one for each"),
        ("recipe.rand_augment=9", "recipe.rand_augment must be a list, got 9;"),
        ("recipe.rand_augment=[2,31]", "recipe.rand_augment must be less than or equal to 30, got"),
        ("recipe.optimizer=lamb", "recipe.optimizer must be 'sgd' or 'adamw', got 'lamb';"),
        ("recipe.clip_norm=0", "recipe.clip_norm must be greater than 0, got 0;"),
    ],
)
def test_illegal_values_are_refused_in_a_line(cli: Cli, option: str, message: str) -> None:
    outcome = cli("plan", option, "timed=false")
    assert outcome.code == 2
    assert outcome.err.startswith(f"scaling-search: {message}")
    assert len(outcome.err.splitlines()) == 1
