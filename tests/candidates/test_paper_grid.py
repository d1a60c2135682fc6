"""The paper's grid: what its nominal rule lets through, and what that costs when built."""

import statistics
from typing import Any

import pytest

from scaling_search.base_networks import small_efficientnet
from scaling_search.base_networks.efficientnets import EfficientNet, efficientnet
from scaling_search.base_networks.rounding import DepthRounding
from scaling_search.candidates.paper_grid import PaperGrid
from scaling_search.core.scaling import PAPER, Coefficients
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from tests.proxies import Lying

NAMES = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def official_plan() -> Plan:
    return PaperGrid().plan(Budget(efficientnet("b0"), Flops()))


def test_paper_grid_of_b0_is_mostly_not_of_equal_cost(official_plan: Plan) -> None:
    # Source: docs/sources.md, the grid.
    assert official_plan.num_points == 108
    assert len(official_plan.pool) == 65
    ratios = [candidate.flops_ratio for candidate in official_plan.pool]
    assert (round(min(ratios), 2), round(max(ratios), 2)) == (1.93, 3.33)
    assert official_plan.num_points_in_band == 5
    in_band = [c for c in official_plan.pool if official_plan.in_band(c)]
    assert len(in_band) == 4
    assert all(1.9 <= candidate.flops_ratio <= 2.1 for candidate in in_band)


def test_paper_grid_keeps_every_distinct_network_by_default(official_plan: Plan) -> None:
    assert len(official_plan.candidates) == 65
    assert len({c.architecture for c in official_plan.candidates}) == 65


def test_paper_triple_is_on_the_grid_and_costs_2_57(official_plan: Plan) -> None:
    # Source: reference/measured_rounding_effects.csv, 257 px; shares from design.
    scaled = efficientnet("b0").scaled(PAPER.multipliers(1))
    candidate = next(c for c in official_plan.pool if c.architecture == scaled)
    assert round(candidate.flops_ratio, 3) == 2.573
    assert candidate.lowest.alpha <= 1.2 <= candidate.highest.alpha
    assert candidate.shares is not None
    assert [round(share, 2) for share in candidate.shares] == [0.42, 0.15, 0.43]


def test_cells_of_the_grid_hold_the_points_that_became_one_network(official_plan: Plan) -> None:
    for candidate in official_plan.pool:
        scaled = efficientnet("b0").scaled(candidate.coefficients.multipliers(1))
        assert scaled == candidate.architecture
        for name in NAMES:
            low, high = getattr(candidate.lowest, name), getattr(candidate.highest, name)
            assert low <= getattr(candidate.coefficients, name) <= high


@pytest.mark.parametrize(
    ("depth_rounding", "divisor", "low", "median", "high", "within_10", "within_5"),
    [  # Source: docs/sources.md, rounding.
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
        plan = PaperGrid(tolerance=tolerance).plan(Budget(base, Flops()))
        assert (plan.num_points, plan.num_points_in_band) == (108, expected)


def test_paper_grid_with_a_step_of_a_tenth_misses_the_papers_triple() -> None:
    # Source: docs/sources.md, rounding: 20 feasible of 396, 18 distinct.
    plan = PaperGrid(step=0.1).plan(Budget(efficientnet("b0"), Flops()))
    assert (plan.num_points, len(plan.pool)) == (20, 18)
    scaled = efficientnet("b0").scaled(PAPER.multipliers(1))
    assert all(candidate.coefficients != PAPER for candidate in plan.pool)
    assert all(candidate.architecture != scaled for candidate in plan.pool)


def merged(points: list[Coefficients], phi: float) -> list[list[Coefficients]]:
    """The points that round to one network of B0, by their first."""
    networks: dict[EfficientNet, list[Coefficients]] = {}
    for point in points:
        networks.setdefault(efficientnet("b0").scaled(point.multipliers(phi)), []).append(point)
    return list(networks.values())


@pytest.mark.parametrize(("target", "phi"), [(2.0, 1), (4.0, 2), (0.5, -1)])
def test_points_of_the_grid_merge_as_if_each_were_built(target: float, phi: int) -> None:
    plan = PaperGrid(step=0.025, target=target).plan(Budget(efficientnet("b0"), Flops()))
    grid = [
        Coefficients(round(1 + i / 40, 6), round(1 + j / 40, 6), round(1 + k / 40, 6))
        for i in range(41)
        for j in range(21)
        for k in range(21)
    ]
    nominal = [p for p in grid if abs(p.nominal_flops_ratio - 2) < 0.1 - 1e-9]
    groups = merged(nominal, phi)
    assert plan.num_points == len(nominal)
    assert [c.coefficients for c in plan.pool] == [points[0] for points in groups]
    for name in NAMES:
        values = [[getattr(point, name) for point in points] for points in groups]
        assert [getattr(c.lowest, name) for c in plan.pool] == list(map(min, values))
        assert [getattr(c.highest, name) for c in plan.pool] == list(map(max, values))
    in_band = [c for c in plan.pool if plan.in_band(c)]
    assert plan.num_points_in_band == sum(
        len(points) for c, points in zip(plan.pool, groups, strict=True) if c in in_band
    )


def test_a_grid_of_262701_points_leads_to_1588_networks() -> None:
    # Source: every one of the feasible points built on paper, one at a time.
    plan = PaperGrid(step=0.01).plan(Budget(efficientnet("b0"), Flops()))
    assert (plan.num_points, len(plan.pool)) == (10_285, 1_588)
    assert plan.pool.ratios.tolist() == [c.cost_ratio for c in plan.pool]
    shares = [list(c.shares) for c in plan.pool if c.shares is not None]
    assert plan.pool.shares.tolist() == shares


def test_a_grid_of_networks_costed_one_at_a_time_leaves_out_what_they_leave_out() -> None:
    # Without its classifier each network costs as much less.
    at_once = PaperGrid().plan(Budget(small_efficientnet(), Flops()))
    one_at_a_time = PaperGrid().plan(Budget(Lying(small_efficientnet()), Flops()))
    assert [c.network for c in one_at_a_time.pool] == [c.network for c in at_once.pool]
    for lying, true in zip(one_at_a_time.pool, at_once.pool, strict=True):
        assert lying.flops == true.flops - true.architecture.layers()[-1].flops


def test_the_last_point_of_a_range_is_on_the_grid() -> None:
    assert (1.7 - 1.0) / 0.1 < 7  # in floats a step short
    narrow = PaperGrid(step=0.1, alpha=(1.0, 1.7), beta=(1.0, 1.1), gamma=(1.0, 1.0))
    found = narrow.plan(Budget(efficientnet("b0"), Flops())).pool
    assert [candidate.coefficients for candidate in found] == [
        Coefficients(1.6, 1.1, 1.0),
        Coefficients(1.7, 1.1, 1.0),
    ]


def test_equal_cost_keeps_only_the_band() -> None:
    plan = PaperGrid(equal_cost=True).plan(Budget(efficientnet("b0"), Flops()))
    assert len(plan.pool) == 65
    assert len(plan.candidates) == 4
    assert all(plan.in_band(candidate) for candidate in plan.candidates)
    assert [candidate.number for candidate in plan.candidates] == [1, 2, 3, 4]


def test_paper_grid_can_be_thinned(official_plan: Plan) -> None:
    plan = PaperGrid(max_networks=10).plan(Budget(efficientnet("b0"), Flops()))
    assert len({candidate.architecture for candidate in plan.candidates}) == 10
    assert plan.pool.ratios.tolist() == official_plan.pool.ratios.tolist()


def test_paper_grid_of_a_larger_target_has_the_powers_of_its_points() -> None:
    plan = PaperGrid(target=4.0).plan(Budget(efficientnet("b0"), Flops()))
    assert plan.num_points == 108
    for candidate in plan.pool:
        scaled = efficientnet("b0").scaled(candidate.coefficients.multipliers(2))
        assert scaled == candidate.architecture
        expected = candidate.coefficients.nominal_flops_ratio**2
        assert candidate.nominal_flops_ratio == pytest.approx(expected)


def test_paper_grid_respects_the_largest_resolution() -> None:
    plan = PaperGrid(max_resolution=256).plan(Budget(efficientnet("b0"), Flops()))
    assert 0 < len(plan.pool) < 65
    assert all(candidate.architecture.resolution <= 256 for candidate in plan.pool)


def test_a_grid_point_that_rounds_to_the_base_network_is_no_candidate() -> None:
    # One layer in each stage and rough divisors: much of the grid rounds to the base network.
    base = small_efficientnet(
        num_layers=(1, 1, 1), resolution_divisor=16, resolution=32, width_divisor=64
    )
    plan = PaperGrid(max_networks=50).plan(Budget(base, Flops()))
    assert base in {candidate.architecture for candidate in plan.pool}
    for candidate in plan.candidates:
        assert candidate.architecture != base
        assert candidate.shares is not None


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
        PaperGrid(**changes)


def test_an_empty_band_of_the_grid_names_the_nearest_costs() -> None:
    options = PaperGrid(equal_cost=True, tolerance=0.0001)
    with pytest.raises(ValueError, match=r"the nearest cost 1\.9\d\dx and 2\.0\d\dx"):
        options.plan(Budget(efficientnet("b0"), Flops()))


def test_a_grid_without_a_feasible_point_says_what_to_widen() -> None:
    with pytest.raises(ValueError, match=r"nominal_tolerance must let a point .*got 0.001 at"):
        PaperGrid(nominal_tolerance=0.001, step=0.3).plan(Budget(efficientnet("b0"), Flops()))
