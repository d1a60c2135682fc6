"""What each command does with an experiment: plan, search, report, scale, audit."""

import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from scaling_search import audit as published
from scaling_search import report as reporting
from scaling_search.candidates import Candidate
from scaling_search.experiment import DECIDING, Experiment
from scaling_search.ladder import Member, family_shares, members, members_table
from scaling_search.progress import View, tracked
from scaling_search.protocols import Dataset
from scaling_search.results import coefficient_table, curves_table, results_table, with_means
from scaling_search.scaling import PAPER, Shares
from scaling_search.search import Search
from scaling_search.study import Record, names

log = logging.getLogger(__name__)

Options = Mapping[str, object]


def plan(experiment: Experiment, options: Options, config: str, console: Console) -> None:
    """Prints the networks that a search would train, each built and measured."""
    planned = experiment.plan(tracked(console, "measuring networks"))
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for title in (
        "",
        "alpha",
        "beta",
        "gamma",
        "shares d/w/r",
        "nominal",
        "measured",
        "M flops",
        "k params",
        "k acts",
        "layers",
        "channels",
        "px",
    ):
        table.add_column(title, justify="right")
    for candidate in (planned.base, *planned.candidates):
        table.add_row(*_plan_cells(candidate))
    console.print(table)
    for sentence in planned.sentences():
        console.print(sentence, highlight=False)


def _plan_cells(candidate: Candidate) -> list[str]:
    c, row = candidate.coefficients, candidate.row()
    shares = "" if candidate.shares is None else "/".join(f"{s:.2f}" for s in candidate.shares)
    return [
        str(candidate.number or "base"),
        *(f"{value:.3f}" for value in (c.alpha, c.beta, c.gamma)),
        shares,
        f"{candidate.nominal_flops_ratio:.3f}",
        f"{candidate.flops_ratio:.3f}",
        f"{candidate.flops / 1e6:.2f}",
        f"{candidate.params / 1e3:.1f}",
        f"{candidate.activations / 1e3:.1f}",
        *(str(row[key]) for key in ("layers", "channels", "resolution")),
    ]


def search(experiment: Experiment, options: Options, config: str, console: Console) -> None:
    """Trains what is not trained yet and records it."""
    planned = experiment.plan(tracked(console, "measuring networks"))
    dataset = experiment.ready_dataset()
    folder = Path(experiment.out)
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(storage_of(experiment), experiment.name, experiment.objective)
    record.claim(deciding(options, dataset))
    write_text(folder / "config.yaml", config)
    candidates = pd.DataFrame([c.row() for c in (planned.base, *planned.candidates)])
    reporting.write_table(candidates, folder / "candidates.csv")
    run = Search(experiment.trials(planned), record, provenance=provenance())
    with logged(folder):
        run.run(
            experiment.sampler,
            experiment.executor,
            View(console, experiment.objective),
            max_trainings=experiment.limits.trainings,
        )
    console.print(f"{run.stopped}; next: scaling-search report out={experiment.out}")


def scale(experiment: Experiment, options: Options, config: str, console: Console) -> None:
    """Trains families over phi from a run's folder and records them."""
    del config  # the folder has its own
    folder = Path(experiment.out)
    dataset = experiment.ready_dataset()
    searched = Record(storage_of(experiment), experiment.name, experiment.objective)
    searched.claim(deciding(options, dataset))
    with console.status("finding the families' members"):
        found = members(
            experiment.base_network,
            experiment.cost,
            _families(experiment, searched, console),
            phis=experiment.scale.phis,
            tolerance=experiment.scale.tolerance,
            max_resolution=dataset.resolution,
        )
    candidates = {member.candidate.number: member.candidate for member in found}
    track = tracked(console, "measuring networks")
    for candidate in track(candidates.values(), len(candidates)):
        experiment.cost.measure(candidate.architecture)
    reporting.write_table(members_table(found), folder / "families.csv")
    console.print(_members_printed(found))
    trials = [
        experiment.trial(candidates[number], seed)
        for number in sorted(candidates)
        for seed in range(experiment.scale.num_seeds)
    ]
    record = Record(storage_of(experiment), scale_name(experiment.name), experiment.objective)
    run = Search(
        trials,
        record,
        provenance=provenance(),
        known=list(searched.results_of(trials).values()),
    )
    with logged(folder):
        run.run(
            None,
            experiment.executor,
            View(console, experiment.objective),
            max_trainings=experiment.limits.trainings,
        )
    console.print(f"{run.stopped}; next: scaling-search report out={experiment.out}")


def _families(experiment: Experiment, searched: Record, console: Console) -> dict[str, Shares]:
    """The shares of each family that is asked for; of compound those given or found."""
    given = experiment.scale.given
    if given is not None:
        compound = Shares.nominal(given.multipliers(1))
    else:
        candidates = reporting.read_table(Path(experiment.out) / "candidates.csv")
        table = coefficient_table(candidates, results_table(searched.rows()), experiment.objective)
        best = table[table["order"] == 1]
        if best.empty:
            raise ValueError(
                f"out must hold a finished training of a scaled network, got none in "
                f"{experiment.out!r}; search first, or give scale.coefficients"
            )
        row = best.iloc[0]
        compound = Shares(row["depth_share"], row["width_share"], row["resolution_share"])
        console.print(
            f"compound: alpha {row['alpha']:.3f}, beta {row['beta']:.3f}, gamma "
            f"{row['gamma']:.3f}, the best mean of the search",
            highlight=False,
        )
    shares = family_shares(compound)
    return {family: shares[family] for family in experiment.scale.families}


def _members_printed(found: Sequence[Member]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for title in (
        "family",
        "phi",
        "measured",
        "shares d/w/r",
        "off its ray",
        "layers",
        "channels",
        "px",
        "",
    ):
        table.add_column(title, justify="left" if title in {"family", ""} else "right")
    for member in found:
        candidate, row = member.candidate, member.candidate.row()
        shares = candidate.shares
        table.add_row(
            member.family,
            str(member.phi),
            f"{candidate.flops_ratio:.3f}",
            "" if shares is None else "/".join(f"{s:.2f}" for s in shares),
            f"{member.distance:.2f}" + ("" if member.is_on_ray else " *"),
            *(str(row[key]) for key in ("layers", "channels", "resolution")),
            "ends here: the data have no more pixels" if member.ends else "",
        )
    return table


def report(experiment: Experiment, options: Options, config: str, console: Console) -> None:
    """Writes and prints what the record of a run's folder says."""
    del options, config  # the folder has its own
    folder = Path(experiment.out)
    stored = names(storage_of(experiment))
    if experiment.name not in stored:
        raise RuntimeError(
            f"out must hold the record of {experiment.name!r}, got {sorted(stored)} in "
            f"{experiment.out!r}; the search that made its config.yaml has not begun"
        )
    searched = Record(storage_of(experiment), experiment.name, experiment.objective)
    rows = searched.rows()
    candidates = reporting.read_table(folder / "candidates.csv")
    results = results_table(rows)
    coefficients = coefficient_table(candidates, results, experiment.objective)
    families = None
    if (folder / "families.csv").is_file() and scale_name(experiment.name) in stored:
        scaled = Record(storage_of(experiment), scale_name(experiment.name), experiment.objective)
        scale_rows = scaled.rows()
        trained = pd.concat([results, results_table(scale_rows)])
        found = reporting.read_table(folder / "families.csv")
        families = with_means(found[list(_member_columns(found))], trained)
        reporting.write_table(results_table(scale_rows), folder / "families_results.csv")
    written = reporting.write_report(
        folder,
        candidates=candidates,
        results=results,
        curves=curves_table(rows),
        coefficients=coefficients,
        families=families,
        objective=experiment.objective,
        facts=_facts(experiment, searched, results),
    )
    console.print(
        reporting.terminal_table(coefficients, experiment.objective, most=experiment.report.most)
    )
    for sentence in reporting.sentences(coefficients, results, experiment.objective):
        console.print(sentence, highlight=False)
    for path in written:
        if path.suffix in {".csv", ".html"}:
            console.print(f"  {path}", highlight=False, soft_wrap=True)
    console.print(f"  {folder / 'figures'}", highlight=False, soft_wrap=True)


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


def audit(experiment: Experiment, options: Options, config: str, console: Console) -> None:
    """Prints the published EfficientNet coefficients beside what their rule gives."""


def deciding(options: Options, dataset: Dataset) -> dict[str, object]:
    """The options that decide outcomes, by their full keys; the dataset's is its fingerprint."""
    chosen = {key: options[key] for key in DECIDING if key != "dataset"}
    return dict(_flat(chosen)) | {"dataset": dataset.fingerprint()}


def storage_of(experiment: Experiment) -> str:
    """Where the record lies."""
    return experiment.storage or f"sqlite:///{(Path(experiment.out) / 'study.db').resolve()}"


def scale_name(name: str) -> str:
    """The name of the study that holds an experiment's families."""
    return f"{name}-scale"


def provenance() -> dict[str, object]:
    """What made the results: the version of this package and the commit of its checkout."""
    root = Path(__file__).resolve().parent.parent
    described = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--match=-"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {"version": version("scaling-search"), "commit": described.stdout.strip()}


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Appends the package's log to ``search.log`` in a run's folder."""
    handler = logging.FileHandler(folder / "search.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("scaling_search")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)


def _flat(options: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
