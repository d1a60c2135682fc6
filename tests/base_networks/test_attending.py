"""Networks with attention: a third count, in closed form, of what is planned."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from scaling_search.base_networks import custom
from scaling_search.core.protocols import Cost
from scaling_search.core.scaling import Multipliers
from scaling_search.costs.activations import Activations
from scaling_search.costs.flops import Flops
from scaling_search.costs.train_flops import TrainFlops
from tests.base_networks import attending
from tests.base_networks.attending import hybrid_flops, transformer_flops

ROOT = Path(__file__).parent.parent.parent
PROGRAM = str(Path(sys.executable).parent / "scaling-search")
ROW = re.compile(
    r"^ *(?P<number>base|\d+) +(?P<alpha>\d\.\d+) +(?P<beta>\d\.\d+) +\d\.\d+ +(?:[\d./-]+/\S+ +)?"
    r"\d+\.\d+ +(?P<real>\d+\.\d+) .* (?P<pixels>\d+) +\d+$",
    re.MULTILINE,
)
"""A network in the table of a plan."""


def planned(function: str, *options: str, folder: Path) -> str:
    done = subprocess.run(
        [
            PROGRAM, "plan", "allow=tests", "base_network=custom", "timed=false",
            f"base_network.network._target_=tests.base_networks.attending.{function}",
            "candidates.max_networks=12", "candidates.tolerance=0.1", *options,
        ],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("build", "flops"),
    [
        (partial(attending.vit, image_size=20), transformer_flops),
        (partial(attending.encoder, image_size=20), transformer_flops),
        (attending.hybrid, hybrid_flops),
    ],
    ids=["vit", "encoder", "hybrid"],
)
@pytest.mark.parametrize("cost", [Flops(), Activations(), TrainFlops()], ids=str)
def test_every_counted_cost_grows_with_each_dimension(
    build: Callable[..., nn.Module], flops: Callable[[float, float, int], int], cost: Cost
) -> None:
    base = custom(build, resolution_divisor=4)
    base.check()
    for multipliers in (
        Multipliers(1.0, 1.0, 1.0),
        Multipliers(2.0, 1.0, 1.0),
        Multipliers(1.0, 1.5, 1.0),
        Multipliers(1.0, 1.0, 1.4),
    ):
        scaled = base.scaled(multipliers)
        assert cost.measure(scaled) == cost.estimate(scaled) >= cost.estimate(base)
        depth, width, pixels = multipliers.depth, multipliers.width, scaled.resolution
        assert Flops().estimate(scaled) == flops(depth, width, pixels)


SIZED = ("base_network.resolution_divisor=4", "+base_network.network.image_size=20")


@pytest.mark.parametrize(
    ("function", "options", "flops"),
    [
        ("vit", SIZED, transformer_flops),
        ("encoder", SIZED, transformer_flops),
        ("hybrid", (), hybrid_flops),
    ],
)
@pytest.mark.slow
def test_planned_networks_cost_what_the_closed_form_says(
    function: str,
    options: tuple[str, ...],
    flops: Callable[[float, float, int], int],
    tmp_path: Path,
) -> None:
    said = planned(function, *options, folder=tmp_path)
    networks = [row.groupdict() for row in ROW.finditer(said)]
    base, *others = networks
    assert len(others) >= 5
    assert base["number"] == "base"
    cost = flops(1.0, 1.0, int(base["pixels"]))
    assert f"the base network's cost ({cost / 1e6:.2f} M multiply-adds)" in said
    # Multipliers are the coefficients at twice the cost; the table has three decimals of each.
    for network in others:
        alpha, beta = (float(network[name]) + 5e-4 for name in ("alpha", "beta"))
        ratio = flops(alpha, beta, int(network["pixels"])) / cost
        assert f"{ratio:.3f}" == network["real"]
        assert 1.8 <= ratio <= 2.2
    assert len({network["pixels"] for network in others}) > 1
