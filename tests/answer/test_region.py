"""The best point, its region, and how often they are right."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from scaling_search.answer.fit import CONTRASTS, Surface, fit_surface, flatness
from scaling_search.answer.observations import Values
from scaling_search.answer.region import (
    GRID,
    GRID_AREA,
    NEIGHBOURS,
    Hull,
    band_threshold,
    best_point,
    find_region,
    in_region,
    leads,
    simultaneous_threshold,
    thresholds,
)
from scaling_search.core.scaling import REFERENCES, Shares
from scaling_search.core.space_filling import Points, as_points, scheffe
from tests.surfaces import Luck, around, fitted, flat, plan_shares, spread_points, trainings

QUIET = Luck(seed_sd=0.0001)


def test_areas_of_grid_points_make_up_the_triangle() -> None:
    assert GRID_AREA.sum() == pytest.approx(1)
    corner = GRID_AREA[(GRID == 1).any(axis=1)]
    assert corner.tolist() == pytest.approx([1 / 1200] * 3)


def test_neighbours_are_24_points_at_distance_0_002_around() -> None:
    assert NEIGHBOURS.shape == (24, 3)
    assert NEIGHBOURS.sum(axis=1) == pytest.approx(0, abs=1e-15)
    assert np.abs(NEIGHBOURS).sum(axis=1) / 2 == pytest.approx(0.002)
    assert len(np.unique(NEIGHBOURS.round(9), axis=0)) == 24


def test_what_was_searched_is_the_hull_of_the_networks() -> None:
    shares = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    searched = Hull.of(shares)
    inside = searched.holds(GRID)
    assert inside.tolist() == (GRID.min(axis=1) >= 0.1 - 1e-12).tolist()
    assert len(searched.vertices) == 3
    # Of the references only thirds, paper and pycls lie inside.
    assert len(searched.rivals) == inside.sum() + 3 + 4


def optimum(surface: Surface) -> tuple[float, float]:
    """The smallest loss on a fine grid of what was searched, and the best point's."""
    steps = np.linspace(0, 1, 401)
    fine = np.array([(d, w, 1 - d - w) for d in steps for w in steps if d + w <= 1 + 1e-12])
    inside = fine[Hull.of(surface.observations.shares).holds(fine)]
    best = as_points([best_point(surface)])
    return float(surface.loss(inside).min()), float(surface.loss(best)[0])


@pytest.mark.parametrize("seed", range(12))
def test_no_point_is_better_than_the_best(seed: int) -> None:
    # Any six coefficients: bowls, saddles and hills.
    surface = fitted(around(0.3, 0.4), QUIET)
    drawn = replace(surface, coefficients=np.random.default_rng(seed).normal(size=6))
    on_grid, best = optimum(drawn)
    assert best <= on_grid + 1e-12
    assert on_grid - best < 1e-3
    assert Hull.of(drawn.observations.shares).holds(as_points([best_point(drawn)])).all()


@pytest.mark.parametrize(
    ("place", "expected", "is_at_edge"),
    [
        ((0.31, 0.42), (0.31, 0.42, 0.27), False),
        ((-0.2, 0.6), (0.0, 0.5, 0.5), True),
        ((1.4, -0.2), (1.0, 0.0, 0.0), True),
    ],
)
def test_the_best_point_without_noise_is_the_truth(
    place: tuple[float, float], expected: tuple[float, float, float], is_at_edge: bool
) -> None:
    region = find_region(fitted(around(*place), Luck()))
    assert tuple(region.best) == pytest.approx(expected, abs=1e-6)
    assert (region.is_at_edge, region.is_at_limit) == (is_at_edge, False)
    # A region without noise has no extent.
    assert region.low == pytest.approx(expected, abs=1e-6)
    assert region.high == pytest.approx(expected, abs=1e-6)


def test_the_limit_of_what_was_searched_is_not_an_edge_of_the_triangle() -> None:
    shares = 0.1 + 0.7 * spread_points(20)
    region = find_region(fit_surface(trainings(shares, around(1.2, -0.1), Luck(0.001))))
    assert not region.is_at_edge
    assert region.is_at_limit
    assert region.best.depth == pytest.approx(0.8)
    assert region.searched_area < 0.65
    assert not region.mask[~region.searched].any()


def test_nothing_is_left_out_while_the_surface_may_be_flat() -> None:
    surface = fitted(flat, Luck(0.0065))
    assert flatness(surface).p_value > 0.05
    region = find_region(surface)
    assert region.is_everything
    assert region.mask.tolist() == region.searched.tolist()
    assert region.networks.all()
    assert region.area == pytest.approx(region.searched_area)


def test_a_region_is_smaller_with_less_noise_and_holds_the_best() -> None:
    truth = around(0.3, 0.4, spread=0.06)
    areas = []
    for seed_sd in (0.0065, 0.003, 0.001):
        surface = fitted(truth, Luck(seed_sd))
        region = find_region(surface)
        assert not region.is_everything
        assert in_region(surface, as_points([region.best])).all()
        assert all(
            low <= share <= high
            for low, share, high in zip(region.low, region.best, region.high, strict=True)
        )
        areas.append(region.area)
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > 2 * areas[-1]


def test_points_outside_of_what_was_searched_are_never_in_the_region() -> None:
    shares = 0.1 + 0.7 * spread_points(20)
    for truth in (flat, around(0.3, 0.4, spread=0.2)):
        surface = fit_surface(trainings(shares, truth, Luck(0.005)))
        corners = as_points([REFERENCES[name] for name in ("depth", "width", "resolution")])
        assert not in_region(surface, corners).any()


def test_thresholds_lie_between_one_rival_and_all_contrasts() -> None:
    surface = fitted(around(0.3, 0.4), Luck(0.0065))
    found = thresholds(surface, GRID)
    # Of one rival the quantile would be Student's, of all five contrasts together Scheffé's.
    assert found.min() > stats.t.ppf(0.95, 24)
    assert found.max() < np.sqrt(5 * stats.f.ppf(0.95, 5, 24))


@pytest.mark.slow
def test_thresholds_are_the_quantile_of_the_largest_lead_on_a_flat_truth() -> None:
    shares = spread_points(12)
    places = np.array([[0.3, 0.4, 0.3], [1.0, 0.0, 0.0]])
    over = np.zeros(2)
    num_draws = 300
    for seed in range(num_draws):
        surface = fit_surface(trainings(shares, flat, Luck(0.0065), num_seeds=1, seed=seed))
        over += leads(surface, places) > thresholds(surface, places)
    # At most five in a hundred, with three binomial standard errors: the fit allows for effects of
    # places, and here are none.
    assert 0 < over.min() <= over.max() <= (0.05 + 0.038) * num_draws


def test_one_critical_value_serves_several_points_at_once() -> None:
    surface = fitted(around(0.3, 0.4), Luck(0.0065))
    points = as_points(list(REFERENCES.values()))

    def together(*which: int) -> float:
        chosen = points[list(which)]
        return simultaneous_threshold(surface.covariance, surface.freedom, surface.searched, chosen)

    every = together(*range(6))
    # At least that of each alone, more than a t-test, less than Scheffe's of all contrasts.
    assert every >= max(together(i) for i in range(6))
    assert min(together(i) for i in range(6)) > stats.t.ppf(0.975, 24)
    assert every < np.sqrt(5 * stats.f.ppf(0.95, 5, 24))


@pytest.mark.slow
def test_intervals_of_all_references_hold_together_in_95_of_100_searches() -> None:
    shares, references = spread_points(15), as_points(list(REFERENCES.values()))
    num_draws, missed = 300, 0
    for seed in range(num_draws):
        surface = fit_surface(trainings(shares, flat, Luck(0.0065), num_seeds=1, seed=seed))
        threshold = simultaneous_threshold(
            surface.covariance, surface.freedom, surface.searched, references
        )
        terms = scheffe(references) - scheffe(as_points([best_point(surface)]))
        errors = np.sqrt(np.einsum("ij,jk,ik->i", terms, surface.covariance, terms))
        # All true differences are 0, and the best is the point that looks best.
        missed += bool((terms @ surface.coefficients > threshold * errors + 1e-12).any())
    # Five in a hundred at most, within three binomial standard errors.
    assert missed / num_draws <= 0.05 + 0.038


def test_the_band_holds_the_whole_surface() -> None:
    surface = fitted(around(0.3, 0.4), Luck(0.0065))
    # Wider than one point's and than that of few, at most that of all six coefficients.
    assert band_threshold(surface) > 1.3 * stats.t.ppf(0.975, 24)
    assert band_threshold(surface) < np.sqrt(6 * stats.f.ppf(0.95, 6, 24))
    few = spread_points(12)
    missed = 0
    for seed in range(60):
        found = fit_surface(trainings(few, flat, Luck(0.0065), num_seeds=1, seed=seed))
        apart = np.abs(found.loss(GRID) - 0.4 - found.observations.loss.mean() + 0.4)
        missed += bool((apart > band_threshold(found) * found.standard_error(GRID)).any())
    # The mean of all losses is nearer to the surface than the truth: fewer than three of 60.
    assert missed <= 3


def test_few_rivals_give_nearly_the_same_critical_value() -> None:
    hull = Hull.of(spread_points(30))
    assert len(hull.few) < len(hull.rivals) / 2
    assert hull.holds(hull.few).all()


def test_thresholds_do_not_depend_on_the_scale_or_on_the_company() -> None:
    one = fitted(around(0.3, 0.4), Luck(0.0065))
    other = replace(one, covariance=one.covariance * 7.3)
    assert thresholds(other, GRID[:20]).tolist() == thresholds(one, GRID[:20]).tolist()
    assert thresholds(one, GRID[5:9]).tolist() == thresholds(one, GRID[:20])[5:9].tolist()


def test_leads_are_differences_over_their_standard_errors() -> None:
    surface = fitted(around(0.3, 0.4), Luck(0.0065))
    point = np.array([[0.61, 0.2, 0.19]])
    rivals = np.vstack([Hull.of(surface.observations.shares).rivals, point + NEIGHBOURS])
    terms = scheffe(rivals) - scheffe(point)
    gains = -terms @ surface.coefficients
    errors = np.sqrt(np.einsum("ij,jk,ik->i", terms, surface.covariance, terms))
    assert leads(surface, point)[0] == pytest.approx((gains / errors).max(), rel=1e-6)
    assert CONTRASTS @ np.array([1, 1, 1, 0, 0, 0]) == pytest.approx(0)


def test_a_point_does_not_lead_over_itself() -> None:
    # The best of the grid, moved by what rounding does: no direction may come of it.
    surface = fitted(around(0.3, 0.4), Luck(0.0001))
    point = np.array([[0.3, 0.4, 0.3]])
    assert leads(surface, point + 1e-16)[0] == pytest.approx(leads(surface, point)[0], rel=1e-6)


def test_a_hull_that_ends_on_an_edge_of_the_triangle_is_a_limit_too() -> None:
    shares = spread_points(40)
    shares = shares[shares[:, 0] < 0.7]
    region = find_region(fit_surface(trainings(shares, around(1.4, -0.2), Luck(0.0001))))
    assert region.best.depth < 0.7
    assert region.is_at_limit


def quadratic(place: tuple[float, float], spread: float) -> Callable[[Points], Values]:
    """A bowl with this difference between its smallest and largest loss in the triangle."""
    bowl = around(*place, spread=1.0)
    height = float(np.ptp(bowl(GRID)))
    return around(*place, spread=spread / height)


@pytest.mark.parametrize("network_sd", [0.0, 0.006])
def test_the_region_covers_the_truth(network_sd: float) -> None:
    place = (0.3, 0.35)
    truth = quadratic(place, 0.02)
    optimum = as_points([Shares(0.3, 0.35, 0.35)])
    luck = Luck(seed_sd=0.0065, shared=0.5, network_sd=network_sd)
    num_draws = 200
    covered = sum(
        bool(in_region(fit_surface(trainings(plan_shares(), truth, luck, seed=seed)), optimum)[0])
        for seed in range(num_draws)
    )
    # The bar is 0.93; two binomial standard errors of 200 draws are 0.036.
    assert covered / num_draws >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / num_draws)
