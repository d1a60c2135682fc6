"""What every base network promises, by the YAMLs of conf/."""

import math
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Multipliers
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.scaler import Scaler
from tests.base_networks.families import NAMES, SMALL, STAGED, family, num_flops, num_params, only

PIXELS = 40
"""A small image that every base network still takes, at 0.8 times the resolution too."""

multiplier = st.floats(0.8, 1.4)
several = st.builds(Multipliers, multiplier, multiplier, multiplier)
rounding = st.fixed_dictionaries(
    {
        "width_divisor": st.sampled_from([1, 2, 3, 8]),
        "resolution_divisor": st.sampled_from([1, 2, 5]),
        "depth_rounding": st.sampled_from(["ceil", "round"]),
    }
)
ranges = st.sampled_from([(1.0, 2.0), (0.6, 1.0), (0.5, 2.0), (1.1, 3.0)])


class Outputs(TorchFunctionMode):
    """The elements that each convolution, linear layer and attention gives out while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        if function in {torch.conv2d, functional.linear}:
            self.seen.append(output.numel())
        if function is functional.scaled_dot_product_attention:
            query, key, _value = args
            scores = query.shape[:-1].numel() * key.shape[-2]
            self.seen.append(scores + output.numel())
        return output


def assert_paper_is_built(architecture: Architecture) -> None:
    """The closed form has the multiply-adds, parameters and outputs of the network."""
    Flops().measure(architecture)  # fails where the built network has another count
    network, size = architecture.build().eval(), architecture.resolution
    assert sum(p.numel() for p in network.parameters()) == num_params(architecture)
    layers = architecture.layers()
    with Outputs() as outputs, torch.inference_mode():
        logits = network(torch.zeros(1, architecture.in_channels, size, size))
    assert logits.shape == (1, architecture.num_classes)
    assert len(outputs.seen) == len(layers)
    assert sum(outputs.seen) == sum(layer.activations for layer in layers)


@pytest.mark.parametrize("name", [*SMALL, "custom"])
@settings(derandomize=True, deadline=None, max_examples=5)
@given(several, rounding)
def test_small_networks_cost_what_the_paper_form_says(
    name: str, multipliers: Multipliers, rules: dict[str, object]
) -> None:
    assert_paper_is_built(family(name, **rules).scaled(multipliers))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(derandomize=True, deadline=None, max_examples=10)
@given(several, rounding, st.sampled_from([1, 3]), st.integers(PIXELS, 75))
def test_networks_cost_what_the_paper_form_says(
    name: str, multipliers: Multipliers, rules: dict[str, object], in_channels: int, pixels: int
) -> None:
    base = family(name, in_channels=in_channels, resolution=pixels, **rules)
    assert_paper_is_built(base.scaled(multipliers))


@pytest.mark.parametrize("name", NAMES)
@settings(derandomize=True, deadline=None, max_examples=15)
@given(rounding, st.sampled_from(DIMENSIONS), ranges, st.data())
def test_steps_are_where_the_result_changes_and_cost_no_less(
    name: str,
    rules: dict[str, object],
    dimension: str,
    limits: tuple[float, float],
    data: st.DataObject,
) -> None:
    base = family(name, **rules)
    steps = base.steps(dimension, *limits)
    scaled = [base.scaled(only(dimension, step)) for step in steps]
    assert steps[0] == limits[0]
    assert steps == sorted(steps)
    assert len(set(scaled)) == len(scaled)
    costs = [num_flops(architecture) for architecture in scaled]
    assert costs == sorted(costs)
    for step, architecture in zip(steps[1:], scaled[1:], strict=True):
        assert base.scaled(only(dimension, round(step - 1e-6, 6))) != architecture
    # Multipliers of six decimals: anywhere, and beside a step, where an error would hide.
    ticks = st.integers(math.ceil(limits[0] * 1e6), math.floor(limits[1] * 1e6))
    beside = st.builds(
        lambda step, offset: round(step * 1e6) + offset, st.sampled_from(steps), st.integers(-3, 3)
    )
    for tick in data.draw(st.lists(ticks | beside, min_size=10, max_size=10)):
        if limits[0] <= tick / 1e6 <= limits[1]:
            below = max(step for step in steps if step <= tick / 1e6)
            here = base.scaled(only(dimension, tick / 1e6))
            assert here == base.scaled(only(dimension, below))


@pytest.mark.parametrize("name", NAMES)
@settings(derandomize=True, deadline=None, max_examples=30)
@given(several, rounding, st.sampled_from(DIMENSIONS), st.floats(1.0, 1.5))
def test_no_cost_falls_while_one_multiplier_grows(
    name: str, multipliers: Multipliers, rules: dict[str, object], dimension: str, more: float
) -> None:
    base = family(name, **rules)
    larger = Multipliers(
        **{d: getattr(multipliers, d) * (more if d == dimension else 1.0) for d in DIMENSIONS}
    )
    before, after = base.scaled(multipliers), base.scaled(larger)
    assert num_flops(after) >= num_flops(before)
    assert num_params(after) >= num_params(before)


@pytest.mark.parametrize("name", NAMES)
def test_a_base_network_is_a_value(name: str) -> None:
    base = family(name)
    assert isinstance(base, Architecture)
    assert base.scaled(Multipliers(1.0, 1.0, 1.0)) == base
    times = Multipliers(1.4, 1.3, 1.2)
    one, other = base.scaled(times), base.scaled(times)
    assert one == other != base
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    named = [Scaler(Budget(a, Flops()), 1.0).base().network for a in (base, one)]
    assert named[0] != named[1]


@pytest.mark.parametrize("name", STAGED)
def test_every_dimension_changes_what_it_is_named_for(name: str) -> None:
    base = family(name)
    deeper, wider, larger = (base.scaled(only(dimension, 2.0)) for dimension in DIMENSIONS)
    assert deeper.num_layers == tuple(2 * n for n in base.num_layers)
    assert wider.channels == tuple(2 * n for n in base.channels)
    assert larger.resolution == 2 * base.resolution
    assert {base.num_layers} == {wider.num_layers, larger.num_layers}
    assert {base.channels} == {deeper.channels, larger.channels}
    assert {base.resolution} == {deeper.resolution, wider.resolution}


@pytest.mark.parametrize("name", NAMES)
def test_training_reaches_every_parameter_with_finite_gradients(name: str) -> None:
    torch.manual_seed(0)
    size = family(name).resolution if name in SMALL else PIXELS
    architecture = family(name, resolution=size)
    network = architecture.build().train()
    logits = network(torch.randn(8, 3, size, size))
    assert logits.shape == (8, architecture.num_classes)
    nn.functional.cross_entropy(logits, torch.arange(8) % 10).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    assert any(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_format_changes_no_logit(name: str) -> None:
    torch.manual_seed(0)
    size = family(name).resolution if name in SMALL else PIXELS
    network = family(name, resolution=size).build().eval().double()
    images = torch.randn(3, 3, size, size, dtype=torch.float64)
    with torch.inference_mode():
        expected = network(images)
        network = network.to(memory_format=torch.channels_last)
        logits = network(images.contiguous(memory_format=torch.channels_last))
    # Sums in another order: 1e-15 of a logit each.
    assert torch.allclose(logits, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [*SMALL, "custom"])
def test_only_building_draws_and_only_from_torchs_generator(name: str) -> None:
    def weights(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(family(name).build().parameters())

    others = random.getstate(), str(np.random.get_state())  # noqa: NPY002 - the global one is the point
    assert all(torch.equal(a, b) for a, b in zip(weights(0), weights(0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(0), weights(1), strict=True))
    before = torch.get_rng_state()
    scaled = family(name).scaled(Multipliers(1.5, 1.5, 1.2))
    scaled.layers()
    scaled.steps("width", 1.0, 2.0)
    Flops().measure(scaled)
    assert torch.equal(torch.get_rng_state(), before)
    assert (random.getstate(), str(np.random.get_state())) == others  # noqa: NPY002 - as above
