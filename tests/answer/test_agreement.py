"""Best splits of several searches: the same truth agrees, different truths are told apart."""

import numpy as np
import pytest

from scaling_search.answer.agreement import FINE, Agreement, agreement
from scaling_search.answer.fit import LEVEL
from scaling_search.answer.region import find_region
from scaling_search.core.space_filling import as_points
from tests.surfaces import Luck, Truth, around, fitted, flat

LUCK = Luck(seed_sd=0.004, network_sd=0.002)
HERE, NEAR, FAR = (around(*best, spread=0.1) for best in ((0.2, 0.6), (0.3, 0.5), (0.8, 0.1)))


def agreed(*truths: Truth) -> Agreement:
    """The agreement of a search of each truth, each with luck of its own."""
    return agreement([fitted(truth, LUCK, seed=i) for i, truth in enumerate(truths)])


def test_searches_of_one_truth_have_its_best_split_in_common() -> None:
    found = agreed(HERE, HERE, HERE)
    assert found.overlaps.all()
    assert found.level == pytest.approx(LEVEL / 3)
    assert np.abs(found.common - [0.2, 0.6, 0.2]).sum(axis=1).min() < 0.05
    assert 0 < found.common_area < 0.2
    assert found.searched_area == pytest.approx(1)


def test_searches_of_different_truths_have_no_split_in_common() -> None:
    found = agreed(HERE, HERE, FAR)
    assert found.overlaps.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert not found.is_inside[2, :2].any()
    assert not found.is_inside[:2, 2].any()
    assert found.is_searched.all()
    assert len(found.common) == 0
    assert found.common_area == 0


def test_a_search_that_shows_nothing_excludes_nothing() -> None:
    alone, both = agreed(HERE), agreed(HERE, flat)
    assert both.regions[1].all()
    assert both.overlaps.all()
    assert both.is_inside[0, 1]
    # At a stricter level each, so that both hold together.
    assert both.common_area >= alone.common_area > 0


def test_regions_are_those_of_each_search_and_hold_its_rule() -> None:
    surfaces = [fitted(truth, LUCK, seed=i) for i, truth in enumerate((HERE, NEAR))]
    found = agreement(surfaces)
    assert found.is_inside.diagonal().all()
    for surface, mask in zip(surfaces, found.regions, strict=True):
        region = find_region(surface)
        beyond = np.maximum(region.low - FINE[mask].min(axis=0), FINE[mask].max(axis=0))
        assert np.abs(FINE[mask] - as_points([region.best])).sum(axis=1).min() < 0.05
        assert (FINE[mask].min(axis=0) >= np.array(region.low) - 0.05).all()
        assert (beyond <= np.array(region.high) + 0.05).all()
