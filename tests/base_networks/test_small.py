"""The base networks for small images: how many networks of twice their cost there are."""

import math
import re
from pathlib import Path

import pytest

from scaling_search.candidates import Buildable
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from tests.base_networks.families import SMALL, family
from tests.cli import Cli
from tests.composed import CONF

NETWORKS = Path(__file__).parents[2] / "docs" / "networks.md"
NAMES = [*SMALL, "efficientnet_medium"]


def test_the_table_of_small_networks_is_what_their_plans_have() -> None:
    table = NETWORKS.read_text(encoding="utf-8").partition("| places |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
    assert sorted(rows) == list(rows) == sorted(NAMES)
    for name, row in rows.items():
        plan = Buildable().plan(Budget(family(name, in_channels=1), Flops()))
        assert row.split(" | ") == [
            f"{plan.base.flops / 1e6:.2f} M",
            *map(str, (len(plan.pool), plan.num_places, plan.num_inside)),
            f"{plan.hole[0]:.2f}",
        ]
        assert plan.num_places == len(plan.candidates) >= 32
        assert plan.hole[0] < 0.21
        assert plan.num_inside >= 9
        text = (CONF / "base_network" / f"{name}.yaml").read_text(encoding="utf-8")
        told = " ".join(text.replace("#", "").split())
        assert f"{len(plan.pool)} networks of twice its cost" in told
        assert f"in {plan.num_places} places" in told


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
    losses = [float(loss) for loss in re.findall(r"loss (\S+)  accuracy", said.out)]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
    assert "all trainings are done" in said.out
