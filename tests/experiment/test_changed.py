"""The command of a search, rebuilt from its options: it composes the same choices."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import scaling_search as ss
from scaling_search.experiment.changed import changed_options
from scaling_search.experiment.composing import composed, saved

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def changed(*overrides: str) -> list[str]:
    """What `changed_options` says of options that were composed by overrides."""
    found = changed_options(composed(*overrides))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "given",
    [
        ("recipe.epochs=7", "num_seeds=2", "name='a b'", "objective=val_accuracy"),
        ("base_network=resnet_small", "candidates.target=4.0", "sampler=tpe"),
        ("base_network=mobilenet_v1_small", "cost=latency", "caps.params=5e6"),
        ("base_network.channels=[8,16,24]", "decide.delta=0.01"),
        ("experiment=fashion_mnist_small", "candidates=paper_grid"),
    ],
)
def test_they_compose_the_same_choices(given: tuple[str, ...]) -> None:
    assert ss.compose(*changed(*given)) == ss.compose(*given)


def test_only_what_differs_is_named() -> None:
    filled_in = set(changed())  # the base network's size, of the data and the target
    assert filled_in <= {"base_network.resolution=20"}
    found = changed("recipe.epochs=2.5", "sampler=tpe", "dataset.num_classes=10")
    assert set(found) - filled_in == {"recipe.epochs=2.5", "sampler=tpe"}


def test_a_recorded_search_is_composed_again() -> None:
    folder = EXPERIMENTS / "fashion_mnist_small"
    options: Any = OmegaConf.to_container(saved(folder))
    found = changed_options(options)
    assert found is not None
    loaded = ss.load(folder).experiment
    # Ways to measure what has no limit are not kept.
    assert replace(ss.compose(*found), caps=loaded.caps) == loaded
    assert loaded.caps.latency_ms is loaded.caps.memory_bytes is None


def test_a_part_of_ones_own_has_no_command() -> None:
    options = composed() | {"sampler": {"_target_": "mine.Sampler"}}
    assert changed_options(options) is None
    options = composed() | {"base_network": {"class": "mine.Network"}}
    assert changed_options(options) is None
