"""One network, one seed, one device: from a trial to its result."""

import contextlib
import ctypes
import functools
import gc
import math
import platform
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from scaling_search.batches import Loaded, load
from scaling_search.candidates import Candidate
from scaling_search.protocols import Dataset, Split
from scaling_search.recipe import Recipe, learning_rate
from scaling_search.steps import Steps, autocast

__all__ = [
    "Epoch",
    "Key",
    "Recipe",
    "TestScores",
    "Trial",
    "TrialResult",
    "device_name",
    "devices",
    "evaluate",
    "learning_rate",
    "settings",
    "train_trial",
]

VERSIONS = f"python {platform.python_version()}, torch {torch.__version__}"
EVALUATED_AT_ONCE = 500
"""Images in a batch of evaluation: enough to fill a device, few enough for its memory."""

KEPT_BYTES = 1 << 30
"""Freed memory that a process on a CPU keeps for its next step."""


Key = tuple[str, int, float, float]
"""What makes a training the same within an experiment: network, seed, epochs, learning rate."""


@dataclass(frozen=True)
class Trial:
    """One training of one candidate with one seed; small, whole, and able to travel.

    Attributes:
        on_test: Whether the trained network is evaluated on the test split too, once.
    """

    candidate: Candidate
    seed: int
    recipe: Recipe
    dataset: Dataset
    on_test: bool = False

    @property
    def key(self) -> Key:
        """What makes it the same as another."""
        return self.candidate.network, self.seed, self.recipe.epochs, self.recipe.learning_rate

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
class TestScores:
    """What a trained network gave on the test split.

    Attributes:
        loss: Mean cross-entropy in nats, without smoothing.
        accuracy: Top-1, a fraction.
        packed_losses: Each image's cross-entropy as float16, lowest byte first.
        packed_hits: Whether each image was recognised, eight to a byte.
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
        """For each image 1 if it was recognised, else 0."""
        bits = np.frombuffer(self.packed_hits, np.uint8)
        return np.unpackbits(bits, count=len(self.packed_losses) // 2).astype(np.float64)


@dataclass(frozen=True)
class TrialResult:
    """What a trial gave. Metrics are those of the last epoch, None if it failed.

    Attributes:
        trial: The trial.
        state: COMPLETE or FAIL.
        reason: Why it failed, in one line, else empty.
        curve: One point for each epoch that ended.
        train_seconds: Wall time of the training steps.
        total_seconds: Wall time of all, data and evaluation included.
        images_per_second: Training images over `train_seconds`.
        device_share: Part of the device that it took, as its executor says.
        peak_memory_bytes: Most memory held: allocated on CUDA, else resident in the process.
        micro_batches: Parts of a batch whose gradients were summed because memory was short; batch
            norm then has the statistics of a part.
        device: Where it ran, by the device's own name.
        host: Name of the machine.
        versions: Of Python and torch.
        traceback: For the log.
        test: Of the last epoch's network on the test split, where the trial asked for it.
    """

    trial: Trial
    state: Literal["COMPLETE", "FAIL"]
    reason: str = ""
    curve: tuple[Epoch, ...] = ()
    train_seconds: float = math.nan
    total_seconds: float = math.nan
    images_per_second: float = math.nan
    device_share: float = 1.0
    peak_memory_bytes: int = 0
    micro_batches: int = 1
    device: str = ""
    host: str = ""
    versions: str = ""
    traceback: str = ""
    test: TestScores | None = None


def train_trial(trial: Trial, device: str) -> TrialResult:
    """The result of a trial on a device (``cpu``, ``cuda:1``, ``mps``).

    The same trial gives the same bits on a CPU, in whatever process, and on one kind of CUDA
    device with ``recipe.deterministic``. Where the device's memory does not hold a batch, the
    training begins again with the batch in two parts, then four, and so on. What goes wrong is a
    result too.
    """
    started = time.perf_counter()
    try:
        with settings(trial.recipe, device):
            result = _trained_in_memory(trial, device)
    except Exception as error:  # noqa: BLE001 - a failed training is a row, never the end
        result = TrialResult(
            trial,
            "FAIL",
            reason=f"{type(error).__name__}: {error}".splitlines()[0],
            traceback=traceback.format_exc(),
        )
    return replace(
        result,
        total_seconds=time.perf_counter() - started,
        device=device_name(device),
        host=socket.gethostname(),
        versions=VERSIONS,
    )


@contextlib.contextmanager
def settings(recipe: Recipe, device: str) -> Iterator[None]:
    """One thread on a CPU, where two give other bits; deterministic kernels where asked."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    with contextlib.ExitStack() as stack:
        if device == "cpu":
            _keep_freed_memory()
            torch.set_num_threads(1)
        elif device.startswith("cuda"):
            stack.enter_context(torch.cuda.device(device))
            torch.cuda.reset_peak_memory_stats(device)
            torch.use_deterministic_algorithms(recipe.deterministic)
            torch.backends.cudnn.benchmark = not recipe.deterministic
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)


@functools.cache
def _keep_freed_memory() -> None:
    """Lets this process keep what it frees, where the C library is glibc.

    By default it goes back to the kernel after each step, and the next one waits for it again.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold, largest = -1, -3, 32 << 20  # of malloc.h
        libc.mallopt(m_mmap_threshold, largest)
        libc.mallopt(m_trim_threshold, KEPT_BYTES)


def _trained_in_memory(trial: Trial, device: str) -> TrialResult:
    """The result of a training with its batches in as few parts as memory allows.

    Raises:
        torch.OutOfMemoryError: Not even one image fits.
    """
    data = load(trial.dataset, trial.candidate.architecture.resolution, device)
    batch_size = min(trial.recipe.batch_size, len(data.splits.train.labels))
    micro_batches = 1
    while True:
        try:
            return _trained(trial, data, device, micro_batches)
        except RuntimeError as error:
            if micro_batches == batch_size or not _is_out_of_memory(error):
                raise
        # Here the error is gone, and with it the last hold on what it left behind.
        micro_batches = min(2 * micro_batches, batch_size)
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was short, be it only the cause of what ended the recording of a step."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__context__
    return error is not None


def _trained(trial: Trial, data: Loaded, device: str, micro_batches: int) -> TrialResult:
    # The stream of initialisation and dropout; what the network draws moves nothing else.
    torch.manual_seed(trial.seed)
    network = trial.candidate.architecture.build().to(device)
    steps = Steps(network, data, trial.recipe, seed=trial.seed, micro_batches=micro_batches)
    evaluated = steps.averaged or steps.network
    at_once = -(-EVALUATED_AT_ONCE // micro_batches)
    curve: list[Epoch] = []
    train_seconds = 0.0
    while steps.taken < steps.total:
        started, before = time.perf_counter(), steps.taken
        steps.network.train()
        losses = steps.epoch().item()  # the epoch's one wait for the device
        train_loss = losses / (steps.taken - before)
        train_seconds += time.perf_counter() - started
        _check_finite("training", train_loss, len(curve))
        val_loss, val_accuracy = evaluate(
            evaluated, data, data.splits.val, trial, device, at_once=at_once
        )
        _check_finite("validation", val_loss, len(curve))
        curve.append(Epoch(train_loss, val_loss, val_accuracy))
    test = None
    if trial.on_test:
        test = _test(evaluated, data, trial, device, at_once)
        _check_finite("test", test.loss, len(curve) - 1)
    return TrialResult(
        trial,
        "COMPLETE",
        curve=tuple(curve),
        train_seconds=train_seconds,
        images_per_second=steps.total * steps.batch_size / train_seconds,
        peak_memory_bytes=_peak_memory_bytes(device),
        micro_batches=micro_batches,
        test=test,
    )


def _check_finite(split: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the {split} loss must be finite, got {loss} in epoch {epoch + 1}; "
            "a smaller recipe.learning_rate or a longer recipe.warmup_epochs help"
        )


def devices(device: str) -> list[str]:
    """The devices that a choice names: all of the best kind for ``auto``, all GPUs for ``cuda``.

    Raises:
        ValueError: This machine has no such device.
    """
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    if device == "auto":
        return cuda or mps or ["cpu"]
    named = cuda if device == "cuda" else [device]
    if not named or named[0] not in {*cuda, *mps, "cpu"}:
        there = ", ".join([*cuda, *mps, "cpu"])
        raise ValueError(
            f"executor.device must be on this machine, got {device!r}; there are: {there}"
        )
    return named


def evaluate(
    network: nn.Module,
    data: Loaded,
    split: Split,
    trial: Trial,
    device: str,
    *,
    at_once: int = EVALUATED_AT_ONCE,
) -> tuple[float, float]:
    """Mean cross-entropy in nats, without smoothing, and top-1 accuracy on a split."""
    losses = torch.zeros((), device=device, dtype=torch.float64)
    hits = torch.zeros((), device=device, dtype=torch.int64)
    for logits, labels in _answers(network, data, split, trial, device, at_once):
        losses += functional.cross_entropy(logits.float(), labels, reduction="sum")
        hits += (logits.argmax(1) == labels).sum()
    return losses.item() / len(split.labels), hits.item() / len(split.labels)


def _test(network: nn.Module, data: Loaded, trial: Trial, device: str, at_once: int) -> TestScores:
    """What a trained network gives on each image of the test split."""
    losses, hits = [], []
    for logits, labels in _answers(network, data, data.splits.test, trial, device, at_once):
        losses.append(functional.cross_entropy(logits.float(), labels, reduction="none"))
        hits.append(logits.argmax(1) == labels)
    loss = torch.cat(losses).cpu().double()
    hit = torch.cat(hits).cpu()
    largest = torch.finfo(torch.float16).max
    return TestScores(
        loss=loss.mean().item(),
        accuracy=hit.double().mean().item(),
        packed_losses=loss.clamp(max=largest).numpy().astype("<f2").tobytes(),
        packed_hits=np.packbits(hit.numpy()).tobytes(),
    )


def _answers(
    network: nn.Module, data: Loaded, split: Split, trial: Trial, device: str, at_once: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The logits of a split and its labels, batch by batch."""
    network.eval()
    for start in range(0, len(split.labels), at_once):
        batch = slice(start, start + at_once)
        labels = split.labels[batch]
        with torch.inference_mode():
            inputs = data.normalised(split.images[batch])
            if trial.recipe.channels_last:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            with autocast(trial.recipe, device.partition(":")[0]):
                logits = network(inputs)
        yield logits, labels


def _peak_memory_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if platform.system() == "Windows":
        return 0
    import resource  # absent on Windows  # noqa: PLC0415

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def device_name(device: str) -> str:
    """What a device calls itself: the GPU's model, else its kind."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
