"""Candidates and plans: equal cost counted anew, shares, and what the coefficients mean."""

import math
import pickle
import random
from collections.abc import Iterable, Iterator
from itertools import product

import pytest
import torch

from scaling_search.base_networks import small_efficientnet
from scaling_search.base_networks.efficientnets import EfficientNet
from scaling_search.candidates import Buildable
from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Coefficients, Multipliers, phi_of
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.planning.measuring import measure
from scaling_search.planning.reachable import Ranges
from scaling_search.runtime.progress import shown_by
from tests.base_networks.families import fvcore_flops
from tests.proxies import Lying

NAMES = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Buildable().plan(Budget(small_efficientnet(), Flops()))


@pytest.mark.slow
def test_every_selected_network_is_in_the_band_when_counted_anew(plan: Plan) -> None:
    base_flops = fvcore_flops(plan.base.architecture)
    for candidate in plan.candidates:
        flops = fvcore_flops(candidate.architecture)
        assert flops == candidate.flops
        assert 1.9 <= flops / base_flops <= 2.1
        assert candidate.flops_ratio == pytest.approx(flops / base_flops, rel=1e-12)


def test_every_found_network_is_distinct_and_in_the_band(plan: Plan) -> None:
    assert len({candidate.architecture for candidate in plan.pool}) == len(plan.pool)
    assert len({candidate.network for candidate in plan.pool}) == len(plan.pool)
    assert all(plan.in_band(candidate) for candidate in plan.pool)
    assert all(1.9 <= candidate.flops_ratio <= 2.1 for candidate in plan.pool)
    assert all(candidate.architecture.resolution <= 28 for candidate in plan.pool)


def test_selected_networks_are_of_the_pool_and_numbered_from_one(plan: Plan) -> None:
    found = {candidate.architecture for candidate in plan.pool}
    assert all(candidate.architecture in found for candidate in plan.candidates)
    assert [c.number for c in plan.candidates] == list(range(1, len(plan.candidates) + 1))
    assert plan.base.number == 0


def test_the_base_network_has_no_shares_and_a_ratio_of_one(plan: Plan) -> None:
    assert plan.base.shares is None
    assert plan.base.flops_ratio == plan.base.nominal_flops_ratio == 1
    assert plan.base.coefficients == Coefficients(1.0, 1.0, 1.0)
    assert plan.base.architecture == small_efficientnet()


def test_counts_of_a_candidate_are_those_of_the_built_network(plan: Plan) -> None:
    for candidate in plan.candidates[:6]:
        network = candidate.architecture.build()
        assert candidate.params == sum(p.numel() for p in network.parameters())


def test_shares_are_logs_of_the_cost_of_one_dimension_alone(plan: Plan) -> None:
    base = small_efficientnet()
    for candidate in plan.candidates:
        multipliers = candidate.coefficients.multipliers(1.0)
        logs = [
            math.log(Flops().estimate(base.scaled(multipliers.alone(d))) / plan.base.flops)
            for d in DIMENSIONS
        ]
        assert candidate.shares is not None
        assert tuple(candidate.shares) == pytest.approx([log / sum(logs) for log in logs])
        assert sum(candidate.shares) == pytest.approx(1)
        gap = abs(sum(logs) / math.log(candidate.flops_ratio) - 1)
        assert candidate.share_gap == pytest.approx(gap)


def test_the_plan_is_always_the_same(plan: Plan) -> None:
    assert Buildable().plan(Budget(small_efficientnet(), Flops())) == plan


def test_measuring_a_plan_builds_the_base_network_and_each_selected_one() -> None:
    plan = Buildable(max_networks=4).plan(Budget(small_efficientnet(), Flops()))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    shown: list[str] = []

    def show(
        networks: Iterable[Architecture], description: str, total: int | None
    ) -> Iterator[object]:
        for network in networks:
            shown.append(network.name)
            yield network
        assert (description, total) == ("checking networks", 5)

    with shown_by(show):
        measure(plan, Flops())
    assert shown == [candidate.network for candidate in plan]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_plan_with_a_wrong_closed_form_is_an_error() -> None:
    plan = Buildable(max_networks=1).plan(Budget(Lying(small_efficientnet()), Flops()))
    with pytest.raises(RuntimeError, match="must equal the closed form"):
        measure(plan, Flops())


def test_the_candidates_of_a_pool_are_its_vectors(plan: Plan) -> None:
    pool = plan.pool
    assert len(pool) == len(list(pool)) == 306
    assert pool.ratios.tolist() == [candidate.cost_ratio for candidate in pool]
    assert pool.resolutions.tolist() == [candidate.architecture.resolution for candidate in pool]
    assert pool.candidate(305) == list(pool)[305]
    with pytest.raises(IndexError):
        pool.candidate(306)


def test_a_plan_survives_pickling(plan: Plan) -> None:
    assert pickle.loads(pickle.dumps(plan)) == plan


CELLS: list[tuple[float, EfficientNet]] = [
    (2.0, small_efficientnet()),
    (2.0, small_efficientnet(depth_rounding="ceil", width_divisor=2)),
    (3.0, small_efficientnet()),
    (4.0, small_efficientnet(depth_rounding="ceil")),
    (1.4, small_efficientnet(resolution_divisor=2)),
    (0.5, small_efficientnet(resolution=40)),
    (0.3, small_efficientnet(resolution=40, depth_rounding="ceil", width_divisor=4)),
]


@pytest.mark.parametrize(("target", "base"), CELLS)
def test_all_coefficients_in_a_cell_round_to_its_network(target: float, base: EfficientNet) -> None:
    phi = phi_of(target)
    stream = random.Random(0)
    found = Buildable(target=target, max_resolution=None).plan(Budget(base, Flops())).pool
    for candidate in stream.sample(list(found), min(40, len(found))):
        low, high = candidate.lowest, candidate.highest
        ends = [(getattr(low, name), getattr(high, name)) for name in NAMES]
        assert all(1 <= lowest <= highest for lowest, highest in ends)
        inside = [tuple(stream.uniform(*end) for end in ends) for _ in range(10)]
        for point in [*product(*ends), *inside]:
            multipliers = Coefficients(*point).multipliers(phi)
            assert base.scaled(multipliers) == candidate.architecture
        scaled = base.scaled(candidate.coefficients.multipliers(phi))
        assert scaled == candidate.architecture


@pytest.mark.parametrize(("target", "base"), CELLS)
def test_coefficients_beside_a_cell_give_another_network(target: float, base: EfficientNet) -> None:
    phi = phi_of(target)
    stream = random.Random(1)
    found = Buildable(target=target, max_resolution=None).plan(Budget(base, Flops())).pool
    for candidate in stream.sample(list(found), min(40, len(found))):
        lowest, highest = candidate.lowest.multipliers(phi), candidate.highest.multipliers(phi)
        if phi < 0:
            lowest, highest = highest, lowest
        ends = {"depth": 3.0**phi, "width": 2.0**phi, "resolution": 2.0**phi}  # of `Buildable`
        for dimension, end in ends.items():
            # Steps are multipliers of six decimals, so that two units farther is beyond.
            for corner, step in ((lowest, -2e-6), (highest, 2e-6)):
                beside = getattr(corner, dimension) + step
                if (beside < 1) if phi > 0 else (beside > 1 or beside < end):
                    continue  # a coefficient below 1, or outside the range
                values = {d: getattr(corner, d) for d in DIMENSIONS} | {dimension: beside}
                assert base.scaled(Multipliers(**values)) != candidate.architecture


def test_rows_have_the_columns_of_the_candidates_table(plan: Plan) -> None:
    row = plan.candidates[0].row()
    assert list(row) == [
        "candidate",
        "network",
        *NAMES,
        *(f"{name}_{end}" for name in NAMES for end in ("low", "high")),
        *(f"{dimension}_share" for dimension in DIMENSIONS),
        "share_gap",
        "shares_of",
        "nominal_flops_ratio",
        "cost",
        "cost_ratio",
        "cost_spread",
        "flops_ratio",
        "flops",
        "params",
        "activations",
        "layers",
        "channels",
        "resolution",
    ]
    assert plan.base.row()["depth_share"] is None
    assert plan.base.network == "2-3-4/8-8-12-20-96/20"


def test_equal_networks_have_equal_names_and_others_other_names(plan: Plan) -> None:
    by_name = {candidate.network: candidate.architecture for candidate in plan.pool}
    assert len(by_name) == len({candidate.architecture for candidate in plan.pool})


@pytest.mark.parametrize("limits", [(0.9, 2.0), (1.5, 1.2)])
def test_ranges_of_coefficients_begin_at_one_and_end_after_they_begin(
    limits: tuple[float, float],
) -> None:
    with pytest.raises(ValueError, match=r"candidates.beta must be a range .* 1 <= low <= high"):
        Ranges(alpha=(1.0, 2.0), beta=limits, gamma=(1.0, 2.0), max_resolution=None)
