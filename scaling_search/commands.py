"""What each command does with an experiment: plan, search, report, scale, audit."""

import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from rich.console import Console

from scaling_search.experiment import DECIDING, Experiment
from scaling_search.progress import View, tracked
from scaling_search.search import Search
from scaling_search.study import Record

log = logging.getLogger(__name__)

Options = Mapping[str, object]


def search(experiment: Experiment, options: Options, config: str, console: Console) -> None:
    """Trains what is not trained yet and records it."""
    plan = experiment.plan(tracked(console, "measuring networks"))
    dataset = experiment.ready_dataset()
    choices = deciding(options) | {"dataset": dataset.fingerprint()}
    folder = Path(experiment.out)
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(storage_of(experiment, folder), experiment.name, experiment.objective)
    record.claim(choices)
    write_text(folder / "config.yaml", config)
    candidates = pd.DataFrame([c.row() for c in (plan.base, *plan.candidates)])
    candidates.to_csv(folder / "candidates.csv", index=False)
    run = Search(experiment.trials(plan), record, provenance=provenance())
    with logged(folder):
        run.run(
            experiment.sampler,
            experiment.executor,
            View(console, experiment.objective),
            max_trainings=experiment.limits.trainings,
        )
    console.print(run.stopped)


def deciding(options: Options) -> dict[str, object]:
    """The options that decide outcomes, by their full keys; the dataset's are its fingerprint."""
    chosen = {key: options[key] for key in DECIDING if key != "dataset"}
    return dict(_flat(chosen))


def storage_of(experiment: Experiment, folder: Path) -> str:
    """Where the record lies."""
    return experiment.storage or f"sqlite:///{(folder / 'study.db').resolve()}"


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
