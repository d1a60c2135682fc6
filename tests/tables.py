"""The tables of a search that was never run, for tests of figures and reports."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.core.metric import VAL_ACCURACY, Metric
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Multipliers, Shares
from scaling_search.record.results import coefficient_table, curves_table, results_table

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

BASE_FLOPS = 31_200_000
REASON = "FloatingPointError: the training loss must be finite, got nan in epoch 2"


@dataclass(frozen=True)
class Tables:
    """What `write_report` and the figures take."""

    candidates: pd.DataFrame
    results: pd.DataFrame
    curves: pd.DataFrame
    coefficients: pd.DataFrame


def candidate_rows(num_networks: int, *, cost: float = 2.0) -> list[dict[str, object]]:
    """The base network and so many others within 5 % of a cost, as `Candidate.row` gives them."""
    stream = np.random.default_rng(0)
    shares = [*REFERENCES.values(), *(Shares(*s) for s in stream.dirichlet([1, 1, 1], 200))]
    rows = []
    for number in range(num_networks + 1):
        of = shares[number - 1] if number else None
        multipliers = of.multipliers(cost) if of else Multipliers(1.0, 1.0, 1.0)
        ratio = float(cost * stream.uniform(0.95, 1.05)) if number else 1.0
        row: dict[str, object] = {"candidate": number, "network": f"2-3-{number}/8-16/20"}
        values = [round(getattr(multipliers, d), 6) for d in DIMENSIONS]
        row |= dict(zip(("alpha", "beta", "gamma"), values, strict=True))
        for name, value in zip(("alpha", "beta", "gamma"), values, strict=True):
            row |= {f"{name}_low": value, f"{name}_high": round(value + 0.08, 6)}
        row |= {f"{d}_share": getattr(of, d) if of else None for d in DIMENSIONS}
        row |= {"share_gap": 0.0, "nominal_flops_ratio": cost if number else 1.0}
        flops = int(BASE_FLOPS * ratio)
        row |= {"shares_of": "flops", "cost": flops, "cost_ratio": ratio, "cost_spread": 0.0}
        row |= {"flops_ratio": ratio, "flops": flops}
        row |= {"params": 1_280_000 + number, "activations": int(2_200_000 * ratio)}
        rows.append(row | {"layers": f"2-3-{number}", "channels": "8-16", "resolution": 20})
    return rows


def tables(
    num_networks: int,
    num_seeds: int = 1,
    *,
    failed: Collection[tuple[int, int]] = (),
    untrained: Collection[int] = (),
    lead: float = 0.0,
    num_epochs: int = 3,
    objective: Metric = VAL_ACCURACY,
    reason: str = REASON,
    bend: float = 0.0,
    left_out: Collection[int] = (),
) -> Tables:
    """A search over so many networks beside the base.

    Args:
        num_networks: Scaled networks.
        num_seeds: Of each network.
        failed: Pairs of candidate and seed.
        untrained: Candidates without any training.
        lead: By how much the accuracy of network 1 is above what it would be.
        num_epochs: Of each training.
        objective: Orders the coefficient table.
        reason: Of the failures.
        bend: Accuracy lost per squared distance from thirds.
        left_out: Networks with a training that is left out of the fit.
    """
    stream = np.random.default_rng(1)
    candidates = candidate_rows(num_networks)
    shared = stream.normal(0, 0.002, num_seeds)
    rows = []
    for candidate in candidates:
        number = int(str(candidate["candidate"]))
        mean = 0.85 + (0.01 if number else 0) + (lead if number == 1 else 0)
        if number:
            mean -= bend * sum(
                (float(str(candidate[f"{d}_share"])) - 1 / 3) ** 2 for d in DIMENSIONS
            )
        for seed in range(num_seeds):
            end = float(mean + shared[seed] + stream.normal(0, 0.003))
            curve = [
                {"train_loss": 2.0 / e, "val_loss": 3 - end * e / num_epochs}
                | {"val_accuracy": end * e / num_epochs}
                for e in range(1, num_epochs + 1)
            ]
            has_failed = (number, seed) in failed
            ended: dict[str, object] = {} if has_failed else dict(curve[-1])
            row = candidate | {"seed": seed, "state": "FAIL" if has_failed else "COMPLETE"}
            row |= {"reason": reason if has_failed else ""}
            row |= {m: ended.get(m) for m in ("val_accuracy", "val_loss", "train_loss")}
            row |= {"train_seconds": None if has_failed else 1.25, "device": "cpu"}
            rows.append(row | {"curve": [] if has_failed else curve})
    trained = [row for row in rows if row["candidate"] not in untrained]
    results = results_table(trained)
    planned = pd.DataFrame(candidates)
    coefficients = coefficient_table(planned, results, objective)
    return Tables(
        candidates=planned,
        results=results,
        curves=curves_table(trained),
        coefficients=coefficients.assign(left_out=coefficients["candidate"].isin(left_out) * 1),
    )


def conclusion_of(search: Tables, objective: Metric = VAL_ACCURACY) -> Conclusion:
    """The conclusion of a search, without sentences."""
    return conclude(
        search.results,
        search.curves,
        objective=objective,
        target=2.0,
        delta=None,
        num_classes=1000,
    )


def every_training(num_networks: int, num_seeds: int) -> set[tuple[int, int]]:
    """All pairs of candidate and seed."""
    return {(number, seed) for number in range(num_networks + 1) for seed in range(num_seeds)}


def families(num_seeds: int = 3) -> pd.DataFrame:
    """Families over phi 0 to 3; depth is off its ray at phi 1, resolution ends there."""
    rows = []
    for index, family in enumerate(("compound", "depth", "width", "resolution", "paper")):
        for phi in range(2 if family == "resolution" else 4):
            candidate = candidate_rows(index + 1, cost=2.0**phi or 1.0)[index + 1 if phi else 0]
            number = 10 * phi + index if phi else 0
            row = {"family": family, "phi": phi} | candidate | {"candidate": number}
            row |= {"distance": 0.07 if (family, phi) == ("depth", 1) else 0.01}
            row |= {"is_on_ray": row["distance"] == 0.01}
            row |= {"ends_at_native_resolution": (family, phi) == ("resolution", 1)}
            row |= {"num_seeds": num_seeds, "num_failed": 0}
            row |= {"val_accuracy_mean": 0.87 + 0.005 * phi - 0.001 * index}
            row |= {"val_accuracy_sd": 0.003 if num_seeds > 1 else None}
            rows.append(row | {"val_loss_mean": 0.4 - 0.01 * phi, "val_loss_sd": 0.006})
    return pd.DataFrame(rows)
