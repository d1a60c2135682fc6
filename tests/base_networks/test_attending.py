"""Networks with attention: a third count, in closed form, of what is planned."""

from collections.abc import Callable
from functools import partial

import pytest
from torch import nn

import scaling_search as ss
from scaling_search.base_networks import custom
from scaling_search.core.protocols import Cost
from scaling_search.core.scaling import Multipliers
from scaling_search.costs.activations import Activations
from scaling_search.costs.flops import Flops
from scaling_search.costs.train_flops import TrainFlops
from tests.base_networks import attending
from tests.base_networks.attending import hybrid_flops, transformer_flops


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
    function: str, options: tuple[str, ...], flops: Callable[[float, float, int], int]
) -> None:
    target = f"base_network.network._target_=tests.base_networks.attending.{function}"
    chosen = ("candidates.max_networks=12", "candidates.tolerance=0.1")
    experiment = ss.compose("base_network=custom", target, *chosen, *options, allow=["tests"])
    base, *others = experiment.plan()
    assert len(others) >= 5
    cost = flops(1.0, 1.0, base.architecture.resolution)
    assert base.cost == cost
    for one in others:
        alpha, beta = one.coefficients.alpha, one.coefficients.beta
        assert one.cost == flops(alpha, beta, one.architecture.resolution)
        assert 1.8 <= one.cost / cost <= 2.2
    assert len({one.architecture.resolution for one in others}) > 1
