"""Does the best split hold? Sentences, tables and the figure, by rules."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.answer.fit import FTest, fit_surface
from scaling_search.answer.region import find_region
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.core.space_filling import Points
from scaling_search.display.plots.drawing import rendered
from scaling_search.display.plots.drift import best_by_size
from scaling_search.display.report_section import ReportSection
from scaling_search.display.transfer import (
    about_drift,
    about_networks,
    about_power,
    transfer_section,
)
from scaling_search.follow_ups.sizes import Drift, fit_sizes
from scaling_search.follow_ups.transfer import Transferred, power_before, transferred
from scaling_search.record.results import curves_table
from tests.larger import NOISY, at_size, best_at, chosen, drawn
from tests.surfaces import Luck, Truth, around, plan_shares, results_of, trainings


def drift_of(low: float, high: float) -> Drift:
    """A drift of depth with these ends; of width as much less, of resolution any."""
    region = find_region(fit_surface(trainings(plan_shares(), around(0.3, 0.3), NOISY)))
    middle = (low + high) / 2
    return Drift(
        regions={2.0: region, 8.0: region},
        moved=(middle, -middle, 0.0),
        low=(low, -high, -0.3),
        high=(high, -low, 0.3),
    )


@pytest.mark.parametrize(
    ("p_value", "low", "high", "said"),
    [
        (
            0.2,
            0.1,
            0.3,
            "No significant change of the fit from 2x to 8x the base network's cost (p = 0.200).",
        ),
        (
            0.01,
            0.1,
            0.3,
            "changes with the size (p = 0.010). At 8x the base network's cost it has more",
        ),
        (0.0001, -0.3, -0.1, "cost it has less depth and more width than at 2x."),
        (
            0.01,
            -0.1,
            0.3,
            "No share of the rule (the best split by the fit) changes significantly.",
        ),
    ],
)
def test_the_verdict_follows_its_rules(p_value: float, low: float, high: float, said: str) -> None:
    assert said in about_drift(FTest(2.0, 5, 30, p_value), drift_of(low, high))


@cache
def networks() -> pd.DataFrame:
    return pd.DataFrame([one.row() for phi in (2, 3) for one in chosen(phi)])


def concluded(truth: Truth, luck: Luck = NOISY) -> Conclusion:
    table = results_of(trainings(plan_shares(), truth, luck, seed=2))
    table["val_accuracy"] = 1 - table["val_loss"]
    for name in ("alpha", "beta", "gamma"):
        table[[name, f"{name}_low", f"{name}_high"]] = 1.5
    return conclude(
        table, curves_table([]), objective=VAL_LOSS, target=2.0, delta=None, num_classes=10
    )


def trained(drift: float, *, failed: tuple[int, ...] = (), spread: float = 0.06) -> pd.DataFrame:
    """What trainings of the larger sizes would leave; of some networks all fail."""
    rows = networks().drop(columns=["size", "point", "distance"])
    truths = [around(*best_at(phi, drift), spread=spread) for phi in (2, 3)]
    losses = [at_size(p, t, NOISY).loss for p, t in zip((2, 3), truths, strict=True)]
    rows = rows.assign(seed=0, state="COMPLETE", val_loss=np.concatenate(losses), train_seconds=1.0)
    rows["val_accuracy"] = 1 - rows["val_loss"]
    is_failed = rows["candidate"].isin(failed)
    rows.loc[is_failed, ["val_loss", "val_accuracy"]] = np.nan
    rows.loc[is_failed, "state"] = "FAIL"
    return rows


def compared(
    conclusion: Conclusion, networks: pd.DataFrame, trained: pd.DataFrame
) -> Transferred | None:
    return transferred(conclusion, networks, trained, curves_table([]), 10)


def section(
    conclusion: Conclusion, networks: pd.DataFrame, trained: pd.DataFrame
) -> ReportSection | None:
    told = compared(conclusion, networks, trained)
    return transfer_section(told) if told else None


def test_a_drift_is_told_with_where_the_best_lies_at_each_size() -> None:
    conclusion = concluded(around(*best_at(1, 0.2), spread=0.06), Luck(0.0065))
    told = section(conclusion, networks(), trained(0.2))
    assert told is not None
    said = told.sentences
    assert said[0] == (
        "The rule (the best split by the fit) changes with the size (p < 0.001). At 8x the base "
        "network's cost it has more depth and less resolution than at 2x."
    )
    assert [s.split()[1] for s in said[1:4]] == ["2x", "4x", "8x"]
    assert "its 95 % region has shares of depth" in said[1]
    assert said[4].startswith("From 2x to 8x the shares of the rule change by depth +0.")
    assert "a guess" not in said[4]
    assert "hold together with at least 95 %" in said[4]
    assert said[5].startswith("Only splits that all sizes reach are compared, ")
    assert "these trainings show a change from 2x to 8x the base network's cost of 0.0" in said[6]
    assert "between" in said[6]
    for size, share in ((4, "0.50"), (8, "0.33")):
        at = f"at {size}x the base network's cost: the nearest network has a share of {share}."
        assert f"Resolution alone is out of reach {at}" in said
    assert any(s.startswith("The rule is out of reach at 8x") for s in said)
    assert not any("failed" in s or "Left out" in s or "Warning" in s for s in said)


def test_a_best_that_the_larger_sizes_do_not_reach_is_said() -> None:
    outside = " The rule of the search alone lies outside of them."
    for place, is_said in (((0.0, 0.1), True), ((0.4, 0.45), False)):
        told = section(concluded(around(*place), Luck(0.001)), networks(), trained(0.0))
        assert told is not None
        assert told.sentences[5].endswith(outside) == is_said


def test_where_all_is_luck_the_best_is_a_guess() -> None:
    told = section(concluded(around(0.3, 0.3, spread=0.0)), networks(), trained(0.0, spread=0.0))
    assert told is not None
    said = told.sentences
    assert said[0].startswith("No significant change")
    assert said[1].startswith("At 2x noise alone could explain the differences.")
    assert "Any split may be the best; the rule is a guess: depth" in said[1]
    assert "; this is a guess. These intervals" in said[4]


def test_the_table_has_a_line_for_each_network() -> None:
    told = section(concluded(around(0.3, 0.3)), networks(), trained(0.0))
    assert told is not None
    table, (header, *lines) = told.table, told.lines
    assert (told.name, len(table), len(lines)) == ("transfer", 20, 20)
    assert table["size"].tolist() == [4.0] * 10 + [8.0] * 10
    assert table["point"].tolist()[:3] == list(DIMENSIONS)
    assert table["num_seeds"].eq(1).all()
    assert {"depth_share", "cost_ratio", "val_loss_mean", "val_accuracy_mean"} < set(table)
    assert not [name for name in table if "gain" in str(name)]
    assert header[:2] == ["size", "point"]
    assert lines[0][:5] == ["4x", "depth", "1.00 / 0.00 / 0.00", "0.00", "3.933x"]
    assert max(sum(len(cell) + 1 for cell in line) for line in lines) < 90
    # The section's own table does for the networks.
    again = section(concluded(around(0.3, 0.3)), table, trained(0.0))
    assert again is not None
    assert again.sentences == told.sentences
    pd.testing.assert_frame_equal(again.table, table)


def test_failures_are_counted_and_networks_without_a_result_left_out() -> None:
    told = section(concluded(around(0.3, 0.3)), networks(), trained(0.0, failed=(203, 310)))
    assert told is not None
    said = told.sentences
    assert "2 of 20 trainings failed and are left out." in said
    assert said[-1] == "Without a finished training: resolution at 4x, pycls at 8x."
    assert said[0].startswith("No significant change")
    assert told.lines[3][5:] == ["–", "–", "0"]


def test_too_few_results_are_said_and_nothing_is_drawn() -> None:
    rows = trained(0.0)
    told = section(
        concluded(around(0.3, 0.3)), networks(), rows[rows["candidate"].isin([201, 202])]
    )
    assert told is not None
    assert told.sentences[0] == (
        "These results cannot show whether the rule holds at larger sizes: the networks of "
        "the larger sizes must be spread over the triangle, got 2 on a line at 4x; use a wider "
        "candidates.tolerance."
    )
    all_failed = trained(0.0, failed=tuple(networks()["candidate"]))
    told = section(concluded(around(0.3, 0.3)), networks(), all_failed)
    assert told is not None
    assert "got none with a finished training" in told.sentences[0]


def test_there_is_nothing_to_tell_without_trainings_or_a_surface() -> None:
    assert compared(concluded(around(0.3, 0.3)), networks(), pd.DataFrame()) is None
    assert compared(Conclusion(None), networks(), trained(0.0)) is None
    others = trained(0.0).assign(network="of another time")
    assert compared(concluded(around(0.3, 0.3)), networks(), others) is None


def test_trainings_that_collapsed_are_named_and_in_no_mean() -> None:
    rows = trained(0.0)
    rows.loc[rows["candidate"] == 301, ["val_loss", "val_accuracy"]] = [2.3, 0.1]
    told, whole = (
        compared(concluded(around(0.3, 0.3)), networks(), r) for r in (rows, trained(0.0))
    )
    assert told is not None
    assert whole is not None
    point = str(networks().set_index("candidate").loc[301, "point"])
    said = transfer_section(told).sentences
    assert said[-1] == f"Left out: {point} at 8x seed 0, no better than chance."
    assert told.table.set_index("candidate").loc[301, "num_seeds"] == 0
    assert told.drift is not None
    assert whole.drift is not None
    assert np.allclose(told.drift.moved, whole.drift.moved, atol=0.1)
    renumbered = rows.assign(candidate=rows["candidate"].to_numpy()[::-1])
    other = compared(concluded(around(0.3, 0.3)), networks(), renumbered)
    assert other is not None
    assert transfer_section(other).sentences == said


def test_a_network_that_had_another_number_counts_under_its_own() -> None:
    rows = trained(0.0)
    renumbered = rows.assign(candidate=rows["candidate"].to_numpy()[::-1])
    one, other = (section(concluded(around(0.3, 0.3)), networks(), r) for r in (rows, renumbered))
    assert one is not None
    assert other is not None
    assert one.sentences == other.sentences


def test_a_misfit_of_the_search_is_a_warning() -> None:
    def wavy(points: Points) -> Points:
        return 0.4 + 0.05 * np.sin(9 * points[:, 0]) * np.sin(9 * points[:, 1])

    told = section(concluded(wavy, Luck(0.001)), networks(), trained(0.0))
    assert told is not None
    assert any(s.startswith("Warning: the quadratic surface does not fit") for s in told.sentences)


def power(networks: pd.DataFrame, num_seeds: int = 3) -> str:
    return about_power(power_before(concluded(around(0.3, 0.3)), networks, num_seeds))


def test_before_it_starts_it_says_what_it_would_find() -> None:
    assert next(about_networks(networks())) == (
        "Resolution alone is out of reach at 4x the base network's cost: the nearest network has a "
        "share of 0.50."
    )
    said = power(networks(), 1)
    assert said.startswith("In 80 of 100 cases these trainings show a change from 2x to 8x")
    assert "and resolution 0.33 (0." in said
    few = networks()[networks()["point"].isin(["depth", "width"])]
    assert next(about_networks(few)) == (
        "At 4x the base network's cost there are 2 networks for 10 splits; no other network has "
        "this cost."
    )
    with pytest.raises(ValueError, match="must be spread over the triangle"):
        power(few, 1)
    assert power(networks()[~networks()["point"].isin(DIMENSIONS)]) == (
        "The detectable change is unknown: at 8x fewer than two networks stand for one dimension "
        "alone."
    )
    two = networks()[networks()["point"] != "resolution"]
    assert "in the difference between depth and width" in power(two)


@pytest.mark.parametrize("is_guess", [False, True])
def test_the_figure_is_drawn_whether_or_not_the_best_is_a_guess(is_guess: bool) -> None:
    sizes = fit_sizes(*drawn(0.1, NOISY, spread=0.08))
    regions = {
        one.observations.target: replace(find_region(one), is_everything=is_guess)
        for one in sizes.surfaces
    }
    figure = best_by_size(regions, networks(), equal="epochs")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    guess = ", a guess" if is_guess else ""
    assert [text.get_text() for text in legend.get_texts()] == [
        f"2x, searched{guess}",
        f"4x{guess}",
        f"8x{guess}",
    ]
    images = rendered(figure)
    assert all(len(image) > 5_000 for image in images.values())
    assert images == rendered(best_by_size(regions, networks(), equal="epochs"))
