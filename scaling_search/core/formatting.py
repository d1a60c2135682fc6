"""Numbers as text: with their unit, their error, and as columns of tables."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from scaling_search.core.scaling import DIMENSIONS

Formatter = Callable[["pd.Series[Any]"], str]
"""Returns the text of one column for a row."""

HEADERS = {"val_accuracy": "accuracy, %", "val_loss": "loss, nats"}
GAINS = {"val_accuracy": "gain, points", "val_loss": "gain, nats"}


def count(number: int, noun: str) -> str:
    """A number with its noun, as in 2 networks."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def level(value: float, metric: str) -> str:
    """A value of a metric."""
    return f"{100 * value:.2f} %" if metric == "val_accuracy" else f"{value:.4f}"


def difference(value: float, metric: str) -> str:
    """A difference of two values of a metric."""
    return f"{100 * value:.2f} points" if metric == "val_accuracy" else f"{value:.4f}"


def plus_minus(value: float, error: float, metric: str) -> str:
    """A number in the unit of a table (percent or nats), with its error where that is known."""
    if math.isnan(value):
        return "–"
    scale, digits = (100, 2) if metric == "val_accuracy" else (1, 4)
    text = f"{scale * value:.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {scale * error:.{digits}f}"


def coefficient_columns(objective: str) -> dict[str, Formatter]:
    """All columns of the coefficient table."""
    return {
        "order": _order,
        "network": lambda row: f"{row['candidate']}",
        **{name: coefficient(name) for name in ("alpha", "beta", "gamma")},
        "shares d / w / r": _shares,
        "nominal cost": lambda row: f"{row['nominal_flops_ratio']:.3f}x",
        "measured cost": lambda row: f"{row['cost_ratio']:.3f}x",
        "parameters": lambda row: f"{row['params']:,}",
        "activations": lambda row: f"{row['activations']:,}",
        **{f"{header} ± sd": _mean(metric) for metric, header in HEADERS.items()},
        **_trainings(),
        f"{GAINS[objective]} ± se": _gain(objective),
    }


def terminal_columns(objective: str) -> dict[str, Formatter]:
    """The columns of the coefficient table that fit a terminal."""
    return {
        "order": _order,
        "network": lambda row: f"{row['candidate']}",
        "alpha": lambda row: f"{row['alpha']:.3f}",
        "beta": lambda row: f"{row['beta']:.3f}",
        "gamma": lambda row: f"{row['gamma']:.3f}",
        "cost": lambda row: f"{row['cost_ratio']:.3f}x",
        f"{HEADERS[objective]}\n± sd": _mean(objective),
        f"{GAINS[objective]}\n± se": _gain(objective),
        **_trainings(),
    }


def family_columns() -> dict[str, Formatter]:
    """Columns of the table of families' members."""
    return {
        "family": lambda row: f"{row['family']}",
        "phi": lambda row: f"{row['phi']:g}",
        "alpha": lambda row: f"{row['alpha']:.3f}",
        "beta": lambda row: f"{row['beta']:.3f}",
        "gamma": lambda row: f"{row['gamma']:.3f}",
        "shares d / w / r": _shares,
        "off its ray": lambda row: f"{row['distance']:.2f}{'' if row['is_on_ray'] else ' *'}",
        "measured cost": lambda row: f"{row['cost_ratio']:.3f}x",
        **{f"{header} ± sd": _mean(metric) for metric, header in HEADERS.items()},
        **_trainings(),
        "": lambda row: (
            "ends here: the data have no more pixels" if row["ends_at_native_resolution"] else ""
        ),
    }


def _trainings() -> dict[str, Formatter]:
    return {
        "seeds": lambda row: f"{row['num_seeds']}",
        "failed": lambda row: f"{row['num_failed']}",
    }


def _mean(metric: str) -> Formatter:
    return lambda row: plus_minus(row[f"{metric}_mean"], row[f"{metric}_sd"], metric)


def _gain(metric: str) -> Formatter:
    return lambda row: plus_minus(row[f"{metric}_gain"], row[f"{metric}_gain_se"], metric)


def _order(row: "pd.Series[Any]") -> str:
    if row["candidate"] == 0:
        return "base"
    return "–" if pd.isna(row["order"]) else f"{row['order']}"


def coefficient(name: str) -> Formatter:
    """One of alpha, beta, gamma with the range of values that round to the same network."""

    def cell(row: "pd.Series[Any]") -> str:
        low, high = (f"{row[f'{name}_{end}']:.3f}" for end in ("low", "high"))
        return f"{row[name]:.3f}" + ("" if low == high else f" ({low} to {high})")

    return cell


def _shares(row: "pd.Series[Any]") -> str:
    values = [row[f"{dimension}_share"] for dimension in DIMENSIONS]
    return "–" if any(pd.isna(v) for v in values) else " / ".join(f"{v:.2f}" for v in values)
