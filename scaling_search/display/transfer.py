"""The section on the rule at larger sizes."""

from collections.abc import Iterator
from math import nan

import pandas as pd

from scaling_search.answer.fit import FTest
from scaling_search.answer.region import Region
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.display.formatting import (
    count,
    difference,
    metrics_in,
    named_ranges,
    named_shares,
    p_value,
    percent,
    plus_minus,
    shares_of,
)
from scaling_search.display.report_section import ReportSection
from scaling_search.display.verdicts import WHY
from scaling_search.follow_ups.sizes import Drift
from scaling_search.follow_ups.transfer import Power, Transferred
from scaling_search.planning.families import ON_RAY

NUM_POINTS = 10
"""Points of the triangle for which each size has a network."""


def transfer_section(told: Transferred) -> ReportSection:
    """Returns the section on trainings of larger sizes."""
    table = told.table
    return ReportSection(
        name="transfer",
        title="Does it hold at the next size?",
        sentences=(
            *_about_sizes(told),
            *about_networks(table),
            *_about_failures(table),
            *_about_collapsed(told),
        ),
        lines=_lines(table),
        table=table,
    )


def _about_sizes(told: Transferred) -> Iterator[str]:
    drift = told.drift
    if told.fit is None or drift is None or told.power is None:
        yield (f"These results cannot show whether the rule holds at larger sizes: {told.missing}.")
        return
    yield about_drift(told.fit.test, drift)
    for size, region in drift.regions.items():
        yield _about_size(size, region)
    (first, *_, last) = drift.regions
    is_guess = drift.regions[first].is_everything or drift.regions[last].is_everything
    ends = zip(DIMENSIONS, drift.moved, drift.low, drift.high, strict=True)
    moves = ", ".join(
        f"{name} {by:+.2f} ({low:+.2f} to {high:+.2f})" for name, by, low, high in ends
    )
    yield (
        f"From {first:g}x to {last:g}x the shares of the rule change by {moves}"
        f"{'; this is a guess' if is_guess else ''}. These intervals hold together with at least "
        "95 % confidence."
    )
    outside = "" if told.is_common else " The rule of the search alone lies outside of them."
    yield (
        "Only splits that all sizes reach are compared, "
        f"{percent(drift.regions[first].searched_area)} of the triangle.{outside}"
    )
    yield about_power(told.power)
    if told.misfits:
        yield (
            "Warning: the quadratic surface does not fit the search, and all of these sentences "
            "assume that it does."
        )


def about_drift(test: FTest, drift: Drift) -> str:
    """The verdict on the change of the rule.

    A move is named where the surface changes with the size and the interval of a share's drift
    does not hold 0.
    """
    (first, *_, last) = drift.regions
    if not test.is_significant:
        return (
            f"No significant change of the fit from {first:g}x to {last:g}x the base network's "
            f"cost ({p_value(test)}). These results do not show that the rule (the best split by "
            "the fit) changes."
        )
    ends = zip(DIMENSIONS, drift.low, drift.high, strict=True)
    moves = [
        f"{'more' if low > 0 else 'less'} {name}" for name, low, high in ends if low > 0 or high < 0
    ]
    if moves:
        return (
            f"The rule (the best split by the fit) changes with the size ({p_value(test)}). At "
            f"{last:g}x the base network's cost it has {' and '.join(moves)} than at {first:g}x."
        )
    return (
        f"The fit changes from {first:g}x to {last:g}x the base network's cost ({p_value(test)}). "
        "No share of the rule (the best split by the fit) changes significantly."
    )


def _about_size(size: float, region: Region) -> str:
    best = named_shares(region.best)
    if region.is_everything:
        return (
            f"At {size:g}x noise alone could explain the differences. Any split may be the best; "
            f"the rule is a guess: {best}."
        )
    ranges = named_ranges(region.low, region.high)
    return f"At {size:g}x the rule is {best}; its 95 % region has shares of {ranges}."


def about_power(power: Power) -> str:
    """The detectable change between corners."""
    first, last, changes = power.first, power.last, power.changes
    if not changes:
        return (
            f"The detectable change is unknown: at {last:g}x fewer than two networks stand for one "
            "dimension alone."
        )
    found = ", or of ".join(
        f"{difference(change.smallest, power.metric)} in the difference between "
        f"{' and '.join(change.names)} ({difference(abs(change.now), power.metric)} at {first:g}x)"
        for change in dict.fromkeys((changes[0], changes[-1]))
    )
    return (
        f"In 80 of 100 cases these trainings show a change from {first:g}x to {last:g}x the "
        f"base network's cost of {found}."
    )


def about_networks(networks: pd.DataFrame) -> Iterator[str]:
    """Points that no network is near to, and sizes with too few networks."""
    for size, mine in networks.groupby("size"):
        at = f"{float(str(size)):g}x the base network's cost"
        for _, row in mine[mine["distance"] > ON_RAY].iterrows():
            point = str(row["point"])
            if point in DIMENSIONS:
                nearest = f"the nearest network has a share of {row[f'{point}_share']:.2f}"
                yield f"{point.capitalize()} alone is out of reach at {at}: {nearest}."
            elif point == "found":
                nearest = f"the shares of the nearest network differ by {row['distance']:.2f}"
                yield f"The rule is out of reach at {at}: {nearest}."
        if len(mine) < NUM_POINTS:
            are = "is" if len(mine) == 1 else "are"
            yield (
                f"At {at} there {are} {count(len(mine), 'network')} for {NUM_POINTS} splits; no "
                "other network has this cost."
            )


def _about_failures(table: pd.DataFrame) -> list[str]:
    failed, ended = int(table["num_failed"].sum()), int(table["num_seeds"].sum())
    said = []
    if failed:
        said.append(f"{failed} of {count(failed + ended, 'training')} failed and are left out.")
    without = table[table["num_seeds"] == 0]
    if len(without):
        names = ", ".join(f"{row['point']} at {row['size']:g}x" for _, row in without.iterrows())
        said.append(f"Without a finished training: {names}.")
    return said


def _about_collapsed(told: Transferred) -> Iterator[str]:
    """Trainings that are in no mean."""
    points = told.table.set_index("candidate")
    for one in told.left_out:
        row = points.loc[one.candidate]
        yield f"Left out: {row['point']} at {row['size']:g}x seed {one.seed}, {WHY[one.why]}."


def _lines(table: pd.DataFrame) -> list[list[str]]:
    """A header and a line for each network."""
    metrics = sorted(metrics_in(table), key=lambda one: one == VAL_ACCURACY)
    heads = ["loss" if one == VAL_LOSS else one.header for one in metrics]
    lines = [["size", "point", "shares d / w / r", "off", "cost", *heads, "seeds"]]
    for _, row in table.iterrows():
        lines.append(
            [
                f"{row['size']:g}x",
                str(row["point"]),
                shares_of(row),
                f"{row['distance']:.2f}",
                f"{row['cost_ratio']:.3f}x",
                *(plus_minus(row[f"{metric}_mean"], nan, metric) for metric in metrics),
                str(row["num_seeds"]),
            ]
        )
    return lines
