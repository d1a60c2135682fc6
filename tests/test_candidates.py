"""Networks of equal cost: which there are, which are kept, and what their coefficients mean."""

import math
import random
import statistics
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.base_networks.efficientnet import EfficientNet, efficientnet
from scaling_search.base_networks.rounding import DepthRounding
from scaling_search.candidates import Candidate, Plan
from scaling_search.costs.flops import Flops
from scaling_search.protocols import Architecture, Layer
from scaling_search.scaling import (
    DIMENSIONS,
    PAPER,
    REFERENCES,
    Coefficients,
    Multipliers,
    Shares,
    phi_of,
)
from scaling_search.spaces.buildable import Buildable
from scaling_search.spaces.paper_grid import PaperGrid
from scaling_search.spread import largest_hole
from tests.proxies import small_proxy

NAMES = ("alpha", "beta", "gamma")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks gain nothing from two threads and lose tenfold where cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def buildable(**changes: Any) -> Buildable:
    options: dict[str, Any] = {
        "target": 2.0,
        "tolerance": 0.05,
        "max_networks": 32,
        "alpha": (1.0, 4.0),
        "beta": (1.0, 4.0),
        "gamma": (1.0, 4.0),
        "max_resolution": 28,
    }
    return Buildable(**options | changes)


def paper_grid(**changes: Any) -> PaperGrid:
    options: dict[str, Any] = {
        "target": 2.0,
        "tolerance": 0.05,
        "nominal_tolerance": 0.1,
        "equal_cost": False,
        "max_networks": None,
        "alpha": (1.0, 2.0),
        "beta": (1.0, 1.5),
        "gamma": (1.0, 1.5),
        "step": 0.05,
        "max_resolution": None,
    }
    return PaperGrid(**options | changes)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return buildable().plan(small_proxy(), Flops())


def counted_flops(architecture: Architecture) -> int:
    """fvcore's count of convolutions and linear layers, with nothing of the package's own."""
    size = architecture.resolution
    with torch.random.fork_rng(devices=[]):
        network = architecture.build().eval()
    with pytest.warns():  # the tracer's
        counts = FlopCountAnalysis(
            network, torch.zeros(1, architecture.in_channels, size, size)
        ).by_operator()
    return int(counts["conv"] + counts["linear"])


def shares_of(candidates: tuple[Candidate, ...]) -> list[Shares]:
    return [candidate.shares for candidate in candidates if candidate.shares is not None]


def nearest(reference: Shares, candidates: tuple[Candidate, ...]) -> float:
    return min(map(reference.distance, shares_of(candidates)))


def test_small_proxy_has_114_networks_of_twice_its_cost(plan: Plan) -> None:
    # Source: the project's plan for this proxy, counted when it was designed.
    assert plan.base.flops == 1_178_016
    assert len(plan.found) == plan.num_points == plan.num_points_in_band == 114
    assert sum(min(shares) >= 0.1 for shares in shares_of(plan.found)) == 16
    hole, _ = largest_hole(shares_of(plan.found))
    assert round(hole, 2) == 0.20
    assert round(nearest(REFERENCES["thirds"], plan.found), 2) == 0.04
    assert round(nearest(REFERENCES["paper"], plan.found), 2) == 0.06
    assert round(nearest(REFERENCES["pycls"], plan.found), 2) == 0.10


def test_kept_networks_of_the_small_proxy_cover_the_triangle(plan: Plan) -> None:
    # Source: what the project asks of a plan: at least 24, no hole over 0.25.
    assert 24 <= len(plan.candidates) <= 32
    assert largest_hole(shares_of(plan.candidates))[0] <= 0.25
    for name, reference in REFERENCES.items():
        assert nearest(reference, plan.candidates) <= 0.12, name
    assert sum(min(shares) >= 0.1 for shares in shares_of(plan.candidates)) >= 2


def test_every_kept_network_is_in_the_band_when_counted_anew(plan: Plan) -> None:
    base_flops = counted_flops(plan.base.architecture)
    for candidate in plan.candidates:
        flops = counted_flops(candidate.architecture)
        assert flops == candidate.flops
        assert 1.9 <= flops / base_flops <= 2.1
        assert candidate.flops_ratio == pytest.approx(flops / base_flops, rel=1e-12)


def test_every_found_network_is_distinct_and_in_the_band(plan: Plan) -> None:
    assert len({candidate.architecture for candidate in plan.found}) == len(plan.found)
    assert len({candidate.network for candidate in plan.found}) == len(plan.found)
    assert all(plan.in_band(candidate) for candidate in plan.found)
    assert all(1.9 <= candidate.flops_ratio <= 2.1 for candidate in plan.found)
    assert all(candidate.architecture.resolution <= 28 for candidate in plan.found)


def test_kept_networks_are_found_ones_numbered_from_one(plan: Plan) -> None:
    found = {candidate.architecture for candidate in plan.found}
    assert all(candidate.architecture in found for candidate in plan.candidates)
    assert [c.number for c in plan.candidates] == list(range(1, len(plan.candidates) + 1))
    assert plan.base.number == 0


def test_the_base_network_has_no_shares_and_a_ratio_of_one(plan: Plan) -> None:
    assert plan.base.shares is None
    assert plan.base.flops_ratio == plan.base.nominal_flops_ratio == 1
    assert plan.base.coefficients == Coefficients(1.0, 1.0, 1.0)
    assert plan.base.architecture == small_proxy()


def test_counts_of_a_candidate_are_those_of_the_built_network(plan: Plan) -> None:
    for candidate in plan.candidates[:6]:
        network = candidate.architecture.build()
        assert candidate.params == sum(p.numel() for p in network.parameters())


def test_shares_are_logs_of_the_cost_of_one_dimension_alone(plan: Plan) -> None:
    base = small_proxy()
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
    assert buildable().plan(small_proxy(), Flops()) == plan


@pytest.mark.parametrize("max_networks", [1, 5, 20, 114, 500])
def test_no_more_networks_are_kept_than_asked(max_networks: int) -> None:
    kept = buildable(max_networks=max_networks).plan(small_proxy(), Flops()).candidates
    assert len(kept) == min(max_networks, 114)
    assert len({candidate.architecture for candidate in kept}) == len(kept)


def test_measuring_a_plan_builds_the_base_network_and_each_kept_one() -> None:
    plan = buildable(max_networks=4).plan(small_proxy(), Flops())
    torch.manual_seed(0)
    before = torch.get_rng_state()
    shown: list[int] = []

    def track(networks: Any, number: int) -> Iterator[Candidate]:
        for network in networks:
            shown.append(network.number)
            yield network
        assert number == 5

    assert plan.measured(Flops(), track) is plan
    assert shown == [0, 1, 2, 3, 4]
    assert torch.equal(torch.get_rng_state(), before)


class Miscounted(EfficientNet):
    """Builds one class more than its closed form says, but only when it was scaled."""

    def layers(self) -> tuple[Layer, ...]:
        return super().layers()[:-1] if self.resolution != 20 else super().layers()


def test_a_plan_with_a_wrong_closed_form_is_an_error() -> None:
    base = Miscounted(**{name: getattr(small_proxy(), name) for name in _fields()})
    plan = buildable(gamma=(1.4, 1.4), tolerance=0.2).plan(base, Flops())
    with pytest.raises(RuntimeError, match="must equal the closed form"):
        plan.measured(Flops())


def _fields() -> list[str]:
    return list(EfficientNet.__dataclass_fields__)


# Cells: which coefficients round to a network.


CELLS: list[tuple[float, EfficientNet]] = [
    (2.0, small_proxy()),
    (2.0, small_proxy(depth_rounding="ceil", resolution_divisor=1)),
    (3.0, small_proxy()),
    (4.0, small_proxy(depth_rounding="ceil")),
    (1.4, small_proxy(width_divisor=1)),
    (0.5, small_proxy(resolution=40)),
    (0.3, small_proxy(resolution=40, depth_rounding="ceil", width_divisor=4)),
]


@pytest.mark.parametrize(("target", "base"), CELLS)
def test_all_coefficients_in_a_cell_round_to_its_network(target: float, base: EfficientNet) -> None:
    phi = phi_of(target)
    stream = random.Random(0)
    found = buildable(target=target, max_resolution=None).plan(base, Flops()).found
    for candidate in stream.sample(found, min(40, len(found))):
        low, high = candidate.lowest, candidate.highest
        ends = [(getattr(low, name), getattr(high, name)) for name in NAMES]
        assert all(1 <= lowest <= highest for lowest, highest in ends)
        inside = [tuple(stream.uniform(*end) for end in ends) for _ in range(10)]
        for point in [*product(*ends), *inside]:
            # Steps are multipliers of six decimals: so is what lies between two of them.
            exact = Coefficients(*point).multipliers(phi)
            multipliers = Multipliers(*(round(getattr(exact, d), 6) for d in DIMENSIONS))
            assert base.scaled(multipliers) == candidate.architecture
        for corner in (low, high, candidate.coefficients):
            assert base.scaled(corner.multipliers(phi)) == candidate.architecture


@pytest.mark.parametrize(("target", "base"), CELLS)
def test_coefficients_beside_a_cell_give_another_network(target: float, base: EfficientNet) -> None:
    phi = phi_of(target)
    stream = random.Random(1)
    found = buildable(target=target, max_resolution=None).plan(base, Flops()).found
    for candidate in stream.sample(found, min(40, len(found))):
        lowest, highest = candidate.lowest.multipliers(phi), candidate.highest.multipliers(phi)
        if phi < 0:
            lowest, highest = highest, lowest
        for dimension in DIMENSIONS:
            for corner, step in ((lowest, -2e-6), (highest, 2e-6)):
                beside = getattr(corner, dimension) + step
                is_beyond_one = (beside < 1) if phi > 0 else (beside > 1)
                is_beyond_range = phi < 0 and beside < 4.0**phi
                if is_beyond_one or is_beyond_range:
                    continue  # a coefficient below 1, or over the range's 4
                values = {d: getattr(corner, d) for d in DIMENSIONS} | {dimension: beside}
                assert base.scaled(Multipliers(**values)) != candidate.architecture


# Nothing is missed, nothing comes twice.


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
        (small_proxy(), {}),
        (small_proxy(depth_rounding="ceil"), {"max_resolution": None}),
        (small_proxy(resolution_divisor=16), {"tolerance": 0.15, "max_resolution": None}),
        (small_proxy(resolution=21, resolution_divisor=5, width_divisor=3), {"tolerance": 0.1}),
        (small_proxy(resolution=37, resolution_divisor=1), {"max_resolution": 50}),
        (small_proxy(), {"target": 1.05, "tolerance": 0.1}),
        (small_proxy(resolution=40), {"target": 0.5, "max_resolution": 40}),
        (small_proxy(resolution=40), {"target": 0.97, "max_resolution": None}),
        (small_proxy(), {"alpha": (1.2, 1.7), "beta": (1.1, 1.3), "gamma": (1.1, 1.4)}),
    ],
)
def test_buildable_networks_are_all_products_in_the_band(
    base: EfficientNet, changes: dict[str, Any]
) -> None:
    options = buildable(**{"beta": (1.0, 2.0), "gamma": (1.0, 2.0)} | changes)
    found = options.plan(base, Flops()).found
    assert {candidate.architecture for candidate in found} == all_products(base, options)
    assert len({candidate.architecture for candidate in found}) == len(found)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(*(st.floats(0, 1) for _ in DIMENSIONS))
def test_a_random_network_in_the_band_was_found(plan: Plan, *at: float) -> None:
    multipliers = Multipliers(*(round(4**share, 6) for share in at))
    network = small_proxy().scaled(multipliers)
    in_band = 1.9 <= Flops().estimate(network) / 1_178_016 <= 2.1 and network.resolution <= 28
    assert in_band == (network in {candidate.architecture for candidate in plan.found})


def test_b0_has_2214_networks_of_twice_its_cost() -> None:
    # Source: design, decision 2: B0 ± 5 %, all of them.
    found = buildable(max_resolution=None).plan(efficientnet("b0"), Flops()).found
    networks = {candidate.architecture for candidate in found}
    assert len(networks) == 2214


# The paper's grid.


@pytest.fixture(scope="module")
def official_plan() -> Plan:
    return paper_grid().plan(efficientnet("b0"), Flops())


def test_paper_grid_of_b0_is_mostly_not_of_equal_cost(official_plan: Plan) -> None:
    # Source: facts, section 0, fact 5.
    assert official_plan.num_points == 108
    assert len(official_plan.found) == 65
    ratios = [candidate.flops_ratio for candidate in official_plan.found]
    assert (round(min(ratios), 2), round(max(ratios), 2)) == (1.93, 3.33)
    assert official_plan.num_points_in_band == 5
    in_band = [c for c in official_plan.found if official_plan.in_band(c)]
    assert len(in_band) == 4
    assert all(1.9 <= candidate.flops_ratio <= 2.1 for candidate in in_band)


def test_paper_grid_keeps_every_distinct_network_by_default(official_plan: Plan) -> None:
    assert len(official_plan.candidates) == 65
    assert len({c.architecture for c in official_plan.candidates}) == 65


def test_paper_triple_is_on_the_grid_and_costs_2_57(official_plan: Plan) -> None:
    # Source: reference/measured_rounding_effects.csv, 257 px; shares from design.
    scaled = efficientnet("b0").scaled(PAPER.multipliers(1))
    candidate = next(c for c in official_plan.found if c.architecture == scaled)
    assert round(candidate.flops_ratio, 3) == 2.573
    assert candidate.lowest.alpha <= 1.2 <= candidate.highest.alpha
    assert candidate.shares is not None
    assert [round(share, 2) for share in candidate.shares] == [0.42, 0.15, 0.43]


def test_cells_of_the_grid_hold_the_points_that_became_one_network(official_plan: Plan) -> None:
    for candidate in official_plan.found:
        scaled = efficientnet("b0").scaled(candidate.coefficients.multipliers(1))
        assert scaled == candidate.architecture
        for name in NAMES:
            low, high = getattr(candidate.lowest, name), getattr(candidate.highest, name)
            assert low <= getattr(candidate.coefficients, name) <= high


@pytest.mark.parametrize(
    ("depth_rounding", "divisor", "low", "median", "high", "within_10", "within_5"),
    [  # Source: facts, section 2.3.
        ("ceil", 1, 1.93, 2.55, 3.33, 12, 5),
        ("ceil", 16, 1.89, 2.48, 3.25, 18, 7),
        ("ceil", 32, 1.79, 2.37, 3.10, 31, 16),
        ("round", 1, 1.75, 2.08, 2.53, 74, 45),
        ("round", 16, 1.75, 2.02, 2.44, 76, 50),
        ("round", 32, 1.50, 1.95, 2.46, 69, 40),
    ],
)
def test_rounding_bends_the_paper_grid_as_measured(
    depth_rounding: DepthRounding,
    divisor: int,
    low: float,
    median: float,
    high: float,
    within_10: int,
    within_5: int,
) -> None:
    base = efficientnet("b0", depth_rounding=depth_rounding, resolution_divisor=divisor)
    # Every point of the grid, made here again from integers.
    points = [
        Coefficients(1 + i / 20, 1 + j / 20, 1 + k / 20)
        for i in range(21)
        for j in range(11)
        for k in range(11)
    ]
    nominal = [p for p in points if abs(p.nominal_flops_ratio - 2) < 0.1 - 1e-9]
    flops = [Flops().estimate(base.scaled(p.multipliers(1))) for p in nominal]
    ratios = [f / 385_814_752 for f in flops]
    assert (len(points), len(nominal)) == (2541, 108)
    assert round(min(ratios), 2) == low
    assert round(statistics.median(ratios), 2) == median
    assert round(max(ratios), 2) == high
    for tolerance, expected in ((0.1, within_10), (0.05, within_5)):
        assert sum(abs(ratio / 2 - 1) <= tolerance for ratio in ratios) == expected
        plan = paper_grid(tolerance=tolerance).plan(base, Flops())
        assert (plan.num_points, plan.num_points_in_band) == (108, expected)


def test_paper_grid_with_a_step_of_a_tenth_misses_the_papers_triple() -> None:
    # Source: facts, section 2.3: 20 feasible of 396, 18 distinct.
    plan = paper_grid(step=0.1).plan(efficientnet("b0"), Flops())
    assert (plan.num_points, len(plan.found)) == (20, 18)
    scaled = efficientnet("b0").scaled(PAPER.multipliers(1))
    assert all(candidate.coefficients != PAPER for candidate in plan.found)
    assert all(candidate.architecture != scaled for candidate in plan.found)


def test_equal_cost_keeps_only_the_band() -> None:
    plan = paper_grid(equal_cost=True).plan(efficientnet("b0"), Flops())
    assert len(plan.found) == 65
    assert len(plan.candidates) == 4
    assert all(plan.in_band(candidate) for candidate in plan.candidates)
    assert [candidate.number for candidate in plan.candidates] == [1, 2, 3, 4]


def test_paper_grid_can_be_thinned(official_plan: Plan) -> None:
    plan = paper_grid(max_networks=10).plan(efficientnet("b0"), Flops())
    assert len({candidate.architecture for candidate in plan.candidates}) == 10
    assert plan.found == official_plan.found


def test_paper_grid_of_a_larger_target_has_the_powers_of_its_points() -> None:
    plan = paper_grid(target=4.0).plan(efficientnet("b0"), Flops())
    assert plan.num_points == 108
    for candidate in plan.found:
        scaled = efficientnet("b0").scaled(candidate.coefficients.multipliers(2))
        assert scaled == candidate.architecture
        expected = candidate.coefficients.nominal_flops_ratio**2
        assert candidate.nominal_flops_ratio == pytest.approx(expected)


def test_paper_grid_respects_the_largest_resolution() -> None:
    plan = paper_grid(max_resolution=256).plan(efficientnet("b0"), Flops())
    assert 0 < len(plan.found) < 65
    assert all(candidate.architecture.resolution <= 256 for candidate in plan.found)


# Shrinking, and targets near the base network.


@pytest.mark.parametrize("target", [0.5, 0.25])
def test_shrinking_has_multipliers_of_at_most_one_and_coefficients_of_at_least_one(
    target: float,
) -> None:
    base = small_proxy(resolution=40)
    plan = buildable(target=target, max_resolution=None).plan(base, Flops())
    assert len(plan.candidates) >= 24
    for candidate in plan.found:
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
    plan = buildable(target=target, max_resolution=None, max_networks=500).plan(
        small_proxy(resolution=40, resolution_divisor=1), Flops()
    )
    assert plan.in_band(plan.base)
    for candidate in plan.candidates:
        assert candidate.architecture != plan.base.architecture
        assert candidate.flops_ratio != 1
        assert candidate.shares is not None
    kept = {candidate.architecture for candidate in plan.candidates}
    assert kept == {candidate.architecture for candidate in plan.found}


def test_a_grid_point_that_rounds_to_the_base_network_is_no_candidate() -> None:
    # One layer in each stage and rough divisors: much of the grid rounds to the base network.
    base = small_proxy(num_layers=(1, 1, 1), resolution_divisor=16, resolution=32, width_divisor=64)
    plan = paper_grid(max_networks=50).plan(base, Flops())
    assert base in {candidate.architecture for candidate in plan.found}
    for candidate in plan.candidates:
        assert candidate.architecture != base
        assert candidate.shares is not None


# Tables and errors.


def test_rows_have_the_columns_of_the_candidates_table(plan: Plan) -> None:
    row = plan.candidates[0].row()
    assert list(row) == [
        "candidate",
        "network",
        *NAMES,
        *(f"{name}_{end}" for name in NAMES for end in ("low", "high")),
        *(f"{dimension}_share" for dimension in DIMENSIONS),
        "share_gap",
        "nominal_flops_ratio",
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


@pytest.mark.parametrize("make", [buildable, paper_grid])
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"alpha": (0.9, 2.0)}, r"candidates.alpha must be a range .*\[0.9, 2.0\]"),
        ({"gamma": (1.5, 1.2)}, r"candidates.gamma must be a range .*\[1.5, 1.2\]"),
        ({"target": 1.0}, "positive and other than 1, got 1.0"),
        ({"target": 0.0}, "positive and other than 1, got 0.0"),
        ({"target": -2.0}, "positive and other than 1, got -2.0"),
        ({"tolerance": 5.0}, "less than 1"),
        ({"tolerance": 0.0}, "greater than 0"),
        ({"max_networks": 0}, "greater than or equal to 1"),
        ({"beta": (1.0,)}, "Field required"),
        ({"target": "2"}, "valid number"),
        ({"tolerence": 0.05}, "tolerence"),
    ],
)
def test_bad_options_name_the_rule(
    make: Callable[..., object], changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        make(**changes)


def test_an_empty_band_names_the_nearest_costs() -> None:
    # Widths only, divisor 64: the costs on either side of 2x are far apart.
    options = buildable(alpha=(1.0, 1.0), gamma=(1.0, 1.0), tolerance=0.01)
    base = small_proxy(width_divisor=8)
    ratios = [
        Flops().estimate(base.scaled(Multipliers(1.0, step, 1.0))) / Flops().estimate(base)
        for step in base.steps("width", 1.0, 4.0)
    ]
    below = max(ratio for ratio in ratios if ratio < 2)
    above = min(ratio for ratio in ratios if ratio > 2)
    rule = rf"within 2x ± 1.0%, got none; the nearest cost {below:.3f}x and {above:.3f}x: widen"
    with pytest.raises(ValueError, match=rule):
        options.plan(base, Flops())


def test_an_empty_band_of_the_grid_names_the_nearest_costs() -> None:
    options = paper_grid(equal_cost=True, tolerance=0.0001)
    with pytest.raises(ValueError, match=r"the nearest cost 1\.9\d\dx and 2\.0\d\dx"):
        options.plan(efficientnet("b0"), Flops())


def test_ranges_too_small_for_the_target_say_so() -> None:
    with pytest.raises(ValueError, match=r"the nearest cost 1\.\d+x: widen"):
        buildable(alpha=(1.0, 1.1), beta=(1.0, 1.1), gamma=(1.0, 1.1)).plan(small_proxy(), Flops())


def test_a_grid_without_a_feasible_point_says_what_to_widen() -> None:
    with pytest.raises(ValueError, match=r"nominal_tolerance must let a point .*got 0.001 at"):
        paper_grid(nominal_tolerance=0.001, step=0.25).plan(efficientnet("b0"), Flops())
