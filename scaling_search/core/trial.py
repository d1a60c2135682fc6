"""Trials and their results: values that travel between processes."""

import hashlib
import math
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scaling_search.core.candidate import Candidate
from scaling_search.core.dataset import Dataset
from scaling_search.core.metric import VAL_LOSS, Metric
from scaling_search.core.own_training import OwnCommand, OwnTraining
from scaling_search.core.recipe import Recipe

Key = tuple[str, int, float | None, float | None]
"""Identity of a training in an experiment: network, seed, epochs, learning rate.

The last two are None where they are the business of a user's own training.
"""


_SIGNALS = {
    "SIGKILL": ", SIGKILL: by a user, or by the system for want of memory",
    "SIGBUS": ", SIGBUS: a file of the data became shorter while it was read",
    "SIGTERM": "",
}
"""Signals that end a process from outside, by their names: Windows lacks two of them."""

BY_SIGNAL = {int(one): _SIGNALS[one.name] for one in signal.Signals if one.name in _SIGNALS}
"""Words on those signals, by number."""


def lost(what: str, exitcode: int | None) -> str:
    """The reason of a training whose process ended before it did."""
    code = f" (exit code {exitcode}{BY_SIGNAL.get(-exitcode, '')})" if exitcode else ""
    return f"worker lost: {what}{code}"


@dataclass(frozen=True)
class Trial:
    """One training of one candidate with one seed.

    Attributes:
        on_test: True if the trained network is evaluated on the test split too.
        checkpoints: Folder of checkpoints, which all machines that train must share.
        weights: Folder of trained weights; None to keep none.
        fingerprint: Fingerprint that the data must have; empty for any.
        told: File that the training writes its number of epochs to, for a view; None for none.
        training: Function or command of the user that trains; None for this package's training.
        objective: The metric that decides.
        place: Working folder of a command; None for the process's.
        start: SHA-256 that the file ``recipe.start`` must have; empty for any.
    """

    candidate: Candidate
    seed: int
    recipe: Recipe
    dataset: Dataset | None
    on_test: bool = False
    checkpoints: Path | None = None
    weights: Path | None = None
    fingerprint: str = ""
    told: Path | None = None
    training: OwnTraining | OwnCommand | None = None
    objective: Metric = VAL_LOSS
    place: Path | None = None
    start: str = ""

    @property
    def key(self) -> Key:
        """Identity of the training."""
        if self.training is not None:
            return self.candidate.network, self.seed, None, None
        return self.candidate.network, self.seed, self.recipe.epochs, self.recipe.rate

    @property
    def checkpoint(self) -> Path | None:
        """The file of its checkpoint; None if the recipe has none."""
        has_none = self.recipe.checkpoint_minutes is None or self.training is not None
        if self.checkpoints is None or has_none:
            return None
        return self.checkpoints / f"{self._file_name}.safetensors"

    @property
    def folder(self) -> Path | None:
        """The folder of the user's own training; None for another one."""
        if self.checkpoints is None or self.training is None:
            return None
        return self.checkpoints / self._file_name

    @property
    def _file_name(self) -> str:
        return hashlib.sha256(repr((self.key, self.on_test)).encode()).hexdigest()[:32]

    @property
    def order(self) -> tuple[int, int]:
        """Place in the canonical order: seed by seed, then by candidate."""
        return self.seed, self.candidate.number


@dataclass(frozen=True)
class Epoch:
    """One point of a training curve; losses are mean cross-entropies in nats.

    Attributes:
        train_loss: Over the epoch's steps, with label smoothing and augmentation.
        val_loss: On the validation split, without smoothing.
        val_accuracy: Top-1 on the validation split, a fraction.
    """

    train_loss: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class OwnScores:
    """Scores of a training of the user's own.

    Attributes:
        metrics: The trained network's metrics by name; empty if it failed.
        curve: Metrics that it reported on the way, each with its ``epoch``.
    """

    metrics: Mapping[str, float]
    curve: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class TestScores:
    """Scores of a trained network on the test split.

    Attributes:
        loss: Mean cross-entropy in nats, without smoothing.
        accuracy: Top-1, a fraction.
        packed_losses: Each image's cross-entropy as float16, lowest byte first.
        packed_hits: One bit for each image, 1 if its class was predicted.
    """

    loss: float
    accuracy: float
    packed_losses: bytes
    packed_hits: bytes

    @property
    def losses(self) -> NDArray[np.float64]:
        """Each image's cross-entropy, to three digits."""
        return np.frombuffer(self.packed_losses, "<f2").astype(np.float64)

    @property
    def hits(self) -> NDArray[np.float64]:
        """For each image 1 if its class was predicted, else 0."""
        bits = np.frombuffer(self.packed_hits, np.uint8)
        return np.unpackbits(bits, count=len(self.packed_losses) // 2).astype(np.float64)


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        trial: The trial.
        state: COMPLETE or FAIL.
        reason: Reason of a failure in one line, else empty.
        curve: One point for each epoch that ended.
        train_seconds: Wall time of the training steps.
        total_seconds: Wall time with data and evaluation.
        images_per_second: Training images over `train_seconds`.
        attempts: Number of tries, this one included.
        device_share: Part of the device that it took.
        peak_memory_bytes: Largest memory: allocated on CUDA, else resident in the process.
        micro_batches: Parts of a batch whose gradients were summed because memory was short; batch
            norm then has the statistics of a part.
        device: Name of the device.
        host: Name of the machine.
        versions: Versions of Python and torch, and the CPU's vector instructions, on which bits
            depend too.
        traceback: Traceback of a failure.
        test: Scores of the last epoch's network on the test split, if the trial asked for them.
        own: Scores of a training of the user's own, whose `curve` is empty.
        had_to_be_alone: True if it did not fit beside others on its device and was trained again
            alone.
        needs_new_process: True if its process can no longer use the device.
    """

    trial: Trial
    state: Literal["COMPLETE", "FAIL"]
    reason: str = ""
    curve: tuple[Epoch, ...] = ()
    train_seconds: float = math.nan
    total_seconds: float = math.nan
    images_per_second: float = math.nan
    attempts: int = 1
    device_share: float = 1.0
    peak_memory_bytes: int = 0
    micro_batches: int = 1
    device: str = ""
    host: str = ""
    versions: str = ""
    traceback: str = ""
    test: TestScores | None = None
    own: OwnScores | None = None
    had_to_be_alone: bool = False
    needs_new_process: bool = False

    @property
    def scores(self) -> Mapping[str, float]:
        """The trained network's scores by the names of their columns; empty if it failed."""
        if self.own is not None:
            return self.own.metrics
        return asdict(self.curve[-1]) if self.state == "COMPLETE" else {}

    @property
    def points(self) -> list[dict[str, float]]:
        """The points of its curve."""
        if self.own is not None:
            return [dict(point) for point in self.own.curve]
        return [asdict(epoch) for epoch in self.curve]

    @property
    def kind(self) -> str:
        """The kind of its reason, equal for equal failures of several trainings."""
        return self.reason.partition(":")[0]

    @property
    def is_divergent(self) -> bool:
        """True if it failed because its loss was not finite."""
        return self.kind == FloatingPointError.__name__
