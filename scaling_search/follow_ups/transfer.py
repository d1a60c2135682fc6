"""The rule at larger sizes, by trainings there."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from scaling_search.answer.conclusions import Conclusion
from scaling_search.answer.fit import Surface
from scaling_search.answer.observations import Observations, observations
from scaling_search.answer.outliers import LeftOut, collapsed, without_trainings
from scaling_search.answer.region import Hull
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS, Shares
from scaling_search.core.space_filling import as_points
from scaling_search.follow_ups.sizes import (
    DetectableChange,
    Drift,
    PooledFit,
    find_drift,
    fit_sizes,
    smallest_changes,
)
from scaling_search.planning.families import ON_RAY
from scaling_search.record.results import METRICS, with_means


@dataclass(frozen=True, eq=False)
class Power:
    """Detectable changes of the differences between corners, from the search's size to the largest.

    Attributes:
        metric: The objective.
        first: The search's size.
        last: The largest size.
        changes: Changes of each two corners, ascending; empty for fewer than two.
    """

    metric: Metric
    first: float
    last: float
    changes: list[DetectableChange]


@dataclass(frozen=True, eq=False)
class Transferred:
    """Trainings of larger sizes.

    Attributes:
        table: A row for each network of the larger sizes, with the means of its trainings.
        left_out: Trainings of them that collapsed, which are in no mean.
        fit: One model of all sizes; None where they cannot be compared.
        drift: Drift of the rule; None as above.
        power: None as above.
        is_common: True if the rule of the search alone is a split that all sizes reach.
        misfits: True if a quadratic surface does not fit the search.
        missing: Why sizes cannot be compared.
    """

    table: pd.DataFrame
    left_out: tuple[LeftOut, ...] = ()
    fit: PooledFit | None = None
    drift: Drift | None = None
    power: Power | None = None
    is_common: bool = True
    misfits: bool = False
    missing: str = ""


def power_before(conclusion: Conclusion, networks: pd.DataFrame, num_seeds: int) -> Power:
    """The detectable changes of trainings that have not been done.

    Args:
        conclusion: Conclusion of the search, with an answer.
        networks: A row for each network, as `networks_table` gives them.
        num_seeds: Trainings of each.

    Raises:
        ValueError: The trainings do not determine how the surface changes.
    """
    assert conclusion.answer is not None
    surface = conclusion.answer.surface
    response = surface.observations.response
    rows = networks.merge(pd.DataFrame({"seed": range(num_seeds)}), how="cross")
    rows["state"], rows[response.name] = "COMPLETE", 0.0
    return _power(surface, _by_size(networks, rows, response), networks)


def transferred(
    conclusion: Conclusion,
    networks: pd.DataFrame,
    trained: pd.DataFrame,
    curves: pd.DataFrame,
    num_classes: int,
    metrics: Sequence[Metric] = METRICS,
) -> Transferred | None:
    """Compares sizes; None before any training and without a surface of the search.

    Args:
        conclusion: Conclusion of the search.
        networks: A row for each network of the larger sizes, as `networks_table` or
            `Transferred.table` gives them; trainings of others are not used.
        trained: Their trainings, as `results.results_table` gives them.
        curves: Their epochs, as `results.curves_table` gives them.
        num_classes: Number of labels.
        metrics: Those of the table.
    """
    if len(trained):
        trained, curves = (_numbered(table, networks) for table in (trained, curves))
    found, diagnosis = conclusion.answer, conclusion.diagnosis
    if found is None or diagnosis is None or trained.empty:
        return None
    networks, response = networks.loc[:, :"resolution"], found.surface.observations.response
    left_out = tuple(collapsed(trained, curves, num_classes, response))
    trained = without_trainings(trained, left_out)
    larger = _by_size(networks, trained, response)
    table = with_means(networks, trained, metrics)
    table = table[[column for column in table if "_gain" not in str(column)]]
    try:
        fit = fit_sizes(found.surface, larger)
    except ValueError as error:
        return Transferred(table, left_out, missing=str(error))
    searched = fit.surfaces[0]
    return Transferred(
        table,
        left_out,
        fit,
        find_drift(fit),
        _power(searched, larger, networks),
        is_common=bool(Hull.of(searched.searched).holds(as_points([found.region.best]))[0]),
        misfits=diagnosis.misfits,
    )


def _numbered(table: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """The rows of these networks; one may have had another number when it was trained."""
    return table.drop(columns="candidate").merge(networks[["network", "candidate"]], on="network")


def _by_size(networks: pd.DataFrame, trained: pd.DataFrame, response: Metric) -> list[Observations]:
    """Observations of each size, ascending, those without a finished training left out."""
    parts = []
    for size, mine in networks.groupby("size"):
        rows = trained[trained["candidate"].isin(mine["candidate"])]
        data = observations(rows, response=response, target=float(str(size)))
        if len(data.candidates):
            parts.append(data)
    return parts


def _power(surface: Surface, larger: list[Observations], networks: pd.DataFrame) -> Power:
    """Detectable changes between the networks that stand for corners at the largest size."""
    data, last = surface.observations, larger[-1].target
    corners = {}
    at_last = networks[networks["size"] == last]
    for _, row in at_last[at_last["point"].isin(DIMENSIONS)].iterrows():
        name = str(row["point"])
        share = "" if row["distance"] <= ON_RAY else f" {row[f'{name}_share']:.2f}"
        corners[f"{name}{share}"] = Shares(*(float(row[f"{d}_share"]) for d in DIMENSIONS))
    changes = smallest_changes(surface, larger, corners)
    return Power(data.response, data.target, last, changes)
