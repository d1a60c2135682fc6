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

from scaling_search.candidates import Candidate
from scaling_search.experiment import DECIDING, Experiment
from scaling_search.progress import View, tracked
from scaling_search.protocols import Dataset
from scaling_search.search import Search
from scaling_search.study import Record

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
    write_text(folder / "candidates.csv", candidates.to_csv(index=False))
    run = Search(experiment.trials(planned), record, provenance=provenance())
    with logged(folder):
        run.run(
            experiment.sampler,
            experiment.executor,
            View(console, experiment.objective),
            max_trainings=experiment.limits.trainings,
        )
    console.print(f"{run.stopped}; next: scaling-search report out={experiment.out}")


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
