"""Trainings an hour of ``executor=processes`` beside those of a plain loop, at equal loss.

    python benchmarks/plain_loop.py [--networks 4] [--lengths 2,3,4,6] [--pairs 3]
        [--device cpu] [--workers auto] [--out benchmarks/plain_loop.csv]
        [recipe.epochs=2 dataset=fashion_mnist ...]

The plain loop is the one that an engineer writes in an afternoon, without this package: one
process, torch's own threads and memory format, a ``DataLoader`` over the images in memory at the
network's size, no crops, SGD with the recipe's batches, rate, momentum and weight decay,
``OneCycleLR``, validation after each epoch. Both arms train the same networks in turns. Ours trains
them by the recipe; the plain loop trains each for several lengths of --lengths, each with a whole
schedule. Interpolation between the lengths gives its seconds to our mean validation loss. Ours has
its workers started and its data mapped before the clock runs, the plain loop its data read. Prints
a table and the ratio of trainings an hour at equal loss; writes CSV, a row for each arm, length and
pair.
"""

import argparse
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from composed import experiment_of
from rows import machine, today, write_rows
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from scaling_search.core.dataset import Dataset, Split
from scaling_search.core.trial import Trial
from scaling_search.executors.processes import Processes

OURS, PLAIN = "processes", "plain loop"
EVALUATED_AT_ONCE = 500


class Scores(NamedTuple):
    """Cross-entropy in nats and top-1 accuracy on the validation split."""

    loss: float
    accuracy: float


class Measured(NamedTuple):
    """Trainings of all networks by one arm.

    Attributes:
        arm: `OURS` or `PLAIN`.
        epochs: Length of each training.
        pair: Number of the pair, and the seed.
        seconds: Wall seconds for one training.
        loss: Mean of the networks.
        accuracy: Mean of the networks.
    """

    arm: str
    epochs: float
    pair: int
    seconds: float
    loss: float
    accuracy: float


@functools.cache
def read(dataset: Dataset, resolution: int) -> tuple[TensorDataset, TensorDataset]:
    """The normalised images and labels of train and val, read once."""
    splits = dataset.load(resolution, "cpu")
    pixels = splits.train.images.double()
    mean = pixels.mean((0, 2, 3), keepdim=True).float()
    std = pixels.std((0, 2, 3), keepdim=True).float()

    def normalised(split: Split) -> TensorDataset:
        return TensorDataset((split.images.float() - mean) / std, split.labels)

    return normalised(splits.train), normalised(splits.val)


def by_plain_loop(trials: Sequence[Trial], epochs: int, device: str) -> list[Scores]:
    """The scores of trainings as they are usually written, one after another."""
    return [plain_training(trial, epochs, device) for trial in trials]


def plain_training(trial: Trial, epochs: int, device: str) -> Scores:
    """The scores of one of them."""
    recipe, architecture = trial.recipe, trial.candidate.architecture
    train_images, val_images = read(trial.dataset, architecture.resolution)
    torch.manual_seed(trial.seed)
    train = DataLoader(
        train_images,
        min(recipe.batch_size, len(train_images)),
        shuffle=True,
        drop_last=True,
        pin_memory=device != "cpu",
    )
    val = DataLoader(val_images, EVALUATED_AT_ONCE)
    network = architecture.build().to(device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )
    schedule = OneCycleLR(
        optimizer, recipe.learning_rate, epochs=epochs, steps_per_epoch=len(train)
    )
    loss, hits = 0.0, 0
    for _ in range(epochs):
        network.train()
        for images, labels in train:
            optimizer.zero_grad()
            step_loss = functional.cross_entropy(network(images.to(device)), labels.to(device))
            step_loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
        network.eval()
        loss, hits = 0.0, 0
        with torch.no_grad():
            for images, labels in val:
                logits = network(images.to(device)).cpu()
                loss += functional.cross_entropy(logits, labels, reduction="sum").item()
                hits += int((logits.argmax(1) == labels).sum())
    return Scores(loss / len(val_images), hits / len(val_images))


def by_processes(trials: Sequence[Trial], executor: Processes) -> list[Scores]:
    """The scores of trainings by the workers of an executor."""
    futures = [executor.submit(trial) for trial in trials]
    wait(futures)
    results = [future.result() for future in futures]
    for result in results:
        if result.state != "COMPLETE":
            raise RuntimeError(result.traceback)
    return [Scores(r.curve[-1].val_loss, r.curve[-1].val_accuracy) for r in results]


def warmed_up(executor: Processes, trials: Sequence[Trial], device: str) -> None:
    """Starts all workers by trainings of a step, this process by an epoch, and reads the data."""
    one_step = [
        replace(t, recipe=replace(t.recipe, epochs=1e-9, warmup_epochs=0.0)) for t in trials
    ]
    number = len(trials) + 2 * executor.slots  # however many the first worker takes
    by_processes(list(itertools.islice(itertools.cycle(one_step), number)), executor)
    for trial in trials:
        read(trial.dataset, trial.candidate.architecture.resolution)
    plain_training(trials[0], 1, device)


def measured(
    arm: str, trials: Sequence[Trial], epochs: float, train: Callable[[], list[Scores]]
) -> Measured:
    """The time and the mean scores of trainings with one seed."""
    started = time.perf_counter()
    scores = train()
    seconds = (time.perf_counter() - started) / len(trials)
    loss, accuracy = (statistics.mean(values) for values in zip(*scores, strict=True))
    found = Measured(arm, epochs, trials[0].seed, seconds, loss, accuracy)
    print(described(found), flush=True)
    return found


def described(found: Measured) -> str:
    """A row of the table: arm, epochs, pair, trainings an hour, loss and accuracy."""
    return (
        f"{found.arm:12}{found.epochs:8g}{found.pair:6}{3600 / found.seconds:13.1f}"
        f"{found.loss:9.4f}{100 * found.accuracy:9.2f} %"
    )


def at_equal_loss(rows: Sequence[Measured]) -> str:
    """The ratio of trainings an hour at our mean loss, with what it rests on.

    Seconds are linear between the lengths of the plain loop. Where our loss is outside its losses,
    the ratio is a bound.
    """
    ours = [row for row in rows if row.arm == OURS]
    loss = statistics.mean(row.loss for row in ours)
    seconds = statistics.mean(row.seconds for row in ours)
    plain = [row for row in rows if row.arm == PLAIN]
    reached: list[float] = []
    taken: list[float] = []
    for epochs in sorted({row.epochs for row in plain}):
        same = [row for row in plain if row.epochs == epochs]
        now = statistics.mean(row.loss for row in same)
        if not reached or now < reached[-1]:  # a longer training that is no better is no way there
            reached.append(now)
            taken.append(statistics.mean(row.seconds for row in same))
    needed = float(np.interp(loss, reached[::-1], taken[::-1]))
    bound = "at least " if loss < reached[-1] else "at most " if loss > reached[0] else ""
    return (
        f"at a loss of {loss:.4f}: {OURS} {3600 / seconds:.1f} trainings an hour, {PLAIN} "
        f"{3600 / needed:.1f}; {bound}{needed / seconds:.2f} times as many"
    )


def workers(text: str) -> int | Literal["auto"]:
    """A number of workers, or ``auto``."""
    return "auto" if text == "auto" else int(text)


def lengths(text: str) -> list[int]:
    """Numbers of epochs, each 1 or more."""
    found = [int(number) for number in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more each, got {text!r}")
    return found


def main() -> None:
    """Trains by both arms in turn, prints their rates and losses and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=4, help="the base network among them")
    parser.add_argument(
        "--lengths", type=lengths, default="2,3,4,6", help="the plain loop's epochs"
    )
    parser.add_argument("--pairs", type=int, default=3, help="how often both arms train them all")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=workers, default="auto", help="of each device, or auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("overrides", nargs="*", help="as on the command line of scaling-search")
    options = parser.parse_args()
    if options.pairs < 1:
        parser.exit(2, f"plain_loop.py: --pairs must be 1 or more, got {options.pairs}\n")
    experiment = experiment_of(
        f"candidates.max_networks={options.networks}", "recipe.epochs=2", *options.overrides
    )
    epochs = experiment.recipe.epochs
    trials = [t for t in experiment.trials(experiment.plan()) if t.seed == 0][: options.networks]
    where = {"networks": len(trials), "machine": machine(options.device), "date": today()}
    print(f"{where['machine']}, {where['date']}; {len(trials)} networks")
    rows: list[Measured] = []

    def keep(row: Measured) -> None:
        rows.append(row)  # all so far: what follows may be cut short
        write_rows([found._asdict() | where for found in rows], options.out)

    with Processes(options.device, options.workers, retries=0) as executor:
        executor.check()
        executor.prepare(trials)
        warmed_up(executor, trials, options.device)
        print(f"{executor.slots} trainings at a time by processes\n")
        print(f"{'arm':12}{'epochs':>8}{'pair':>6}{'trainings/h':>13}{'loss':>9}{'accuracy':>11}")
        for pair in range(options.pairs):
            some = [replace(trial, seed=pair) for trial in trials]
            keep(measured(OURS, some, epochs, functools.partial(by_processes, some, executor)))
            for length in options.lengths:
                plain = functools.partial(by_plain_loop, some, length, options.device)
                keep(measured(PLAIN, some, length, plain))
    print(f"\n{at_equal_loss(rows)}")


if __name__ == "__main__":
    main()
