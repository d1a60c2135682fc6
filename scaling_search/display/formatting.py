"""Numbers as text: with unit and error, as verdicts, and as columns of tables."""

import math
from collections.abc import Callable, Hashable, Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pandas as pd

from scaling_search.answer.fit import FTest
from scaling_search.answer.verdicts import Estimate
from scaling_search.core.metric import MEAN, SPREAD, VAL_ACCURACY, Metric, metric_in
from scaling_search.core.scaling import DIMENSIONS

Formatter = Callable[["pd.Series[Any]"], str]
"""Returns the text of one column for a row."""


def count(number: int, noun: str) -> str:
    """A number with its noun, as in 2 networks."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(fraction: float) -> str:
    """A fraction in whole percent."""
    return f"{100 * fraction:.0f} %"


def rounded(coefficient: float) -> str:
    """A coefficient with two decimals, a half rounded up: 1.13 for 1.125."""
    exact = Decimal(str(float(coefficient)))
    return str(exact.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def level(value: float, metric: Metric, *, in_table: bool = False) -> str:
    """A value of a metric, with one decimal more in tables than in sentences."""
    decimals = metric.level_decimals(value, in_table=in_table)
    return f"{metric.scale * value:.{decimals}f}{' %' if metric.is_percent else ''}"


def difference(value: float, metric: Metric) -> str:
    """A difference of two values of a metric, or a standard deviation, in a sentence."""
    return _shifted(value, metric, metric.difference_decimals(value))


def with_error(value: float, error: float, metric: Metric) -> str:
    """A difference with its standard error, as in 0.007 ± 0.011."""
    decimals = metric.difference_decimals(error)
    mean = _shifted(value, metric, decimals).removesuffix(" points")
    return f"{mean} ± {_shifted(error, metric, decimals)}"


def with_interval(estimate: Estimate, metric: Metric, *, in_table: bool = False) -> str:
    """A difference with its interval, as in 0.002 (-0.007 to 0.012); without unit in tables."""
    decimals = metric.difference_decimals(estimate.high - estimate.mean)
    if in_table:
        decimals = decimals + 1 if metric.decimals is None else metric.decimals
    mean, low, high = (
        _shifted(value, metric, decimals).removesuffix(" points")
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    unit = " points" if metric.is_percent and not in_table else ""
    return f"{mean}{unit} ({low} to {high})"


def _shifted(value: float, metric: Metric, decimals: int) -> str:
    """A difference with its unit; never a negative zero."""
    return f"{metric.scale * value:z.{decimals}f}{' points' if metric.is_percent else ''}"


def plus_minus(value: float, error: float, metric: Metric) -> str:
    """A number in the unit of a table (percent or nats), with its error where that is known."""
    if math.isnan(value):
        return "–"
    digits = metric.level_decimals(value, in_table=True)
    if metric.decimals is None and error > 0:
        digits = metric.difference_decimals(error)
    text = f"{metric.scale * value:.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {metric.scale * error:.{digits}f}"


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


def coefficients_text(row: "pd.Series[Any]") -> str:
    """Coefficients in a sentence, each with the other values that build the same network."""
    return ", ".join(f"{name} {_named_coefficient(row, name)}" for name in COEFFICIENTS)


def _named_coefficient(row: "pd.Series[Any]", name: str) -> str:
    # Rounded inwards, so that each value in between builds this network.
    low = math.ceil(100 * row[f"{name}_low"] - 1e-6) / 100
    high = math.floor(100 * row[f"{name}_high"] + 1e-6) / 100
    same = f" (any of {low:.2f} to {high:.2f} builds the same network)" if low < high else ""
    return f"{rounded(row[name])}{same}"


def metrics_in(columns: Iterable[Hashable], objective: Metric | None = None) -> list[Metric]:
    """The metrics of which a table of networks has means, in its order.

    Args:
        columns: Those of a table of `results.with_means`, or the table.
        objective: The metric that decides; None if only values are written.
    """
    names = [str(column) for column in columns]
    spreads = [name.removesuffix(SPREAD) for name in names if name.endswith(SPREAD)]
    return [metric_in(name, objective) for name in spreads if f"{name}{MEAN}" in names]


def drawn_metric(columns: Iterable[Hashable], objective: Metric) -> Metric:
    """The metric that figures over cost show: accuracy where there are means of it."""
    return VAL_ACCURACY if VAL_ACCURACY in metrics_in(columns) else objective


def coefficient_columns(table: pd.DataFrame, objective: Metric) -> dict[str, Formatter]:
    """The columns of the coefficient table on a page."""
    return {
        "network": lambda row: f"{row['candidate']}",
        "pixels": lambda row: f"{row['resolution']}",
        "blocks": lambda row: f"{row['layers']}",
        "channels": lambda row: f"{row['channels']}",
        **COEFFICIENTS,
        "cost": lambda row: f"{row['cost_ratio']:.3f}x",
        "parameters": lambda row: f"{row['params']:,}",
        **_expected(table, objective),
        **_means(metrics_in(table, objective)),
        f"{objective.gain_header} ± se": _gain(objective),
        **TRAININGS,
        "left out": lambda row: f"{row['left_out']}",
        "order": _order,
        SAME_NETWORK: _same_network,
    }


def terminal_columns(table: pd.DataFrame, objective: Metric) -> dict[str, Formatter]:
    """The columns of the coefficient table in a terminal, which leaves out `TERMINAL_OPTIONAL`."""
    return {
        "network": lambda row: f"{row['candidate'] or 'base'}",
        **COEFFICIENTS,
        "cost": lambda row: f"{row['cost_ratio']:.3f}x",
        **_expected(table, objective),
        **_means(sorted(metrics_in(table, objective), key=lambda one: one != objective)),
        f"{objective.gain_header} ± se": _gain(objective),
        **TRAININGS,
        SAME_NETWORK: _same_network,
    }


def family_columns(table: pd.DataFrame) -> dict[str, Formatter]:
    """Columns of the table of families' members."""
    return {
        "family": lambda row: f"{row['family']}",
        "phi": lambda row: f"{row['phi']:g}",
        **COEFFICIENTS,
        "shares d / w / r": shares_of,
        "off its ray": lambda row: f"{row['distance']:.2f}{'' if row['is_on_ray'] else ' *'}",
        "measured cost": lambda row: f"{row['cost_ratio']:.3f}x",
        **_means(metrics_in(table)),
        **TRAININGS,
        "": lambda row: (
            "ends here: the data have no more pixels" if row["ends_at_native_resolution"] else ""
        ),
    }


COEFFICIENTS: dict[str, Formatter] = {
    "alpha": lambda row: rounded(row["alpha"]),
    "beta": lambda row: rounded(row["beta"]),
    "gamma": lambda row: rounded(row["gamma"]),
}
SAME_NETWORK = "the same network from"
"""Header of the ranges of coefficients that round to one network."""

TERMINAL_OPTIONAL = (SAME_NETWORK, "failed", "seeds")
"""Columns of the coefficient table that a narrow terminal leaves out, the first one first."""

TRAININGS: dict[str, Formatter] = {
    "seeds": lambda row: f"{row['num_seeds']}",
    "failed": lambda row: f"{row['num_failed']}",
}


def _same_network(row: "pd.Series[Any]") -> str:
    """The ranges of coefficients that round to the row's network, where they are ranges."""
    ends = {
        name: [f"{row[f'{name}_{end}']:.2f}" for end in ("low", "high")] for name in COEFFICIENTS
    }
    ranges = [f"{name} {low} to {high}" for name, (low, high) in ends.items() if low != high]
    return ", ".join(ranges) or "–"


def mean_header(metric: Metric) -> str:
    """Head of the column of a metric's means."""
    return f"{metric.header} ± sd"


def _means(metrics: Iterable[Metric]) -> dict[str, Formatter]:
    return {mean_header(metric): _mean(metric) for metric in metrics}


def _mean(metric: Metric) -> Formatter:
    return lambda row: plus_minus(row[f"{metric}_mean"], row[f"{metric}_sd"], metric)


def _expected(table: pd.DataFrame, objective: Metric) -> dict[str, Formatter]:
    """The column of the expected metric; none where there is no answer."""
    if "expected" not in table:
        return {}
    name = f"expected {objective.header}"
    return {name: lambda row: plus_minus(row["expected"], math.nan, objective)}


def _gain(metric: Metric) -> Formatter:
    return lambda row: plus_minus(row[f"{metric}_gain"], row[f"{metric}_gain_se"], metric)


def _order(row: "pd.Series[Any]") -> str:
    if row["candidate"] == 0:
        return "base"
    return "–" if pd.isna(row["order"]) else f"{row['order']}"


def coefficient(name: str) -> Formatter:
    """One of alpha, beta, gamma with the range of values that round to the same network."""

    def text(row: "pd.Series[Any]") -> str:
        low, high = (rounded(row[f"{name}_{end}"]) for end in ("low", "high"))
        return rounded(row[name]) + ("" if low == high else f" ({low} to {high})")

    return text
