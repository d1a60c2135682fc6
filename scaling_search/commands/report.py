"""Tables, figures and report of what a run's folder holds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from scaling_search import report as reporting
from scaling_search.answer.conclusions import Conclusion, conclude
from scaling_search.audit import published_family
from scaling_search.commands.data import kept
from scaling_search.commands.run_folder import Call, follow_up, record_of, stored_names
from scaling_search.data.section import data_section
from scaling_search.experiment import Experiment
from scaling_search.follow_ups import confirmation, fairness, transfer
from scaling_search.passwords import without_password
from scaling_search.plots import families as family_plots
from scaling_search.plots.drawing import save
from scaling_search.plots.drift import best_by_size
from scaling_search.plots.fairness import section_figure
from scaling_search.record.results import coefficient_table, curves_table, results_table, with_means
from scaling_search.record.study import Record, Row
from scaling_search.record.tables import read_table, write_table
from scaling_search.sections import Section
from scaling_search.terminal import comparison_table, say, show


def run(call: Call) -> None:
    """Writes and prints what the record of a run's folder says."""
    experiment, console = call.experiment, call.console
    folder = Path(experiment.out)
    stored = stored_names(experiment)
    if experiment.name not in stored:
        raise RuntimeError(
            f"out must hold the record of {experiment.name!r}, got {sorted(stored)} in "
            f"{experiment.out!r}; the same search again begins it"
        )
    searched = record_of(experiment, experiment.name)
    rows = searched.rows()
    candidates = read_table(folder / "candidates.csv")
    results = results_table(rows)
    coefficients = coefficient_table(candidates, results, experiment.objective)
    families = None
    scaled = follow_up(experiment, "scale")
    if (folder / "families.csv").is_file() and scaled is not None:
        scale_rows = scaled.rows()
        trained = pd.concat([results, results_table(scale_rows)])
        found = read_table(folder / "families.csv")
        families = with_means(found[list(_member_columns(found))], trained)
        write_table(results_table(scale_rows), folder / "families_results.csv")
    conclusion = conclude(
        results,
        objective=experiment.objective,
        target=experiment.candidates.target,
        delta=experiment.decide.delta,
    )
    if conclusion.answer is not None:
        possible = coefficients["candidate"].isin(conclusion.answer.possible)
        coefficients["in_region"] = possible.where(coefficients["candidate"] != 0)
    about = kept(folder)
    answers = list(_answers(experiment, rows, conclusion))
    written = reporting.write_report(
        folder,
        candidates=candidates,
        results=results,
        curves=curves_table(rows),
        coefficients=coefficients,
        families=families,
        conclusion=conclusion,
        objective=experiment.objective,
        equal=experiment.recipe.equal,
        facts=_facts(experiment, searched, results),
        answers=answers,
        data=None if about is None else (data_section(about[0]), about[1]),
    )
    if experiment.report.published:
        figure = family_plots.published_family(published_family())
        save(figure, folder / "figures", "published_family")
    console.print(
        reporting.terminal_table(coefficients, experiment.objective, most=experiment.report.most)
    )
    if conclusion.answer is not None:
        console.print()
        console.print(comparison_table(conclusion.answer))
    console.print()
    say(console, conclusion.sentences)
    say(console, reporting.sentences(coefficients, results, experiment.objective))
    for section, _ in answers:
        console.print()
        show(console, section)
    console.print()
    shown = [path for path in written if path.suffix in {".csv", ".html"}]
    say(console, [f"  {path}" for path in (*shown, folder / "figures")])


def _answers(
    experiment: Experiment, rows: Sequence[Row], conclusion: Conclusion
) -> Iterator[tuple[Section, Figure | None]]:
    """What trainings beyond the search said, as far as there are any."""
    objective, equal = experiment.objective, experiment.recipe.equal
    if (tested := follow_up(experiment, "confirm")) is not None:
        confirmed = confirmation.stored_section(tested, objective)
        if confirmed is not None:
            yield confirmed, None
    networks = Path(experiment.out) / "transfer.csv"
    if (larger := follow_up(experiment, "transfer")) is not None and networks.is_file():
        placed = read_table(networks)
        told = transfer.stored(conclusion, placed, results_table(larger.rows()))
        if told is not None:
            figure = best_by_size(told.regions, placed, equal=equal) if told.regions else None
            yield told.section, figure
    if (checked := follow_up(experiment, "fairness")) is not None:
        found = None if conclusion.answer is None else conclusion.answer.found
        for section in fairness.stored_sections(
            rows, checked.rows(), experiment=experiment, found=found
        ):
            yield section, section_figure(section, objective, equal=equal)


def _member_columns(found: pd.DataFrame) -> Iterator[str]:
    """The columns of a table of members without those that trainings added."""
    for column in found.columns:
        yield str(column)
        if column == "ends_at_native_resolution":
            return


def _cost(experiment: Experiment, record: Record) -> str:
    """What is held equal, and where it was measured if it was."""
    said = str(experiment.cost)
    samples = record.costs.get(said, {}).get("samples", {}).values()
    devices = ", ".join(sorted({sample["device"] for sample in samples}))
    return f"{said}, measured on {devices}" if devices else said


def _facts(experiment: Experiment, record: Record, results: pd.DataFrame) -> dict[str, str]:
    """How it was measured, for the report."""
    options = vars(experiment.recipe).items()
    recipe = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in options)
    facts = {
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
            facts[title] = ", ".join(sorted({str(v) for v in results[column] if v}))
    if "finished" in results and len(results):
        facts["trained"] = f"{results['finished'].min()} to {results['finished'].max()}"
        hours = results["total_seconds"].sum() / 3600
        facts["device hours"] = f"{hours:.2f} in {len(results)} trainings"
    return facts
