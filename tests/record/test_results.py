"""Tables of results, compared with numbers made by hand and with noise that is known."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from scaling_search.record.results import (
    METRICS,
    coefficient_table,
    curves_table,
    noise,
    results_table,
    with_means,
)

always_the_same = settings(derandomize=True, deadline=None, max_examples=15)
Row = dict[str, Any]


def row(candidate: int, seed: int, loss: float | None, **changes: Any) -> Row:
    """A training as the record holds it; failed without a loss; its accuracy is 1 - loss / 10."""
    accuracy = None if loss is None else 1 - loss / 10
    point = {"train_loss": loss, "val_loss": loss, "val_accuracy": accuracy}
    return {
        "candidate": candidate,
        "network": f"network {candidate}",
        "seed": seed,
        "state": "FAIL" if loss is None else "COMPLETE",
        **point,
        "train_seconds": None if loss is None else 10.0 + candidate,
        "curve": [] if loss is None else [point | {"val_loss": loss + 1}, point],
    } | changes


def networks(numbers: Iterable[int]) -> pd.DataFrame:
    return pd.DataFrame([{"candidate": n, "network": f"network {n}"} for n in numbers])


ROWS = [
    row(2, 1, 0.9),
    row(0, 0, 2.0),
    row(1, 1, None),
    row(2, 0, 1.0),
    row(0, 1, 2.2),
    row(1, 0, 1.5),
    row(3, 0, None),
    row(2, 2, 1.4),
    row(0, 2, 2.1),
]
"""The base network and one other with three seeds, one with one of two, one that only failed."""


def test_results_are_sorted_by_candidate_and_seed_and_keep_the_failed() -> None:
    table = results_table(ROWS)
    order = list(zip(table["candidate"], table["seed"], strict=True))
    assert order == sorted((r["candidate"], r["seed"]) for r in ROWS)
    assert table["state"].tolist().count("FAIL") == 2
    assert table.loc[table["state"] == "FAIL", "val_loss"].isna().all()
    assert "curve" not in table.columns
    assert table.index.tolist() == list(range(9))


@always_the_same
@given(st.permutations(ROWS))
def test_the_order_in_which_trainings_ended_changes_no_table(rows: list[Row]) -> None:
    pd.testing.assert_frame_equal(results_table(rows), results_table(ROWS))
    pd.testing.assert_frame_equal(curves_table(rows), curves_table(ROWS))
    candidates = networks(range(4))
    pd.testing.assert_frame_equal(
        coefficient_table(candidates, results_table(rows), VAL_LOSS),
        coefficient_table(candidates, results_table(ROWS), VAL_LOSS),
    )


def test_curves_have_a_row_for_each_epoch_that_ended() -> None:
    table = curves_table(ROWS)
    assert table.columns.tolist() == [
        "candidate",
        "network",
        "seed",
        "epoch",
        "train_loss",
        "val_loss",
        "val_accuracy",
    ]
    assert len(table) == 2 * 7
    last = table[(table["candidate"] == 2) & (table["seed"] == 1)]
    assert last["epoch"].tolist() == [1, 2]
    assert last["val_loss"].tolist() == [1.9, 0.9]


def test_means_and_deviations_are_those_of_the_seeds_that_ended() -> None:
    table = with_means(networks(range(5)), results_table(ROWS)).set_index("candidate")
    assert table["num_seeds"].tolist() == [3, 1, 3, 0, 0]
    assert table["num_failed"].tolist() == [0, 1, 0, 1, 0]
    # By hand: 2.0, 2.2, 2.1; 1.5; 1.0, 0.9, 1.4.
    assert table["val_loss_mean"].tolist()[:3] == pytest.approx([2.1, 1.5, 1.1])
    assert table["val_loss_sd"].tolist()[::2][:2] == pytest.approx([0.1, 0.07**0.5])
    assert table["val_accuracy_mean"].tolist()[:3] == pytest.approx([0.79, 0.85, 0.89])
    assert table["val_accuracy_sd"].tolist()[::2][:2] == pytest.approx([0.01, 0.0007**0.5])
    assert table["train_seconds_mean"].tolist()[:3] == [10, 11, 12]
    assert math.isnan(table["val_loss_sd"][1])  # of one seed nobody knows
    assert table.loc[[3, 4], ["val_loss_mean", "val_accuracy_mean"]].isna().all(axis=None)


def test_gains_are_paired_by_seed() -> None:
    table = with_means(networks(range(4)), results_table(ROWS)).set_index("candidate")
    # By hand: losses fell by 1.0, 1.3 and 0.7, whose mean is 1.0 and whose deviation is 0.3.
    assert table.loc[2, "val_loss_gain"] == pytest.approx(1.0)
    assert table.loc[2, "val_loss_gain_se"] == pytest.approx(0.3 / 3**0.5)
    assert table.loc[2, "val_accuracy_gain"] == pytest.approx(0.1)
    assert table.loc[2, "val_accuracy_gain_se"] == pytest.approx(0.03 / 3**0.5)
    # One common seed, seed 0: 2.0 - 1.5, though the base network's mean is 2.1.
    assert table.loc[1, "val_loss_gain"] == pytest.approx(0.5)
    assert math.isnan(table["val_loss_gain_se"][1])
    assert table.loc[[0, 3], ["val_loss_gain", "val_accuracy_gain"]].isna().all(axis=None)


def test_a_shared_seed_effect_is_not_in_the_error_of_a_gain() -> None:
    seeds = [0.0, 5.0, -3.0]
    rows = [row(0, s, 20 + luck) for s, luck in enumerate(seeds)]
    rows += [row(1, s, 19 + luck) for s, luck in enumerate(seeds)]
    table = with_means(networks([0, 1]), results_table(rows)).set_index("candidate")
    assert table.loc[1, "val_loss_gain"] == pytest.approx(1.0)
    assert table.loc[1, "val_loss_gain_se"] == pytest.approx(0.0, abs=1e-12)
    assert table["val_loss_sd"][1] > 4


@pytest.mark.parametrize("rows", [ROWS, [r for r in ROWS if r["candidate"] != 0]])
def test_without_the_base_network_gains_are_empty(rows: list[Row]) -> None:
    numbers = [1, 2] if rows is ROWS else [0, 1, 2]
    table = with_means(networks(numbers), results_table(rows))
    assert table[[f"{metric}_gain" for metric in METRICS]].isna().all(axis=None)
    assert table["val_loss_mean"].notna().sum() == 2


@pytest.mark.parametrize("objective", METRICS)
def test_the_coefficient_table_goes_from_best_to_worst_after_the_base_network(
    objective: Metric,
) -> None:
    # The accuracy is best where the loss is worst, so that each objective has its own order.
    rows = [row(n, 0, 1.0 + n / 10, val_accuracy=n / 10) for n in (3, 0, 2, 1)]
    table = coefficient_table(networks(range(5)), results_table(rows), objective)
    best_first = [1, 2, 3] if objective == VAL_LOSS else [3, 2, 1]
    # What was not trained yet stands last, without a place.
    assert table["candidate"].tolist() == [0, *best_first, 4]
    assert table["order"].tolist()[1:4] == [1, 2, 3]
    assert table["order"].isna().tolist() == [True, False, False, False, True]
    assert table["order"].dtype == "Int64"


def test_equal_means_have_different_places() -> None:
    rows = [row(n, 0, 1.0) for n in range(4)]
    table = coefficient_table(networks(range(4)), results_table(rows), VAL_LOSS)
    assert table["order"].tolist()[1:] == [1, 2, 3]
    assert table["candidate"].tolist() == [0, 1, 2, 3]


def test_tables_of_nothing_are_empty() -> None:
    assert results_table([]).empty
    assert curves_table([]).empty
    table = coefficient_table(networks(range(3)), results_table([]), VAL_LOSS)
    assert table["candidate"].tolist() == [0, 1, 2]
    assert table["order"].isna().all()
    assert table["num_seeds"].tolist() == [0, 0, 0]
    luck = noise(results_table([]), VAL_LOSS)
    assert (luck.seed_sd, luck.residual_sd, luck.num_within_noise) == (None, None, None)
    assert (luck.num_networks, luck.num_seeds, luck.degrees_of_freedom) == (0, 0, 0)
    assert math.isnan(luck.spread)


def test_tables_of_failures_alone_are_empty_but_for_their_number() -> None:
    rows = [row(n, 0, None) for n in range(3)]
    table = coefficient_table(networks(range(3)), results_table(rows), VAL_ACCURACY)
    assert table["num_failed"].tolist() == [1, 1, 1]
    assert table["order"].isna().all()
    assert curves_table(rows).empty
    assert noise(results_table(rows), VAL_LOSS).num_networks == 0


# Noise.


def simulated(
    *, num_networks: int, num_seeds: int, shared_sd: float, own_sd: float, seed: int
) -> pd.DataFrame:
    """Networks of known means whose trainings have a seed's luck and their own."""
    stream = np.random.default_rng(seed)
    shared = stream.normal(0, shared_sd, num_seeds)
    own = stream.normal(0, own_sd, (num_networks, num_seeds))
    rows = [
        row(n + 1, s, 5 + n * 0.5 + shared[s] + own[n, s])
        for n in range(num_networks)
        for s in range(num_seeds)
    ]
    return results_table([*rows, *(row(0, s, 100.0 * s) for s in range(num_seeds))])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("shared_sd", "own_sd"), [(0.3, 0.1), (0.0, 0.2), (0.05, 0.2)])
def test_noise_finds_the_deviations_that_were_put_in(
    metric: Metric, shared_sd: float, own_sd: float
) -> None:
    found = [
        noise(
            simulated(num_networks=30, num_seeds=5, shared_sd=shared_sd, own_sd=own_sd, seed=seed),
            metric,
        )
        for seed in range(40)
    ]
    unit = 1 if metric == VAL_LOSS else 0.1  # as `row` makes accuracies
    # Variances are unbiased. Of 40 runs with 116 differences each the mean has a relative error
    # of sqrt(2 / 4640) = 2 %; with 4 shared draws each, of sqrt(2 / 160) = 11 %. Three of them.
    residual = np.mean([luck.residual_sd**2 for luck in found if luck.residual_sd])
    assert residual == pytest.approx((own_sd * unit) ** 2, rel=0.06)
    total = np.mean([luck.seed_sd**2 for luck in found if luck.seed_sd])
    assert total == pytest.approx((own_sd**2 + shared_sd**2) * unit**2, rel=0.33)
    assert {luck.degrees_of_freedom for luck in found} == {29 * 4}
    assert {(luck.num_networks, luck.num_seeds) for luck in found} == {(30, 5)}


def test_noise_by_hand() -> None:
    rows = [row(1, 0, 1.0), row(1, 1, 2.0), row(2, 0, 2.9), row(2, 1, 7.9)]
    luck = noise(results_table(rows), VAL_LOSS)
    # Means 1.5 and 5.4; within -0.5, 0.5, -2.5, 2.5; a seed's own -1.5, 1.5; left ±1.
    assert luck.seed_sd == pytest.approx((13 / 2) ** 0.5)
    assert luck.residual_sd == pytest.approx(2.0)
    assert luck.spread == pytest.approx(3.9 / 2**0.5)
    assert luck.degrees_of_freedom == 1
    # Two standard errors of a difference of means of two: 2 · 2 · sqrt(1/2 + 1/2) = 4 > 3.9.
    assert luck.num_within_noise == 1


@pytest.mark.parametrize("metric", METRICS)
def test_networks_within_noise_are_those_near_the_best(metric: Metric) -> None:
    # Luck of ±0.1 in turn: the residual deviation is 0.1 · sqrt(8 / 3), and two standard errors
    # of a difference are 2 · 0.163 = 0.33 of the loss.
    steps = {1: 0.0, 2: 0.3, 3: 0.4, 4: 1.0}
    signs = {1: 1, 2: -1, 3: 1, 4: -1}
    rows = [row(n, s, 1.0 + steps[n] + 0.1 * signs[n] * (-1) ** s) for n in steps for s in range(2)]
    luck = noise(results_table(rows), metric)
    scale = 1 if metric == VAL_LOSS else 0.1
    assert luck.residual_sd == pytest.approx(0.1 * (8 / 3) ** 0.5 * scale)
    assert luck.num_within_noise == 1


def test_of_one_seed_the_noise_is_unknown() -> None:
    luck = noise(results_table([row(n, 0, 1.0 + n) for n in range(4)]), VAL_LOSS)
    assert (luck.seed_sd, luck.residual_sd, luck.num_within_noise) == (None, None, None)
    assert luck.spread == pytest.approx(1.0)  # of 2, 3, 4; the base network does not count
    assert (luck.num_networks, luck.num_seeds, luck.degrees_of_freedom) == (3, 1, 0)


def test_of_one_network_a_seeds_part_is_unknown() -> None:
    luck = noise(results_table([row(1, s, 1.0 + s) for s in range(3)]), VAL_LOSS)
    assert luck.seed_sd == pytest.approx(1.0)
    assert luck.residual_sd is None
    assert math.isnan(luck.spread)


def test_failed_trainings_have_no_noise() -> None:
    good = [row(n, s, 1.0 + n + s / 7 + n * s / 5) for n in range(1, 4) for s in range(3)]
    failures = [row(4, s, None) for s in range(3)]
    expected = noise(results_table(good), VAL_LOSS)
    assert noise(results_table([*good, *failures]), VAL_LOSS) == expected
