"""Rows of the record and tables of them, by training, epoch or network."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from scaling_search.core.metric import KNOWN, Metric, shown
from scaling_search.core.trial import Epoch, OwnScores, TestScores, Trial, TrialResult
from scaling_search.runtime.passwords import without_password

Row = dict[str, object]

KEY = ("network", "seed", "epochs", "learning_rate")
"""Columns that identify a training: those of `Trial.key`."""

SCORES = ("val_accuracy", "val_loss", "train_loss")
SECONDS = ("train_seconds", "total_seconds", "images_per_second")
COUNTS = ("attempts", "device_share", "peak_memory_bytes", "micro_batches")
PLACES = ("device", "host", "versions")
"""Columns of a training's results, by the names of `Epoch` and `TrialResult`."""

METRICS = tuple(KNOWN.values())
"""Metrics of this package's own training, in the order of tables."""

CURVE_KEY = ("candidate", "network", "seed", "epoch")
"""Columns that identify a point of a curve."""

LONG = ("curve", "test_losses", "test_hits", "metrics", "objective")
"""Values of a training for each epoch or image, and names, which tables leave out."""


def row_of(result: TrialResult) -> Row:
    """A training as a row of the record."""
    scores = result.scores
    row: Row = result.trial.candidate.row()
    row |= dict(zip(KEY, result.trial.key, strict=True))
    row |= {"state": result.state, "reason": without_password(result.reason)}
    row |= {name: scores.get(name) for name in _score_names(result)}
    seconds = {name: getattr(result, name) for name in SECONDS}
    row |= {name: value if math.isfinite(value) else None for name, value in seconds.items()}
    row |= {name: getattr(result, name) for name in (*COUNTS, *PLACES)}
    row["curve"] = result.points
    if _is_own(result):
        row |= {"objective": result.trial.objective.name, "metrics": [*scores]}
    if result.test is not None:
        row |= {"test_loss": result.test.loss, "test_accuracy": result.test.accuracy}
        row["test_losses"] = base64.b64encode(result.test.packed_losses).decode()
        row["test_hits"] = base64.b64encode(result.test.packed_hits).decode()
    return row


def _is_own(result: TrialResult) -> bool:
    """True for a training of the user's own, also if it failed."""
    return result.own is not None or result.trial.training is not None


def _score_names(result: TrialResult) -> Iterable[str]:
    own = (result.trial.objective.name, *result.scores)
    return dict.fromkeys(own) if _is_own(result) else SCORES


def metrics_of(rows: Iterable[Mapping[str, Any]], objective: Metric) -> tuple[Metric, ...]:
    """The metrics of trainings, in the order of tables; those on the test split are left out."""
    own = [row["metrics"] for row in rows if "metrics" in row]
    if not own:
        return METRICS if objective.is_known else (objective,)
    names = dict.fromkeys(name for each in own for name in each if not name.startswith("test_"))
    return shown(objective, names)


def scores_on_test(row: Mapping[str, Any]) -> TestScores | None:
    """The scores of a row's network on the test split; None if it was not evaluated there."""
    if row.get("test_losses") is None:
        return None
    return TestScores(
        loss=row["test_loss"],
        accuracy=row["test_accuracy"],
        packed_losses=base64.b64decode(row["test_losses"]),
        packed_hits=base64.b64decode(row["test_hits"]),
    )


def result_of(trial: Trial, row: Mapping[str, Any]) -> TrialResult:
    """The result that a row of the record holds."""
    values: dict[str, Any] = {name: row[name] for name in (*SECONDS, *COUNTS, *PLACES)}
    values |= {name: math.nan for name in SECONDS if row[name] is None}
    own = None
    if "metrics" in row:
        own = OwnScores({name: row[name] for name in row["metrics"]}, tuple(row["curve"]))
    return TrialResult(
        trial,
        row["state"],
        reason=row["reason"],
        curve=() if own else tuple(Epoch(**epoch) for epoch in row["curve"]),
        own=own,
        test=scores_on_test(row),
        **values,
    )


def results_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A row for each training, failed ones too, sorted by candidate and seed."""
    table = pd.DataFrame([{k: v for k, v in row.items() if k not in LONG} for row in rows])
    if table.empty:
        return table
    return table.sort_values(["candidate", "seed"], kind="stable", ignore_index=True)


def curves_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each epoch of each training: train_loss, val_loss, val_accuracy."""
    points = [
        {key: row[key] for key in ("candidate", "network", "seed")} | {"epoch": epoch, **point}
        for row in rows
        for epoch, point in enumerate(row["curve"], start=1)
    ]
    table = pd.DataFrame(points)
    if not points:
        table = pd.DataFrame(columns=[*CURVE_KEY, "train_loss", "val_loss", "val_accuracy"])
    return table.sort_values(["candidate", "seed", "epoch"], kind="stable", ignore_index=True)


def coefficient_table(
    candidates: pd.DataFrame,
    results: pd.DataFrame,
    objective: Metric,
    expected: Mapping[int, float] | None = None,
    metrics: Sequence[Metric] = METRICS,
) -> pd.DataFrame:
    """The scaling coefficient table: a row for each network, the base first, then best to worst.

    Means are over the `num_seeds` trainings that ended. Gains over the base network are means of
    differences within a seed, which share the order of the images; their standard errors need two
    common seeds. `order` 1 is the first by the expected metric, where that is known, else by the
    mean of ``objective``.

    Args:
        candidates: The planned networks, the base as candidate 0.
        results: As `results_table` gives it.
        objective: The metric that decides.
        expected: The expected metric of each network by its number; None where there is no answer.
        metrics: Those of the table, in its order.
    """
    table, by = with_means(candidates, results, metrics), f"{objective}_mean"
    if expected is not None:
        table["expected"], by = table["candidate"].map(expected), "expected"
    is_scaled = table["candidate"] != 0
    ranks = table.loc[is_scaled, by].rank(ascending=objective.direction == "min", method="first")
    table["order"] = ranks.astype("Int64")
    place = ranks.reindex(table.index).where(is_scaled, 0.0)
    # NumPy puts NaN last; what pandas does with it depends on its version.
    return table.iloc[place.to_numpy(dtype=float).argsort(kind="stable")].reset_index(drop=True)


def with_means(
    networks: pd.DataFrame, results: pd.DataFrame, metrics: Sequence[Metric] = METRICS
) -> pd.DataFrame:
    """A table of networks with the means of their trainings, by name of the network.

    Gains are over candidate 0, the base network; they are empty if it is not in the table or was
    not trained.
    """
    base = networks.loc[networks["candidate"] == 0, "network"]
    base_network = base.iloc[0] if len(base) else ""
    values = [*(metric.name for metric in metrics), "train_seconds"]
    none = pd.DataFrame(columns=["seed", "state", *values])
    trained = {} if results.empty else dict(iter(results.groupby("network", sort=False)))
    of_base = _ended(trained.get(base_network, none), values)
    means = [
        _aggregate(
            trained.get(network, none),
            _ended(none, values) if network == base_network else of_base,
            metrics,
        )
        for network in networks["network"]
    ]
    return pd.concat([networks, pd.DataFrame(means, index=networks.index)], axis=1)


@dataclass(frozen=True)
class Noise:
    """Random variation between trainings, in the units of one metric.

    Attributes:
        seed_sd: Standard deviation over seeds within a network, pooled; None with one seed.
        residual_sd: The same without each seed's effect that all networks share.
        spread: Standard deviation of the networks' means.
        num_networks: Scaled networks with a mean.
        num_seeds: Smallest number of seeds of one of them.
        num_within_noise: Other networks whose mean is within two standard errors of a difference
            from the best; None if the error is unknown.
        degrees_of_freedom: Degrees of freedom of `residual_sd`.
    """

    seed_sd: float | None
    residual_sd: float | None
    spread: float
    num_networks: int
    num_seeds: int
    num_within_noise: int | None
    degrees_of_freedom: int


def noise(results: pd.DataFrame, metric: Metric) -> Noise:
    """The random variation between trainings of the scaled networks."""
    if results.empty:
        return Noise(None, None, math.nan, 0, 0, None, 0)
    ended = results[(results["state"] == "COMPLETE") & (results["candidate"] != 0)]
    grid = ended.pivot_table(index="candidate", columns="seed", values=metric.name)
    means = grid.mean(axis=1)
    counts = grid.count(axis=1)
    spread = float(means.std()) if len(means) > 1 else math.nan
    fewest = int(counts.min()) if len(counts) else 0
    freedom = int((counts - 1).sum())
    if freedom == 0:
        return Noise(None, None, spread, len(means), fewest, None, 0)
    within = grid.sub(means, axis=0)
    seed_sd = math.sqrt(float(np.nansum(within**2)) / freedom)
    residuals = within.sub(within.mean(axis=0), axis=1)
    left = freedom - (grid.shape[1] - 1)
    if left <= 0:
        return Noise(seed_sd, None, spread, len(means), fewest, None, 0)
    residual_sd = math.sqrt(float(np.nansum(residuals**2)) / left)
    best = int(means.argmin() if metric.direction == "min" else means.argmax())
    errors = residual_sd * np.sqrt(1 / counts + 1 / counts.iloc[best])
    close = (means - means.iloc[best]).abs() <= 2 * errors
    return Noise(seed_sd, residual_sd, spread, len(means), fewest, int(close.sum()) - 1, left)


def _aggregate(
    trained: pd.DataFrame, base: pd.DataFrame, metrics: Sequence[Metric]
) -> dict[str, object]:
    """Means of a network's trainings, and of their gains over finished ones of the base network."""
    mine = _ended(trained, base.columns)
    row: dict[str, object] = {"num_seeds": len(mine), "num_failed": len(trained) - len(mine)}
    for metric in metrics:
        row[f"{metric}_mean"] = mine[metric.name].mean()
        row[f"{metric}_sd"] = mine[metric.name].std()
    for metric in metrics:
        if metric.direction is None:
            continue
        gains = -metric.sign * (mine[metric.name] - base[metric.name]).dropna()
        row[f"{metric}_gain"] = gains.mean()
        row[f"{metric}_gain_se"] = gains.sem()
    row["train_seconds_mean"] = mine["train_seconds"].mean()
    return row


def _ended(trained: pd.DataFrame, values: Iterable[str]) -> pd.DataFrame:
    """The metrics and times of finished trainings, by seed."""
    is_ended = trained["state"] == "COMPLETE"
    return trained[is_ended].set_index("seed").reindex(columns=[*values]).astype(float)
