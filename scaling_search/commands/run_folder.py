"""What commands share: how they are called, and what lies in a run's folder."""

import logging
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from scaling_search.experiment import DECIDING, Experiment
from scaling_search.progress import View
from scaling_search.protocols import Dataset, Sampler
from scaling_search.search import Search
from scaling_search.study import Record, names


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


def storage_of(experiment: Experiment) -> str:
    """Where the record lies."""
    return experiment.storage or f"sqlite:///{(Path(experiment.out) / 'study.db').resolve()}"


def record_of(experiment: Experiment, name: str) -> Record:
    """The study of this name in the experiment's storage, made if it is not there."""
    return Record(storage_of(experiment), name, experiment.objective)


def train(call: Call, search: Search, sampler: Sampler | None) -> None:
    """Does the trainings of a search within the limits, with a live view and a log."""
    experiment, console = call.experiment, call.console
    with logged(Path(experiment.out)):
        search.run(
            sampler,
            experiment.executor,
            View(console, experiment.objective),
            max_trainings=experiment.limits.trainings,
            max_hours=experiment.limits.hours,
        )
    console.print(f"{search.stopped}; next: scaling-search report out={experiment.out}")


def scale_name(name: str) -> str:
    """The name of the study that holds an experiment's families."""
    return f"{name}-scale"


def stored_names(experiment: Experiment) -> list[str]:
    """The names of the studies in the record; opening it would make the folder's own file."""
    if experiment.storage is None and not (Path(experiment.out) / "study.db").is_file():
        return []
    return names(storage_of(experiment))


def make_folder(folder: Path, experiment: Experiment) -> None:
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
    if experiment.storage is None and (others := set(stored_names(experiment)) - own):
        raise ValueError(
            f"name must be {min(others, key=len)!r} as in this folder's record, got "
            f"{experiment.name!r}; take another out= for another experiment"
        )


def deciding(options: Mapping[str, object], dataset: Dataset) -> dict[str, object]:
    """The options that decide outcomes, by their full keys; the dataset's is its fingerprint."""
    chosen = {key: options[key] for key in DECIDING if key != "dataset"}
    return dict(_flat(chosen)) | {"dataset": dataset.fingerprint()}


def _flat(options: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


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
