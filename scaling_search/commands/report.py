"""Tables, figures and report of what a run's folder holds."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from scaling_search import report as reporting
from scaling_search.audit import published_family
from scaling_search.commands.run_folder import Call, record_of, scale_name, stored_names
from scaling_search.conclusions import conclude
from scaling_search.experiment import Experiment
from scaling_search.files import read_table, write_table
from scaling_search.plots import families as family_plots
from scaling_search.plots.drawing import save
from scaling_search.results import coefficient_table, curves_table, results_table, with_means
from scaling_search.study import Record
from scaling_search.terminal import comparison_table, say


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
    if (folder / "families.csv").is_file() and scale_name(experiment.name) in stored:
        scaled = record_of(experiment, scale_name(experiment.name))
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
    written = reporting.write_report(
        folder,
        candidates=candidates,
        results=results,
        curves=curves_table(rows),
        coefficients=coefficients,
        families=families,
        conclusion=conclusion,
        objective=experiment.objective,
        facts=_facts(experiment, searched, results),
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
    shown = [path for path in written if path.suffix in {".csv", ".html"}]
    say(console, [f"  {path}" for path in (*shown, folder / "figures")])


def _member_columns(found: pd.DataFrame) -> Iterator[str]:
    """The columns of a table of members without those that trainings added."""
    for column in found.columns:
        yield str(column)
        if column == "ends_at_native_resolution":
            return


def _facts(experiment: Experiment, record: Record, results: pd.DataFrame) -> dict[str, str]:
    """How it was measured, for the report."""
    recipe = ", ".join(f"{name} {value}" for name, value in vars(experiment.recipe).items())
    facts = {
        "experiment": experiment.name,
        "base network": str(experiment.base_network),
        "target": f"{experiment.candidates.target:g} times the base network's "
        f"{experiment.cost.column}, ± {experiment.candidates.tolerance:.0%}",
        "data": f"{experiment.dataset} (fingerprint {record.fingerprint[:16]})",
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
