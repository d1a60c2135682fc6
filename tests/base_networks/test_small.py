"""The base networks for small images: how many networks of twice their cost there are."""

import math
import re

import pytest

from scaling_search.candidates import Buildable
from scaling_search.core.space_filling import largest_hole
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from tests.base_networks.families import SMALL, family
from tests.cli import Cli

PLANS = {  # Source: the project's plans, counted when these networks were designed.
    "convnext_small": (1_438_640, 61),
    "efficientnet_small": (1_178_016, 114),
    "mobilenet_v1_small": (1_844_000, 86),
    "mobilenet_v2_small": (1_059_360, 109),
    "resnet_small": (1_950_200, 43),
}
"""Multiply-adds, and networks of twice as many, of those that conf/ has."""


def test_every_small_network_is_counted() -> None:
    assert list(PLANS) == SMALL


@pytest.mark.parametrize("name", SMALL)
def test_many_networks_of_twice_the_cost_cover_the_triangle(name: str) -> None:
    plan = Buildable().plan(Budget(family(name, in_channels=1), Flops()))
    assert (plan.base.flops, len(plan.pool)) == PLANS[name]
    shares = [c.shares for c in plan.candidates if c.shares]
    assert len(shares) >= 30
    assert largest_hole(shares)[0] <= 0.25
    assert sum(min(s) >= 0.1 for s in shares) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_whole_search_on_real_images(name: str, cli: Cli) -> None:
    options = [
        f"base_network={name}",
        "executor=inline",
        "candidates.max_networks=2",
        "dataset.num_train=200",
        "dataset.num_val=50",
        "recipe.epochs=1",
        "recipe.batch_size=20",
    ]
    said = cli("search", *options)
    assert said.code == 0, said.err
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", said.out)]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
    assert "all trainings are done" in said.out
