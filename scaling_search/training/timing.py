"""A few timed steps of some networks, to predict the duration of trainings."""

import contextlib
import gc
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from scaling_search.core.dataset import Split
from scaling_search.core.protocols import Executor
from scaling_search.core.trial import Trial
from scaling_search.runtime.progress import progress
from scaling_search.training.batches import load
from scaling_search.training.cuda_graphs import NUM_WARM_UP
from scaling_search.training.device_sharing import release_memory
from scaling_search.training.engine import device_name, settings
from scaling_search.training.evaluation import EVALUATED_AT_ONCE, Evaluation
from scaling_search.training.seeds import seeded_network
from scaling_search.training.steps import Steps

NUM_NETWORKS = 6
"""Least number of networks to time: three times the number of fitted coefficients."""

WARM_SECONDS, TIMED_SECONDS, EVALUATION_SECONDS = 0.5, 1.5, 0.5
"""Time of warm-up steps, of timed steps and of a timed evaluation.

Times instead of numbers, so that networks that are timed side by side end together.
"""

MOST_STEPS = 4000
"""Largest number of steps after the first ones, half of them to warm up."""

FIRST_STEPS, FIRST_EVALUATIONS = NUM_WARM_UP + 2, 2
"""Steps and evaluations in which kernels are chosen, compiled and captured."""

CHUNK_SECONDS = 0.1
"""Duration of the steps between two waits for the device."""


@dataclass(frozen=True)
class Timing:
    """Times of a few steps of a training.

    Attributes:
        trial: The training.
        start_seconds: Time until full speed: data, building, extra time of the first steps.
        step_seconds: Time of a step.
        evaluation_seconds: Time of the whole validation split, measured on a part of it.
        steps_per_epoch: Steps of an epoch.
        images_per_second: Training images over the steps' time.
        device: Name of the device.
    """

    trial: Trial
    start_seconds: float
    step_seconds: float
    evaluation_seconds: float
    steps_per_epoch: int
    images_per_second: float
    device: str


def time_networks(executor: Executor, trials: Sequence[Trial]) -> list[Timing]:
    """Timings of some of the networks, with all slots of an entered executor busy.

    Raises:
        RuntimeError: A network cannot be trained, or its worker was lost.
    """
    asked = [executor.call(time_training, trial) for trial in spread(trials, executor.slots)]
    for future in progress(asked, "timing networks", len(asked)):
        error = future.exception()
        if error is not None:
            raise RuntimeError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    return [future.result() for future in asked]


def spread(trials: Sequence[Trial], slots: int) -> list[Trial]:
    """Trainings of the base network and of others far apart in FLOPs and activations.

    Their number fills all slots equally often; with few networks they are repeated.
    """
    networks = {trial.candidate.network: trial for trial in reversed(trials)}
    by_number, by_flops, by_activations = (
        sorted(networks.values(), key=lambda trial: getattr(trial.candidate, name))
        for name in ("number", "flops", "activations")
    )
    extremes = (by_number[:1], by_flops[:1], by_flops[-1:], by_activations[:1], by_activations[-1:])
    chosen = {trial.candidate.network: trial for trial in itertools.chain(*extremes)}
    num_slots = max(1, slots)
    number = -(-min(NUM_NETWORKS, len(networks)) // num_slots) * num_slots
    between = [t for t in by_activations if t.candidate.network not in chosen]
    wanted = min(number - len(chosen), len(between))
    middle = [between[(2 * i + 1) * len(between) // (2 * wanted)] for i in range(wanted)]
    return list(itertools.islice(itertools.cycle([*chosen.values(), *middle]), number))


def time_training(trial: Trial, device: str) -> Timing:
    """Times a few steps of a training on a device, and a part of an evaluation.

    Raises:
        torch.OutOfMemoryError: The device cannot hold a whole batch.
    """
    try:
        with settings(trial.recipe, device):
            return _timed(trial, device)
    finally:
        gc.collect()
        with contextlib.suppress(RuntimeError):  # another error is raised then
            release_memory(device)


def _timed(trial: Trial, device: str) -> Timing:
    begun = time.perf_counter()
    resolution = trial.candidate.architecture.resolution
    data = load(trial.dataset, resolution, device, crops=trial.recipe.is_cropped)
    network = seeded_network(trial, device)
    num_images = len(data.splits.train.labels)
    per_epoch = num_images // min(trial.recipe.batch_size, num_images)
    num_epochs = (FIRST_STEPS + MOST_STEPS) / per_epoch
    recipe = replace(trial.recipe, epochs=num_epochs, warmup_epochs=0.0)
    steps = Steps(network, data, recipe, seed=trial.seed)
    with contextlib.closing(steps):
        steps.network.train()
        half = MOST_STEPS // 2
        for _ in range(FIRST_STEPS):
            steps.advance()
        num_warm, seconds = _taken(steps.advance, device, WARM_SECONDS, at_most=half)
        ready = time.perf_counter() - begun
        at_once = max(1, int(CHUNK_SECONDS * num_warm / seconds))
        num_timed, seconds = _taken(
            steps.advance, device, TIMED_SECONDS, at_most=half, at_once=min(at_once, half)
        )
        val = data.splits.val
        piece = Split(val.images[:EVALUATED_AT_ONCE], val.labels[:EVALUATED_AT_ONCE])
        evaluated = partial(Evaluation(steps.evaluated, data, trial.recipe).scores, piece)
        for _ in range(FIRST_EVALUATIONS):
            evaluated()
        num_pieces, piece_seconds = _taken(evaluated, device, EVALUATION_SECONDS)
        return Timing(
            trial,
            start_seconds=max(0.0, ready - (FIRST_STEPS + num_warm) * seconds / num_timed),
            step_seconds=seconds / num_timed,
            evaluation_seconds=piece_seconds / num_pieces * len(val.labels) / len(piece.labels),
            steps_per_epoch=steps.per_epoch,
            images_per_second=steps.batch_size * num_timed / seconds,
            device=device_name(device),
        )


def _taken(
    act: Callable[[], object],
    device: str,
    at_least: float,
    *,
    at_once: int = 1,
    at_most: float = math.inf,
) -> tuple[int, float]:
    """Repeats a call for ``at_least`` seconds, with a wait for the device after ``at_once`` calls.

    Returns the number of calls, at most ``at_most``, and their seconds.
    """
    wait_for(device)
    number, seconds, started = 0, 0.0, time.perf_counter()
    while number == 0 or (seconds < at_least and number + at_once <= at_most):
        for _ in range(at_once):
            act()
        wait_for(device)
        number, seconds = number + at_once, time.perf_counter() - started
    return number, seconds


def wait_for(device: str) -> None:
    """Waits until a device has finished its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()
