"""Every network that rounding can reach: the proxy's numbers, brute force, shrinking, errors."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.base_networks import small_efficientnet
from scaling_search.base_networks.efficientnets import EfficientNet, efficientnet
from scaling_search.candidates.buildable import Buildable
from scaling_search.core.candidate import Candidate
from scaling_search.core.network import CountsMany, Layer
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Multipliers, Shares, phi_of
from scaling_search.core.space_filling import largest_hole, places
from scaling_search.costs.flops import Flops
from scaling_search.display.plan import plan_sentences
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from tests.proxies import Lying

NAMES = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Buildable().plan(Budget(small_efficientnet(), Flops()))


def shares_of(candidates: Iterable[Candidate]) -> list[Shares]:
    return [candidate.shares for candidate in candidates if candidate.shares is not None]


def nearest(reference: Shares, candidates: Iterable[Candidate]) -> float:
    return min(map(reference.distance, shares_of(candidates)))


def test_small_proxy_has_306_networks_of_twice_its_cost(plan: Plan) -> None:
    # Source: counted when its divisors became 1.
    assert plan.base.flops == 1_178_016
    assert len(plan.pool) == plan.num_points == plan.num_points_in_band == 306
    assert sum(min(shares) >= 0.1 for shares in shares_of(plan.pool)) == 103
    hole, _ = largest_hole(shares_of(plan.pool))
    assert round(hole, 3) == 0.167
    assert round(nearest(REFERENCES["thirds"], plan.pool), 2) == 0.02
    assert round(nearest(REFERENCES["paper"], plan.pool), 2) == 0.06
    assert round(nearest(REFERENCES["pycls"], plan.pool), 2) == 0.10


def test_kept_networks_of_the_small_proxy_cover_the_triangle(plan: Plan) -> None:
    # Source: what the project asks of a plan: 32 places, no hole over 0.18, twelve inside.
    assert len(plan.candidates) == plan.num_places == 53
    assert plan.hole[0] <= 0.18
    assert plan.num_inside == 17
    for name, reference in REFERENCES.items():
        assert nearest(reference, plan.candidates) == nearest(reference, plan.pool), name


def test_the_first_quarter_of_a_plan_covers_the_triangle(plan: Plan) -> None:
    # These have second seeds.
    quarter = plan.shares[:14]
    assert largest_hole(quarter)[0] <= 0.21
    assert sum(min(shares) >= 0.1 for shares in quarter) >= 2


@pytest.mark.parametrize("max_networks", [1, 5, 20, 53, 60, 500])
def test_second_networks_of_places_come_only_where_places_run_out(max_networks: int) -> None:
    plan = Buildable(max_networks=max_networks).plan(Budget(small_efficientnet(), Flops()))
    kept = plan.candidates
    assert len(kept) == min(max_networks, 104)
    assert len({candidate.architecture for candidate in kept}) == len(kept)
    found = places(plan.shares)
    assert plan.num_places == min(max_networks, 53)
    assert found[:53].tolist() == list(range(plan.num_places))
    assert len(set(found[53:].tolist())) == len(kept) - plan.num_places


def test_the_second_network_of_a_place_is_the_nearest_in_cost(plan: Plan) -> None:
    every = Buildable(max_networks=500).plan(Budget(small_efficientnet(), Flops()))
    assert every.candidates[:6] == plan.candidates[:6]
    firsts, seconds = every.candidates[:53], every.candidates[53:]
    others = [one for one in plan.pool if replace(one, number=0) not in unnumbered(firsts)]
    found = places(shares_of([*firsts, *others]))[53:]
    for place, second in zip(np.unique(found), seconds, strict=True):
        off = [abs(o.cost_ratio / 2 - 1) for o, p in zip(others, found, strict=True) if p == place]
        assert abs(second.cost_ratio / 2 - 1) == min(off)


def unnumbered(candidates: Iterable[Candidate]) -> list[Candidate]:
    return [replace(one, number=0) for one in candidates]


def all_products(base: EfficientNet, options: Buildable) -> set[EfficientNet]:
    """The band by looking at every depth with every width and every resolution."""
    phi, base_flops = phi_of(options.target), Flops().estimate(base)
    limits = [sorted(end**phi for end in r) for r in (options.alpha, options.beta, options.gamma)]
    steps = [base.steps(d, *ends) for d, ends in zip(DIMENSIONS, limits, strict=True)]
    networks = {base.scaled(Multipliers(*point)) for point in product(*steps)}
    return {
        network
        for network in networks
        if abs(Flops().estimate(network) / base_flops / options.target - 1) <= options.tolerance
        and (options.max_resolution is None or network.resolution <= options.max_resolution)
        and Flops().estimate(network) != base_flops
    }


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (small_efficientnet(), {}),
        (small_efficientnet(depth_rounding="ceil"), {"max_resolution": None}),
        (small_efficientnet(resolution_divisor=16), {"tolerance": 0.15, "max_resolution": None}),
        (
            small_efficientnet(resolution=21, resolution_divisor=5, width_divisor=3),
            {"tolerance": 0.1},
        ),
        (small_efficientnet(resolution=37, resolution_divisor=1), {"max_resolution": 50}),
        (small_efficientnet(), {"target": 1.05, "tolerance": 0.1}),
        (small_efficientnet(resolution=40), {"target": 0.5, "max_resolution": 40}),
        (small_efficientnet(resolution=40), {"target": 0.97, "max_resolution": None}),
        (small_efficientnet(), {"alpha": (1.2, 1.7), "beta": (1.1, 1.3), "gamma": (1.1, 1.4)}),
    ],
)
def test_buildable_networks_are_all_products_in_the_band(
    base: EfficientNet, changes: dict[str, Any]
) -> None:
    options = Buildable(**changes)
    found = options.plan(Budget(base, Flops())).pool
    assert {candidate.architecture for candidate in found} == all_products(base, options)
    assert len({candidate.architecture for candidate in found}) == len(found)


WALKED: list[tuple[EfficientNet, dict[str, Any]]] = [
    (small_efficientnet(), {}),
    (small_efficientnet(depth_rounding="ceil"), {"max_resolution": None, "max_networks": 200}),
    (small_efficientnet(resolution=21, resolution_divisor=5, width_divisor=3), {"tolerance": 0.1}),
    (small_efficientnet(), {"target": 1.05, "tolerance": 0.1}),
    (small_efficientnet(), {"target": 4.0, "max_resolution": None}),
    (small_efficientnet(resolution=40), {"target": 0.5, "max_resolution": None}),
]


@dataclass(frozen=True)
class OneAtATime(Lying):
    """An architecture that offers what it must and no more; its closed form is right."""

    def scaled(self, multipliers: Multipliers) -> "OneAtATime":
        return OneAtATime(self.truth.scaled(multipliers))

    def layers(self) -> tuple[Layer, ...]:
        return self.truth.layers()


@pytest.mark.parametrize(("base", "changes"), WALKED)
def test_networks_that_are_costed_one_at_a_time_are_the_same(
    base: EfficientNet, changes: dict[str, Any]
) -> None:
    assert isinstance(base, CountsMany)
    assert not isinstance(OneAtATime(base), CountsMany)
    at_once = Buildable(**changes).plan(Budget(base, Flops()))
    one_at_a_time = Buildable(**changes).plan(Budget(OneAtATime(base), Flops()))
    assert [c.row() for c in one_at_a_time.pool] == [c.row() for c in at_once.pool]
    assert [c.row() for c in one_at_a_time.candidates] == [c.row() for c in at_once.candidates]


def test_an_empty_band_is_said_alike_when_costed_one_at_a_time() -> None:
    options = Buildable(alpha=(1.0, 1.0), gamma=(1.0, 1.0), tolerance=0.001)
    with pytest.raises(ValueError, match="got none; the nearest cost") as at_once:
        options.plan(Budget(small_efficientnet(), Flops()))
    with pytest.raises(ValueError, match="got none") as one_at_a_time:
        options.plan(Budget(OneAtATime(small_efficientnet()), Flops()))
    assert str(one_at_a_time.value) == str(at_once.value)


def test_a_resolution_below_every_network_leaves_none() -> None:
    with pytest.raises(ValueError, match="the nearest cost nothing inside the ranges"):
        Buildable(max_resolution=4).plan(Budget(small_efficientnet(), Flops()))


def test_vectors_of_a_pool_are_those_of_its_candidates(plan: Plan) -> None:
    assert plan.pool.ratios.tolist() == [c.cost_ratio for c in plan.pool]
    assert plan.pool.shares.tolist() == [list(shares) for shares in shares_of(plan.pool)]


def test_b7_has_78572_networks_of_twice_its_cost() -> None:
    # Source: the walk over depths, widths and sizes one at a time, in half a minute.
    plan = Buildable(max_resolution=None).plan(Budget(efficientnet("b7"), Flops()))
    assert len(plan.pool) == plan.num_points == 78_572
    assert np.allclose(plan.pool.shares.sum(axis=1), 1)
    assert plan.pool.ratios.min() >= 1.9
    assert plan.pool.ratios.max() <= 2.1
    assert len(plan.candidates) == plan.num_places
    said = " ".join(plan_sentences(plan))
    assert "78572 distinct networks, with 1.90 to 2.10 times" in said
    assert "78572 networks have the target's cost, 2 ± 0.1 times" in said


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(1.0, 3.0), st.floats(1.0, 2.0), st.floats(1.0, 2.0))
def test_a_random_network_in_the_band_was_found(
    plan: Plan, depth: float, width: float, resolution: float
) -> None:
    multipliers = Multipliers(round(depth, 6), round(width, 6), round(resolution, 6))
    network = small_efficientnet().scaled(multipliers)
    in_band = 1.9 <= Flops().estimate(network) / 1_178_016 <= 2.1 and network.resolution <= 28
    assert in_band == (network in {candidate.architecture for candidate in plan.pool})


def test_b0_has_2266_networks_of_twice_its_cost() -> None:
    # Source: brute force over depths and widths by thousandths and every size in pixels.
    found = Buildable(max_resolution=None).plan(Budget(efficientnet("b0"), Flops())).pool
    assert len({candidate.architecture for candidate in found}) == len(found) == 2266


@pytest.mark.parametrize("target", [0.5, 0.25])
def test_shrinking_has_multipliers_of_at_most_one_and_coefficients_of_at_least_one(
    target: float,
) -> None:
    base = small_efficientnet(resolution=40)
    plan = Buildable(target=target, max_resolution=None).plan(Budget(base, Flops()))
    assert len(plan.candidates) >= 24
    for candidate in plan.pool:
        multipliers = candidate.coefficients.multipliers(phi_of(target))
        for dimension, name in zip(DIMENSIONS, NAMES, strict=True):
            assert getattr(multipliers, dimension) <= 1
            low, high = getattr(candidate.lowest, name), getattr(candidate.highest, name)
            assert 1 <= low <= getattr(candidate.coefficients, name) <= high
        assert candidate.architecture.resolution <= 40
        assert candidate.flops_ratio == pytest.approx(target, rel=0.05)
        assert candidate.shares is not None
        assert all(-1e-12 <= share <= 1 for share in candidate.shares)


@pytest.mark.parametrize("target", [1.03, 0.98])
def test_the_base_network_is_no_candidate_even_within_the_band(target: float) -> None:
    plan = Buildable(target=target, max_resolution=None, max_networks=500).plan(
        Budget(small_efficientnet(resolution=40, resolution_divisor=1), Flops())
    )
    assert plan.in_band(plan.base)
    for candidate in plan.candidates:
        assert candidate.architecture != plan.base.architecture
        assert candidate.flops_ratio != 1
        assert candidate.shares is not None
    assert plan.base.architecture not in {candidate.architecture for candidate in plan.pool}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"alpha": (0.9, 2.0)}, r"candidates.alpha must be a range .*\[0.9, 2.0\]"),
        ({"gamma": (1.5, 1.2)}, r"candidates.gamma must be a range .*\[1.5, 1.2\]"),
        ({"target": 1.0}, "256 and other than 1, got 1.0"),
        ({"target": 0.0}, "256 and other than 1, got 0.0"),
        ({"target": -2.0}, "256 and other than 1, got -2.0"),
        ({"tolerance": 5.0}, "less than 1"),
        ({"tolerance": 0.0}, "greater than 0"),
        ({"max_networks": 0}, "greater than or equal to 1"),
        ({"beta": (1.0,)}, "Field required"),
        ({"target": "2"}, "valid number"),
        ({"tolerence": 0.05}, "tolerence"),
    ],
)
def test_bad_options_name_the_rule(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Buildable(**changes)


def test_an_empty_band_names_the_nearest_costs() -> None:
    # Widths only, multiples of 8: the costs on either side of 2x are far apart.
    options = Buildable(alpha=(1.0, 1.0), gamma=(1.0, 1.0), tolerance=0.01)
    base = small_efficientnet(width_divisor=8)
    ratios = [
        Flops().estimate(base.scaled(Multipliers(1.0, step, 1.0))) / Flops().estimate(base)
        for step in base.steps("width", 1.0, 2.0)
    ]
    below = max(ratio for ratio in ratios if ratio < 2)
    above = min(ratio for ratio in ratios if ratio > 2)
    rule = rf"within 2x ± 1.0%, got none; the nearest cost {below:.3f}x and {above:.3f}x: widen"
    with pytest.raises(ValueError, match=rule):
        options.plan(Budget(base, Flops()))


def test_ranges_too_small_for_the_target_say_so() -> None:
    with pytest.raises(ValueError, match=r"the nearest cost 1\.\d+x: widen"):
        Buildable(alpha=(1.0, 1.1), beta=(1.0, 1.1), gamma=(1.0, 1.1)).plan(
            Budget(small_efficientnet(), Flops())
        )
