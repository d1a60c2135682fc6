"""Which points of the triangle are kept, and how well they cover it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Shares
from scaling_search.core.space_filling import (
    PLACE,
    as_points,
    distances,
    largest_hole,
    places,
    scheffe,
    space_filling_subset,
    triangle,
)

always_the_same = settings(derandomize=True, deadline=None)
shares = (
    st.tuples(*(st.floats(0.0, 1.0) for _ in DIMENSIONS))
    .filter(lambda weights: sum(weights) > 1e-3)
    .map(lambda weights: Shares.of_logs(*weights))
)

near = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(
    lambda steps: Shares(0.2 + steps[0] / 250, 0.3 + steps[1] / 250, 0.5 - sum(steps) / 250)
)
"""Many of one place."""


def random_shares(number: int, *, seed: int) -> list[Shares]:
    stream = np.random.default_rng(seed)
    return [Shares(*point) for point in stream.dirichlet((1, 1, 1), number).tolist()]


def worst_variance(points: list[Shares]) -> float:
    """The largest variance of a quadratic surface over the triangle, in units of the noise's."""
    terms = scheffe(as_points(points))
    grid = scheffe(triangle())
    return float(np.einsum("ij,ij->i", grid @ np.linalg.inv(terms.T @ terms), grid).max())


def test_triangle_holds_every_multiple_of_the_step_once() -> None:
    points = triangle(0.05)
    assert points.shape == (231, 3)  # 21 · 22 / 2
    assert len(np.unique(points.round(6), axis=0)) == 231
    assert np.allclose(points.sum(axis=1), 1)
    assert points.min() == 0


@always_the_same
@given(st.lists(shares, min_size=1, max_size=8), st.lists(shares, min_size=1, max_size=8))
def test_distances_are_those_of_shares(ones: list[Shares], others: list[Shares]) -> None:
    table = distances(as_points(ones), as_points(others))
    expected = [[one.distance(other) for other in others] for one in ones]
    assert np.allclose(table, expected, atol=1e-12)


def test_no_shares_are_an_empty_table() -> None:
    assert as_points([]).shape == (0, 3)


@always_the_same
@given(st.lists(shares, min_size=1, max_size=40))
def test_a_place_holds_what_is_near_to_its_first_point(points: list[Shares]) -> None:
    found = places(points)
    firsts = [points[int(np.flatnonzero(found == place)[0])] for place in range(found.max() + 1)]
    for i, one in enumerate(firsts):
        assert all(one.distance(other) > PLACE for other in firsts[:i])
    for point, place in zip(points, found, strict=True):
        nearest = min(point.distance(first) for first in firsts)
        assert point.distance(firsts[place]) == pytest.approx(nearest)
        assert point.distance(firsts[place]) <= PLACE + 1e-9


def test_scheffe_has_three_linear_terms_and_three_products() -> None:
    terms = scheffe(np.array([[0.5, 0.3, 0.2]]))
    assert terms.tolist() == [pytest.approx([0.5, 0.3, 0.2, 0.15, 0.1, 0.06])]


def test_largest_hole_of_the_corners_is_the_centre() -> None:
    hole, where = largest_hole([REFERENCES[dimension] for dimension in DIMENSIONS])
    # Of multiples of 0.05 the nearest to thirds, (0.35, 0.35, 0.3), is 0.65 from two corners.
    assert hole == pytest.approx(0.65)
    assert sorted(where) == pytest.approx([0.3, 0.35, 0.35])


def test_largest_hole_of_one_corner_is_the_opposite_edge() -> None:
    hole, where = largest_hole([REFERENCES["depth"]])
    assert hole == pytest.approx(1)
    assert where.depth == 0


@always_the_same
@given(st.lists(shares, min_size=1, max_size=60), st.integers(1, 40))
def test_subset_is_distinct_as_large_as_asked_and_always_the_same(
    points: list[Shares], size: int
) -> None:
    kept = space_filling_subset(points, size)
    assert len(kept) == len(set(kept)) <= min(size, len(points))
    assert all(0 <= index < len(points) for index in kept)
    assert kept == space_filling_subset(points, size)


@always_the_same
@given(st.lists(shares | near, min_size=1, max_size=60), st.integers(1, 80))
def test_one_of_every_place_comes_before_a_second_one(points: list[Shares], size: int) -> None:
    every = space_filling_subset(points)
    kept = space_filling_subset(points, size)
    found = places([points[i] for i in kept])
    num_places = int(found.max()) + 1
    assert found[:num_places].tolist() == list(range(num_places))  # the same places again
    if size >= 2 * len(points):
        assert num_places == len(every)
    assert np.bincount(found).max() <= 2
    firsts = [points[i] for i in every]
    assert places(firsts).tolist() == list(range(len(every)))
    for point in points:  # no place is left out
        assert min(point.distance(first) for first in firsts) <= PLACE + 1e-9
    if size >= 2 * len(points):
        missing = {*range(len(points))} - {*kept}
        counts = np.bincount(places([*(points[i] for i in kept), *(points[i] for i in missing)]))
        assert (counts[np.bincount(found) == 1] == 1).all()  # there is no second one


@pytest.mark.parametrize("size", [6, 16, 32])
def test_subset_has_the_nearest_point_to_every_reference(size: int) -> None:
    points = random_shares(500, seed=0)
    kept = [points[i] for i in space_filling_subset(points, size)]
    for reference in REFERENCES.values():
        assert min(map(reference.distance, kept)) == min(map(reference.distance, points))


def test_subset_copes_with_points_on_a_line_with_repeated_ones_and_with_none() -> None:
    line = [Shares(i / 20, 1 - i / 20, 0.0) for i in range(21)]
    assert len(set(space_filling_subset(line, 12))) == 12
    assert space_filling_subset([Shares(0.2, 0.3, 0.5)] * 9, 7) == [0, 1]
    assert space_filling_subset([], 7) == space_filling_subset([]) == []


def test_subset_of_all_is_all_that_lie_apart() -> None:
    points = [Shares(*point) for point in triangle(0.1).tolist()]
    assert sorted(space_filling_subset(points)) == list(range(66))
    assert sorted(space_filling_subset(points, 66)) == list(range(66))
    assert sorted(space_filling_subset(points, 99)) == list(range(66))
    every = space_filling_subset([*points, *points], 999)
    assert sorted(every) == list(range(132))
    assert [i % 66 for i in every[66:]] == [i % 66 for i in every[:66]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_subset_leaves_small_holes_and_small_variance(seed: int) -> None:
    points = random_shares(2000, seed=seed)
    kept = [points[i] for i in space_filling_subset(points, 32)]
    hole, _ = largest_hole(kept)
    at_random = [
        [points[i] for i in np.random.default_rng(s).choice(len(points), 32, replace=False)]
        for s in range(20)
    ]
    assert hole <= 0.25
    assert hole < np.median([largest_hole(chosen)[0] for chosen in at_random])
    assert worst_variance(kept) < min(worst_variance(chosen) for chosen in at_random)


def test_distances_alone_would_leave_twice_the_variance() -> None:
    # Source: design, decision 2: worst variance about twice as large by distance alone.
    points = random_shares(2000, seed=0)
    kept = space_filling_subset(points, 32)
    farthest = kept[:16]
    table = distances(as_points(points), as_points(points))
    while len(farthest) < 32:
        farthest.append(int(table[farthest].min(axis=0).argmax()))
    by_variance = worst_variance([points[i] for i in kept])
    by_distance = worst_variance([points[i] for i in farthest])
    assert by_distance > 1.5 * by_variance
