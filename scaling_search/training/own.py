"""Trainings by a function or a command of the user's own."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, validate_call
from torch import Tensor
from torch.utils.data import Dataset

from scaling_search.core.dataset import Split
from scaling_search.core.own_training import KEY, OwnCommand, OwnTraining
from scaling_search.core.part import CHECKED
from scaling_search.core.trial import Trial, TrialResult, lost
from scaling_search.runtime.threads import threads
from scaling_search.training import command_lines
from scaling_search.training.batches import Loaded, load
from scaling_search.training.command_lines import CommandLostError
from scaling_search.training.own_results import checked_metrics, own_result, usable_metrics
from scaling_search.training.seeds import seeded_network


@validate_call(config=CHECKED)
def custom(function: Callable[..., object], *, keep: bool = False) -> OwnTraining:
    """The training that a user function does.

    Args:
        function: The function, or a `functools.partial` of it with options of its own.
        keep: True to keep each training's folder in ``trainings`` of the run's folder.
    """
    return OwnTraining.of(function, keep=keep)


@validate_call(config=CHECKED)
def command(
    command: Annotated[str, Field(min_length=1)], *, prefix: str = "", keep: bool = False
) -> OwnCommand:
    """The training that a command line does.

    Args:
        command: The line, quoted as for a shell, with values in braces: ``{depth}``, ``{width}``,
            ``{resolution}`` in pixels, ``{seed}`` and others of docs/training.md.
        prefix: What stands before it, as ``srun`` with its options.
        keep: True to keep each training's folder in ``trainings`` of the run's folder.
    """
    return OwnCommand(command, prefix, keep)


@validate_call(config=CHECKED)
def builtin() -> None:
    """This package's own training, by the recipe."""


class Images(Dataset[tuple[Tensor, int]]):
    """A split of images (C, H, W), of mean 0 and variance 1 over the train split, with labels."""

    def __init__(self, split: Split, loaded: Loaded) -> None:
        self._split, self._loaded = split, loaded

    def __len__(self) -> int:
        """Number of images."""
        return len(self._split.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """An image and its label."""
        if not -len(self) <= index < len(self):  # it ends a loop over the dataset
            raise IndexError(index)
        image = self._loaded.normalised(self._split.images[index][None])[0]
        return image, int(self._split.labels[index])


@dataclass(frozen=True)
class Data:
    """The data of a training at its network's resolution.

    Attributes:
        train: Images to train with.
        val: Images that decide.
        test: None but in a confirmation, so that a search does not see them.
    """

    train: Images
    val: Images
    test: Images | None


@dataclass
class Reporter:
    """The function ``report(epoch, **metrics)`` of one training.

    Attributes:
        trial: The training.
        curve: The points that were reported.
    """

    trial: Trial
    curve: list[Mapping[str, float]] = field(default_factory=list)

    def __call__(self, epoch: float, **metrics: object) -> None:
        """Keeps a point of the curve and shows the epoch.

        Raises:
            ValueError: A value is no number.
            FloatingPointError: A value is not finite, which ends the training.
        """
        point = checked_metrics(self.trial, metrics, "report")
        at = float(epoch)
        self.curve.append({"epoch": int(at) if at.is_integer() else at, **point})
        if self.trial.told is not None:
            # The view may have ended, or run on another machine; the training goes on.
            with contextlib.suppress(OSError):
                self.trial.told.write_text(f"{at:g}", encoding="ascii")


def train_own(trial: Trial, device: str) -> TrialResult:
    """The result of a training of the user's own; raises what the function raises."""
    report = Reporter(trial)
    with _folder(trial) as folder:
        since = time.perf_counter()
        if isinstance(trial.training, OwnCommand):
            result = _by_command(trial, trial.training, device, folder, report)
        else:
            assert trial.training is not None
            result = _by_function(trial, trial.training, device, folder, report)
        return replace(result, train_seconds=time.perf_counter() - since)


def _by_command(
    trial: Trial, training: OwnCommand, device: str, folder: Path, report: Reporter
) -> TrialResult:
    """The result of a command; entries of its lines that are no metrics are left out."""
    started = training.words(command_lines.values(trial, folder, device))
    try:
        command_lines.run(
            started,
            folder,
            device,
            lambda line: report(line["epoch"], **usable_metrics(trial, line)),
            place=trial.place,
        )
    except CommandLostError as error:
        return TrialResult(trial, "FAIL", reason=lost(str(error), error.exitcode))
    left = command_lines.outcome(folder, trial.objective.name)
    metrics = usable_metrics(trial, left)
    return own_result(trial, metrics, report.curve, source="training.command")


def _by_function(
    trial: Trial, training: OwnTraining, device: str, folder: Path, report: Reporter
) -> TrialResult:
    """The result of a function; raises what that raises."""
    with _settings(device):
        network = seeded_network(trial, device)
        data = _data(trial)
        try:
            metrics = training.function(
                network=network,
                data=data,
                seed=trial.seed,
                device=device,
                folder=folder,
                report=report,
                **training.keywords,
            )
        except FloatingPointError:
            raise
        except (Exception, SystemExit) as error:
            where = f"{type(error).__name__}: {error}".splitlines()[0]
            raise RuntimeError(f"{KEY} must return metrics, got {where}") from error
        return own_result(trial, metrics, report.curve)


@contextlib.contextmanager
def _settings(device: str) -> Iterator[None]:
    """One thread on a CPU, as this package's training has; the named device on CUDA."""
    with contextlib.ExitStack() as stack:
        if device == "cpu":
            stack.enter_context(threads(1))
        elif device.startswith("cuda"):
            stack.enter_context(torch.cuda.device(device))
            torch.cuda.reset_peak_memory_stats(device)
        yield


@contextlib.contextmanager
def _folder(trial: Trial) -> Iterator[Path]:
    """The training's own folder, which outlasts a failure; elsewhere a temporary one."""
    if trial.folder is None:
        with tempfile.TemporaryDirectory(prefix="scaling-search-") as folder:
            yield Path(folder)
        return
    trial.folder.mkdir(parents=True, exist_ok=True)
    yield trial.folder


def _data(trial: Trial) -> Data | None:
    if trial.dataset is None:
        return None
    resolution = trial.candidate.architecture.resolution
    loaded = load(trial.dataset, resolution, "cpu", trial.fingerprint, crops=False)
    splits = loaded.splits
    return Data(
        train=Images(splits.train, loaded),
        val=Images(splits.val, loaded),
        test=Images(splits.test, loaded) if trial.on_test else None,
    )
