import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from scaling_search.answer.verdicts import Estimate
from scaling_search.core.dataset import Splits
from scaling_search.follow_ups.confirmation import (
    num_seeds_needed,
    over_seeds,
    over_seeds_and_images,
)
from scaling_search.training.engine import train_trial
from tests.faults import Faulty
from tests.tiny import tiny_dataset, tiny_trial

# How many seeds.


@pytest.mark.parametrize(("delta", "num_seeds"), [(0.010, 8), (0.005, 28), (0.002, 167)])
def test_the_published_numbers_of_seeds_are_met(delta: float, num_seeds: int) -> None:
    assert num_seeds_needed(0.0065, delta) == num_seeds


def test_so_many_seeds_find_the_difference_in_80_of_100_and_fewer_do_not() -> None:
    def power(num_seeds: int) -> float:
        freedom, shift = 2 * num_seeds - 2, math.sqrt(num_seeds / 2) * 0.8
        return float(stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, shift))

    needed = num_seeds_needed(1.0, 0.8)
    assert power(needed - 1) < 0.8 <= power(needed)


def test_two_seeds_are_the_fewest() -> None:
    assert num_seeds_needed(0.001, 10.0) == 2
    assert num_seeds_needed(0.0, 0.01) == 2


# Intervals.


def test_the_interval_over_seeds_is_a_paired_t_test() -> None:
    found, other = np.array([0.1, 0.4, 0.2, 0.35]), np.array([0.2, 0.3, 0.25, 0.5])
    given = over_seeds(other - found)
    expected = stats.ttest_rel(other, found).confidence_interval(0.95)
    assert given.mean == pytest.approx((other - found).mean())
    assert (given.low, given.high) == pytest.approx((expected.low, expected.high))


def test_where_images_agree_only_seeds_count_and_the_other_way() -> None:
    values = np.array([0.1, -0.2, 0.4])
    by_seed = over_seeds_and_images(np.repeat(values[:, None], 50, axis=1))
    assert_equal(by_seed, over_seeds(values))
    assert_equal(over_seeds_and_images(np.repeat(values[None], 50, axis=0)), over_seeds(values))


def assert_equal(one: Estimate, other: Estimate) -> None:
    assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))


def test_without_any_scatter_the_interval_is_a_point() -> None:
    assert_equal(over_seeds_and_images(np.full((3, 4), 0.5)), Estimate(0.5, 0.5, 0.5))


def test_the_mean_squares_are_those_of_a_two_way_table() -> None:
    # By hand: row means 1, 3, 5, column means 2, 4, all residuals 0 but those of one exchange.
    table = np.array([[0.0, 2.0], [2.0, 4.0], [4.5, 5.5]])
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    mean_square_rows, mean_square_columns = 2 * rows.var(ddof=1), 3 * columns.var(ddof=1)
    left = table - rows[:, None] - columns + table.mean()
    mean_square_left = (left**2).sum() / 2
    variance = (mean_square_rows + mean_square_columns - mean_square_left) / 6
    freedom = (6 * variance) ** 2 / (
        mean_square_rows**2 / 2 + mean_square_columns**2 / 1 + mean_square_left**2 / 2
    )
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    mean = table.mean()
    assert_equal(over_seeds_and_images(table), Estimate(mean, mean - half, mean + half))


@pytest.mark.parametrize("num_seeds", [3, 8])
@pytest.mark.parametrize(
    ("seed_sd", "image_sd"), [(0.3, 1.0), (0.05, 1.0), (0.3, 0.1)], ids=["both", "images", "seeds"]
)
def test_the_interval_over_seeds_and_images_holds_as_often_as_it_says(
    num_seeds: int, seed_sd: float, image_sd: float
) -> None:
    stream = np.random.default_rng(0)
    shape = (num_seeds, 100)
    hits = 0
    for _ in range(300):
        seeds = seed_sd * stream.standard_normal((num_seeds, 1))
        images = image_sd * stream.standard_normal(100)
        given = over_seeds_and_images(0.2 + seeds + images + stream.standard_normal(shape))
        hits += given.low <= 0.2 <= given.high
    # 285 are expected; their standard deviation is 3.8.
    assert 285 - 3 * 3.8 <= hits <= 285 + 3 * 3.8


def test_an_interval_over_images_alone_would_hold_too_seldom() -> None:
    # What the simulation above would say of an interval that forgets the seeds.
    stream = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        seeds = 0.3 * stream.standard_normal((3, 1))
        table = seeds + stream.standard_normal(100) + stream.standard_normal((3, 100))
        forgetful = over_seeds(table.mean(axis=0))
        hits += forgetful.low <= 0 <= forgetful.high
    assert hits < 285 - 3 * 3.8


# Training that is evaluated on the test split.


def test_the_test_changes_nothing_of_the_training() -> None:
    trial = tiny_trial(1)
    with_test, without = (train_trial(replace(trial, on_test=on), "cpu") for on in (True, False))
    assert with_test.curve == without.curve
    assert without.test is None
    assert with_test.test is not None


@dataclass(frozen=True)
class TwiceValidation:
    """The tiny images, their validation split for the test split too."""

    num_classes: int = 10
    in_channels: int = 1
    resolution: int = 28

    def check(self) -> None:
        tiny_dataset().check()

    def fingerprint(self) -> str:
        return f"twice {tiny_dataset().fingerprint()}"

    def load(self, resolution: int, device: str) -> Splits:
        splits = tiny_dataset().load(resolution, device)
        return Splits(splits.train, splits.val, splits.val)


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_the_test_is_of_the_last_epochs_network_on_each_image(averaging: float) -> None:
    trial = replace(tiny_trial(1, averaging=averaging), on_test=True, dataset=TwiceValidation())
    result = train_trial(trial, "cpu")
    last, test = result.curve[-1], result.test
    assert test is not None
    assert (test.loss, test.accuracy) == pytest.approx((last.val_loss, last.val_accuracy))
    assert test.losses.shape == test.hits.shape == (50,)
    # Eleven bits of each loss are kept.
    assert test.losses.mean() == pytest.approx(test.loss, rel=2**-11)
    assert test.hits.mean() == pytest.approx(test.accuracy)
    assert set(test.hits) <= {0.0, 1.0}


def test_a_test_that_cannot_be_made_is_a_failed_training() -> None:
    trial = replace(tiny_trial(), on_test=True, dataset=Faulty("bad test split"))
    result = train_trial(trial, "cpu")
    assert (result.state, result.test) == ("FAIL", None)
