"""What a training would tell, against the covariance with it."""

from dataclasses import replace

import numpy as np
import pytest

from scaling_search.answer.design import Design, differences_from_best
from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import Indices, Values
from scaling_search.answer.region import GRID, Region, find_region
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import as_points, places, scheffe
from tests.surfaces import Luck, around, fitted, spread_points, trainings

NUMBER = 12
RATIOS = [0.0, 0.7]
DIFFERENCES = scheffe(GRID[[40]]) - scheffe(GRID[::7])


def design(ratio: float, *more: tuple[int, int]) -> Design:
    """Twelve networks with seed 0, six with seed 1, and more as (network, seed)."""
    pairs = [(n, 0) for n in range(NUMBER)] + [(n, 1) for n in range(0, NUMBER, 2)] + list(more)
    network, seed = np.array(pairs).T
    return Design(spread_points(NUMBER), network, seed, ratio)


def by_hand(made: Design) -> Values:
    """The covariance of the surface's terms, from the covariance of the trainings."""
    dummies = np.equal.outer(made.seed, np.unique(made.seed)[1:])
    rows = np.hstack([scheffe(made.shares[made.network]), dummies])
    place = places(made.shares)[made.network]
    same = np.equal.outer(place, place)
    weight = np.linalg.inv(np.eye(len(rows)) + made.variance_ratio * same)
    covariance: Values = np.linalg.inv(rows.T @ weight @ rows)[:6, :6]
    return covariance


def total(made: Design) -> float:
    return float(np.einsum("ij,jk,ik->", DIFFERENCES, by_hand(made), DIFFERENCES))


def options(*pairs: tuple[int, int]) -> tuple[Indices, Indices]:
    network, seed = np.array(pairs).T
    return network, seed


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_covariance_is_that_of_generalised_least_squares(ratio: float) -> None:
    made = design(ratio)
    assert made.covariance[:6, :6] == pytest.approx(by_hand(made), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("ratio", RATIOS)
def test_networks_of_one_place_share_its_effect(ratio: float) -> None:
    made = design(ratio)
    # Every third network has a second one 0.01 away, which only the terms tell from the first.
    moved = made.shares[::3] + [0.01, -0.01, 0.0] * (made.shares[::3, [1]] > 0.01)
    shares = np.vstack([made.shares, moved])
    network = np.concatenate([made.network, np.arange(NUMBER, NUMBER + 4)])
    seed = np.concatenate([made.seed, np.zeros(4, dtype=int)])
    twins = Design(shares, network, seed, ratio)
    assert twins.place.tolist() == [*range(NUMBER), *range(0, NUMBER, 3)]
    assert twins.covariance[:6, :6] == pytest.approx(by_hand(twins), rel=1e-6, abs=1e-6)
    # A further training of a twin says as much as the covariance with it.
    alone, _ = twins.falls(DIFFERENCES, *options((NUMBER, 1)))
    pair = (np.append(network, NUMBER), np.append(seed, 1))
    lower = total(Design(shares, *pair, ratio))
    assert alone[0] == pytest.approx(total(twins) - lower, rel=1e-5, abs=1e-9)


def test_the_fit_counts_at_least_the_variance_of_the_design() -> None:
    """The fit also counts smooth effects of places, which a design without losses cannot know."""
    luck = Luck(0.005, shared=0.0, network_sd=0.005)
    data = trainings(spread_points(30), around(0.3, 0.3), luck, num_seeds=4)
    surface = fit_surface(data)
    made = Design(data.shares, data.network, data.seed, surface.variance_ratio)
    ours, theirs = (
        np.sqrt(np.einsum("ij,jk,ik->i", DIFFERENCES, covariance, DIFFERENCES))
        for covariance in (made.covariance[:6, :6], surface.covariance / surface.residual_variance)
    )
    far = np.abs(DIFFERENCES).max(axis=1) > 0.1
    assert (ours[far] < 1.1 * theirs[far]).all()
    assert (ours[far] > 0.4 * theirs[far]).all()


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_training_lowers_the_variance_by_as_much_as_it_says(ratio: float) -> None:
    pairs = [(1, 1), (0, 2), (3, 1), (0, 1)]
    alone, _ = design(ratio).falls(DIFFERENCES, *options(*pairs))
    for fall, pair in zip(alone, pairs, strict=True):
        by_difference = total(design(ratio)) - total(design(ratio, pair))
        assert fall == pytest.approx(by_difference, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_first_training_with_a_seed_tells_nothing_but_two_tell_their_difference(
    ratio: float,
) -> None:
    pairs = [(0, 2), (4, 2), (1, 1), (6, 2)]
    alone, together = design(ratio).falls(DIFFERENCES, *options(*pairs))
    assert alone[[0, 1, 3]] == pytest.approx(0)
    assert alone[2] > 0
    for i, j in ((0, 1), (0, 3), (1, 3)):
        by_difference = total(design(ratio)) - total(design(ratio, pairs[i], pairs[j]))
        assert together[i, j] == together[j, i] == pytest.approx(by_difference, rel=1e-6)
    # Nothing is said of two with other seeds, or of one with itself.
    assert together[2] == pytest.approx(0)
    assert together[:, 2] == pytest.approx(0)
    assert np.diag(together) == pytest.approx(0)


def test_a_second_training_tells_less_where_networks_differ_by_more_than_seeds() -> None:
    pairs = options((1, 1))
    first, second = (design(ratio).falls(DIFFERENCES, *pairs)[0][0] for ratio in (0.0, 5.0))
    share_of_all = [fall / total(design(r)) for fall, r in ((first, 0.0), (second, 5.0))]
    assert share_of_all[1] < share_of_all[0] / 2


def region_of(spread: float) -> Region:
    return find_region(fitted(around(0.3, 0.35, spread=spread), Luck(0.0065)))


def test_differences_are_those_of_the_best_and_every_other_point_of_the_region() -> None:
    region = region_of(0.05)
    differences = differences_from_best(region)
    points = GRID[region.mask]
    far = np.abs(points - as_points([region.best])).sum(axis=1) / 2 > 0.02
    assert len(differences) == far.sum() > 3
    wanted = scheffe(as_points([region.best])) - scheffe(points[far])
    assert differences == pytest.approx(wanted)


def test_a_region_between_the_points_of_the_grid_still_has_differences() -> None:
    region = replace(region_of(0.05), mask=np.zeros(len(GRID), dtype=bool))
    assert np.linalg.matrix_rank(differences_from_best(region)) >= 2
    on_a_point = replace(region, best=Shares(*GRID[40].tolist()), mask=np.arange(len(GRID)) == 40)
    assert np.abs(differences_from_best(on_a_point)).max() > 0.001
