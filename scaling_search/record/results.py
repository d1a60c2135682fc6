"""From the record to tables: a row for each training, for each epoch, for each network."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

VOLATILE = (
    "train_seconds",
    "total_seconds",
    "images_per_second",
    "attempts",
    "device_share",
    "peak_memory_bytes",
    "finished",
    "host",
)
"""Columns that differ between two runs of the same trainings."""

METRICS = ("val_accuracy", "val_loss")

LONG = ("curve", "test_losses", "test_hits")
"""What a training has for each epoch or image; no table of trainings holds it."""


def results_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A row for each training, failed ones too, sorted by candidate and seed."""
    table = pd.DataFrame([{k: v for k, v in row.items() if k not in LONG} for row in rows])
    if table.empty:
        return table
    return table.sort_values(["candidate", "seed"], kind="stable", ignore_index=True)


def curves_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A row for each epoch of each training: train_loss, val_loss, val_accuracy."""
    points = [
        {key: row[key] for key in ("candidate", "network", "seed")} | {"epoch": epoch, **point}
        for row in rows
        for epoch, point in enumerate(_curve(row), start=1)
    ]
    columns = ["candidate", "network", "seed", "epoch", "train_loss", "val_loss", "val_accuracy"]
    table = pd.DataFrame(points, columns=columns)
    return table.sort_values(["candidate", "seed", "epoch"], kind="stable", ignore_index=True)


def coefficient_table(
    candidates: pd.DataFrame, results: pd.DataFrame, objective: str
) -> pd.DataFrame:
    """The scaling coefficient table: a row for each network, the base first, then best to worst.

    Means are over the seeds that ended; `num_seeds` and `num_failed` say of how many. Gains over
    the base network are means of differences within a seed, which share the order of the images;
    their standard errors need two common seeds. `order` 1 is the best mean of ``objective``.

    Args:
        candidates: The planned networks, the base as candidate 0.
        results: As `results_table` gives it.
        objective: ``val_loss`` or ``val_accuracy``.
    """
    table = with_means(candidates, results)
    is_scaled = table["candidate"] != 0
    ranks = table.loc[is_scaled, f"{objective}_mean"].rank(
        ascending=objective == "val_loss", method="first"
    )
    table["order"] = ranks.astype("Int64")
    place = ranks.reindex(table.index).where(is_scaled, 0.0)
    # NumPy puts NaN last; what pandas does with it depends on its version.
    return table.iloc[place.to_numpy(dtype=float).argsort(kind="stable")].reset_index(drop=True)


def with_means(networks: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """A table of networks with what their trainings gave, by name of the network.

    The network of candidate 0 is the base that gains are over; one that is not in the table, or
    was not trained, leaves them empty.
    """
    base = networks.loc[networks["candidate"] == 0, "network"]
    base_network = base.iloc[0] if len(base) else ""
    means = [_aggregate(network, base_network, results) for network in networks["network"]]
    return pd.concat([networks, pd.DataFrame(means, index=networks.index)], axis=1)


@dataclass(frozen=True)
class Noise:
    """How far the order of networks is luck, in the units of one metric.

    Attributes:
        seed_sd: Standard deviation over seeds within a network, pooled; None with one seed.
        residual_sd: The same after what a seed does to all networks alike is taken out.
        spread: Standard deviation of the networks' means.
        num_networks: Scaled networks with a mean.
        num_seeds: Fewest seeds that one of them has.
        num_within_noise: Networks whose mean is within two standard errors of a difference from
            the best, the best itself not counted; None where the error is unknown.
        degrees_of_freedom: How many differences `residual_sd` rests on.
    """

    seed_sd: float | None
    residual_sd: float | None
    spread: float
    num_networks: int
    num_seeds: int
    num_within_noise: int | None
    degrees_of_freedom: int


def noise(results: pd.DataFrame, metric: str) -> Noise:
    """How much of the differences between the scaled networks' means is luck."""
    if results.empty:
        return Noise(None, None, math.nan, 0, 0, None, 0)
    ended = results[(results["state"] == "COMPLETE") & (results["candidate"] != 0)]
    grid = ended.pivot_table(index="candidate", columns="seed", values=metric)
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
    best = int(means.argmin() if metric == "val_loss" else means.argmax())
    errors = residual_sd * np.sqrt(1 / counts + 1 / counts.iloc[best])
    close = (means - means.iloc[best]).abs() <= 2 * errors
    return Noise(seed_sd, residual_sd, spread, len(means), fewest, int(close.sum()) - 1, left)


def _aggregate(network: str, base_network: str, results: pd.DataFrame) -> dict[str, object]:
    mine = _ended(results, network)
    num_trained = int((results["network"] == network).sum()) if len(results) else 0
    row: dict[str, object] = {"num_seeds": len(mine), "num_failed": num_trained - len(mine)}
    for metric in METRICS:
        row[f"{metric}_mean"] = mine[metric].mean()
        row[f"{metric}_sd"] = mine[metric].std()
    base = _ended(results, base_network if network != base_network else "")
    for metric, sign in (("val_accuracy", 1), ("val_loss", -1)):
        gains = sign * (mine[metric] - base[metric]).dropna()
        row[f"{metric}_gain"] = gains.mean()
        row[f"{metric}_gain_se"] = gains.sem()
    row["train_seconds_mean"] = mine["train_seconds"].mean()
    return row


def _ended(results: pd.DataFrame, network: str) -> pd.DataFrame:
    """The metrics of a network's trainings that did not fail, by seed."""
    columns = [*METRICS, "train_seconds"]
    if results.empty:
        return pd.DataFrame(columns=columns, dtype=float)
    is_mine = (results["network"] == network) & (results["state"] == "COMPLETE")
    return results[is_mine].set_index("seed")[columns].astype(float)


def _curve(row: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    curve = row["curve"]
    assert isinstance(curve, list)
    return curve
