"""The conclusion of a results table: with bad trainings, fresh seeds, and where it must refuse."""

import numpy as np
import pandas as pd
import pytest

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.answer.verdicts import Answer, Outcome
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import as_points
from tests.surfaces import Luck, around, search_results

SHARP, CHANCE = around(0.3, 0.3), {"val_loss": 2.3026, "val_accuracy": 0.1}
NO_CURVES = pd.DataFrame(columns=["candidate", "seed", "epoch", "val_loss", "val_accuracy"])


def concluded(
    results: pd.DataFrame, curves: pd.DataFrame = NO_CURVES, objective: Metric = VAL_LOSS
) -> Conclusion:
    return conclude(results, curves, objective=objective, target=2.0, delta=None, num_classes=10)


def answered(results: pd.DataFrame) -> Answer:
    found = concluded(results).answer
    assert found is not None
    return found


def outcomes(found: Answer) -> dict[str, Outcome | None]:
    return {one.name: one.verdict.outcome for one in found.comparisons if one.verdict is not None}


def training(results: pd.DataFrame, candidate: int, seed: int) -> "pd.Series[bool]":
    return (results["candidate"] == candidate) & (results["seed"] == seed)


def changed(results: pd.DataFrame, candidate: int, seed: int, **values: float) -> pd.DataFrame:
    """The results with other values of one training."""
    table = results.copy()
    table.loc[training(table, candidate, seed), list(values)] = list(values.values())
    return table


@pytest.mark.parametrize("objective", [VAL_LOSS, VAL_ACCURACY])
@pytest.mark.parametrize("candidate", [1, 9])
def test_one_training_at_chance_leaves_the_answer_as_without_it(
    candidate: int, objective: Metric
) -> None:
    clear = search_results(SHARP, Luck(0.001), num_seeds=2)
    bad = concluded(changed(clear, candidate, 1, **CHANCE), objective=objective)
    without = concluded(clear[~training(clear, candidate, 1)], objective=objective)
    assert [(one.candidate, one.seed, one.why) for one in bad.left_out] == [
        (candidate, 1, "chance")
    ]
    assert bad.left_out[0].value == CHANCE[objective.name]
    assert bad.answer is not None
    assert without.answer is not None
    assert bad.answer.comparisons == without.answer.comparisons
    assert bad.answer.rule == without.answer.rule
    assert bad.answer.network == without.answer.network
    assert outcomes(bad.answer)["depth"] == "better"
    # With it there is much noise; without, nothing was left out.
    assert bad.with_all is not None
    assert bad.with_all.surface.residual_variance > 100 * bad.answer.surface.residual_variance
    assert (without.left_out, without.with_all) == ((), None)


def test_bad_trainings_of_both_kinds_are_named_in_order() -> None:
    table = search_results(SHARP, Luck(0.001), num_seeds=3)
    table = changed(table, 7, 2, **CHANCE)
    table = changed(table, 3, 1, val_loss=0.9)
    table = changed(table, 0, 1, val_loss=0.9)
    rising = [
        {"candidate": 5, "seed": 0, "epoch": e, "val_loss": 0.3, "val_accuracy": 0.99}
        for e in (1, 2)
    ]
    found = concluded(table, pd.DataFrame(rising))
    named = [(one.candidate, one.seed, one.why, one.value) for one in found.left_out]
    own = float(table.loc[training(table, 5, 0), "val_loss"].iloc[0])
    assert named == [
        (0, 1, "outlying", 0.9),
        (3, 1, "outlying", 0.9),
        (5, 0, "first epoch", own),
        (7, 2, "chance", 2.3026),
    ]


def test_means_are_without_what_was_left_out_unless_nothing_is_left() -> None:
    table = search_results(SHARP, Luck(0.001), num_seeds=[1, *[2] * 19])
    table = changed(changed(table, 1, 0, **CHANCE), 4, 1, **CHANCE)
    found = concluded(table)
    assert len(found.left_out) == 2
    dropped = table.index.difference(found.kept(table).index)
    assert dropped.tolist() == table.index[training(table, 4, 1)].tolist()
    assert found.answer is not None
    assert 1 not in found.answer.surface.observations.candidates


def test_an_accuracy_and_a_loss_have_an_answer_each() -> None:
    table = search_results(SHARP, Luck(0.001), accuracy_truth=around(0.6, 0.1))
    by_loss, by_accuracy = concluded(table), concluded(table, objective=VAL_ACCURACY)
    assert by_loss.answer is not None
    assert by_loss.by_other is not None
    assert by_accuracy.answer is not None
    assert by_loss.by_other.rule == by_accuracy.answer.rule
    assert by_loss.answer.rule.distance(by_loss.by_other.rule) > 0.2
    only = concluded(table.assign(val_accuracy=np.nan))
    assert (only.by_other, only.answer is None) == (None, False)


def test_fresh_seeds_narrow_the_answer() -> None:
    luck = Luck(0.006, shared=0.0)
    first = search_results(SHARP, luck, num_seeds=[2] * 5 + [1] * 15)
    fresh = search_results(SHARP, luck, num_seeds=6, seed=1)
    fresh = fresh[fresh["candidate"].isin([0, 1, 2, 3, 10])].assign(seed=lambda t: t["seed"] + 1000)
    before, after = answered(first), answered(pd.concat([first, fresh], ignore_index=True))
    assert set(after.surface.observations.seed) == {0, 1, *range(1000, 1006)}
    assert after.surface.freedom == before.surface.freedom
    corner = as_points([REFERENCES["depth"]])
    errors = [float(found.surface.standard_error(corner)[0]) for found in (before, after)]
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize(("number", "num_seeds"), [(11, 2), (20, 1)])
def test_too_little_has_no_answer_and_says_the_command(number: int, num_seeds: int) -> None:
    few = concluded(search_results(SHARP, Luck(0.001), number=number, num_seeds=num_seeds))
    assert (few.answer, few.diagnosis, few.by_other) == (None, None, None)
    assert few.comparisons().empty
    if number == 11:
        assert "trained networks in 12 places or more (" in few.missing
        assert "got 11;" in few.missing
        assert "candidates.max_networks=null" in few.missing
    else:
        assert "a second seed of some networks, to measure noise, got none" in few.missing
        assert "num_seeds=1.25" in few.missing
    enough = search_results(SHARP, Luck(0.001), number=12, num_seeds=[2, *[1] * 11])
    assert concluded(enough).answer is not None


def test_second_networks_of_a_place_do_not_make_enough() -> None:
    table = search_results(SHARP, Luck(0.001), number=11)
    again = table[table["candidate"] > 0].assign(candidate=lambda t: t["candidate"] + 11)
    assert "got 11;" in concluded(pd.concat([table, again], ignore_index=True)).missing


def test_what_is_left_out_is_named_without_an_answer_too() -> None:
    table = search_results(SHARP, Luck(0.001), number=5)
    found = concluded(changed(table, 2, 1, **CHANCE))
    assert "12 places or more (" in found.missing
    assert "got 5;" in found.missing
    assert [one.why for one in found.left_out] == ["chance"]
    assert found.with_all is None


def test_the_table_has_the_rule_and_every_reference() -> None:
    found = concluded(search_results(SHARP, Luck(0.003)))
    assert found.answer is not None
    table = found.comparisons().set_index("split")
    assert table.index.tolist() == ["rule", *REFERENCES]
    for one in found.answer.comparisons:
        row = table.loc[one.name]
        assert (row["prediction"], row["low"]) == (one.prediction.mean, one.prediction.low)
        if one.verdict is None:
            assert row[["difference", "difference_low", "verdict"]].isna().all()
        else:
            assert row["difference_high"] == one.verdict.difference.high
            assert row["verdict"] == one.verdict.outcome
        if one.equal_cost is not None:
            assert row["equal_cost"] == one.equal_cost.mean
            assert row["equal_cost_low"] <= row["equal_cost"] <= row["equal_cost_high"]
    assert table["equal_cost"].notna().sum() >= 3
