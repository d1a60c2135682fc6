"""Numbers as text: with unit and error, as verdicts, and as columns of tables."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from scaling_search.answer.fit import FTest
from scaling_search.answer.verdicts import Estimate
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


def with_interval(estimate: Estimate, metric: str, *, unit: bool = True) -> str:
    """A difference with its interval, as in 0.0022 (-0.0074 to 0.0118)."""
    mean, low, high = (
        difference(value, metric) for value in (estimate.mean, estimate.low, estimate.high)
    )
    mean = mean if unit else mean.removesuffix(" points")
    return f"{mean} ({low.removesuffix(' points')} to {high.removesuffix(' points')})"


def plus_minus(value: float, error: float, metric: str) -> str:
    """A number in the unit of a table (percent or nats), with its error where that is known."""
    if math.isnan(value):
        return "–"
    scale, digits = (100, 2) if metric == "val_accuracy" else (1, 4)
    text = f"{scale * value:.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {scale * error:.{digits}f}"


def p_value(test: FTest) -> str:
    """The p-value of a test, as in p = 0.012."""
    return "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"


def named_shares(shares: Iterable[float]) -> str:
    """Shares with their dimensions."""
    return ", ".join(f"{name} {share:.2f}" for name, share in zip(DIMENSIONS, shares, strict=True))


def named_ranges(low: Iterable[float], high: Iterable[float]) -> str:
    """Ranges of shares with their dimensions."""
    ends = zip(DIMENSIONS, low, high, strict=True)
    return ", ".join(f"{name} {first:.2f} to {last:.2f}" for name, first, last in ends)


def shares_of(row: "pd.Series[Any]") -> str:
    """The shares of a row of a table, as in 0.15 / 0.35 / 0.50."""
    values = [row[f"{dimension}_share"] for dimension in DIMENSIONS]
    return "–" if any(pd.isna(v) for v in values) else " / ".join(f"{v:.2f}" for v in values)


def coefficient_columns(objective: str) -> dict[str, Formatter]:
    """All columns of the coefficient table."""
    return {
        "order": _order,
        "network": lambda row: f"{row['candidate']}",
        **{name: coefficient(name) for name in ("alpha", "beta", "gamma")},
        "shares d / w / r": shares_of,
        "nominal cost": lambda row: f"{row['nominal_flops_ratio']:.3f}x",
        "measured cost": lambda row: f"{row['cost_ratio']:.3f}x",
        "parameters": lambda row: f"{row['params']:,}",
        "activations": lambda row: f"{row['activations']:,}",
        **{f"{header} ± sd": _mean(metric) for metric, header in HEADERS.items()},
        **TRAININGS,
        "left out": lambda row: f"{row['left_out']}",
        f"{GAINS[objective]} ± se": _gain(objective),
    }


def terminal_columns(objective: str) -> dict[str, Formatter]:
    """The columns of the coefficient table that fit a terminal."""
    return {
        "order": _order,
        "network": lambda row: f"{row['candidate']}",
        **COEFFICIENTS,
        "cost": lambda row: f"{row['cost_ratio']:.3f}x",
        f"{HEADERS[objective]}\n± sd": _mean(objective),
        f"{GAINS[objective]}\n± se": _gain(objective),
        **TRAININGS,
    }


def family_columns() -> dict[str, Formatter]:
    """Columns of the table of families' members."""
    return {
        "family": lambda row: f"{row['family']}",
        "phi": lambda row: f"{row['phi']:g}",
        **COEFFICIENTS,
        "shares d / w / r": shares_of,
        "off its ray": lambda row: f"{row['distance']:.2f}{'' if row['is_on_ray'] else ' *'}",
        "measured cost": lambda row: f"{row['cost_ratio']:.3f}x",
        **{f"{header} ± sd": _mean(metric) for metric, header in HEADERS.items()},
        **TRAININGS,
        "": lambda row: (
            "ends here: the data have no more pixels" if row["ends_at_native_resolution"] else ""
        ),
    }


COEFFICIENTS: dict[str, Formatter] = {
    "alpha": lambda row: f"{row['alpha']:.3f}",
    "beta": lambda row: f"{row['beta']:.3f}",
    "gamma": lambda row: f"{row['gamma']:.3f}",
}
TRAININGS: dict[str, Formatter] = {
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

    def text(row: "pd.Series[Any]") -> str:
        low, high = (f"{row[f'{name}_{end}']:.3f}" for end in ("low", "high"))
        return f"{row[name]:.3f}" + ("" if low == high else f" ({low} to {high})")

    return text
