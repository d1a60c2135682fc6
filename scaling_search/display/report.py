"""The report: sentences, tables and figures of a run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from rich.console import Console

from scaling_search.answer.conclusions import Conclusion
from scaling_search.core.metric import Metric
from scaling_search.display.answer import comparison_lines
from scaling_search.display.formatting import (
    TERMINAL_OPTIONAL,
    count,
    difference,
    drawn_metric,
    level,
    percent,
    rounded,
    terminal_columns,
    with_error,
)
from scaling_search.display.inline_svg import inline_svg
from scaling_search.display.page import embedded, page
from scaling_search.display.page_tables import (
    PageTable,
    family_members,
    family_table,
    network_table,
)
from scaling_search.display.plots.accuracy import accuracy_over_flops
from scaling_search.display.plots.comparisons import comparison_chart
from scaling_search.display.plots.curves import training_curves
from scaling_search.display.plots.drawing import rendered
from scaling_search.display.plots.families import family_curves
from scaling_search.display.plots.families import published_family as published_figure
from scaling_search.display.plots.triangle import triangle_of_shares
from scaling_search.display.report_section import ReportSection
from scaling_search.display.tables import show_table
from scaling_search.experiment.experiment import Experiment
from scaling_search.planning.published import published_family
from scaling_search.planning.scaler import LARGEST_GAP
from scaling_search.record.record import Record
from scaling_search.record.results import Noise, noise
from scaling_search.record.tables import csv
from scaling_search.runtime.files import replace_file
from scaling_search.runtime.passwords import without_password
from scaling_search.runtime.progress import progress

FEW_DEGREES_OF_FREEDOM = 6
"""With fewer, an estimated error is itself off by about a third."""


def write_report(
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    *,
    title: str,
    headline: Sequence[tuple[str, str]],
    conclusion: Conclusion,
    objective: Metric,
    equal: str,
    facts: Mapping[str, str],
    label_smoothing: float = 0.0,
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
        title: Title of the page: the name of the experiment.
        headline: The answer in a few lines, each with its label.
        conclusion: The answer.
        objective: The metric that decides.
        equal: `Recipe.equal` of the trainings.
        facts: Conditions of the measurement, by name.
        label_smoothing: `Recipe.label_smoothing` of the trainings.
        answers: Sections on further trainings, each with its figure if it has one.
        data: The section on the data and the contact sheet as PNG; None where they are not known.
        published: True to draw EfficientNet-B0 to B7's published ImageNet accuracies too.

    Raises:
        RuntimeError: A file cannot be written.
    """
    found, coefficients, results = conclusion.answer, tables["coefficients"], tables["results"]
    families = tables.get("families")
    figures = {
        "accuracy_over_flops": accuracy_over_flops(
            coefficients, found, objective=objective, equal=equal
        ),
        "triangle_of_shares": triangle_of_shares(coefficients, objective, found, equal=equal),
        "training_curves": training_curves(
            tables["curves"],
            found,
            objective=objective,
            equal=equal,
            label_smoothing=label_smoothing,
        ),
    }
    written = dict(tables)
    if found is not None:
        written["comparisons"] = conclusion.comparisons()
        figures["comparisons"] = comparison_chart(found, equal=equal)
    if families is not None:
        figures["families"] = family_curves(
            families, coefficients, objective=objective, equal=equal
        )
    sections = [section for section, _ in answers] + ([] if data is None else [data[0]])
    written |= {section.name: section.table for section in sections}
    files = {f"{name}.csv": csv(table) for name, table in written.items()}
    of_answers = {section.name: figure for section, figure in answers if figure is not None}
    every = figures | of_answers
    if published:
        every["published_family"] = published_figure(published_family())
    drawn = {
        name: rendered(figure)
        for name, figure in progress(every.items(), "drawing figures", len(every))
    }
    members = {} if families is None else family_members(families, tables["candidates"])
    inline = {}
    for name, image in drawn.items():
        files |= {f"figures/{name}{suffix}": content for suffix, content in image.items()}
        inline[name] = _inline(name, image[".svg"], members)
    compared = [] if found is None else comparison_lines(conclusion)
    first = coefficients[coefficients["order"].eq(1)]
    files["report.html"] = page(
        title=title,
        date="" if "finished" not in results else str(results["finished"].max())[:10],
        headline=headline,
        metric=drawn_metric(coefficients, objective).heading,
        by_other=conclusion.by_other is not None,
        level="loss" if objective.is_known else objective.noun,
        network="" if first.empty else f"{first['candidate'].iloc[0]}",
        conclusions=conclusion.sentences,
        sentences=sentences(coefficients, conclusion.kept(results), objective),
        comparisons=PageTable.of_lines(compared),
        coefficients=network_table(coefficients, objective),
        families=None if families is None else family_table(families, members),
        figures=inline,
        answers=[_part(section, inline) for section, _ in answers],
        data=None if data is None else (*_part(data[0], {}), embedded(data[1])),
        facts=dict(facts),
        failures=PageTable.of_lines(_failures(results)),
    )
    for name, content in files.items():
        replace_file(folder / name, content)
    return [folder / name for name in files]


def sentences(coefficients: pd.DataFrame, results: pd.DataFrame, objective: Metric) -> list[str]:
    """The first of the means, its gain, and the noise of the order, in sentences.

    Args:
        coefficients: As `results.coefficient_table` gives it.
        results: As `results.results_table` gives it.
        objective: The metric that decides.
    """
    scaled = coefficients[coefficients["candidate"] != 0]
    if results.empty:
        return [f"Nothing is trained yet. The plan has {count(len(scaled), 'scaled network')}."]
    num_failed = int((results["state"] != "COMPLETE").sum())
    failed = f"{num_failed} of {count(len(results), 'training')} failed"
    if num_failed == len(results):
        return [f"{failed}, so there is nothing to compare. results.csv has the reasons."]
    mean = f"{objective}_mean"
    ranked = scaled.dropna(subset=[mean]).sort_values(mean, ascending=objective.direction == "min")
    said = _about_best(ranked, coefficients[coefficients["candidate"] == 0], objective)
    if len(ranked):
        said += _about_noise(
            noise(results, objective), objective, has_answer="expected" in coefficients
        )
    if num_failed:
        are = "is" if num_failed == 1 else "are"
        said.append(f"{failed} and {are} left out of the means.")
    holds_flops = (scaled["cost"] == scaled["flops"]).all()
    by_flops = scaled["shares_of"].eq("flops") & (not holds_flops)
    if by_flops.any():
        said.append(
            f"The shares of {count(int(by_flops.sum()), 'network')} are calculated from FLOPs: the "
            "costs of the three dimensions do not multiply to the whole, their logs differ by over "
            f"{percent(LARGEST_GAP)}."
        )
    without = len(scaled) - len(ranked)
    if without:
        has = "has" if without == 1 else "have"
        of = count(len(scaled), "scaled network")
        said.append(f"{without} of {of} {has} no finished training.")
    return said


def show_coefficients(
    console: Console, coefficients: pd.DataFrame, objective: Metric, *, most: int
) -> None:
    """Prints the base network and the best ``most`` others."""
    num_networks = int((coefficients["candidate"] != 0).sum())
    ranked = coefficients[(coefficients["candidate"] == 0) | coefficients["order"].notna()]
    shown = ranked.head(most + int((ranked["candidate"] == 0).sum()))
    num_shown = int((shown["candidate"] != 0).sum())
    best = f"the best {num_shown}" if num_shown else "none"
    title = f"Base network and {best} of {count(num_networks, 'scaled network')}"
    columns = terminal_columns(coefficients, objective)
    cells = [[text(row) for text in columns.values()] for _, row in shown.iterrows()]
    lines = [list(columns), *cells]
    show_table(console, lines, optional=TERMINAL_OPTIONAL, title=title)


def _about_best(ranked: pd.DataFrame, base: pd.DataFrame, objective: Metric) -> list[str]:
    name = objective.name.replace("val_", "validation ")
    if ranked.empty:
        value = level(base[f"{objective}_mean"].iloc[0], objective)
        return [f"Only the base network has a finished training: {name} {value}."]
    best = ranked.iloc[0]
    found = (
        f"The {objective.best} mean {name} is "
        f"{level(best[f'{objective}_mean'], objective)}: network {best['candidate']} "
        f"({', '.join(f'{one} {rounded(best[one])}' for one in ('alpha', 'beta', 'gamma'))}), "
        f"{count(int(best['num_seeds']), 'seed')}, {best['cost_ratio']:.2f} times the base "
        "network's cost."
    )
    gain, error = best[f"{objective}_gain"], best[f"{objective}_gain_se"]
    if math.isnan(gain):
        why = "It shares no seed with the base network"
        if base["num_seeds"].sum() == 0:
            why = "The base network has no finished training"
        return [found, f"{why}, so its gain is unknown."]
    better = "better" if gain >= 0 else "worse"
    if math.isnan(error):
        size = f"{difference(abs(gain), objective)} {better}"
        return [found, f"With their one common seed it is {size} than the base network."]
    return [
        found,
        (
            f"It is {with_error(abs(gain), error, objective)} {better} than the base network (mean "
            "and standard error over common seeds)"
            f"{', which is within noise' if abs(gain) <= 2 * error else ''}."
        ),
    ]


def _about_noise(found: Noise, objective: Metric, *, has_answer: bool) -> list[str]:
    others, close = found.num_networks - 1, found.num_within_noise
    if others == 0:
        return ["Only one scaled network has a finished training, so there is no order."]
    if found.seed_sd is None or found.residual_sd is None or close is None:
        few, more = "One seed a network", "1.25"
        if found.seed_sd is not None:
            few, more = "Few networks have a second seed", "2"
        return [f"{few}, so the noise of the order is unknown; set num_seeds={more} to measure it."]
    seed_sd, residual_sd, spread = (
        difference(value, objective) for value in (found.seed_sd, found.residual_sd, found.spread)
    )
    said = f"No other network lies within two standard errors of the {objective.best}"
    if close:
        lie = "lies" if close == 1 else "lie"
        said = (
            f"{close} of the {count(others, 'other network')} {lie} within two standard errors of "
            f"the {objective.best}, so these means do not show which network is the best"
        )
    elif found.degrees_of_freedom < FEW_DEGREES_OF_FREEDOM:
        said = f"{said}, but its error is rough with so few trainings; more seeds improve it"
    sds = (
        f"Standard deviations: {seed_sd} between seeds of one network, {residual_sd} without the "
        f"part that all networks share, {spread} between the means of networks."
    )
    return [
        *([] if has_answer else [sds]),  # the answer has them, from a model of all
        f"{said}.",
        (
            f"The {objective.best} of {found.num_networks} means is likely better than the "
            "expected value of its network, because noise takes part in the choice."
        ),
    ]


def _failures(results: pd.DataFrame) -> list[list[str]]:
    failed = results if results.empty else results[results["state"] != "COMPLETE"]
    if failed.empty:
        return []
    lines = failed[["candidate", "network", "seed", "reason"]].astype(str).to_numpy().tolist()
    return [["network", "blocks / channels / px", "seed", "reason"], *lines]


def _inline(name: str, svg: bytes, members: Mapping[str, str]) -> Markup:
    label = name.replace("_", " ")
    return Markup(inline_svg(svg, prefix=name, label=label, networks=members))


def _part(
    section: ReportSection, figures: Mapping[str, Markup]
) -> tuple[ReportSection, PageTable | None, Markup | None]:
    """A section with its table and its figure, if it has them."""
    return section, PageTable.of_lines(section.lines), figures.get(section.name)


def facts(experiment: Experiment, record: Record, results: pd.DataFrame) -> dict[str, str]:
    """The conditions of the measurement, by name."""
    cost = str(experiment.cost)
    samples = record.costs.get(cost, {}).get("samples", {}).values()
    if devices := ", ".join(sorted({sample["device"] for sample in samples})):
        cost = f"{cost}, measured on {devices}"
    data = without_password(f"{experiment.dataset} (fingerprint {record.fingerprint[:16]})")
    if experiment.dataset is None:
        data = "brought by the training, neither read nor compared here"
    by = {"recipe": experiment.recipe.said}
    if experiment.training is not None:
        by = {"training": str(experiment.training)}
    known = {
        "experiment": experiment.name,
        "base network": str(experiment.base_network),
        "target": f"{experiment.candidates.target:g} times the base network's "
        f"{experiment.cost.column}, ± {experiment.candidates.tolerance:.0%}",
        "cost": cost,
        "data": data,
        **by,
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
