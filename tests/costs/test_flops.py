"""The closed form against the count of what is built, and both against fvcore's."""

import random
from dataclasses import replace

import pytest
import torch

from scaling_search.base_networks.efficientnets import (
    EfficientNet,
    efficientnet,
    small_efficientnet,
)
from scaling_search.core.protocols import Cost, EstimatesMany
from scaling_search.core.scaling import DIMENSIONS, Multipliers
from scaling_search.costs.flops import Flops
from tests.base_networks.families import fvcore_flops
from tests.proxies import Lying


def random_small(stream: random.Random) -> EfficientNet:
    """Any stages, strides, kernels, expansions and channels, even and odd sizes."""
    num_stages = stream.randint(1, 4)

    def values(*choices: int) -> tuple[int, ...]:
        return tuple(stream.choice(choices) for _ in range(num_stages))

    return small_efficientnet(
        num_layers=values(1, 2, 3),
        kernel_size=values(1, 3, 5, 7),
        stride=values(1, 1, 2, 3),
        expand_ratio=values(1, 2, 4, 6),
        channels=values(1, 3, 8, 12, 20, 33),
        stem_channels=stream.randint(1, 40),
        stem_stride=stream.choice((1, 2)),
        head_channels=stream.randint(1, 100),
        resolution=stream.randint(162, 170) if num_stages == 4 else stream.randint(54, 70),
        in_channels=stream.choice((1, 3)),
        num_classes=stream.choice((1, 10, 100)),
        width_divisor=stream.choice((1, 2, 8)),
        resolution_divisor=stream.choice((1, 2, 16)),
        depth_rounding=stream.choice(("ceil", "round")),
    )


def random_scaled(base: EfficientNet, stream: random.Random) -> EfficientNet:
    return base.scaled(
        Multipliers(stream.uniform(0.4, 1.6), stream.uniform(0.4, 1.6), stream.uniform(0.7, 1.6))
    )


def random_architectures(number: int, *, seed: int) -> list[EfficientNet]:
    """Two of three of random stages, one B0 at 32 to 64 px, all scaled at random."""
    stream = random.Random(seed)
    bases = [
        random_small(stream)
        if i % 3
        else efficientnet("b0", resolution=stream.randint(32, 64), num_classes=10)
        for i in range(number)
    ]
    return [random_scaled(base, stream) for base in bases]


@pytest.mark.slow
def test_fvcore_counts_what_the_closed_form_says() -> None:
    for architecture in random_architectures(10, seed=1):
        assert Flops().measure(architecture) == Flops().estimate(architecture)
        assert fvcore_flops(architecture) == Flops().estimate(architecture)


@pytest.mark.slow
def test_fvcore_counts_what_the_closed_form_says_for_200_networks() -> None:
    architectures = random_architectures(200, seed=0)
    assert len(set(architectures)) > 190
    for architecture in architectures:
        assert Flops().measure(architecture) == Flops().estimate(architecture)
        assert fvcore_flops(architecture) == Flops().estimate(architecture)


def test_fvcore_measures_the_published_flops_of_b0() -> None:
    # Source: fvcore on torchvision's B0 at 224 px; 0.39 B in Tan & Le 2019, Table 2.
    assert Flops().measure(efficientnet("b0")) == fvcore_flops(efficientnet("b0")) == 385_814_752


@pytest.mark.slow
def test_fvcore_measures_the_published_flops_of_b3() -> None:
    # Source: reference/measured_family_macs.csv; 1.8 B in Tan & Le 2019, Table 2.
    assert Flops().measure(efficientnet("b3")) == fvcore_flops(efficientnet("b3")) == 1_827_141_392


def test_small_proxy_has_its_planned_flops() -> None:
    # Source: the project's plan, counted by fvcore when the proxy was designed.
    assert Flops().measure(small_efficientnet()) == 1_178_016


def test_a_wrong_closed_form_is_an_error() -> None:
    rule = r"must equal the closed form, got 1178016 instead of 1177056 .*layers\(\) is wrong"
    with pytest.raises(RuntimeError, match=rule):
        Flops().measure(Lying(small_efficientnet()))


def test_measuring_leaves_torch_as_it_was() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Flops().measure(small_efficientnet())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_dropout_and_norms_do_not_count() -> None:
    # A network in training mode would count norms fivefold; they are in no sum.
    plain = replace(small_efficientnet(), dropout=0.0, stochastic_depth=0.0)
    assert Flops().measure(plain) == Flops().measure(small_efficientnet())


def test_many_estimates_are_those_of_each_network() -> None:
    base = efficientnet("b0")
    alone = [
        [base.scaled(Multipliers(1.0, 1.0, 1.0).alone(dimension)) for _ in range(2)]
        for dimension in DIMENSIONS
    ]
    estimates = Flops().estimates(*alone)
    assert estimates is not None
    assert estimates.shape == (2, 2, 2)
    assert set(estimates.ravel().tolist()) == {Flops().estimate(base)}


def test_there_are_no_many_estimates_of_a_network_that_counts_itself_alone() -> None:
    alone = [Lying(small_efficientnet())]
    assert Flops().estimates(alone, alone, alone) is None


def test_flops_are_a_cost() -> None:
    assert isinstance(Flops(), EstimatesMany)
    assert isinstance(Flops(), Cost)
    assert Flops().column == "flops"
    assert Flops() == Flops()
