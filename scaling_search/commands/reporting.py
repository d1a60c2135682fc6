"""The report of a run: its sections, its files, and what of it is printed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from scaling_search.answer.conclusions import Conclusion
from scaling_search.commands import data_sheet
from scaling_search.commands.headline import headline, say_headline
from scaling_search.display import report
from scaling_search.display.confirmation import confirmation_section
from scaling_search.display.data import data_section
from scaling_search.display.fairness import fairness_sections
from scaling_search.display.plots.drift import best_by_size
from scaling_search.display.plots.fairness import setting_curves
from scaling_search.display.recipe_check import recipe_section
from scaling_search.display.report_section import ReportSection
from scaling_search.display.terminal import say, show, show_comparisons
from scaling_search.display.transfer import transfer_section
from scaling_search.experiment.changed import changed_options
from scaling_search.experiment.composing import saved
from scaling_search.experiment.options import Report
from scaling_search.follow_ups.confirmation import Confirmation
from scaling_search.follow_ups.fairness import fairness_checks, span_of

if TYPE_CHECKING:
    from scaling_search.commands.run import Run


def make_report(run: "Run", options: Report) -> Path:
    """Prints the answer of a run and writes its report, as `Run.report` says."""
    experiment, console, objective = run.experiment, run.console, run.experiment.metric
    run.check_choices()
    results, conclusion = run.results, run.conclusion
    coefficients = run.coefficients_of(results, conclusion)
    about = data_sheet.kept(run.folder, run.record.digests)
    sections = list(sections_of(run, conclusion))
    told = headline(run, conclusion, coefficients)
    folder = run.folder if options.to is None else Path(options.to)
    written = report.write_report(
        folder,
        _tables(run, results, coefficients),
        title=experiment.name,
        headline=told.lines,
        conclusion=conclusion,
        objective=objective,
        equal=experiment.equal,
        label_smoothing=experiment.recipe.label_smoothing,
        facts=report.facts(experiment, run.record, results) | _commands(run),
        answers=sections,
        data=None if about is None else (data_section(about[0]), about[1]),
        published=options.published,
    )
    report.show_coefficients(console, coefficients, objective, most=options.most)
    if conclusion.answer is not None:
        console.print()
        show_comparisons(console, conclusion)
    console.print()
    say(console, conclusion.sentences)
    say(console, report.sentences(coefficients, conclusion.kept(results), objective))
    for section, _ in sections:
        console.print()
        show(console, section)
    console.print()
    _say_files(run, folder, written)
    say_headline(run, told)
    return folder / "report.html"


def _tables(
    run: "Run", results: pd.DataFrame, coefficients: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    tables = {
        "candidates": run.candidates,
        "results": results,
        "curves": run.curves,
        "coefficients": coefficients,
    }
    if (families := run.families) is not None:
        tables["families"] = families
        # The search may have trained all of them.
        if len(trained := run.results_of("scale")):
            tables["families_results"] = trained
    return tables


def sections_of(
    run: "Run", conclusion: Conclusion
) -> Iterator[tuple[ReportSection, Figure | None]]:
    """Answers of trainings beyond the search, each with its figure if it has one."""
    objective, equal = run.experiment.metric, run.experiment.equal
    if (check := run.recipe_check) is not None:
        yield recipe_section(check, span_of(conclusion.answer)), None
    fresh = run.studies.beyond("confirm")
    if fresh is not None and (tested := Confirmation.last(fresh)) is not None:
        yield confirmation_section(tested, objective), None
    if (told := run.transferred(conclusion)) is not None:
        drift = told.drift
        figure = best_by_size(drift.regions, told.table, equal=equal) if drift else None
        yield transfer_section(told), figure
    if (checked := run.studies.beyond("fairness")) is not None:
        checks = fairness_checks(
            run.rows_at_rates(),
            checked.rows(),
            experiment=run.experiment,
            answer=conclusion.answer,
        )
        for section in fairness_sections(checks):
            yield section, setting_curves(section.table, objective, equal=equal)


def _commands(run: "Run") -> dict[str, str]:
    """The commands that search and report anew; of a search from Python the second alone."""
    told = {"command of this report": run.next("report")}
    config: Any = OmegaConf.to_container(saved(run.folder))
    options = changed_options(config)
    return (
        told if options is None else {"command of the search": run.next("search", *options)} | told
    )


def _say_files(run: "Run", folder: Path, written: Sequence[Path]) -> None:
    shown = [path for path in written if path.suffix in {".csv", ".html"}]
    say(run.console, [f"  {path}" for path in (*shown, folder / "figures")])
