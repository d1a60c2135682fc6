"""The price of trainings in time, from finished ones or from a few timed steps."""

import heapq
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from scaling_search.core.candidate import Candidate
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.training.timing import Timing

Seconds = Callable[[Trial], float]
"""Duration of a training."""

EQUAL = 0.85
"""Trainings of at least this part of the most work count as equally long: then the order of the
candidates decides, whose first few are always spread over the triangle."""


@dataclass(frozen=True)
class Price:
    """The predicted time of some trainings; times are NaN if nothing was trained or timed before.

    Attributes:
        num_trainings: Trainings to do.
        num_known: Further trainings, which are done.
        shortest: Seconds of the shortest training.
        longest: Seconds of the longest training.
        seconds: Wall time of all trainings with all slots busy.
        device_seconds: The same, as time of whole devices.
        on_gpu: True if those devices are GPUs.
    """

    num_trainings: int
    num_known: int
    shortest: float
    longest: float
    seconds: float
    device_seconds: float
    on_gpu: bool


def price(
    trials: Iterable[Trial],
    finished: Sequence[TrialResult],
    *,
    known: Iterable[TrialResult],
    slots: int,
    device_share: float,
    timings: Sequence[Timing] = (),
) -> Price:
    """The price of trainings, from the times of finished ones, else from timed steps.

    Args:
        trials: All trainings.
        finished: Trainings whose times predict those of others.
        known: Results of those trials that are done.
        slots: Trainings at a time.
        device_share: Part of a device that a training takes.
        timings: Timings of some networks, used if nothing has ended.
    """
    # Without augmentation a training has the same key.
    done = {(result.trial.key, result.trial.recipe) for result in known}
    wanted = list(trials)
    left = [trial for trial in wanted if (trial.key, trial.recipe) not in done]
    ended = [result for result in finished if _is_timed(result)]
    known_by = [result.device for result in ended] or [timing.device for timing in timings]
    each: list[float] = []
    if ended or timings:
        predicted = predicted_seconds(ended) if ended else timed_seconds(timings)
        in_turn = sorted(left, key=lambda trial: (trial.seed, -work(trial)))
        each = [predicted(trial) for trial in in_turn]
    is_known = bool(each) or not left
    return Price(
        num_trainings=len(left),
        num_known=len(wanted) - len(left),
        shortest=min(each, default=math.nan),
        longest=max(each, default=math.nan),
        seconds=_wall_seconds(each, max(1, slots)) if is_known else math.nan,
        device_seconds=sum(each) * device_share if is_known else math.nan,
        on_gpu=bool(known_by) and known_by[0] not in {"cpu", "mps"},
    )


def work(trial: Trial) -> float:
    """Work of a training: multiply-adds of one image times epochs."""
    return trial.candidate.flops * trial.recipe.epochs


def longest_of_round(trials: Sequence[Trial]) -> Trial:
    """The training of most work of the lowest seed, so that no long one is left for the end.

    The base network with seed 0 comes first, as gains over it need it.

    Args:
        trials: Sorted by seed, then by candidate; the first that is `EQUAL` to the longest counts.
    """
    if trials[0].order == (0, 0):
        return trials[0]
    lowest = trials[0].seed
    of_round = list(itertools.takewhile(lambda trial: trial.seed == lowest, trials))
    most = max(map(work, of_round))
    return next(trial for trial in of_round if work(trial) >= EQUAL * most)


def predicted_seconds(finished: Sequence[TrialResult]) -> Seconds:
    """Predicts the duration of a training from finished ones.

    Per epoch it is the mean of the network's own trainings, else a linear fit over FLOPs, else,
    where that fails or is negative, proportional to FLOPs. In FLOPs while nothing has ended.
    """
    ended = [result for result in finished if _is_timed(result)]
    own: dict[str, list[float]] = {}
    for result in ended:
        own.setdefault(result.trial.candidate.network, []).append(_seconds_per_epoch(result))
    flops = np.array([r.trial.candidate.flops for r in ended], dtype=float)
    seconds = np.array([_seconds_per_epoch(r) for r in ended])
    pace = float(seconds.sum() / flops.sum()) if ended else 1.0
    start, rise = 0.0, pace
    if len(np.unique(flops)) > 1:
        away = flops - flops.mean()
        rise = float(away @ seconds / (away @ away))
        start = float(seconds.mean() - rise * flops.mean())

    def seconds_of(trial: Trial) -> float:
        candidate, epochs = trial.candidate, trial.recipe.epochs
        if candidate.network in own:
            mine = own[candidate.network]
            return epochs * sum(mine) / len(mine)
        predicted = start + rise * candidate.flops
        return epochs * (predicted if predicted > 0 else pace * candidate.flops)

    return seconds_of


def timed_seconds(timings: Sequence[Timing]) -> Seconds:
    """Predicts the duration of a training from timed steps of some networks.

    A start, then steps and evaluations, each of them a + b·FLOPs + c·activations of an image.
    """
    candidates = [timing.trial.candidate for timing in timings]
    step = fitted(candidates, [timing.step_seconds for timing in timings])
    evaluation = fitted(candidates, [timing.evaluation_seconds for timing in timings])
    # The first training of a process starts slower than all others.
    start = statistics.median(timing.start_seconds for timing in timings)
    steps_per_epoch = timings[0].steps_per_epoch

    def seconds_of(trial: Trial) -> float:
        steps = trial.recipe.num_steps(steps_per_epoch)
        evaluations = math.ceil(steps / steps_per_epoch)
        candidate = trial.candidate
        return start + steps * step(candidate) + evaluations * evaluation(candidate)

    return seconds_of


def fitted(
    candidates: Sequence[Candidate], seconds: Sequence[float]
) -> Callable[[Candidate], float]:
    """Seconds as a + b·FLOPs + c·activations, none of the three below 0, by least relative squares.

    Args:
        candidates: Networks.
        seconds: Seconds of each, above 0.
    """
    columns = _columns(candidates)
    scale = columns.max(axis=0)
    measured = np.array(seconds)[:, None]
    solution, _ = nnls(columns / scale / measured, np.ones(len(candidates)))
    coefficients = solution / scale
    return lambda candidate: float((_columns([candidate]) @ coefficients)[0])


def _columns(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    return np.array([[1.0, c.flops, c.activations] for c in candidates])


def _wall_seconds(each: Sequence[float], slots: int) -> float:
    """Time at which the last training ends, if a free slot takes the next at once."""
    ends = [0.0] * slots
    for seconds in each:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _is_timed(result: TrialResult) -> bool:
    return result.state == "COMPLETE" and result.total_seconds > 0


def _seconds_per_epoch(result: TrialResult) -> float:
    return result.total_seconds / result.trial.recipe.epochs
