"""The training of one network with one seed on one device."""

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
from scaling_search.training.cuda_graphs import capturable_stream
from scaling_search.training.device_errors import is_out_of_memory, needs_new_process
from scaling_search.training.device_sharing import DeviceLock, release_memory
from scaling_search.training.evaluation import EVALUATED_AT_ONCE, Evaluation
from scaling_search.training.own import train_own
from scaling_search.training.seeds import seeded_network
from scaling_search.training.steps import Steps
from scaling_search.training.weights import keep_weights

VERSIONS = (
    f"python {platform.python_version()}, torch {torch.__version__}, "
    f"{torch.backends.cpu.get_cpu_capability()}"
)
KEPT_BYTES = 1 << 30
"""Freed memory that a process on a CPU keeps for its next step."""


def train_trial(trial: Trial, device: str) -> TrialResult:
    """The result of a trial on a device (``cpu``, ``cuda:1``, ``mps``); an error is a result too.

    The same trial gives the same bits on a CPU, in every process, and on one kind of CUDA device
    with ``recipe.deterministic``. If a batch does not fit the device's memory beside other workers,
    the training begins again alone on the device, then with the batch in two parts, four, ...
    """
    name, started = "", time.perf_counter()
    with DeviceLock() as lock:
        try:
            name = device_name(device)
            result = _trained_by(trial, device, lock)
        except Exception as error:  # noqa: BLE001 - a failed training is a row, never the end
            result = TrialResult(
                trial,
                "FAIL",
                reason=f"{type(error).__name__}: {error}".splitlines()[0],
                traceback=traceback.format_exc(),
                needs_new_process=needs_new_process(error),
            )
        result = _memory_given_back(result, device)
        seconds = time.perf_counter() - started - lock.waited_seconds
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
    """Sets up a device: one thread on a CPU, as two give other bits; on CUDA stream and kernels."""
    with contextlib.ExitStack() as stack:
        if device == "cpu":
            _keep_freed_memory()
            stack.enter_context(threads(1))
        elif device.startswith("cuda"):
            stack.enter_context(torch.cuda.device(device))
            stack.enter_context(capturable_stream(torch.device(device)))
            stack.enter_context(kernels(is_deterministic=recipe.deterministic))
            torch.cuda.reset_peak_memory_stats(device)
        yield


@contextlib.contextmanager
def kernels(*, is_deterministic: bool) -> Iterator[None]:
    """Sets how torch chooses kernels: by its rules, and deterministic ones if asked.

    It benchmarks none: that takes seconds for each network, and the choice and with it the bits
    would differ from run to run.
    """
    cudnn: Any = torch.backends.cudnn  # attributes that torch's stubs leave out
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    is_tried, is_filled = cudnn.benchmark, memory.fill_uninitialized_memory
    if TorchVersion(torch.__version__) < TorchVersion("2.10"):
        # Deterministic products need it, and torch reads it once, at the first of a process.
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
    """Makes glibc keep freed memory, which else goes back to the kernel after each step."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold, largest = -1, -3, 32 << 20  # of malloc.h
        libc.mallopt(m_mmap_threshold, largest)
        libc.mallopt(m_trim_threshold, KEPT_BYTES)


def _trained_by(trial: Trial, device: str, lock: DeviceLock) -> TrialResult:
    """The result of this package's training, or of the user's own."""
    if trial.training is not None:
        return replace(train_own(trial, device), peak_memory_bytes=_peak_memory_bytes(device))
    with settings(trial.recipe, device):
        return _trained_in_memory(trial, device, lock)


def _trained_in_memory(trial: Trial, device: str, lock: DeviceLock) -> TrialResult:
    """The result of a training with its batches in as few parts as memory allows."""
    assert trial.dataset is not None
    resolution = trial.candidate.architecture.resolution
    crops = trial.recipe.is_cropped
    data = load(trial.dataset, resolution, device, trial.fingerprint, crops=crops)
    batch_size = min(trial.recipe.batch_size, len(data.splits.train.labels))
    was_alone, micro_batches = lock.is_exclusive, 1
    while True:
        try:
            result = _trained(trial, data, device, micro_batches)
        except RuntimeError as error:
            is_last = lock.is_exclusive and micro_batches == batch_size
            if is_last or not is_out_of_memory(error):
                raise
        else:
            return replace(result, had_to_be_alone=lock.is_exclusive and not was_alone)
        # Here the error is gone, and with it the last reference to its tensors.
        gc.collect()
        release_memory(device)
        if lock.is_exclusive:
            micro_batches = min(2 * micro_batches, batch_size)
        else:
            lock.make_exclusive()


def _memory_given_back(result: TrialResult, device: str) -> TrialResult:
    """The result, after its training's memory was released for other processes."""
    if result.needs_new_process or not device.startswith("cuda"):
        return result
    if result.state == "FAIL":
        gc.collect()  # a traceback holds tensors; for each training it would take 0.2 s
    try:
        release_memory(device)
    except RuntimeError:
        return replace(result, needs_new_process=True)
    return result


def _trained(trial: Trial, data: Loaded, device: str, micro_batches: int) -> TrialResult:
    network = seeded_network(trial, device)
    steps = Steps(network, data, trial.recipe, seed=trial.seed, micro_batches=micro_batches)
    with contextlib.closing(steps):
        where = f"{VERSIONS}, {device_name(device)}, micro-batches {micro_batches}, {CROPS_ARE_OF}"
        progress = Progress(trial, steps, where)
        progress.restore()
        at_once = -(-EVALUATED_AT_ONCE // micro_batches)
        evaluation = Evaluation(steps.evaluated, data, trial.recipe, at_once=at_once)
        while steps.taken < steps.total:
            with progress.timed():
                steps.network.train()
                # The epoch's one wait for the device.
                train_loss = steps.epoch(progress.after_step).item() / steps.taken_of_epoch
            _check_finite("training", train_loss, len(progress.curve))
            val_loss, val_accuracy = evaluation.scores(data.splits.val)
            _check_finite("validation", val_loss, len(progress.curve))
            progress.curve.append(Epoch(train_loss, val_loss, val_accuracy))
            progress.after_step()
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
    """The devices of an option: all of the best kind for ``auto``, all GPUs for ``cuda``.

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
    """The name of a device: the GPU's model, else its kind."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
