"""Costs that are held or capped, counted or measured, from the budget to the plan."""

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.base_networks import small_efficientnet
from scaling_search.candidates import Buildable
from scaling_search.core.network import Architecture
from scaling_search.core.protocols import Sample
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Multipliers, Shares
from scaling_search.core.space_filling import PLACE, as_points, distances
from scaling_search.costs.activations import Activations
from scaling_search.costs.flops import Flops
from scaling_search.display.plan import plan_sentences
from scaling_search.planning.budget import Budget, Caps
from scaling_search.planning.candidates import Plan
from scaling_search.planning.cost_model import COUNTS, CostModel
from scaling_search.planning.families import family_shares, members, nearest_to_points, ten_points
from scaling_search.planning.scaler import LARGEST_GAP, Scaler
from tests.tiny import caps, tiny_experiment

BASE = small_efficientnet()


@dataclass
class Accelerator:
    """A device whose times are known: a launch for each layer, then work and memory traffic.

    Attributes:
        launch: Part of the base network's time that no scaling changes.
        by_layers: Part that grows with the number of layers.
        by_activations: Part that grows with the activations; the rest grows with FLOPs.
        spread: Of all ratios.
        asked: Networks that ran, by name, in their order.
    """

    launch: float = 0.0
    by_layers: float = 0.1
    by_activations: float = 0.3
    spread: float = 0.0
    asked: list[str] = field(default_factory=list)
    column: str = "latency_ms"

    def __str__(self) -> str:
        return f"Accelerator({self.launch}, {self.by_layers}, {self.by_activations})"

    def check(self) -> None:
        pass

    def ratio(self, network: Architecture, base: Architecture) -> float:
        counts = [
            (COUNTS["flops"](n.layers()), COUNTS["activations"](n.layers()), len(n.layers()))
            for n in (network, base)
        ]
        flops, activations, layers = (mine / its for mine, its in zip(*counts, strict=True))
        by_flops = 1 - self.launch - self.by_layers - self.by_activations
        return float(
            self.launch
            + self.by_layers * layers
            + self.by_activations * activations
            + by_flops * flops
        )

    def sample(self, architecture: Architecture, base_network: Architecture) -> Sample:
        self.asked.append(architecture.name)
        ratio = self.ratio(architecture, base_network)
        return Sample(4 * ratio, ratio, self.spread, "accelerator")


def planned(device: Accelerator, **changes: Any) -> tuple[Plan, Budget]:
    """Six networks of the small proxy that take twice its time."""
    experiment = tiny_experiment(
        base_network=BASE, cost=device, candidates=Buildable(max_networks=6, **changes)
    )
    budget = experiment.budget()
    return experiment.plan(budget), budget


def calibrated(device: Accelerator, limits: Caps | None = None) -> Budget:
    """A budget that can predict the device at twice the base network's cost."""
    cost = Flops() if limits else device
    budget = Budget(BASE, cost, limits)
    budget.calibrate(1.0)
    return budget


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.floats(0, 0.4),
    st.builds(Multipliers, *[st.floats(1.0, 1.6)] * 3),
)
def test_a_cost_made_of_flops_activations_and_layers_is_predicted(
    launch: float, by_layers: float, by_activations: float, multipliers: Multipliers
) -> None:
    device = Accelerator(launch, by_layers, by_activations)
    model = CostModel(device, BASE)
    model.calibrate(1.0)
    network = BASE.scaled(multipliers)
    assert model.ratio(network, 1.0) == pytest.approx(device.ratio(network, BASE), rel=1e-6)


def test_networks_of_a_measured_cost_have_it_as_measured() -> None:
    device = Accelerator()
    plan, _ = planned(device)
    assert len(plan.candidates) == 6
    assert plan.base.cost == 4
    for candidate in plan.candidates:
        assert candidate.cost_ratio == device.ratio(candidate.architecture, BASE)
        assert candidate.cost == 4 * candidate.cost_ratio
        assert plan.in_band(candidate)
        flops = COUNTS["flops"](candidate.architecture.layers())
        assert candidate.flops_ratio == flops / COUNTS["flops"](BASE.layers())
        assert candidate.shares is not None
        assert sum(candidate.shares) == pytest.approx(1)
        logs = [
            math.log(device.ratio(BASE.scaled(m), BASE))
            for m in map(candidate.coefficients.multipliers(1.0).alone, DIMENSIONS)
        ]
        assert tuple(candidate.shares) == pytest.approx([log / sum(logs) for log in logs])


def test_a_later_plan_runs_nothing_again_and_is_the_same() -> None:
    device = Accelerator()
    plan, budget = planned(device)
    assert len(device.asked) == len(set(device.asked))
    state = json.loads(json.dumps(budget.state))
    later = Accelerator()
    experiment = tiny_experiment(
        base_network=BASE, cost=later, candidates=Buildable(max_networks=6)
    )
    assert experiment.plan(experiment.budget(state)) == plan
    assert later.asked == []


def test_no_band_is_narrower_than_the_measurement() -> None:
    plan, _ = planned(Accelerator(spread=0.3), tolerance=0.01)
    off = [abs(c.cost_ratio / 2 - 1) for c in plan.candidates]
    assert max(off) <= 0.3
    assert all(plan.in_band(candidate) for candidate in plan.candidates)
    assert "by more than the tolerance" in " ".join(plan_sentences(plan))
    assert "scatter" not in " ".join(plan_sentences(planned(Accelerator())[0]))


def test_a_dimension_that_costs_less_than_the_spread_has_no_share() -> None:
    device = Accelerator(spread=0.15)
    scaler = Scaler(calibrated(device), 1.0)
    multipliers = Multipliers(1.01, 1.9, 1.0)
    candidate = scaler.candidate(multipliers)
    wide = BASE.scaled(multipliers)
    assert wide.num_layers == BASE.num_layers
    assert scaler.measured(candidate).shares == Shares(0.0, 1.0, 0.0)
    deeper = Multipliers(1.15, 1.6, 1.0)
    small = device.ratio(BASE.scaled(deeper.alone("depth")), BASE) - 1
    assert 0 < small < 0.15
    measured = scaler.measured(scaler.candidate(deeper))
    assert measured.shares is not None
    assert (
        measured.shares.depth in {0.0, REFERENCES["depth"].depth} or measured.shares_of == "flops"
    )


def test_where_the_three_miss_the_whole_shares_are_taken_in_flops() -> None:
    device = Accelerator(launch=0.7, by_layers=0.0, by_activations=0.0)
    scaler = Scaler(calibrated(device), 1.0)
    flops = Scaler(Budget(BASE, Flops()), 1.0)
    multipliers = Multipliers(1.6, 1.6, 1.4)
    candidate = scaler.measured(scaler.candidate(multipliers))
    by_flops = flops.candidate(multipliers)
    assert candidate.share_gap > LARGEST_GAP
    assert candidate.shares_of == "flops"
    assert candidate.shares == by_flops.shares
    plan, _ = planned(device)
    missed = sum(c.shares_of == "flops" for c in plan.candidates)
    said = " ".join(plan_sentences(plan))
    assert (f"The shares of {missed} are calculated from FLOPs instead." in said) == (missed > 0)


def test_the_shares_of_a_counted_cost_are_its_own() -> None:
    plan = Buildable().plan(Budget(BASE, Activations()))
    base = Activations().estimate(BASE)
    for candidate in plan.candidates:
        logs = [
            math.log(Activations().estimate(BASE.scaled(m)) / base)
            for m in map(candidate.coefficients.multipliers(1.0).alone, DIMENSIONS)
        ]
        gap = abs(sum(logs) / math.log(candidate.cost_ratio) - 1)
        assert candidate.share_gap == pytest.approx(gap)
        assert candidate.shares_of == ("flops" if gap > LARGEST_GAP else "activations")
        if candidate.shares_of == "activations":
            assert candidate.shares == Shares.of_logs(*logs)
        assert candidate.cost == candidate.activations
        assert candidate.cost_ratio == pytest.approx(2, rel=0.05)


def test_a_pool_has_the_shares_of_its_candidates() -> None:
    found = Buildable().plan(Budget(BASE, Activations())).pool
    for network, shares in zip(found, found.shares.tolist(), strict=True):
        assert network.shares is not None
        assert tuple(network.shares) == tuple(shares)


CAPS = {"flops": 2.3e6, "params": 5e4, "activations": 1.3e5, "train_flops": 6.9e6}


@pytest.mark.parametrize(("name", "most"), CAPS.items())
def test_no_network_exceeds_a_cap(name: str, most: float) -> None:
    capped = Buildable().plan(Budget(BASE, Flops(), caps(**{name: most})))
    costs = {c.network: COUNTS[name](c.architecture.layers()) for c in capped.pool}
    within = [c.shares for c in capped.pool if c.shares and costs[c.network] <= most]
    assert 0 < len(within) < len(costs)
    assert all(costs[candidate.network] <= most for candidate in capped.candidates)
    for shares in within:  # no place is missing
        assert distances(as_points(capped.shares), as_points([shares])).min() <= PLACE


def test_no_network_exceeds_a_cap_that_is_measured() -> None:
    device = Accelerator()
    limits = replace(caps(latency_ms=7.0), latency=device)
    plan = Buildable(max_networks=12).plan(calibrated(device, limits))
    assert plan.candidates
    assert all(4 * device.ratio(c.architecture, BASE) <= 7.0 for c in plan.candidates)
    free = Buildable(max_networks=12).plan(Budget(BASE, Flops()))
    assert any(4 * device.ratio(c.architecture, BASE) > 7.0 for c in free.candidates)


def test_a_cost_that_was_not_measured_is_asked_for_in_a_line() -> None:
    budget = Budget(BASE, Accelerator())
    with pytest.raises(RuntimeError, match=r"must be measured first; call calibrate"):
        _ = budget.base_cost
    with pytest.raises(RuntimeError, match=r"must be calibrated before .* call calibrate\(1\)"):
        budget.ratio(BASE, 1.0)


def test_caps_that_leave_nothing_say_so() -> None:
    with pytest.raises(ValueError, match=r"caps and candidates.tolerance must leave a network"):
        Buildable().plan(Budget(BASE, Flops(), caps(params=1000)))


def test_members_of_families_cost_what_was_measured() -> None:
    device = Accelerator()
    families = family_shares(Shares(0.3, 0.4, 0.3))
    found = members(
        Budget(BASE, device), families, phis=(0, 1, 2), tolerance=0.05, max_resolution=None
    )
    for member in found:
        ratio = device.ratio(member.candidate.architecture, BASE)
        assert member.candidate.cost_ratio == pytest.approx(ratio)
        assert ratio == pytest.approx(2.0**member.phi, rel=0.05)


def test_networks_of_a_larger_size_cost_what_was_measured() -> None:
    device = Accelerator()
    points = ten_points(Shares(0.3, 0.4, 0.3))
    found = nearest_to_points(
        Budget(BASE, device), points, phis=[2], tolerance=0.05, max_resolution=None
    )
    assert len({one.candidate.network for one in found}) == 10
    for one in found:
        assert device.ratio(one.candidate.architecture, BASE) == pytest.approx(4, rel=0.05)


# Smaller networks.


def shrunk(target: float = 0.5, **changes: Any) -> Plan:
    return Buildable(target=target, **changes).plan(Budget(BASE, Flops()))


@settings(max_examples=10, deadline=None)
@given(st.floats(0.3, 0.8))
def test_all_dimensions_of_a_smaller_network_move_the_same_way(target: float) -> None:
    for candidate in shrunk(target).candidates:
        assert candidate.flops_ratio == pytest.approx(target, rel=0.05)
        assert all(value >= 1 for value in vars(candidate.coefficients).values())
        network = candidate.architecture
        assert network.resolution <= BASE.resolution
        for mine, its in ((network.num_layers, BASE.num_layers), (network.channels, BASE.channels)):
            assert all(a <= b for a, b in zip(mine, its, strict=True))
        assert candidate.shares is not None
        assert min(candidate.shares) >= 0


def test_a_plan_of_smaller_networks_says_what_it_cannot_answer() -> None:
    said = " ".join(plan_sentences(shrunk(max_networks=8)))
    assert "The search will name the best of the trained networks, but no rule" in said
    assert "but no rule" not in " ".join(plan_sentences(Buildable().plan(Budget(BASE, Flops()))))


def test_a_cap_that_nothing_measures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"caps.latency must measure caps.latency_ms, got None"):
        Caps(latency_ms=3.0)
