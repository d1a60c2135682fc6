"""One model of all sizes: its estimates, its test, the drift of the best, and what it finds."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import GLS

from scaling_search.answer.fit import CONTRASTS, LENGTH, Surface, least_squares
from scaling_search.answer.mixed_model import PLACE_SDS, SEED_SDS, half_cauchy
from scaling_search.answer.observations import Indices, Observations, Values
from scaling_search.answer.region import GRID, Hull, in_region
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Shares
from scaling_search.core.space_filling import Points, as_points, scheffe
from scaling_search.follow_ups.sizes import PooledDesign, find_drift, fit_sizes, smallest_changes
from tests.larger import NOISY, at_size, best_at, drawn
from tests.surfaces import Luck, around


def test_without_noise_the_best_of_each_size_is_the_truth() -> None:
    surface, larger = drawn(0.1, Luck())
    sizes = fit_sizes(surface, larger)
    drift = find_drift(sizes)
    assert list(drift.regions) == [2, 4, 8]
    for phi, region in enumerate(drift.regions.values(), start=1):
        depth, width = best_at(phi, 0.1)
        assert tuple(region.best) == pytest.approx((depth, width, 1 - depth - width), abs=1e-6)
    assert drift.moved == pytest.approx((0.2, 0, -0.2), abs=1e-6)
    assert drift.low == pytest.approx((0.16, -0.04, -0.24), abs=1e-6)
    assert sizes.test.p_value < 1e-6


def averaged(
    design: Values, response: Values, place: Indices, seed: Indices, kernels: list[Values]
) -> tuple[Values, Values]:
    """Estimates and their covariance by statsmodels, averaged over all variances and kernels."""
    groups, blocks = np.eye(place.max() + 1)[place], np.eye(seed.max() + 1)[seed]
    scores, estimates, spreads = [], [], []
    for kernel, (place_sd, prior), (seed_sd, other) in itertools.product(
        kernels,
        zip(PLACE_SDS, half_cauchy(PLACE_SDS), strict=True),
        zip(SEED_SDS, half_cauchy(SEED_SDS), strict=True),
    ):
        sigma = np.eye(len(response)) + place_sd**2 * groups @ kernel @ groups.T
        sigma += seed_sd**2 * blocks @ blocks.T
        fit = GLS(response, design, sigma=sigma).fit()
        restricted = fit.df_resid * np.log(fit.scale) + np.linalg.slogdet(sigma)[1]
        restricted -= np.linalg.slogdet(fit.normalized_cov_params)[1]
        scores.append(np.log(prior * other) - restricted / 2)
        estimates.append(fit.params)
        spreads.append(fit.cov_params())
    weights = np.exp(np.array(scores) - max(scores))
    weights /= weights.sum()
    steps = np.array(estimates)
    apart = steps - weights @ steps
    covariance = np.einsum("r,rij->ij", weights, spreads) + (apart.T * weights) @ apart
    return weights @ steps, covariance


def test_estimates_and_the_test_are_an_average_of_fits_by_statsmodels() -> None:
    surface, larger = drawn(0.1, NOISY)
    larger[0] = at_size(2, around(*best_at(2, 0.1)), NOISY, num_seeds=2)
    sizes = fit_sizes(surface, larger)
    parts = [s.observations for s in sizes.surfaces]
    before = np.cumsum([0, *(d.num_places for d in parts)])
    place = np.concatenate([d.place[d.network] + b for d, b in zip(parts, before, strict=False)])
    seed = np.concatenate([d.seed for d in parts])
    # Of the same model other columns: all six terms change, less one of the two levels.
    step = np.concatenate([np.full(len(d.loss), i) for i, d in enumerate(parts)])
    six = scheffe(np.vstack([d.shares[d.network] for d in parts]))
    design = np.hstack([six, step[:, None] * six, (step == 1)[:, None]])
    losses = [d.loss + surface.slope * np.log(d.cost_ratio / d.target)[d.network] for d in parts]
    smooth = np.zeros((before[-1], before[-1]))
    for d, b in zip(parts, before, strict=False):
        firsts = d.shares[[int(np.flatnonzero(d.place == i)[0]) for i in range(d.num_places)]]
        gaps = np.abs(firsts[:, None] - firsts).sum(axis=2) / 2
        smooth[b : b + len(gaps), b : b + len(gaps)] = np.exp(-gaps / LENGTH)
    params, covariance = averaged(
        design, np.concatenate(losses), place, seed, [np.eye(len(smooth)), smooth]
    )
    freedom, left = before[-1] - 13, len(design) - 13
    # Intervals are those of Student's t, whose variance is larger than its scale.
    covariance *= left / (left - 2) * (freedom - 2) / freedom
    gamma = np.hstack([np.zeros((5, 6)), CONTRASTS, np.zeros((5, 1))])
    moved = gamma @ params
    statistic = moved @ np.linalg.solve(gamma @ covariance @ gamma.T, moved) / 5
    assert sizes.test.statistic == pytest.approx(statistic, rel=1e-6)
    assert (sizes.test.numerator, sizes.test.denominator) == (5, freedom)
    last, mapped = sizes.surfaces[-1], np.hstack([np.eye(6), 2 * np.eye(6), np.zeros((6, 1))])
    # Levels are those at the mean of the seeds used, and not of all there may be.
    assert CONTRASTS @ last.coefficients == pytest.approx(CONTRASTS @ mapped @ params, rel=1e-6)
    expected = CONTRASTS @ mapped @ covariance @ mapped.T @ CONTRASTS.T
    found = CONTRASTS @ last.covariance @ CONTRASTS.T
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-12)


@pytest.mark.slow
def test_the_drift_is_covered_and_rarely_seen_where_there_is_none() -> None:
    num_draws, seen, covered = 200, 0, 0
    place = as_points([Shares(0.35, 0.35, 0.3)])
    for seed in range(num_draws):
        sizes = fit_sizes(*drawn(0.0, NOISY, spread=0.02, seed=seed))
        seen += sizes.test.p_value < 0.05
        ends = (sizes.surfaces[0], sizes.surfaces[-1])
        covered += all(bool(in_region(one, place, level=0.025)[0]) for one in ends)
    assert seen / num_draws <= 0.065
    # The interval holds the drift wherever both regions hold their size's best.
    assert covered / num_draws >= 0.95


@pytest.mark.slow
def test_a_drift_that_is_there_is_covered() -> None:
    num_draws, covered = 100, 0
    for seed in range(num_draws):
        sizes = fit_sizes(*drawn(0.1, NOISY, seed=seed))
        places = [as_points([Shares(*best_at(p, 0.1), 0.65 - best_at(p, 0.1)[0])]) for p in (1, 3)]
        ends = (sizes.surfaces[0], sizes.surfaces[-1])
        covered += all(
            bool(in_region(one, place, level=0.025)[0])
            for one, place in zip(ends, places, strict=True)
        )
    # Within two binomial standard errors of 100 draws.
    assert covered / num_draws >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / num_draws)


def test_the_interval_holds_every_difference_of_points_of_both_regions() -> None:
    sizes = fit_sizes(*drawn(0.15, NOISY, seed=1))
    drift = find_drift(sizes)
    first, last = (
        GRID[in_region(one, GRID, level=0.025)] for one in (sizes.surfaces[0], sizes.surfaces[-1])
    )
    low, high = last.min(axis=0) - first.max(axis=0), last.max(axis=0) - first.min(axis=0)
    assert (np.array(drift.low) <= low + 1e-9).all()
    assert (np.array(drift.high) >= high - 1e-9).all()
    # Not much more: two ends, each up to a step of the coarse and one of the fine points on.
    assert (np.array(drift.low) >= low - 0.14).all()
    assert (np.array(drift.high) <= high + 0.14).all()


def test_the_best_is_looked_for_in_what_all_sizes_reach() -> None:
    surface, larger = drawn(0.0, NOISY)
    common = Hull.of(fit_sizes(surface, larger).surfaces[0].searched)
    hulls = [Hull.of(data.shares) for data in (surface.observations, *larger)]
    everywhere = np.all([hull.holds(GRID, 1e-6) for hull in hulls], axis=0)
    assert common.holds(GRID, 1e-6).tolist() == everywhere.tolist()
    assert 0.3 < everywhere.mean() < 0.9


def change_found(surface: Surface, larger: list[Observations], contrast: Points) -> float:
    """A contrast's change from the search's size to the largest, in standard errors."""
    pool = PooledDesign.of(surface, larger)
    estimates, unscaled, squares = least_squares(
        pool.design, pool.response, pool.place, surface.variance_ratio
    )
    variance = squares / (len(pool.design) - pool.design.shape[1])
    num_terms = pool.terms.shape[1]
    terms = contrast @ (pool.surface_terms(8.0) - pool.surface_terms(2.0))
    error = np.sqrt(variance * terms @ unscaled[:num_terms, :num_terms] @ terms)
    return float(terms @ estimates[:num_terms] / error)


def test_so_often_a_change_of_the_smallest_size_is_found() -> None:
    luck = Luck(seed_sd=0.0065, shared=0.5)
    surface, larger = drawn(0.0, luck)
    known = replace(surface, residual_variance=0.0065**2 / 2, network_sd=0.0)
    points = {name: REFERENCES[name] for name in ("depth", "width")}
    (change,) = smallest_changes(known, larger, points)
    assert change.names == ("depth", "width")
    contrast = np.array([1.0, -1, 0, 0, 0, 0])
    critical = stats.t.ppf(0.975, PooledDesign.of(surface, larger).freedom)
    num_draws, num_found = 300, 0
    for seed in range(num_draws):
        searched, blank = drawn(0.0, luck, seed=seed)
        moved = [
            replace(d, loss=d.loss + change.smallest * step / 2 * d.shares[d.network, 0])
            for step, d in enumerate(blank, start=1)
        ]
        found = change_found(replace(searched, network_sd=0.0), moved, contrast)
        num_found += found > critical
    # Three binomial standard errors of 300 draws; the depth's share also adds where it is partial.
    assert num_found / num_draws == pytest.approx(0.8, abs=0.07)


def test_more_seeds_and_more_sizes_find_smaller_changes() -> None:
    surface, larger = drawn(0.0, NOISY)
    points = {name: REFERENCES[name] for name in DIMENSIONS}
    changes = smallest_changes(surface, larger, points)
    assert [c.smallest for c in changes] == sorted(c.smallest for c in changes)
    assert {frozenset(c.names) for c in changes} == {
        frozenset(pair)
        for pair in (("depth", "width"), ("depth", "resolution"), ("width", "resolution"))
    }
    more = [at_size(phi, around(0.3, 0.3), NOISY, num_seeds=3) for phi in (2, 3)]
    for one, other in ((changes, smallest_changes(surface, more, points)),):
        by_names = {c.names: c.smallest for c in other}
        assert all(by_names[c.names] < c.smallest for c in one)
    losses = [replace(data, loss=data.loss * 0) for data in larger]
    assert smallest_changes(surface, losses, points) == changes


def test_it_says_why_sizes_cannot_be_compared() -> None:
    surface, larger = drawn(0.0, NOISY)
    for parts, said in (
        ([], "got none with a finished training"),
        ([kept(larger[1], [0, 1])], "got 2 on a line at 8x"),
        ([kept(larger[1], [0, 1, 3, 7])], "got 4 in too few places"),
    ):
        with pytest.raises(ValueError, match="must be spread over the triangle") as error:
            fit_sizes(surface, parts)
        assert said in str(error.value)
    corner = replace(larger[0], shares=0.9 * larger[0].shares + np.array([0, 0, 0.1]))
    away = replace(larger[1], shares=0.05 * larger[1].shares + np.array([0.95, 0, 0]))
    with pytest.raises(ValueError, match="all sizes must have some splits in common"):
        fit_sizes(surface, [corner, away])


def kept(data: Observations, networks: list[int]) -> Observations:
    """Only some networks, one training each."""
    return replace(
        data,
        candidates=data.candidates[networks],
        shares=data.shares[networks],
        cost_ratio=data.cost_ratio[networks],
        network=np.arange(len(networks)),
        seed=np.zeros(len(networks), dtype=int),
        loss=data.loss[networks],
    )
