"""What each command does with an experiment: plan, search, report, scale, audit."""

import logging
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from rich.console import Console

from scaling_search import audit as published
from scaling_search import report as reporting
from scaling_search.experiment import DECIDING, Experiment
from scaling_search.ladder import family_shares, members, members_table
from scaling_search.plots.drawing import replace_file, save
from scaling_search.plots.families import published_family
from scaling_search.progress import View, tracked
from scaling_search.protocols import Dataset
from scaling_search.results import coefficient_table, curves_table, results_table, with_means
from scaling_search.scaling import PAPER, Shares
from scaling_search.search import Search
from scaling_search.study import Record, names
from scaling_search.terminal import audit_sentences, audit_tables, ladder_table, plan_table, say

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """What a command is called with.

    Attributes:
        experiment: Built and checked.
        options: The same as plain values by key, to be recorded.
        config: The same as YAML, to be kept in the run's folder.
        console: Where to print.
    """

    experiment: Experiment
    options: Mapping[str, object]
    config: str
    console: Console


def plan(call: Call) -> None:
    """Prints the networks that a search would train, each built and measured."""
    experiment, console = call.experiment, call.console
    planned = experiment.plan()
    planned.measure(experiment.cost, tracked(console, "measuring networks"))
    console.print(plan_table(planned))
    say(console, planned.sentences())


def search(call: Call) -> None:
    """Trains what is not trained yet and records it.

    Everything that can be wrong is looked at before the first file is written.
    """
    experiment, console = call.experiment, call.console
    planned = experiment.plan()
    dataset = experiment.ready_dataset()
    experiment.executor.check()
    folder = Path(experiment.out)
    _made(folder, experiment)
    record = Record(storage_of(experiment), experiment.name, experiment.objective)
    record.claim(deciding(call.options, dataset))
    replace_file(folder / "config.yaml", call.config.encode())
    candidates = pd.DataFrame([c.row() for c in (planned.base, *planned.candidates)])
    reporting.write_table(candidates, folder / "candidates.csv")
    planned.measure(experiment.cost, tracked(console, "measuring networks"))
    run = Search(experiment.trials(planned), record, provenance=provenance())
    with logged(folder):
        run.run(
            experiment.sampler,
            experiment.executor,
            View(console, experiment.objective),
            max_trainings=experiment.limits.trainings,
        )
    console.print(f"{run.stopped}; next: scaling-search report out={experiment.out}")


def scale(call: Call) -> None:
    """Trains families over phi from a run's folder and records them."""
    experiment, console = call.experiment, call.console
    folder = Path(experiment.out)
    dataset = experiment.ready_dataset()
    experiment.executor.check()
    searched = Record(storage_of(experiment), experiment.name, experiment.objective)
    searched.claim(deciding(call.options, dataset))
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
    console.print(ladder_table(found))
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


def report(call: Call) -> None:
    """Writes and prints what the record of a run's folder says."""
    experiment, console = call.experiment, call.console
    folder = Path(experiment.out)
    stored = _stored(experiment)
    if experiment.name not in stored:
        raise RuntimeError(
            f"out must hold the record of {experiment.name!r}, got {sorted(stored)} in "
            f"{experiment.out!r}; the same search again begins it"
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
    if experiment.report.published:
        figure = published_family(published.published_family())
        save(figure, folder / "figures", "published_family")
    console.print(
        reporting.terminal_table(coefficients, experiment.objective, most=experiment.report.most)
    )
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


def audit(call: Call) -> None:
    """Prints the published EfficientNet coefficients beside what their rule gives."""
    experiment, console = call.experiment, call.console
    network, cost = experiment.base_network, experiment.cost
    variants = published.audit(network, cost, PAPER, published.published_family())
    rule = published.rule_as_built(network, cost, PAPER)
    for table in audit_tables(pd.concat([variants, rule])):
        console.print(table)
        console.print()
    say(console, audit_sentences(rule))


def _made(folder: Path, experiment: Experiment) -> None:
    """Makes the run's folder, or checks that it holds no other experiment's record.

    Raises:
        ValueError: It holds the record of an experiment of another name.
        RuntimeError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"out must be a folder that can be made, got {str(folder)!r} ({error.strerror}); "
            "take another"
        ) from error
    own = {experiment.name, scale_name(experiment.name)}
    if experiment.storage is None and (others := set(_stored(experiment)) - own):
        raise ValueError(
            f"name must be {min(others, key=len)!r} as in this folder's record, got "
            f"{experiment.name!r}; take another out= for another experiment"
        )


def _stored(experiment: Experiment) -> list[str]:
    """The names of the studies in the record; opening it would make the folder's own file."""
    if experiment.storage is None and not (Path(experiment.out) / "study.db").is_file():
        return []
    return names(storage_of(experiment))


def deciding(options: Mapping[str, object], dataset: Dataset) -> dict[str, object]:
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


def _flat(options: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
