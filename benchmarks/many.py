"""Many trainings at a time and many that have ended: what is lost, and what a choice takes.

    OMP_NUM_THREADS=1 python benchmarks/many.py [--slots 64 [--trainings 10000]]
        [--choosing [--samplers grid,gp] [--finished 100,1000,10000]]

--slots searches with so many threads whose trainings take no time, end in another order and of
which each hundredth is lost once: --trainings on Optuna's journal and a fifth of them on SQLite.
--choosing times what each sampler takes for its next choice after --finished trainings. Both print.
"""

import argparse
import logging
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

from composed import experiment_of
from coordinator import NO_LIMITS, STORAGES, Instant
from rich.console import Console

from scaling_search.answer.stopping import Stopping
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.core.protocols import Argument, Value
from scaling_search.core.trial import Epoch, Trial, TrialResult
from scaling_search.display.progress import View
from scaling_search.record.record import Record

HUNDRED = "candidates.max_networks=99"  # and the base network
SAMPLERS = ("grid", "qmc", "tpe", "gp", "focus")
MOST_SECONDS = 120
"""A choice that takes longer is not waited for."""


def main() -> None:
    """Does what was asked for and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--trainings", type=int, default=10_000, help="a multiple of 500")
    parser.add_argument("--choosing", action="store_true")
    split = partial(str.split, sep=",")
    parser.add_argument("--samplers", type=split, default=list(SAMPLERS))
    parser.add_argument("--finished", type=split, default=["100", "1000", "10000"])
    options = parser.parse_args()
    logging.getLogger("scaling_search").addHandler(logging.NullHandler())  # what is lost is meant
    if options.slots:
        for storage, number in (("journal", options.trainings), ("sqlite", options.trainings // 5)):
            print("  ".join(f"{k} {v}" for k, v in at_once(number, options.slots, storage).items()))
    if options.choosing:
        show_choosing(options.samplers, [int(number) for number in options.finished])


class Threads:
    """Ends trainings at once, but in another order, in threads; loses some of them once.

    Attributes:
        slots: Threads.
        device_share: Of each.
        retries: Of a lost training.
        begun: Trainings by how often they were begun.
    """

    device_share = 1.0
    retries = 1

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.begun: Counter[Trial] = Counter()
        self._instant = Instant(slots)

    def check(self) -> None:
        """Nothing can be missing."""

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Nothing is to be settled."""

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """Hands it to a thread."""
        self.begun[trial] += 1
        is_lost = self.begun[trial] == 1 and (trial.candidate.number + trial.seed) % 100 == 0
        return self._threads.submit(self._trained, trial, is_lost=is_lost)

    def _trained(self, trial: Trial, *, is_lost: bool) -> TrialResult:
        if is_lost:
            raise RuntimeError("a worker of no length was lost")
        return self._instant.result_of(trial)

    def call(self, function: Callable[[Argument, str], Value], argument: Argument) -> Future[Value]:
        """Hands a function to a thread."""
        return self._threads.submit(function, argument, "cpu")

    def __enter__(self) -> Self:
        """Starts the threads."""
        self._threads = ThreadPoolExecutor(self.slots)
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends them."""
        self._threads.shutdown()


def at_once(num_trainings: int, slots: int, storage: str) -> dict[str, object]:
    """The outcome of trainings that end in many threads."""
    experiment = experiment_of(HUNDRED, f"num_seeds={num_trainings // 100}")
    trials = experiment.trials(experiment.plan())[:num_trainings]
    threads = Threads(slots)
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        path = f"{folder}/{STORAGES[storage]}"
        url = path if storage == "journal" else f"sqlite:///{path}"
        record = Record(url, "threads", experiment.metric)
        provenance = {"version": "0", "commit": "0"}
        loop = TrainingLoop(trials, record, provenance=provenance, retries=threads.retries)
        view = View(Console(file=nowhere, width=100), experiment.metric)
        began = time.perf_counter()
        loop.run(
            experiment.sampler, threads, view, stopping=Stopping(NO_LIMITS, record, target=2.0)
        )
        seconds = time.perf_counter() - began
        # What another process finds, not what this one remembers.
        found = Record(url, "threads", experiment.metric)
        stored = [trial.user_attrs["row"] for trial in found.study.get_trials(deepcopy=False)]
    times = Counter((row["network"], row["seed"]) for row in stored)
    truth = Instant(slots)
    losses = {t.key[:2]: truth.result_of(t).curve[-1].val_loss for t in trials}
    return {
        "storage": storage,
        "trainings": len(trials),
        "slots": slots,
        "lost": len({trial.key[:2] for trial in trials} - set(times)),
        "twice": sum(number > 1 for number in times.values()),
        "wrong": sum(row["val_loss"] != losses[row["network"], row["seed"]] for row in stored),
        "tried_again": sum(row["attempts"] == 2 for row in stored),
        "begun_more_than_twice": sum(number > 2 for number in threads.begun.values()),
        "ms_per_training": round(1000 * seconds / len(trials), 2),
    }


def show_choosing(samplers: Sequence[str], finished: Sequence[int]) -> None:
    """Prints how long samplers take for a choice, by how much has ended."""
    print(f"{'ms of a choice after':28}" + "".join(f"{number:>10,}" for number in finished))
    context = multiprocessing.get_context("spawn")
    for sampler in samplers:
        cells = []
        for number in finished:
            with context.Pool(1) as pool:
                answer = pool.apply_async(choice_seconds, (sampler, number))
                try:
                    cells.append(f"{1000 * answer.get(MOST_SECONDS):10.2f}")
                except multiprocessing.TimeoutError:
                    cells.append(f"{f'>{MOST_SECONDS},000':>10}")
                    break
        print(f"{sampler:28}" + "".join(cells), flush=True)


def choice_seconds(sampler: str, num_finished: int) -> float:
    """The least of up to three times of a choice among a hundred more trainings."""
    num_seeds = num_finished // 100 + 1
    experiment = experiment_of(HUNDRED, f"sampler={sampler}", f"num_seeds={num_seeds}")
    planned = experiment.plan()
    trials = sorted(experiment.trials(planned), key=lambda trial: trial.order)
    draw, instant = random.Random(0), Instant(1)
    finished: list[TrialResult] = []
    for trial in trials[:num_finished]:
        result = instant.result_of(trial)
        shares = trial.candidate.shares
        truth = 0.0 if shares is None else sum((share - 1 / 3) ** 2 for share in shares)
        epochs = tuple(of_loss(0.5 + truth + draw.gauss(0, 0.02)) for _ in result.curve)
        finished.append(TrialResult(trial, "COMPLETE", curve=epochs, total_seconds=1.0))
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < 30:
        began = time.perf_counter()
        experiment.sampler.choose(trials[num_finished:], [], finished, experiment.metric)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def of_loss(loss: float) -> Epoch:
    """An epoch."""
    return Epoch(loss, loss, 1 - loss / 10)


if __name__ == "__main__":
    main()
