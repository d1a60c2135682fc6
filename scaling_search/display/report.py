"""The report: what a search found in sentences, tables for people and machines, figures."""

import base64
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from scaling_search.answer.conclusions import Conclusion, comparison_cells
from scaling_search.answer.region import GRID
from scaling_search.core.formatting import (
    Formatter,
    coefficient_columns,
    count,
    difference,
    family_columns,
    level,
    plus_minus,
    terminal_columns,
)
from scaling_search.core.sections import Section
from scaling_search.display.plots.accuracy import accuracy_over_flops
from scaling_search.display.plots.curves import training_curves
from scaling_search.display.plots.drawing import rendered
from scaling_search.display.plots.families import family_curves
from scaling_search.display.plots.families import published_family as published_family_figure
from scaling_search.display.plots.triangle import triangle_of_shares
from scaling_search.experiment.experiment import Experiment
from scaling_search.planning.published import published_family
from scaling_search.planning.scaler import LARGEST_GAP
from scaling_search.record.results import Noise, noise
from scaling_search.record.study import Record
from scaling_search.record.tables import csv
from scaling_search.runtime.files import replace_file
from scaling_search.runtime.passwords import without_password

FEW_DEGREES_OF_FREEDOM = 6
"""An error estimated from fewer differences is itself off by about a third."""


def write_report(
    folder: Path,
    *,
    candidates: pd.DataFrame,
    results: pd.DataFrame,
    curves: pd.DataFrame,
    coefficients: pd.DataFrame,
    families: pd.DataFrame | None,
    families_results: pd.DataFrame,
    conclusion: Conclusion,
    objective: str,
    equal: str,
    facts: Mapping[str, str],
    answers: Sequence[tuple[Section, Figure | None]] = (),
    data: tuple[Section, bytes] | None = None,
    published: bool = False,
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
        families_results: A row for each training of families beyond the search.
        conclusion: What the fitted surface says.
        objective: ``val_accuracy`` or ``val_loss``.
        equal: What the trainings have in common, as `Recipe.equal` has it.
        facts: How it was measured: what, and its value.
        answers: What trainings beyond the search said, each with its figure if it has one.
        data: What was trained on, with the contact sheet as PNG; None where it was not kept.
        published: True to draw EfficientNet-B0 to B7's published ImageNet accuracies too.

    Raises:
        RuntimeError: A file cannot be written.
    """
    tables = {
        "candidates": candidates,
        "results": results,
        "curves": curves,
        "coefficients": coefficients,
    }
    found = conclusion.answer
    region = None if found is None else GRID[found.region.mask]
    if found is not None:
        tables["comparisons"] = conclusion.comparisons()
    figures = {
        "accuracy_over_flops": accuracy_over_flops(coefficients, equal=equal),
        "triangle_of_shares": triangle_of_shares(coefficients, objective, region, equal=equal),
        "training_curves": training_curves(curves, objective, equal=equal),
    }
    if families is not None:
        tables |= {"families": families, "families_results": families_results}
        figures["families"] = family_curves(families, equal=equal)
    tables |= {section.name: section.table for section, _ in answers}
    if data is not None:
        tables[data[0].name] = data[0].table
    files = {f"{name}.csv": csv(table) for name, table in tables.items()}
    images = {name: rendered(figure) for name, figure in figures.items()}
    drawn = {section.name: rendered(figure) for section, figure in answers if figure is not None}
    for name, image in (images | drawn).items():
        files |= {f"figures/{name}{suffix}": content for suffix, content in image.items()}
    files["report.html"] = _html(
        conclusions=conclusion.sentences,
        sentences=sentences(coefficients, results, objective),
        comparisons=[] if found is None else comparison_cells(found),
        coefficients=_cells(coefficients, coefficient_columns(objective)),
        families=[] if families is None else _cells(families, family_columns()),
        figures=[(name.replace("_", " "), _embedded(image)) for name, image in images.items()],
        answers=[
            (section, _embedded(drawn[section.name]) if section.name in drawn else "")
            for section, _ in answers
        ],
        data=None if data is None else (data[0], base64.b64encode(data[1]).decode()),
        facts=dict(facts),
        failures=_failures(results),
    )
    if published:
        image = rendered(published_family_figure(published_family()))
        files |= {f"figures/published_family{end}": content for end, content in image.items()}
    for name, content in files.items():
        replace_file(folder / name, content)
    return [folder / name for name in files]


def sentences(coefficients: pd.DataFrame, results: pd.DataFrame, objective: str) -> list[str]:
    """What the numbers say, and how far luck allows to say it.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        results: As `results.results_table` gives it.
        objective: ``val_accuracy`` or ``val_loss``.
    """
    scaled = coefficients[coefficients["candidate"] != 0]
    if results.empty:
        return [f"Nothing is trained yet; the plan has {count(len(scaled), 'scaled network')}."]
    num_failed = int((results["state"] != "COMPLETE").sum())
    failed = f"{num_failed} of {count(len(results), 'training')} failed"
    if num_failed == len(results):
        return [f"{failed}, so there is nothing to compare; results.csv says why."]
    ranked = scaled.dropna(subset=["order"]).sort_values("order")
    said = _about_best(ranked, coefficients[coefficients["candidate"] == 0], objective)
    if len(ranked):
        said += _about_noise(results, objective)
    if num_failed:
        are = "is" if num_failed == 1 else "are"
        said.append(f"{failed} and {are} left out of the means.")
    holds_flops = (scaled["cost"] == scaled["flops"]).all()
    by_flops = scaled["shares_of"].eq("flops") & (not holds_flops)
    if by_flops.any():
        said.append(
            f"Where the three dimensions' logs of cost miss the whole by over {LARGEST_GAP:.0%}, "
            f"in {count(int(by_flops.sum()), 'network')}, shares are taken in FLOPs."
        )
    without = len(scaled) - len(ranked)
    if without:
        has = "has" if without == 1 else "have"
        of = count(len(scaled), "scaled network")
        said.append(f"{without} of {of} {has} no finished training.")
    return said


def terminal_table(coefficients: pd.DataFrame, objective: str, *, most: int) -> Table:
    """The base network and the best ``most`` others, within 100 characters."""
    num_networks = int((coefficients["candidate"] != 0).sum())
    ranked = coefficients[(coefficients["candidate"] == 0) | coefficients["order"].notna()]
    shown = ranked.head(most + int((ranked["candidate"] == 0).sum()))
    num_shown = int((shown["candidate"] != 0).sum())
    best = f"the best {num_shown}" if num_shown else "none"
    title = f"Base network and {best} of {count(num_networks, 'scaled network')}"
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    columns = terminal_columns(objective)
    for header in columns:
        table.add_column(header, justify="right", no_wrap=True)
    for _, row in shown.iterrows():
        table.add_row(*(cell(row) for cell in columns.values()))
    return table


def _about_best(ranked: pd.DataFrame, base: pd.DataFrame, objective: str) -> list[str]:
    name = objective.replace("val_", "validation ")
    if ranked.empty:
        value = level(base[f"{objective}_mean"].iloc[0], objective)
        return [f"Only the base network has a finished training: {name} {value}."]
    best = ranked.iloc[0]
    value = level(best[f"{objective}_mean"], objective)
    triple = ", ".join(f"{name} {best[name]:.2f}" for name in ("alpha", "beta", "gamma"))
    seeds = count(int(best["num_seeds"]), "seed")
    cost = f"{best['cost_ratio']:.2f} times the base network's cost"
    found = f"The best mean is a {name} of {value}: {triple}"
    found = f"{found} (network {best['candidate']}, {seeds}) at {cost}."
    gain, error = best[f"{objective}_gain"], best[f"{objective}_gain_se"]
    better = "better" if gain >= 0 else "worse"
    unit = " points" if objective == "val_accuracy" else ""
    if base["num_seeds"].sum() == 0:
        return [found, "The base network has no finished training, so the gain is not known."]
    if math.isnan(gain):
        return [found, "It shares no seed with the base network, so the gain is not known."]
    if math.isnan(error):
        size = f"{difference(abs(gain), objective)} {better}"
        return [found, f"On their one common seed it is {size} than the base network."]
    luck = "; that may be luck" if abs(gain) <= 2 * error else ""
    size = f"{plus_minus(abs(gain), error, objective)}{unit} {better}"
    within = "mean and standard error of the differences within a seed"
    return [found, f"It is {size} than the base network ({within}){luck}."]


def _about_noise(results: pd.DataFrame, objective: str) -> list[str]:
    luck = noise(results, objective)
    others = luck.num_networks - 1
    unknown = "how much of the order is luck cannot be known from this"
    if others == 0:
        return ["Only one scaled network has a finished training, so there is no order to judge."]
    if luck.seed_sd is None:
        return [f"One seed a network: {unknown}; num_seeds=3 would say."]
    if luck.residual_sd is None or luck.num_within_noise is None:
        return [f"Too few networks have a second seed: {unknown}; more seeds would say."]
    seed_sd, residual_sd, spread = (
        difference(value, objective) for value in (luck.seed_sd, luck.residual_sd, luck.spread)
    )
    alike = "once what a seed does to all networks alike is taken out"
    sizes = (
        f"From seed to seed a network varies by {seed_sd} (standard deviation), by {residual_sd} "
        f"{alike}; from network to network the means vary by {spread}."
    )
    flattered = f"As the best of {luck.num_networks} means it likely looks better than it is."
    return [sizes, _verdict(luck, others), flattered]


def _verdict(luck: Noise, others: int) -> str:
    close = luck.num_within_noise
    if close:
        near = f"{close} of the {others} other networks {'lies' if close == 1 else 'lie'}"
        if close == others:
            near = "The other network lies" if others == 1 else f"All {others} other networks lie"
        return f"{near} within two standard errors of the best: this search names no winner."
    alone = "No other network lies within two standard errors of the best"
    if luck.degrees_of_freedom < FEW_DEGREES_OF_FREEDOM:
        return f"{alone}, but so few trainings give a rough error: more seeds would say."
    return f"{alone}: it stands out."


def _cells(table: pd.DataFrame, columns: Mapping[str, Formatter]) -> list[list[str]]:
    """The header and a line for each row, as text."""
    lines = [[cell(row) for cell in columns.values()] for _, row in table.iterrows()]
    return [list(columns), *lines]


def _failures(results: pd.DataFrame) -> list[list[str]]:
    if results.empty:
        return []
    failed = results[results["state"] != "COMPLETE"]
    if failed.empty:
        return []
    lines = failed[["candidate", "network", "seed", "reason"]].astype(str).to_numpy().tolist()
    return [["network", "layers / channels / px", "seed", "reason"], *lines]


def _embedded(image: Mapping[str, bytes]) -> str:
    """A rendered figure as HTML takes it."""
    return base64.b64encode(image[".svg"]).decode()


def _html(**content: object) -> bytes:
    source = resources.files("scaling_search.display").joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(source).render(**content).encode()


def _cost(experiment: Experiment, record: Record) -> str:
    """The cost that is held equal, and where it was measured if it was."""
    said = str(experiment.cost)
    samples = record.costs.get(said, {}).get("samples", {}).values()
    devices = ", ".join(sorted({sample["device"] for sample in samples}))
    return f"{said}, measured on {devices}" if devices else said


def facts(experiment: Experiment, record: Record, results: pd.DataFrame) -> dict[str, str]:
    """The conditions of the measurement, by name."""
    options = vars(experiment.recipe).items()
    recipe = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in options)
    known = {
        "experiment": experiment.name,
        "base network": str(experiment.base_network),
        "target": f"{experiment.candidates.target:g} times the base network's "
        f"{experiment.cost.column}, ± {experiment.candidates.tolerance:.0%}",
        "cost": _cost(experiment, record),
        "data": without_password(f"{experiment.dataset} (fingerprint {record.fingerprint[:16]})"),
        "recipe": recipe,
        "sampler": str(experiment.sampler),
    }
    for column, title in (
        ("versions", "versions"),
        ("version", "scaling-search"),
        ("commit", "commit"),
        ("device", "device"),
        ("host", "host"),
    ):
        if column in results:
            known[title] = ", ".join(sorted({str(v) for v in results[column] if v}))
    if "finished" in results and len(results):
        known["trained"] = f"{results['finished'].min()} to {results['finished'].max()}"
        hours = results["total_seconds"].sum() / 3600
        known["device hours"] = f"{hours:.2f} in {len(results)} trainings"
    return known
