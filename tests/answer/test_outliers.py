"""Trainings that are left out: those that collapsed, those far outside, and no others."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.linear_model import OLS

from scaling_search.answer.observations import Observations, Values
from scaling_search.answer.outliers import collapsed, outlying, studentized, without
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from scaling_search.core.space_filling import scheffe
from tests.surfaces import Luck, around, spread_points, subset, trainings

TRUTH = around(0.3, 0.35)
EPOCHS = {
    "learning": ((2.0, 0.2), (0.5, 0.8)),
    "never": ((2.302585, 0.1), (2.302585, 0.1)),
    "diverging": ((1.0, 0.6), (1.4, 0.5)),
    "overfitting": ((1.0, 0.6), (1.4, 0.7)),
    "forgetting": ((1.0, 0.6), (0.9, 0.5)),
    "one epoch": ((2.2, 0.15),),
}
"""Validation loss and accuracy of each epoch; ten classes at chance have a loss of 2.3026."""


def curve(number: int, name: str) -> pd.DataFrame:
    """The epochs of one training, the last first."""
    losses, accuracies = zip(*EPOCHS[name], strict=True)
    epochs = range(1, len(losses) + 1)
    table = pd.DataFrame({"epoch": epochs, "val_loss": losses, "val_accuracy": accuracies})
    return table.assign(candidate=number, seed=0)[::-1]


@pytest.mark.parametrize("metric", [VAL_LOSS, VAL_ACCURACY])
def test_a_training_at_chance_or_no_better_than_its_first_epoch_collapsed(metric: Metric) -> None:
    curves = pd.concat([curve(i, name) for i, name in enumerate(EPOCHS)])
    ends = curves.sort_values("epoch").groupby("candidate").last().reset_index()
    results = ends.assign(state="COMPLETE")
    found = {one.candidate: one for one in collapsed(results, curves, 10, metric)}
    names = list(EPOCHS)
    whys = {names[number]: one.why for number, one in found.items()}
    assert whys == {"never": "chance", "diverging": "first epoch"}
    assert found[1].value == ends[metric.name][1]
    # Of a thousand classes a loss of 2.3 is far from chance.
    assert [one.why for one in collapsed(results, curves, 1000, metric)] == ["first epoch"] * 2
    assert not list(collapsed(results.assign(state="FAIL"), curves, 10, metric))
    assert not list(collapsed(results.iloc[:0], curves.iloc[:0], 10, metric))


def searched(number: int = 20, num_seeds: int = 2, seed: int = 0) -> Observations:
    return trainings(spread_points(number), TRUTH, Luck(0.003), num_seeds=num_seeds, seed=seed)


def moved(data: Observations, training: int, by: float) -> Observations:
    return replace(data, loss=data.loss + by * (np.arange(len(data.loss)) == training))


@pytest.mark.parametrize("by", [1.9, -0.2])
@pytest.mark.parametrize("training", [0, 17, 33])
def test_one_training_far_outside_is_found_and_no_other(training: int, by: float) -> None:
    found, base = outlying(moved(searched(), training, by))
    assert np.flatnonzero(found).tolist() == [training]
    assert not base.any()


def test_a_corner_with_one_seed_is_found_though_a_fit_would_follow_it() -> None:
    counts = [1, *[2] * 19]
    data = trainings(spread_points(20), TRUTH, Luck(0.003), num_seeds=counts)
    assert data.shares[0].tolist() == [1, 0, 0]
    off = moved(data, 0, 0.08)
    residual = off.loss - OLS(off.loss, scheffe(off.shares)[off.network]).fit().fittedvalues
    assert abs(residual[0]) < 0.06  # of 0.08, the rest was followed
    assert np.flatnonzero(outlying(off)[0]).tolist() == [0]


def test_two_that_hide_each_other_are_found_one_after_the_other() -> None:
    found, _ = outlying(moved(moved(searched(30), 5, 0.06), 25, 0.05))
    assert np.flatnonzero(found).tolist() == [5, 25]


def test_a_base_network_far_outside_is_found() -> None:
    data = searched(num_seeds=3)
    off = replace(data, base_loss=data.base_loss + np.array([0, 1.0, 0]))
    assert outlying(off)[1].tolist() == [False, True, False]
    # One alone is all that is known of it.
    alone = replace(off, base_seed=off.base_seed[1:2], base_loss=off.base_loss[1:2])
    assert not outlying(alone)[1].any()


def test_normal_luck_seldom_loses_a_training_and_heavy_tails_lose_few() -> None:
    lost = {"normal": 0, "heavy": 0}
    for seed in range(60):
        data = searched(seed=seed)
        heavy = np.random.default_rng(seed).standard_t(3, len(data.loss)) * 0.003
        lost["normal"] += int(outlying(data)[0].sum())
        at = TRUTH(data.shares)[data.network]
        lost["heavy"] += int(outlying(replace(data, loss=at + heavy))[0].sum())
    # One of a thousand searches is expected to lose one.
    assert lost["normal"] <= 1
    assert 0 < lost["heavy"] <= 0.02 * 60 * 40


def test_no_more_than_a_tenth_is_left_out_and_the_farthest_first() -> None:
    data = trainings(spread_points(30), TRUTH, Luck(0.0001), num_seeds=2, slope=0.0)
    for training, step in zip(range(0, 56, 7), range(8), strict=True):
        data = moved(data, training, 0.05 * 1.6**-step)
    assert np.flatnonzero(outlying(data)[0]).tolist() == list(range(0, 42, 7))


@pytest.mark.parametrize("constant", [0.0, 0.5])
def test_equal_losses_have_no_outliers(constant: float) -> None:
    data = searched()
    assert not outlying(replace(data, loss=np.full_like(data.loss, constant)))[0].any()


def test_nothing_trained_has_no_outliers() -> None:
    none = subset(searched(num_seeds=3), np.array([], dtype=np.int64))
    assert [mask.tolist() for mask in outlying(none)] == [[], [False] * 3]


def test_residuals_are_those_of_statsmodels() -> None:
    data = searched(12)
    design = np.hstack([scheffe(data.shares)[data.network], (data.seed == 1)[:, None]])
    found = studentized(design, data.loss)
    other = OLS(data.loss, design).fit().get_influence().resid_studentized_external
    assert found == pytest.approx(other, rel=1e-8)


def test_a_training_that_alone_determines_a_coefficient_has_no_residual() -> None:
    data = searched(12)
    first = np.arange(24) == 0
    found = studentized(np.column_stack([scheffe(data.shares)[data.network], first]), data.loss)
    assert found is not None
    assert found[0] == 0
    assert np.abs(found[1:]).min() > 0
    assert studentized(np.eye(6), np.arange(6.0)) is None


def means(data: Observations) -> dict[int, Values]:
    """Losses of each network by its number."""
    return {int(c): data.loss[data.network == i] for i, c in enumerate(data.candidates)}


def test_a_network_without_trainings_is_gone_and_others_keep_theirs() -> None:
    data = searched(num_seeds=2)
    gone = (data.network == 3) | ((data.network == 5) & (data.seed == 1))
    kept = without(data, gone, np.array([True, False]))
    assert kept.candidates.tolist() == [n for n in range(1, 21) if n != 4]
    assert len(kept.shares) == len(kept.cost_ratio) == kept.num_places == 19
    before, after = means(data), means(kept)
    for number, losses in after.items():
        assert losses.tolist() == before[number][: 1 if number == 6 else 2].tolist()
    assert kept.base_loss.tolist() == data.base_loss[1:].tolist()
