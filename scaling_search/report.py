"""The report: what a search found in sentences, tables for people and machines, figures."""

import base64
import math
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from scaling_search.plots.accuracy import accuracy_over_flops
from scaling_search.plots.curves import training_curves
from scaling_search.plots.drawing import rendered, replace_file
from scaling_search.plots.families import family_curves
from scaling_search.plots.triangle import triangle_of_shares
from scaling_search.results import noise
from scaling_search.scaling import DIMENSIONS

FEW_DEGREES_OF_FREEDOM = 6
"""Below it, an error estimated from so few differences is itself off by a third or more."""

Cell = Callable[["pd.Series[Any]"], str]


def write_report(
    folder: Path,
    *,
    candidates: pd.DataFrame,
    results: pd.DataFrame,
    curves: pd.DataFrame,
    coefficients: pd.DataFrame,
    families: pd.DataFrame | None,
    objective: str,
    facts: Mapping[str, str],
) -> list[Path]:
    """Writes tables, figures and ``report.html``; the paths of all files.

    Equal arguments give equal bytes. Tables are those of `results`, figures of `plots`.

    Args:
        folder: Made if it is not there.
        candidates: The planned networks, the base as candidate 0.
        results: A row for each training.
        curves: A row for each epoch of each training.
        coefficients: A row for each network.
        families: A row for each family and phi, None where none was trained.
        objective: ``val_accuracy`` or ``val_loss``.
        facts: How it was measured: what, and its value.

    Raises:
        RuntimeError: A file cannot be written.
    """
    tables = {
        "candidates": candidates,
        "results": results,
        "curves": curves,
        "coefficients": coefficients,
    }
    figures = {
        "accuracy_over_flops": accuracy_over_flops(coefficients),
        "triangle_of_shares": triangle_of_shares(coefficients, objective),
        "training_curves": training_curves(curves, objective),
    }
    if families is not None:
        tables["families"] = families
        figures["families"] = family_curves(families)
    files = {f"{name}.csv": as_csv(table) for name, table in tables.items()}
    images = {name: rendered(figure) for name, figure in figures.items()}
    for name, image in images.items():
        files |= {f"figures/{name}{suffix}": content for suffix, content in image.items()}
    files["report.html"] = _html(
        sentences=sentences(coefficients, results, objective),
        coefficients=_cells(coefficients, _coefficient_columns(objective)),
        families=[] if families is None else _cells(families, _FAMILY_COLUMNS),
        figures=[
            (name.replace("_", " "), base64.b64encode(image[".svg"]).decode())
            for name, image in images.items()
        ],
        facts=dict(facts),
        failures=_failures(results),
    )
    for name, content in files.items():
        replace_file(folder / name, content)
    return [folder / name for name in files]


def as_csv(table: pd.DataFrame) -> bytes:
    """A table as CSV; seven digits, because coefficients have six decimals and must not change."""
    text = table.infer_objects().to_csv(index=False, float_format="%.7g", lineterminator="\n")
    return text.encode()


def sentences(coefficients: pd.DataFrame, results: pd.DataFrame, objective: str) -> list[str]:
    """What the numbers say, and how far luck allows to say it.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        results: As `results.results_table` gives it.
        objective: ``val_accuracy`` or ``val_loss``.
    """
    scaled = coefficients[coefficients["candidate"] != 0]
    if results.empty:
        return [f"Nothing is trained yet: {_count(len(scaled), 'scaled network')} planned."]
    num_failed = int((results["state"] != "COMPLETE").sum())
    if num_failed == len(results):
        return [
            f"No training finished: {_count(num_failed, 'training')} failed, so there is nothing "
            "to compare; results.csv says why."
        ]
    ranked = scaled.dropna(subset=["order"]).sort_values("order")
    said = _about_best(ranked, coefficients[coefficients["candidate"] == 0], objective)
    if len(ranked):
        said += _about_noise(results, objective)
    if num_failed:
        are = "is" if num_failed == 1 else "are"
        said.append(
            f"{num_failed} of {_count(len(results), 'training')} failed and {are} left out of the "
            "means."
        )
    without = len(scaled) - len(ranked)
    if without:
        said.append(
            f"{without} of {_count(len(scaled), 'scaled network')} "
            f"{'has' if without == 1 else 'have'} no finished training."
        )
    return said


def terminal_table(coefficients: pd.DataFrame, objective: str, *, most: int) -> Table:
    """The base network and the best ``most`` others, within 100 characters."""
    num_networks = int((coefficients["candidate"] != 0).sum())
    ranked = coefficients[(coefficients["candidate"] == 0) | coefficients["order"].notna()]
    shown = ranked.head(most + int((ranked["candidate"] == 0).sum()))
    num_shown = int((shown["candidate"] != 0).sum())
    title = f"Base network and the best {num_shown} of {_count(num_networks, 'scaled network')}"
    table = Table(title=title, title_justify="left")
    columns = _terminal_columns(objective)
    for header in columns:
        table.add_column(header, justify="right", no_wrap=True)
    for _, row in shown.iterrows():
        table.add_row(*(cell(row) for cell in columns.values()))
    return table


def _about_best(ranked: pd.DataFrame, base: pd.DataFrame, objective: str) -> list[str]:
    name = objective.replace("val_", "validation ")
    base_trained = len(base) > 0 and int(base["num_seeds"].iloc[0]) > 0
    if ranked.empty:
        level = _level(base[f"{objective}_mean"].iloc[0], objective)
        return [f"Only the base network has a finished training: {name} {level}."]
    best = ranked.iloc[0]
    said = [
        f"The best mean is a {name} of {_level(best[f'{objective}_mean'], objective)}: "
        f"alpha {best['alpha']:.2f}, beta {best['beta']:.2f}, gamma {best['gamma']:.2f} "
        f"(network {best['candidate']}, {_count(int(best['num_seeds']), 'seed')}) at "
        f"{best['flops_ratio']:.2f} times the base network's cost."
    ]
    gain, error = best[f"{objective}_gain"], best[f"{objective}_gain_se"]
    better = "better" if gain >= 0 else "worse"
    size = _difference(abs(gain), objective)
    if not base_trained:
        said.append("The base network has no finished training, so the gain is not known.")
    elif math.isnan(gain):
        said.append("It shares no seed with the base network, so the gain is not known.")
    elif math.isnan(error):
        said.append(f"On their one common seed it is {size} {better} than the base network.")
    else:
        luck = ", which may be luck" if abs(gain) < 2 * error else ""
        said.append(
            f"It is {size} {better} than the base network, with a standard error of "
            f"{_difference(error, objective)} (differences within a seed){luck}."
        )
    return said


def _about_noise(results: pd.DataFrame, objective: str) -> list[str]:
    luck = noise(results, objective)
    others = luck.num_networks - 1
    if others == 0:
        return ["Only one scaled network has a finished training, so there is no order to judge."]
    if luck.seed_sd is None:
        return [
            "One seed a network: how much of the order is luck cannot be known from this; "
            "num_seeds=3 would say."
        ]
    if luck.residual_sd is None or luck.num_within_noise is None:
        return [
            "Too few networks have a second seed: how much of the order is luck cannot be known "
            "from this; more seeds would say."
        ]
    said = [
        f"Another seed moves a network by {_difference(luck.seed_sd, objective)} (standard "
        f"deviation), by {_difference(luck.residual_sd, objective)} once what a seed does to all "
        f"networks alike is taken out; the networks' means spread by "
        f"{_difference(luck.spread, objective)}."
    ]
    close = luck.num_within_noise
    rough = luck.degrees_of_freedom < FEW_DEGREES_OF_FREEDOM
    if close:
        lie = "lies" if close == 1 else "lie"
        said.append(
            f"{close} of the {_count(others, 'other network')} {lie} within two standard errors of "
            "the best, so this search names no winner."
        )
    elif rough:
        said.append(
            "No other network lies within two standard errors of the best, but so few trainings "
            "give only a rough error: more seeds would say whether it stands out."
        )
    else:
        said.append("No other network lies within two standard errors of the best: it stands out.")
    return said


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _level(value: float, metric: str) -> str:
    return f"{100 * value:.2f} %" if metric == "val_accuracy" else f"{value:.4f}"


def _difference(value: float, metric: str) -> str:
    return f"{100 * value:.2f} points" if metric == "val_accuracy" else f"{value:.4f}"


def _plus_minus(value: float, error: float, metric: str) -> str:
    """A number in the metric's unit of tables (percent or nats), its error where it is known."""
    scale, digits = (100, 2) if metric == "val_accuracy" else (1, 4)
    if pd.isna(value):
        return "–"
    text = f"{scale * value:.{digits}f}"
    return text if pd.isna(error) else f"{text} ± {scale * error:.{digits}f}"


def _mean(metric: str) -> Cell:
    return lambda row: _plus_minus(row[f"{metric}_mean"], row[f"{metric}_sd"], metric)


def _gain(metric: str) -> Cell:
    return lambda row: _plus_minus(row[f"{metric}_gain"], row[f"{metric}_gain_se"], metric)


def _order(row: "pd.Series[Any]") -> str:
    if row["candidate"] == 0:
        return "base"
    return "–" if pd.isna(row["order"]) else f"{row['order']}"


def _cell_of(name: str) -> Cell:
    def cell(row: "pd.Series[Any]") -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        text = f"{row[name]:.3f}"
        return text if low == high else f"{text} ({low:.3f} to {high:.3f})"

    return cell


def _shares(row: "pd.Series[Any]") -> str:
    values = [row[f"{d}_share"] for d in DIMENSIONS]
    return "–" if any(pd.isna(v) for v in values) else " / ".join(f"{v:.2f}" for v in values)


_HEADERS = {"val_accuracy": "accuracy, %", "val_loss": "loss, nats"}
_GAINS = {"val_accuracy": "gain, points", "val_loss": "gain, nats"}


def _coefficient_columns(objective: str) -> dict[str, Cell]:
    return {
        "order": _order,
        "network": lambda row: f"{row['candidate']}",
        **{name: _cell_of(name) for name in ("alpha", "beta", "gamma")},
        "shares d / w / r": _shares,
        "nominal cost": lambda row: f"{row['nominal_flops_ratio']:.3f}x",
        "measured cost": lambda row: f"{row['flops_ratio']:.3f}x",
        "parameters": lambda row: f"{row['params']:,}",
        "activations": lambda row: f"{row['activations']:,}",
        **{f"{header} ± sd": _mean(metric) for metric, header in _HEADERS.items()},
        "seeds": lambda row: f"{row['num_seeds']}",
        "failed": lambda row: f"{row['num_failed']}",
        f"{_GAINS[objective]} ± se": _gain(objective),
    }


def _terminal_columns(objective: str) -> dict[str, Cell]:
    return {
        "order": _order,
        "network": lambda row: f"{row['candidate']}",
        **{name: lambda row, name=name: f"{row[name]:.3f}" for name in ("alpha", "beta", "gamma")},
        "cost": lambda row: f"{row['flops_ratio']:.3f}x",
        f"{_HEADERS[objective]} ± sd": _mean(objective),
        f"{_GAINS[objective]} ± se": _gain(objective),
        "seeds": lambda row: f"{row['num_seeds']}",
        "failed": lambda row: f"{row['num_failed']}",
    }


def _family_notes(row: "pd.Series[Any]") -> str:
    notes = {
        "off the ray": row["is_on_ray"] is False or row["is_on_ray"] == 0,
        "out of the band": row["in_band"] is False or row["in_band"] == 0,
        "the data have no more pixels": bool(row["ends_at_native_resolution"] == 1),
    }
    return ", ".join(note for note, holds in notes.items() if holds)


_FAMILY_COLUMNS: dict[str, Cell] = {
    "family": lambda row: f"{row['family']}",
    "phi": lambda row: f"{row['phi']:g}",
    "alpha, beta, gamma": lambda row: f"{row['alpha']:.3f}, {row['beta']:.3f}, {row['gamma']:.3f}",
    "measured cost": lambda row: f"{row['flops_ratio']:.3f}x",
    **{f"{header} ± sd": _mean(metric) for metric, header in _HEADERS.items()},
    "seeds": lambda row: f"{row['num_seeds']}",
    "failed": lambda row: f"{row['num_failed']}",
    "note": _family_notes,
}
