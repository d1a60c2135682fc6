"""Time of the fit, the region and the report of a large search.

    python benchmarks/report.py [--networks 100] [--seeds 5]

Records a search of so many networks, whose losses are a known surface and luck instead of
trainings, then times ``scaling-search report`` on it as a whole process, and the same report in
this process, where everything is imported and the record is open.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from composed import experiment_of
from coordinator import Instant
from rich.console import Console

from scaling_search.commands.api import search
from scaling_search.core.trial import Epoch, Trial, TrialResult


@dataclass
class Surface(Instant):
    """Ends every training as it begins, with the loss of a bowl and luck."""

    def result_of(self, trial: Trial) -> TrialResult:
        """A result without a training."""
        stream = np.random.default_rng([trial.candidate.number, trial.seed])
        shares = trial.candidate.shares or (0.0, 0.0, 0.0)
        away = sum((a - b) ** 2 for a, b in zip(shares, (0.3, 0.3, 0.4), strict=True))
        loss = 0.4 + 0.03 * away + 0.0065 * float(stream.normal())
        epochs = range(1, 1 + round(trial.recipe.epochs))
        curve = tuple(Epoch(loss + 1 / e, loss + 0.1 / e, 1 - loss) for e in epochs)
        return TrialResult(trial, "COMPLETE", curve=curve, total_seconds=40.0, train_seconds=35.0)


def main() -> None:
    """Records a search and times its report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=100, help="with the base network")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        experiment = experiment_of(
            f"candidates.max_networks={options.networks - 1}", f"num_seeds={options.seeds}"
        )
        quiet = Console(quiet=True)
        run = search(experiment, f"{folder}/run", executor=Surface(slots=1), console=quiet)
        started = time.perf_counter()
        command = [str(Path(sys.executable).parent / "scaling-search"), "report"]
        subprocess.run([*command, f"out={folder}/run"], check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - started
        run.report()  # imports matplotlib
        started = time.perf_counter()
        run.report()
        own = time.perf_counter() - started
        started = time.perf_counter()
        run.conclusion  # noqa: B018  # a property that fits
        fit = time.perf_counter() - started
    print(
        f"report of {options.networks * options.seeds} trainings: {whole:.1f} s as a process, "
        f"{own:.1f} s of them the report itself, {fit:.2f} s fit and region"
    )


if __name__ == "__main__":
    main()
