"""Durations of trainings that `plan` predicts, against measured ones.

    python benchmarks/prediction.py [--trainings 8 | --all] [--out benchmarks/prediction.csv]
        [experiment=fashion_mnist_small recipe.epochs=1 ...]

Times a few steps as `plan` does, then trains in the same workers: networks of the first seed spread
over their activations, or with --all the whole experiment. Prints both and their ratio; adds a row
to the CSV.
"""

import argparse
import time
from pathlib import Path

from composed import options_of
from rows import write_rows
from workers import about

from scaling_search.core.trial import Trial
from scaling_search.training.price import price, timed_seconds, work
from scaling_search.training.timing import time_networks

DEFAULT = ["experiment=fashion_mnist_small"]


def sample(trials: list[Trial], number: int) -> list[Trial]:
    """A number of networks with the first seed, evenly spread over their activations."""
    first = sorted((t for t in trials if t.seed == 0), key=lambda t: t.candidate.activations)
    last = max(1, min(number, len(first)) - 1)
    chosen = [first[i * (len(first) - 1) // last] for i in range(min(number, len(first)))]
    return sorted(chosen, key=work, reverse=True)


def main() -> None:
    """Predicts, trains, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=8)
    parser.add_argument("--all", action="store_true", help="train the whole experiment")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("overrides", nargs="*", help="as on the command line of scaling-search")
    options = parser.parse_args()
    overrides = options.overrides or DEFAULT
    composed = options_of(*overrides)
    experiment, executor = composed.experiment, composed.executor
    everything = experiment.trials(experiment.plan())
    executor.check()
    experiment.ready_dataset()
    with executor:
        started = time.perf_counter()
        executor.prepare(everything)
        timings = time_networks(executor, everything)
        timing_seconds = time.perf_counter() - started
        trials = everything if options.all else sample(everything, options.trainings)
        predicted = price(
            trials,
            [],
            known=[],
            slots=executor.slots,
            device_share=executor.device_share,
            timings=timings,
        )
        each = timed_seconds(timings)
        started = time.perf_counter()
        results = [future.result() for future in [executor.submit(trial) for trial in trials]]
        seconds = time.perf_counter() - started
    failed = [result.reason for result in results if result.state != "COMPLETE"]
    if failed:
        raise RuntimeError(f"all trainings must end, got {failed[0]!r}")
    taken = sum(result.total_seconds for result in results)
    ratios = [result.total_seconds / each(result.trial) for result in results]
    row = {
        "trainings": len(trials),
        "at_a_time": executor.slots,
        "timing_seconds": round(timing_seconds, 1),
        "predicted_seconds": round(predicted.seconds, 1),
        "taken_seconds": round(seconds, 1),
        "taken_over_predicted": round(seconds / predicted.seconds, 3),
        "sum_over_predicted": round(taken / sum(map(each, trials)), 3),
        "smallest_ratio": round(min(ratios), 3),
        "largest_ratio": round(max(ratios), 3),
        **about(overrides, timings[0].device),
    }
    for name, value in row.items():
        print(f"{name:22}{value}")
    write_rows([row], options.out, is_added=True)


if __name__ == "__main__":
    main()
