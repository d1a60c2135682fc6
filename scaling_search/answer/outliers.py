"""Trainings that collapsed or lie far outside all others, which a surface cannot follow."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from scaling_search.answer.observations import Indices, Observations, Values
from scaling_search.core.metric import Metric
from scaling_search.core.space_filling import scheffe

Mask = NDArray[np.bool_]

AT_CHANCE = 0.99
"""Part of the loss of equal probabilities, log(classes), from which on a training is at chance."""

FAR = 10.0
"""Robust standard deviations from the median of all trainings at which one is outlying."""

LEVEL = 0.001
"""Level, for all trainings together, of the test of the farthest residual."""

MOST = 0.1
"""Largest part of the trainings that is left out for their residuals."""


@dataclass(frozen=True)
class LeftOut:
    """A training that is left out of the fit.

    Attributes:
        candidate: Its network's number.
        seed: Its seed.
        why: ``chance``, ``first epoch`` or ``outlying``.
        value: Its metric.
    """

    candidate: int
    seed: int
    why: str
    value: float


def collapsed(
    results: pd.DataFrame, curves: pd.DataFrame, num_classes: int, response: Metric
) -> Iterator[LeftOut]:
    """Finds trainings that ended no better than chance, or than after their first epoch.

    Args:
        results: As `results.results_table` gives it.
        curves: As `results.curves_table` gives it.
        num_classes: Number of labels.
        response: The metric.
    """
    # Metrics of the user's own training, which has no epochs here, have no value that is chance's.
    if "epochs" in results and results["epochs"].isna().any():
        return
    ended = results[results["state"] == "COMPLETE"] if len(results) else results
    epochs = dict(iter(curves.groupby(["candidate", "seed"])))
    for _, row in ended.iterrows():
        key = int(row["candidate"]), int(row["seed"])
        if row["val_loss"] >= AT_CHANCE * math.log(num_classes):
            yield LeftOut(*key, "chance", float(row[response.name]))
            continue
        curve = epochs.get(key)
        if curve is None or len(curve) < 2:
            continue
        first = curve.sort_values("epoch").iloc[0]
        # The loss alone also rises where a network learns its images by heart.
        if row["val_loss"] >= first["val_loss"] and row["val_accuracy"] <= first["val_accuracy"]:
            yield LeftOut(*key, "first epoch", float(row[response.name]))


def without_trainings(results: pd.DataFrame, bad: Iterable[LeftOut]) -> pd.DataFrame:
    """A results table without some trainings."""
    keys = {(one.candidate, one.seed) for one in bad}
    if not keys:
        return results
    mine = zip(results["candidate"], results["seed"], strict=True)
    return results[[key not in keys for key in mine]]


def outlying(data: Observations) -> tuple[Mask, Mask]:
    """Trainings that are far outside, of the networks and of the base network.

    First those farther than `FAR` robust standard deviations from the median. Then, one at a time,
    the training with the largest residual from a quadratic surface, in standard errors without
    itself, where a t-test at `LEVEL` over the number of trainings rejects it (Cook & Weisberg 1982,
    Section 2.2.2), for a corner of the triangle would draw a fit towards itself. One whose network
    is as far off with another seed is no accident, and stays.

    Returns:
        True for each that is outlying: (trainings,) and (trainings of the base network,).
    """
    found = _is_far(data.loss, data.loss)
    seeds = np.unique(data.seed)
    design = np.hstack(
        [scheffe(data.shares)[data.network], (data.seed[:, None] == seeds[1:]).astype(float)]
    )
    for _ in range(int(MOST * len(found))):
        kept = np.flatnonzero(~found)
        residual = studentized(design[kept], data.loss[kept])
        freedom = len(kept) - design.shape[1] - 1
        if residual is None or freedom < 1:
            break
        farthest = _farthest_alone(residual, data.network[kept])
        if 2 * stats.t.sf(abs(residual[farthest]), freedom) * len(kept) > LEVEL:
            break
        found[kept[farthest]] = True
    # The base network may be far behind all others, and its own spread is known from too few.
    base = _is_far(data.base_loss, data.loss)
    return found, base & (len(data.base_loss) > 2)


def without(data: Observations, found: Mask, base: Mask) -> Observations:
    """The observations without some trainings, and without networks that then have none."""
    networks, network = np.unique(data.network[~found], return_inverse=True)
    return replace(
        data,
        candidates=data.candidates[networks],
        shares=data.shares[networks],
        cost_ratio=data.cost_ratio[networks],
        network=network,
        seed=data.seed[~found],
        loss=data.loss[~found],
        base_seed=data.base_seed[~base],
        base_loss=data.base_loss[~base],
    )


def usable(data: Observations) -> Observations:
    """The observations without outlying trainings."""
    return without(data, *outlying(data))


def studentized(design: Values, response: Values) -> Values | None:
    """Residuals over their standard errors, each without its own training, (trainings,).

    Those of trainings that alone determine a coefficient are 0. None for a fit without residuals.
    """
    left, values, _ = np.linalg.svd(design, full_matrices=False)
    basis = left[:, values > 1e-9 * values[0]]
    residual = response - basis @ (basis.T @ response)
    spared = 1 - (basis**2).sum(axis=1)
    is_spared = spared > 1e-6
    freedom = len(design) - basis.shape[1] - 1
    if freedom < 1:
        return None
    squares = residual @ residual - residual**2 / np.where(is_spared, spared, 1)
    error = np.sqrt(squares.clip(0) / freedom * spared.clip(0))
    if error.max() < 1e-12 * np.abs(response).max():
        return None
    ratio: Values = np.divide(
        residual, error, out=np.zeros_like(residual), where=is_spared & (error > 0)
    )
    return ratio


def _farthest_alone(residual: Values, network: Indices) -> int:
    """The training with the largest residual that no other seed of its network repeats by half."""
    order = np.abs(residual).argsort()[::-1]
    for training in order:
        own = residual[network == network[training]] * np.sign(residual[training])
        if (own >= 0.5 * abs(residual[training])).sum() == 1:  # itself
            return int(training)
    return int(order[-1])


def _is_far(losses: Values, others: Values) -> Mask:
    if not len(losses) or not len(others):
        return np.zeros(len(losses), dtype=bool)
    scale = stats.median_abs_deviation(others, scale="normal")
    is_far: Mask = np.abs(losses - np.median(losses)) > FAR * max(scale, 1e-9)
    return is_far
