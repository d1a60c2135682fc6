"""One network, one seed, one device: from a trial to its result."""

import contextlib
import ctypes
import functools
import gc
import math
import os
import platform
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.torch_version import TorchVersion

from scaling_search.core.recipe import Recipe
from scaling_search.core.trial import Epoch, Trial, TrialResult
from scaling_search.runtime.threads import threads
from scaling_search.training.batches import CROPS_ARE_OF, Loaded, load
from scaling_search.training.checkpoints import Progress
from scaling_search.training.device_errors import is_out_of_memory, needs_new_process
from scaling_search.training.evaluation import EVALUATED_AT_ONCE, Evaluation
from scaling_search.training.neighbours import Turn, give_back_memory
from scaling_search.training.recorded import aside
from scaling_search.training.steps import Steps
from scaling_search.training.weights import keep_weights

VERSIONS = f"python {platform.python_version()}, torch {torch.__version__}"
KEPT_BYTES = 1 << 30
"""Freed memory that a process on a CPU keeps for its next step."""


def train_trial(trial: Trial, device: str) -> TrialResult:
    """The result of a trial on a device (``cpu``, ``cuda:1``, ``mps``).

    The same trial gives the same bits on a CPU, in whatever process, and on one kind of CUDA
    device with ``recipe.deterministic``. Where the device's memory does not hold a batch beside
    other workers, the training begins again alone on the device; where it does not hold it then,
    with the batch in two parts, then four, and so on. What goes wrong is a result too.
    """
    name, started = "", time.perf_counter()
    with Turn() as turn:
        try:
            name = device_name(device)
            with settings(trial.recipe, device):
                result = _trained_in_memory(trial, device, turn)
        except Exception as error:  # noqa: BLE001 - a failed training is a row, never the end
            result = TrialResult(
                trial,
                "FAIL",
                reason=f"{type(error).__name__}: {error}".splitlines()[0],
                traceback=traceback.format_exc(),
                needs_new_process=needs_new_process(error),
            )
        result = _memory_given_back(result, device)
        seconds = time.perf_counter() - started - turn.waited_seconds
    before = 0.0 if math.isnan(result.total_seconds) else result.total_seconds
    return replace(
        result,
        total_seconds=before + seconds,
        device=name,
        host=socket.gethostname(),
        versions=VERSIONS,
    )


@contextlib.contextmanager
def settings(recipe: Recipe, device: str) -> Iterator[None]:
    """On a CPU one thread, as two give other bits; on CUDA a stream and the choice of kernels."""
    with contextlib.ExitStack() as stack:
        if device == "cpu":
            _keep_freed_memory()
            stack.enter_context(threads(1))
        elif device.startswith("cuda"):
            stack.enter_context(torch.cuda.device(device))
            stack.enter_context(aside(torch.device(device)))
            stack.enter_context(kernels(is_deterministic=recipe.deterministic))
            torch.cuda.reset_peak_memory_stats(device)
        yield


@contextlib.contextmanager
def kernels(*, is_deterministic: bool) -> Iterator[None]:
    """Torch chooses kernels by its rules, deterministic ones where asked; afterwards as before.

    It does not try them. Every training of a search has another network, for which trying takes
    seconds, and the choice differs from run to run, and with it the bits.
    """
    cudnn: Any = torch.backends.cudnn  # attributes that torch's stubs leave out
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    is_tried, is_filled = cudnn.benchmark, memory.fill_uninitialized_memory
    if TorchVersion(torch.__version__) < TorchVersion("2.10"):
        # Deterministic products need it, and torch looks for it once, at the first of a process.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(is_deterministic)
    cudnn.benchmark = False
    memory.fill_uninitialized_memory = False  # a kernel for each new tensor, to find bugs
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        cudnn.benchmark, memory.fill_uninitialized_memory = is_tried, is_filled


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


def _trained_in_memory(trial: Trial, device: str, turn: Turn) -> TrialResult:
    """The result of a training with its batches in as few parts as memory allows.

    Raises:
        torch.OutOfMemoryError: Not even one image fits.
    """
    resolution = trial.candidate.architecture.resolution
    crops = trial.recipe.crop > 0
    data = load(trial.dataset, resolution, device, trial.fingerprint, crops=crops)
    batch_size = min(trial.recipe.batch_size, len(data.splits.train.labels))
    was_alone, micro_batches = turn.is_alone, 1
    while True:
        try:
            result = _trained(trial, data, device, micro_batches)
        except RuntimeError as error:
            is_last = turn.is_alone and micro_batches == batch_size
            if is_last or not is_out_of_memory(error):
                raise
        else:
            return replace(result, had_to_be_alone=turn.is_alone and not was_alone)
        # Here the error is gone, and with it the last hold on what it left behind.
        gc.collect()
        give_back_memory(device)
        if turn.is_alone:
            micro_batches = min(2 * micro_batches, batch_size)
        else:
            turn.be_alone()


def _memory_given_back(result: TrialResult, device: str) -> TrialResult:
    """The result, once others have the memory that its training held.

    What PyTorch keeps for the next training is lost to other processes, a recorded step's too.
    """
    if result.needs_new_process or not device.startswith("cuda"):
        return result
    if result.state == "FAIL":
        gc.collect()  # a traceback holds on; to look for more would take 0.2 s of each training
    try:
        give_back_memory(device)
    except RuntimeError:
        return replace(result, needs_new_process=True)
    return result


def _trained(trial: Trial, data: Loaded, device: str, micro_batches: int) -> TrialResult:
    # The stream of initialisation and dropout; what the network draws moves nothing else.
    torch.manual_seed(trial.seed)
    network = trial.candidate.architecture.build().to(device)
    steps = Steps(network, data, trial.recipe, seed=trial.seed, micro_batches=micro_batches)
    with contextlib.closing(steps):
        return _by_steps(trial, data, steps, device, micro_batches)


def _by_steps(
    trial: Trial, data: Loaded, steps: Steps, device: str, micro_batches: int
) -> TrialResult:
    where = f"{VERSIONS}, {device_name(device)}, micro-batches {micro_batches}, {CROPS_ARE_OF}"
    progress = Progress(trial, steps, where)
    progress.restore()
    at_once = -(-EVALUATED_AT_ONCE // micro_batches)
    evaluation = Evaluation(steps.evaluated, data, trial.recipe, at_once=at_once)
    while steps.taken < steps.total:
        with progress.timed():
            steps.network.train()
            # The epoch's one wait for the device.
            train_loss = steps.epoch(progress.keep_if_due).item() / steps.taken_of_epoch
        _check_finite("training", train_loss, len(progress.curve))
        val_loss, val_accuracy = evaluation.scores(data.splits.val)
        _check_finite("validation", val_loss, len(progress.curve))
        progress.curve.append(Epoch(train_loss, val_loss, val_accuracy))
        progress.keep_if_due()
    test = None
    if trial.on_test:
        test = evaluation.test_scores(data.splits.test)
        _check_finite("test", test.loss, len(progress.curve) - 1)
    keep_weights(trial, steps.evaluated, data, progress.curve[-1])
    return TrialResult(
        trial,
        "COMPLETE",
        curve=tuple(progress.curve),
        train_seconds=progress.train_seconds,
        total_seconds=progress.seconds_before,
        images_per_second=steps.total * steps.batch_size / progress.train_seconds,
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


def devices(device: str, key: str = "executor.device") -> list[str]:
    """The devices that a choice names: all of the best kind for ``auto``, all GPUs for ``cuda``.

    Args:
        device: The choice.
        key: The option that holds it.

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
        raise ValueError(f"{key} must be on this machine, got {device!r}; there are: {there}")
    return named


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
