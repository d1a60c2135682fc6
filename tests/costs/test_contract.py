"""What every cost must do, on every small network of conf/, and what some are known to be."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.base_networks import small_efficientnet
from scaling_search.core.protocols import Cost, SampledCost
from scaling_search.core.scaling import Multipliers
from scaling_search.costs.activations import Activations
from scaling_search.costs.flops import Flops
from scaling_search.costs.latency import Latency
from scaling_search.costs.memory import Memory
from scaling_search.costs.params import Params
from scaling_search.costs.train_flops import TrainFlops
from scaling_search.planning.budget import Budget
from scaling_search.planning.cost_model import COUNTS
from scaling_search.runtime.threads import threads
from tests.base_networks.families import SMALL, family
from tests.composed import PARTS, part
from tests.proxies import Lying
from tests.tiny import tiny_network

COSTS = [name for group, name in PARTS if group == "cost"]
COUNTED = [name for name in COSTS if isinstance(part("cost", name), Cost)]
SAMPLED = [name for name in COSTS if isinstance(part("cost", name), SampledCost)]


def test_every_cost_is_counted_or_sampled() -> None:
    assert sorted(COUNTED) == ["activations", "flops", "params", "train_flops"]
    assert sorted(SAMPLED) == ["latency", "memory"]


@pytest.mark.parametrize("network", SMALL)
@pytest.mark.parametrize("name", COUNTED)
def test_what_is_measured_is_the_closed_form(name: str, network: str) -> None:
    cost = part("cost", name)
    scaled = family(network, in_channels=1).scaled(Multipliers(1.4, 1.2, 1.1))
    assert cost.measure(scaled) == cost.estimate(scaled) == COUNTS[cost.column](scaled.layers())


@settings(max_examples=10, deadline=None)
@given(
    multipliers=st.builds(Multipliers, *[st.floats(0.5, 1.8)] * 3), name=st.sampled_from(COUNTED)
)
def test_the_closed_form_holds_however_a_network_is_scaled(
    multipliers: Multipliers, name: str
) -> None:
    cost = part("cost", name)
    scaled = small_efficientnet().scaled(multipliers)
    assert cost.measure(scaled) == cost.estimate(scaled)


@pytest.mark.parametrize("name", COUNTED)
def test_a_wrong_closed_form_is_an_error(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"must equal the closed form, got .*layers\(\) is wro"):
        part("cost", name).measure(Lying(small_efficientnet()))


@pytest.mark.parametrize("name", COUNTED)
def test_measuring_leaves_torch_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    part("cost", name).measure(small_efficientnet())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(("network", "millions"), [("efficientnet_b0", 6.7), ("resnet", 11.1)])
def test_activations_are_the_published_ones(network: str, millions: float) -> None:
    # Source: Radosavovic et al. 2020, Table 4: ResNet-50 and EfficientNet-B0 at 224 px.
    activations = Activations().estimate(family(network, num_classes=1000))
    assert round(activations / 1e6, 1) == millions


def test_training_costs_three_forward_passes_less_the_images_gradient() -> None:
    network = small_efficientnet()
    first = network.layers()[0].flops
    assert TrainFlops().estimate(network) == 3 * Flops().estimate(network) - first


def test_parameters_cannot_be_held_for_resolution_does_not_change_them() -> None:
    with pytest.raises(ValueError, match=r"got params, which resolution does not change in"):
        Budget(small_efficientnet(), Params())


def latency(**changes: Any) -> Latency:
    options: dict[str, Any] = {"device": "cpu", "batch_size": 8, "repeats": 9}
    return Latency(**options | changes)


@pytest.mark.slow
@pytest.mark.alone
def test_a_network_of_thirty_times_the_work_takes_longer() -> None:
    base = small_efficientnet()
    large = base.scaled(Multipliers(4.0, 3.0, 1.0))
    assert Flops().estimate(large) > 25 * Flops().estimate(base)
    sample = latency().sample(large, base)
    assert sample.ratio > 2
    assert 0 < sample.value < math.inf
    assert 0 <= sample.spread < sample.ratio
    assert sample.device == "cpu"


def test_a_network_takes_as_long_as_itself() -> None:
    sample = latency(repeats=25).sample(small_efficientnet(), small_efficientnet())
    assert sample.ratio == pytest.approx(1, abs=max(0.2, 2 * sample.spread))


def test_timing_leaves_torch_as_it_was() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with threads(2):
        latency().sample(tiny_network(), tiny_network())
        assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.is_inference_mode_enabled()


def test_a_sampled_network_is_counted_too() -> None:
    with pytest.raises(RuntimeError, match="must equal the closed form"):
        latency().sample(Lying(small_efficientnet()), small_efficientnet())


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cost.device must be on this machine, got 'cuda:99'"):
        latency(device="cuda:99").check()


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests the absence of a GPU")
def test_without_a_gpu_there_is_no_peak_of_memory() -> None:
    with pytest.raises(ValueError, match=r"cost=memory must be measured on a CUDA device, got"):
        Memory(device="auto", batch_size=4).check()


@pytest.mark.gpu
def test_a_larger_network_takes_more_memory() -> None:
    base = small_efficientnet()
    memory = Memory(device="auto", batch_size=64)
    memory.check()
    large = base.scaled(Multipliers(2.0, 2.0, 1.0))
    sample, same = memory.sample(large, base), memory.sample(base, base)
    assert sample.ratio > 1.5
    assert same.ratio == 1
    assert sample.value > 64 * 4 * Activations().estimate(large)


@pytest.mark.gpu
def test_the_peak_is_the_same_whatever_ran_before() -> None:
    base = small_efficientnet()
    memory = Memory(device="auto", batch_size=16)
    large = base.scaled(Multipliers(1.0, 2.0, 1.0))
    first = memory.sample(base, base)
    held = torch.ones(1 << 24, device="cuda") @ torch.ones(1 << 24, device="cuda")
    assert memory.sample(large, base).value > first.value
    assert memory.sample(base, large).value == first.value
    assert held.item() == 1 << 24


@pytest.mark.gpu
def test_a_replayed_network_is_timed_on_a_gpu() -> None:
    base = small_efficientnet()
    sample = latency(device="auto", repeats=25).sample(base, base)
    assert sample.device != "cpu"
    assert 0 < sample.value < 100
    assert sample.ratio == pytest.approx(1, abs=max(0.2, 2 * sample.spread))
