"""Trainings an hour over the workers of a device, and how long a worker takes to start.

    python benchmarks/workers.py [--workers 1,2,4,8] [--trainings 8]
        [--out benchmarks/workers.csv] [experiment=fashion_mnist_gpu recipe.epochs=1 ...]

The same trainings for each number, networks of an experiment far apart, in processes that are
warm: each has imported everything and trained for a step. Prints a table and writes CSV.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from composed import experiment_of
from rows import machine, today, write_rows

from scaling_search.core.trial import Trial
from scaling_search.executors.processes import Processes
from scaling_search.training.engine import device_name, devices
from scaling_search.training.timing import spread

DEFAULT = ["experiment=fashion_mnist_small", "recipe.epochs=0.5"]


def seconds_since(moment: float, device: str) -> float:
    """Seconds since a moment, once the device has answered."""
    torch.ones(1, device=device).item()
    return time.time() - moment


def measured(trials: Sequence[Trial], device: str, workers: int) -> dict[str, object]:
    """The speed of a number of workers of each device."""
    with Processes(device, workers, retries=0) as executor:
        slots = executor.slots
        started = [executor.call(seconds_since, time.time()) for _ in range(slots)]
        start_seconds = min(future.result() for future in started)
        short = [replace(t, recipe=replace(t.recipe, epochs=1e-9)) for t in trials]
        for future in [executor.submit(trial) for trial in (short * slots)[: 2 * slots]]:
            future.result()
        begun = time.perf_counter()
        results = [future.result() for future in [executor.submit(trial) for trial in trials]]
        seconds = time.perf_counter() - begun
    failed = [result.reason for result in results if result.state != "COMPLETE"]
    if failed:
        raise RuntimeError(f"all trainings must end, got {failed[0]!r}")
    return {
        "workers_per_device": workers,
        "at_a_time": slots,
        "trainings": len(results),
        "seconds": round(seconds, 2),
        "trainings_an_hour": round(3600 * len(results) / seconds, 1),
        "start_seconds": round(start_seconds, 2),
    }


def about(overrides: Sequence[str], device: str) -> dict[str, str]:
    """The measurement, its place and time."""
    return {
        "experiment": " ".join(overrides),
        "device": device,
        "machine": machine(),
        "date": today(),
    }


def main() -> None:
    """Measures each number of workers, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=partial(str.split, sep=","), default=["1", "2", "4", "8"])
    parser.add_argument("--trainings", type=int, default=8, help="a multiple of the most at a time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("overrides", nargs="*", help="as on the command line of scaling-search")
    options = parser.parse_args()
    overrides = options.overrides or DEFAULT
    experiment = experiment_of(*overrides)
    experiment.ready_dataset()
    trials = spread(experiment.trials(experiment.plan()), options.trainings)
    found = devices(options.device)
    where = about(overrides, f"{len(found)} x {device_name(found[0])}")
    print("  ".join(where.values()) + "\n")
    print(f"{'workers':>8}{'at a time':>11}{'seconds':>10}{'trainings/h':>13}{'start s':>9}")
    rows = []
    for workers in map(int, options.workers):
        row = measured(trials, options.device, workers)
        print(
            f"{row['workers_per_device']:8}{row['at_a_time']:11}{row['seconds']:10}"
            f"{row['trainings_an_hour']:13}{row['start_seconds']:9}",
            flush=True,
        )
        rows.append({**row, **where})
        write_rows(rows, options.out)  # all so far: what follows may be cut short


if __name__ == "__main__":
    main()
