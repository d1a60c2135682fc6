"""Trainings an hour of ``executor=processes`` beside those of a plain loop, at equal accuracy.

    python benchmarks/plain_loop.py [--networks 8] [--epochs 3] [--pairs 5] [--seeds 9]
        [--device cpu] [--workers auto] [--out benchmarks/plain_loop.csv]
        [dataset=fashion_mnist ...]

The plain loop does without this package: Optuna's ``study.optimize`` in one process, a
``DataLoader`` with two workers that augments image by image, torch's own threads, memory format
and optimiser, ``loss.item()`` at every step. Both train the same networks by the same recipe, the
arms in turn; ours has the number of its workers measured where there is a GPU, its workers started
and its data mapped before the clock runs, the plain loop its data read. Then --seeds trainings of
the base network by each arm, none by --seeds 0: their difference of mean accuracy must lie within
half a point, with its whole 95 % interval (Welch). Prints two tables and writes CSV, a row for each
arm of each pair and each seed.
"""

import argparse
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Literal

import optuna
import torch
from composed import experiment_of
from rows import machine, today, write_rows
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from scaling_search.core.dataset import Dataset, Split, Splits
from scaling_search.core.recipe import learning_rate
from scaling_search.core.trial import Trial
from scaling_search.executors.processes import Processes

LOADER_WORKERS = 2
COLUMNS = ("arm", "pair", "seed", "networks", "seconds", "accuracy")
MARGIN = 0.005
"""Half a point of accuracy: arms that differ by less, for certain, are as accurate."""


Arm = Callable[[Sequence[Trial]], list[float]]
"""Trains all and returns their accuracies."""

Row = dict[str, object]


class Images(TorchDataset[tuple[Tensor, Tensor]]):
    """Images one at a time, normalised, in training moved at random too.

    Attributes:
        split: Images and labels.
        size: Height and width that networks see.
        mean: Mean of all training pixels of 0 to 255 at this size, for each channel (C, 1, 1).
        std: The same.
        padding: Zero padding before a random crop, pixels of the split's images.
        flip: True if half of the images are mirrored.
    """

    def __init__(self, split: Split, train: Split, *, padding: int = 0, flip: bool = False) -> None:
        pixels = train.images.double()
        self.split, self.size, self.padding, self.flip = split, pixels.shape[-1], padding, flip
        self.mean = pixels.mean((0, 2, 3))[:, None, None].float()
        self.std = pixels.std((0, 2, 3))[:, None, None].float()

    def __len__(self) -> int:
        return len(self.split.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.split.images[index].float()
        size = image.shape[-1]
        if self.padding:
            top, left = torch.randint(2 * self.padding + 1, (2,)).tolist()
            padded = functional.pad(image, (self.padding,) * 4)
            image = padded[:, top : top + size, left : left + size]
        if size != self.size:
            whole = image[None]
            image = functional.interpolate(whole, self.size, mode="bilinear", antialias=True)[0]
        if self.flip and torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image - self.mean) / self.std, self.split.labels[index]


@functools.cache
def read(dataset: Dataset, resolution: int) -> Splits:
    """The splits, read once."""
    return dataset.load(resolution, "cpu")


def plain_training(trial: Trial, device: str) -> float:
    """The validation accuracy of a training as it is usually written."""
    recipe, architecture = trial.recipe, trial.candidate.architecture
    splits = read(trial.dataset, architecture.resolution)
    native = read(trial.dataset, trial.dataset.resolution)
    padding = round(recipe.crop * native.train.images.shape[-1])
    torch.manual_seed(trial.seed)
    train = DataLoader(
        Images(native.train, splits.train, padding=padding, flip=recipe.flip),
        batch_size=min(recipe.batch_size, len(native.train.labels)),
        shuffle=True,
        drop_last=True,
        num_workers=LOADER_WORKERS,
        pin_memory=device != "cpu",
    )
    val = DataLoader(
        Images(splits.val, splits.train), recipe.batch_size, num_workers=LOADER_WORKERS
    )
    network = architecture.build().to(device)
    parameters = list(network.parameters())
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=1.0,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(recipe, step, len(train))
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    accuracy = 0.0
    for _ in range(int(recipe.epochs)):
        network.train()
        total = 0.0
        for images, labels in train:
            optimizer.zero_grad()
            loss = criterion(network(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        network.eval()
        hits = 0
        with torch.no_grad():
            for images, labels in val:
                hits += int((network(images.to(device)).argmax(1).cpu() == labels).sum())
        accuracy = hits / len(splits.val.labels)
    return accuracy


def by_plain_loop(trials: Sequence[Trial], device: str) -> list[float]:
    """The accuracies of trainings, one after another by Optuna."""
    accuracies: dict[int, float] = {}

    def objective(chosen: optuna.Trial) -> float:
        number = chosen.suggest_categorical("number", range(len(trials)))
        accuracies[number] = plain_training(trials[number], device)
        return accuracies[number]

    sampler = optuna.samplers.GridSampler({"number": list(range(len(trials)))}, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=len(trials))
    return [accuracies[number] for number in range(len(trials))]


def by_processes(trials: Sequence[Trial], executor: Processes) -> list[float]:
    """The accuracies of trainings by the workers of an executor."""
    futures = [executor.submit(trial) for trial in trials]
    wait(futures)
    results = [future.result() for future in futures]
    for result in results:
        if result.state != "COMPLETE":
            raise RuntimeError(result.traceback)
    return [result.curve[-1].val_accuracy for result in results]


def timed(train: Callable[[], list[float]]) -> tuple[float, list[float]]:
    """Wall seconds, and the accuracies."""
    started = time.perf_counter()
    accuracies = train()
    return time.perf_counter() - started, accuracies


def warmed_up(executor: Processes, trials: Sequence[Trial]) -> None:
    """Starts every worker and maps the data of all networks, by trainings of one step."""
    one_step = [
        replace(t, recipe=replace(t.recipe, epochs=1e-9, warmup_epochs=0.0)) for t in trials
    ]
    number = len(trials) + 2 * executor.slots  # however many the first worker takes
    by_processes(list(itertools.islice(itertools.cycle(one_step), number)), executor)
    for trial in trials:
        read(trial.dataset, trial.candidate.architecture.resolution)
        read(trial.dataset, trial.dataset.resolution)


def interval(ours: Sequence[float], plain: Sequence[float]) -> tuple[float, float, float]:
    """The difference of means and its 95 % interval (Welch)."""
    found = stats.ttest_ind(ours, plain, equal_var=False).confidence_interval(0.95)
    return statistics.mean(ours) - statistics.mean(plain), found.low, found.high


def printed_rates(rates: dict[str, list[float]]) -> None:
    """Prints trainings an hour of both arms, and their ratio within pairs."""
    print(f"{'arm':12}{'pairs':>6}{'trainings/h':>13}{'least':>9}{'most':>9}")
    for arm, found in rates.items():
        middle = statistics.median(found)
        print(f"{arm:12}{len(found):6}{middle:13.1f}{min(found):9.1f}{max(found):9.1f}")
    ratios = [a / b for a, b in zip(rates["processes"], rates["plain loop"], strict=True)]
    print(f"ratio within pairs: median {statistics.median(ratios):.2f}, least {min(ratios):.2f}")


def printed_scores(scores: dict[str, list[float]]) -> None:
    """Prints the accuracy of both arms, and whether they are equal within the margin."""
    print()
    for arm, found in scores.items():
        mean, sd = statistics.mean(found), statistics.stdev(found)
        print(f"{arm:12}{len(found):6} seeds, accuracy {100 * mean:.2f} %, sd {100 * sd:.2f}")
    difference, low, high = interval(scores["processes"], scores["plain loop"])
    answer = "yes" if low > -MARGIN and high < MARGIN else "no"
    print(
        f"processes - plain loop: {100 * difference:+.2f} points, 95 % interval "
        f"{100 * low:+.2f} to {100 * high:+.2f}; within 0.5 points: {answer}"
    )


def taken_in_turn(
    arms: Mapping[str, Arm], trials: Sequence[Trial], num_pairs: int, keep: Callable[[Row], None]
) -> dict[str, list[float]]:
    """Trainings an hour of each arm, which takes all networks in each pair.

    Args:
        arms: Both, by their names.
        trials: A training of each network.
        num_pairs: Number of runs of both arms.
        keep: Takes the row of an arm and a pair as soon as it is known.
    """
    rates: dict[str, list[float]] = {arm: [] for arm in arms}
    for pair in range(num_pairs):
        some = [replace(trial, seed=pair) for trial in trials]
        for arm in sorted(arms, reverse=bool(pair % 2)):
            seconds, accuracies = timed(functools.partial(arms[arm], some))
            rates[arm].append(3600 * len(some) / seconds)
            print(f"pair {pair}, {arm}: {rates[arm][-1]:.1f} trainings an hour", flush=True)
            row = {"arm": arm, "pair": pair, "seed": pair, "networks": len(some)}
            mean = round(statistics.mean(accuracies), 5)
            keep(row | {"seconds": round(seconds, 2), "accuracy": mean})
    return rates


def seed_by_seed(
    arms: Mapping[str, Arm], trial: Trial, num_seeds: int, keep: Callable[[Row], None]
) -> dict[str, list[float]]:
    """Accuracies of one network by each arm, of other seeds than the pairs'."""
    trials = [replace(trial, seed=1000 + seed) for seed in range(num_seeds)]
    scores = {}
    for arm, train in arms.items():
        scores[arm] = train(trials)
        for one, accuracy in zip(trials, scores[arm], strict=True):
            keep({"arm": arm, "seed": one.seed, "networks": 1, "accuracy": accuracy})
    return scores


def workers(text: str) -> int | Literal["auto"]:
    """A number of workers, or ``auto``."""
    return "auto" if text == "auto" else int(text)


def main() -> None:
    """Trains by both arms in turn, prints their rates and accuracies and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=8, help="the base network among them")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=5, help="how often both arms train them all")
    parser.add_argument("--seeds", type=int, default=9, help="trainings an arm, 2 or more; 0: none")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=workers, default="auto", help="of each device, or auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("overrides", nargs="*", help="as on the command line of scaling-search")
    options = parser.parse_args()
    if options.pairs < 1:
        parser.exit(2, f"plain_loop.py: --pairs must be 1 or more, got {options.pairs}\n")
    if options.seeds < 0 or options.seeds == 1:
        parser.exit(
            2,
            f"plain_loop.py: --seeds must be 0 or at least 2, got {options.seeds}; one seed has no "
            "standard deviation\n",
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    experiment = experiment_of(
        f"candidates.max_networks={options.networks}",
        f"recipe.epochs={options.epochs}",
        *options.overrides,
    )
    trials = [t for t in experiment.trials(experiment.plan()) if t.seed == 0][: options.networks]
    where = {"machine": machine(options.device), "date": today()}
    epochs = f"{len(trials)} networks, {options.epochs} epochs"
    print(f"{', '.join(where.values())}; {epochs}\n", flush=True)
    rows: list[Row] = []

    def keep(row: Row) -> None:
        same: Row = {"epochs": options.epochs, **where}
        rows.append(dict.fromkeys(COLUMNS, "") | dict(row) | dict(same))
        write_rows(rows, options.out)  # all so far: what follows may be cut short

    with Processes(options.device, options.workers, retries=0) as executor:
        executor.check()
        executor.prepare(trials)
        warmed_up(executor, trials)
        print(f"{executor.slots} trainings at a time by processes\n", flush=True)
        arms: dict[str, Arm] = {
            "processes": functools.partial(by_processes, executor=executor),
            "plain loop": functools.partial(by_plain_loop, device=options.device),
        }
        printed_rates(taken_in_turn(arms, trials, options.pairs, keep))
        if options.seeds:
            scores = seed_by_seed(arms, trials[0], options.seeds, keep)
            printed_scores(scores)


if __name__ == "__main__":
    main()
