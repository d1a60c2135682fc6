"""Time of choosing, submitting and recording, measured with trainings that take no time.

    python benchmarks/coordinator.py [--trainings 10000] [--slots 64] [--storages journal,sqlite]
        [--out benchmarks/coordinator.csv]

A whole search of 100 networks by the grid sampler, its view writing to a file. Prints for each
storage milliseconds per training, those of the first and the last tenth, and memory at both ends;
writes CSV.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from composed import experiment_of
from rich.console import Console
from rows import write_rows

from scaling_search.answer.stopping import Limits, Stopping
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.core.protocols import Argument, Value
from scaling_search.core.trial import Epoch, Trial, TrialResult
from scaling_search.display.progress import View
from scaling_search.record.record import Record

STORAGES = {"journal": "study.log", "sqlite": "study.db"}
NO_LIMITS = Limits(failed_share=1.0)


@dataclass
class Instant:
    """Ends every training as it begins.

    Attributes:
        slots: Trainings that are handed out before results are taken.
        times: When each was handed out, and the process's most memory then, in bytes.
    """

    slots: int
    device_share: float = 1.0
    retries: int = 0
    times: list[tuple[float, int]] = field(default_factory=list)

    def check(self) -> None:
        """Nothing can be missing."""

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Nothing is to be settled."""

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """The finished future."""
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.times.append((time.perf_counter(), memory))
        future: Future[TrialResult] = Future()
        future.set_result(self.result_of(trial))
        return future

    def result_of(self, trial: Trial) -> TrialResult:
        """A result without a training."""
        loss = 0.4 + trial.candidate.number / 1000 + trial.seed / 10_000
        curve = (Epoch(loss, loss, 1 - loss),) * int(trial.recipe.epochs)
        return TrialResult(trial, "COMPLETE", curve=curve, total_seconds=0.001, train_seconds=0.001)

    def call(self, function: Callable[[Argument, str], Value], argument: Argument) -> Future[Value]:
        """The finished future of a function."""
        future: Future[Value] = Future()
        future.set_result(function(argument, "cpu"))
        return future

    def __enter__(self) -> Self:
        """Starts nothing."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing was started."""


def searched(num_trainings: int, slots: int, storage: str) -> dict[str, object]:
    """Times of one search."""
    options = ["candidates.max_networks=99", f"num_seeds={num_trainings // 100}"]
    experiment = experiment_of(*options)
    trials = experiment.trials(experiment.plan())[:num_trainings]
    executor = Instant(slots)
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        path = f"{folder}/{STORAGES[storage]}"
        url = path if storage == "journal" else f"sqlite:///{path}"
        record = Record(url, "coordinator", experiment.metric)
        loop = TrainingLoop(trials, record, provenance={"version": "0", "commit": "0"})
        view = View(Console(file=nowhere, width=100), experiment.metric)
        started = time.perf_counter()
        stopping = Stopping(NO_LIMITS, record, 2.0)
        loop.run(experiment.sampler, executor, view, stopping=stopping)
        seconds = time.perf_counter() - started
        assert len(record.rows()) == len(trials)
    tenth = len(trials) // 10
    times = [moment for moment, _ in executor.times]
    return {
        "storage": storage,
        "trainings": len(trials),
        "slots": slots,
        "seconds": round(seconds, 2),
        "ms_per_training": round(1000 * seconds / len(trials), 3),
        "ms_first_tenth": round(1000 * (times[tenth] - times[0]) / tenth, 3),
        "ms_last_tenth": round(1000 * (times[-1] - times[-1 - tenth]) / tenth, 3),
        "mib_at_tenth": executor.times[tenth][1] >> 20,
        "mib_at_end": executor.times[-1][1] >> 20,
    }


def main() -> None:
    """Runs the searches, prints their times and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=10_000, help="a multiple of 100")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--storages", type=partial(str.split, sep=","), default=list(STORAGES))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    rows = [searched(options.trainings, options.slots, name) for name in options.storages]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    write_rows(rows, options.out)


if __name__ == "__main__":
    main()
