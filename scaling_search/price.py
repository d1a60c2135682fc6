"""What trainings will take, by those that have ended."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scaling_search.training import Trial, TrialResult


@dataclass(frozen=True)
class Price:
    """What some trainings will take.

    Attributes:
        num_trainings: Yet to be done.
        num_known: Of the same list, done before.
        seconds: Wall time of those to be done with all slots busy; NaN where nothing has been
            trained that could say.
        device_seconds: The same, as time of whole devices.
    """

    num_trainings: int
    num_known: int
    seconds: float
    device_seconds: float


def price(
    trials: Iterable[Trial],
    finished: Sequence[TrialResult],
    *,
    known: Iterable[TrialResult],
    slots: int,
    device_share: float,
) -> Price:
    """What trainings will take, by the seconds of those that have ended.

    Args:
        trials: All of them.
        finished: Trainings whose times say how long others take.
        known: Results of those of the trials that need not be done.
        slots: Trainings at a time.
        device_share: Part of a device that one takes.
    """
    done = {result.trial.key for result in known}
    wanted = list(trials)
    left = [trial for trial in wanted if trial.key not in done]
    predicted = predicted_seconds(finished)
    has_times = any(_is_timed(result) for result in finished)
    total = sum(map(predicted, left)) if has_times or not left else math.nan
    return Price(len(left), len(wanted) - len(left), total / max(1, slots), total * device_share)


def predicted_seconds(finished: Sequence[TrialResult]) -> Callable[[Trial], float]:
    """How long a training takes, by those that have ended.

    For each epoch the mean of the network's own; else a line through all over the cost; else,
    where that is no line or falls below 0, in proportion to the cost. In units of the cost while
    nothing has ended.
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


def _is_timed(result: TrialResult) -> bool:
    return result.state == "COMPLETE" and result.total_seconds > 0


def _seconds_per_epoch(result: TrialResult) -> float:
    return result.total_seconds / result.trial.recipe.epochs
