"""The report: sentences, tables and figures of a run."""

import base64
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from scaling_search.answer.conclusions import Conclusion
from scaling_search.display.answer import comparison_lines
from scaling_search.display.formatting import (
    Formatter,
    coefficient_columns,
    count,
    difference,
    family_columns,
    level,
    plus_minus,
    terminal_columns,
)
from scaling_search.display.plots.accuracy import accuracy_over_flops
from scaling_search.display.plots.curves import training_curves
from scaling_search.display.plots.drawing import rendered
from scaling_search.display.plots.families import family_curves
from scaling_search.display.plots.families import published_family as published_figure
from scaling_search.display.plots.triangle import triangle_of_shares
from scaling_search.display.report_section import ReportSection
from scaling_search.experiment.experiment import Experiment
from scaling_search.planning.published import published_family
from scaling_search.planning.scaler import LARGEST_GAP
from scaling_search.record.record import Record
from scaling_search.record.results import Noise, noise
from scaling_search.record.tables import csv
from scaling_search.runtime.files import replace_file
from scaling_search.runtime.passwords import without_password
from scaling_search.runtime.visible_text import visible

FEW_DEGREES_OF_FREEDOM = 6
"""With fewer, an estimated error is itself off by about a third."""


def write_report(
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    *,
    conclusion: Conclusion,
    objective: str,
    equal: str,
    facts: Mapping[str, str],
    answers: Sequence[tuple[ReportSection, Figure | None]] = (),
    data: tuple[ReportSection, bytes] | None = None,
    published: bool = False,
) -> list[Path]:
    """Writes tables, figures and ``report.html``, and returns the paths of all files.

    Equal arguments give equal bytes.

    Args:
        folder: Created if missing.
        tables: By name: ``candidates``, ``results``, ``curves``, ``coefficients``; with trained
            families also ``families`` and ``families_results``.
        conclusion: The answer.
        objective: ``val_accuracy`` or ``val_loss``.
        equal: `Recipe.equal` of the trainings.
        facts: Conditions of the measurement, by name.
        answers: Sections on further trainings, each with its figure if it has one.
        data: The section on the data and the contact sheet as PNG; None where they are not known.
        published: True to draw EfficientNet-B0 to B7's published ImageNet accuracies too.

    Raises:
        RuntimeError: A file cannot be written.
    """
    found, coefficients, results = conclusion.answer, tables["coefficients"], tables["results"]
    families = tables.get("families")
    figures = {
        "accuracy_over_flops": accuracy_over_flops(coefficients, found, equal=equal),
        "triangle_of_shares": triangle_of_shares(coefficients, objective, found, equal=equal),
        "training_curves": training_curves(tables["curves"], found, equal=equal),
    }
    written = dict(tables)
    if found is not None:
        written["comparisons"] = conclusion.comparisons()
    if families is not None:
        figures["families"] = family_curves(families, equal=equal)
    sections = [section for section, _ in answers] + ([] if data is None else [data[0]])
    written |= {section.name: section.table for section in sections}
    files = {f"{name}.csv": csv(table) for name, table in written.items()}
    images = {name: rendered(figure) for name, figure in figures.items()}
    drawn = {section.name: rendered(figure) for section, figure in answers if figure is not None}
    extra = (
        {"published_family": rendered(published_figure(published_family()))} if published else {}
    )
    for name, image in (images | drawn | extra).items():
        files |= {f"figures/{name}{suffix}": content for suffix, content in image.items()}
    files["report.html"] = _html(
        conclusions=conclusion.sentences,
        sentences=sentences(coefficients, conclusion.kept(results), objective),
        comparisons=[] if found is None else comparison_lines(conclusion),
        coefficients=_lines(coefficients, coefficient_columns(objective)),
        families=[] if families is None else _lines(families, family_columns()),
        figures=[
            (name.replace("_", " "), _embedded(image[".svg"])) for name, image in images.items()
        ],
        answers=[
            (section, _embedded(drawn[section.name][".svg"]) if section.name in drawn else "")
            for section, _ in answers
        ],
        data=None if data is None else (data[0], _embedded(data[1])),
        facts=dict(facts),
        failures=_failures(results),
    )
    for name, content in files.items():
        replace_file(folder / name, content)
    return [folder / name for name in files]


def sentences(coefficients: pd.DataFrame, results: pd.DataFrame, objective: str) -> list[str]:
    """The first of the means, its gain, and the noise of the order, in sentences.

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
        said += _about_noise(noise(results, objective), objective)
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
    found = (
        f"The first of the means is a {name} of {level(best[f'{objective}_mean'], objective)}: "
        f"{', '.join(f'{one} {best[one]:.2f}' for one in ('alpha', 'beta', 'gamma'))} "
        f"(network {best['candidate']}, {count(int(best['num_seeds']), 'seed')}) at "
        f"{best['cost_ratio']:.2f} times the base network's cost."
    )
    gain, error = best[f"{objective}_gain"], best[f"{objective}_gain_se"]
    if math.isnan(gain):
        why = "It shares no seed with the base network"
        if base["num_seeds"].sum() == 0:
            why = "The base network has no finished training"
        return [found, f"{why}, so the gain is not known."]
    better = "better" if gain >= 0 else "worse"
    if math.isnan(error):
        size = f"{difference(abs(gain), objective)} {better}"
        return [found, f"On their one common seed it is {size} than the base network."]
    unit = " points" if objective == "val_accuracy" else ""
    return [
        found,
        (
            f"It is {plus_minus(abs(gain), error, objective)}{unit} {better} than the base network "
            "(mean and standard error of the differences within a seed)"
            f"{'; that is within noise' if abs(gain) <= 2 * error else ''}."
        ),
    ]


def _about_noise(found: Noise, objective: str) -> list[str]:
    others, close = found.num_networks - 1, found.num_within_noise
    if others == 0:
        return ["Only one scaled network has a finished training, so there is no order to judge."]
    if found.seed_sd is None or found.residual_sd is None or close is None:
        few, more = "One seed a network", "1.25"
        if found.seed_sd is not None:
            few, more = "Few networks have a second seed", "2"
        return [f"{few}: the noise of the order is not known; num_seeds={more} would show it."]
    seed_sd, residual_sd, spread = (
        difference(value, objective) for value in (found.seed_sd, found.residual_sd, found.spread)
    )
    said = "No other network lies within two standard errors of the best"
    if close:
        lie = "lies" if close == 1 else "lie"
        said = (
            f"{close} of the {count(others, 'other network')} {lie} within two standard errors of "
            "the best: this search names no winner"
        )
    elif found.degrees_of_freedom < FEW_DEGREES_OF_FREEDOM:
        said = f"{said}, but so few trainings give a rough error: more seeds would show more"
    else:
        said = f"{said}: it stands out"
    return [
        (
            f"From seed to seed a network varies by {seed_sd} (standard deviation), by "
            f"{residual_sd} without the effect of a seed on all networks; from network to network "
            f"the means vary by {spread}."
        ),
        f"{said}.",
        f"As the best of {found.num_networks} means it likely looks better than it is.",
    ]


def _lines(table: pd.DataFrame, columns: Mapping[str, Formatter]) -> list[list[str]]:
    """The header and a line for each row, as text."""
    lines = [[text(row) for text in columns.values()] for _, row in table.iterrows()]
    return [list(columns), *lines]


def _failures(results: pd.DataFrame) -> list[list[str]]:
    failed = results if results.empty else results[results["state"] != "COMPLETE"]
    if failed.empty:
        return []
    lines = failed[["candidate", "network", "seed", "reason"]].astype(str).to_numpy().tolist()
    return [["network", "layers / channels / px", "seed", "reason"], *lines]


def _embedded(image: bytes) -> str:
    return base64.b64encode(image).decode()


def _html(**content: object) -> bytes:
    source = resources.files("scaling_search.display").joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,  # else it is HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(source).render(**content).encode()


def facts(experiment: Experiment, record: Record, results: pd.DataFrame) -> dict[str, str]:
    """The conditions of the measurement, by name."""
    cost = str(experiment.cost)
    samples = record.costs.get(cost, {}).get("samples", {}).values()
    if devices := ", ".join(sorted({sample["device"] for sample in samples})):
        cost = f"{cost}, measured on {devices}"
    options = vars(experiment.recipe).items()
    recipe = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in options)
    known = {
        "experiment": experiment.name,
        "base network": str(experiment.base_network),
        "target": f"{experiment.candidates.target:g} times the base network's "
        f"{experiment.cost.column}, ± {experiment.candidates.tolerance:.0%}",
        "cost": cost,
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
