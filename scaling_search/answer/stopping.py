"""When a search ends before all is trained."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field

from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import of_results
from scaling_search.answer.region import find_region
from scaling_search.core.formatting import count
from scaling_search.core.part import part
from scaling_search.core.trial import TrialResult
from scaling_search.record.study import Record, RegionEstimate

FIRST_LOOK = 20
"""Networks with a finished training before the region is looked at."""

GROWTH = 1.25
"""Trainings over those of the last look before it is looked at again.

Each look is another chance to be sure by luck; few of them keep that rare.
"""


FEWEST = 5
"""Trainings that a share of failed ones is taken of at least."""


@part
class Limits:
    """Limits at which a search ends before all is trained.

    Attributes:
        trainings: End when the record holds so many; None for no limit.
        hours: Hand out nothing more after so many of a command; None for no limit.
        gpu_hours: Hand out nothing more once the record's trainings took so many hours of a
            device, be it a GPU or a machine's CPU; None for no limit.
        region: End once the region of the best split is at most this part of what was searched;
            None to train all.
        failed_share: Give up once more than this part of the trainings that ended, and of five at
            least, have failed; 1 goes on whatever happens.
    """

    trainings: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[float, Field(gt=0)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    region: Annotated[float, Field(gt=0, lt=1)] | None = None
    failed_share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Stopping:
    """Looks at the limits whenever a training could be handed out; its hours count from here.

    Attributes:
        limits: What ends the search.
        record: Where each look at the region is kept, so that a search that goes on later looks
            when an uninterrupted one would have.
        target: Cost over the base network's.
        is_lost: Whether another command has taken the run's folder over.
        gave_up: Whether too many trainings failed.
    """

    def __init__(
        self,
        limits: Limits,
        record: Record,
        target: float,
        is_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self.limits = limits
        self.record = record
        self.target = target
        self.is_lost = is_lost
        self.gave_up = False
        self._since = time.monotonic()
        self._looks = record.region_estimates

    def reached(
        self, finished: Sequence[TrialResult], num_running: int, reasons: Counter[str]
    ) -> str:
        """The limit that is reached with these results and so many in flight, else nothing.

        Args:
            finished: Sorted by candidate and seed.
            num_running: Trainings in flight, which count as done where trainings are counted.
            reasons: Kinds of reasons for which some of the finished failed.
        """
        limits = self.limits
        if self.is_lost():
            return "another command has taken the folder over"
        if reasons.total() > limits.failed_share * max(FEWEST, len(finished)):
            self.gave_up = True
            limit = f"limits.failed_share={limits.failed_share:g}"
            return f"{limit} is exceeded: {told_failures(finished)}"
        if limits.trainings is not None and len(finished) + num_running >= limits.trainings:
            return f"limits.trainings={limits.trainings} is reached"
        if limits.hours is not None and time.monotonic() - self._since >= limits.hours * 3600:
            return f"limits.hours={limits.hours:g} is reached"
        if limits.gpu_hours is not None and gpu_hours(finished) >= limits.gpu_hours:
            return f"limits.gpu_hours={limits.gpu_hours:g} is reached"
        if limits.region is not None:
            return self._region(finished, limits.region)
        return ""

    def _region(self, finished: Sequence[TrialResult], limit: float) -> str:
        looks = self._looks
        if is_due(finished, looks[-1].trainings if looks else 0):
            look = self._look(finished)
            if look is None:
                return ""
            self.record.add_region_estimate(look)
            looks.append(look)
        if not looks or looks[-1].region > limit:
            return ""
        seen = looks[-1]
        return (
            f"limits.region={limit:g} is reached: with {seen.trainings} trainings the best split "
            f"lies in {seen.region:.0%} of what was searched"
        )

    def _look(self, finished: Sequence[TrialResult]) -> RegionEstimate | None:
        objective = self.record.objective
        try:
            surface = fit_surface(of_results(finished, response=objective, target=self.target))
        except ValueError:
            return None
        region = find_region(surface)
        return RegionEstimate(len(surface.observations.loss), region.area / region.searched_area)


LONGEST_REASON = 300
"""Characters of a reason in a line."""


def told_failures(results: Sequence[TrialResult]) -> str:
    """The number of failed trainings and their commonest reason; empty where none failed."""
    failed = [result for result in results if result.state == "FAIL"]
    if not failed:
        return ""
    ((kind, number),) = Counter(result.kind for result in failed).most_common(1)
    reasons = Counter(result.reason for result in failed if result.kind == kind)
    ((reason, _),) = reasons.most_common(1)
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]}…; search.log has the whole of it"
    said = f"{len(failed)} of {count(len(results), 'training')} failed, most often"
    return f"{said} ({number}): {reason}"


def is_due(finished: Sequence[TrialResult], last: int) -> bool:
    """Whether the region should be looked at again.

    Args:
        finished: What has ended.
        last: Trainings at the last look, 0 before the first.
    """
    if len(finished) < max(FIRST_LOOK, GROWTH * last):
        return False  # without counting, which all but a few calls need not do
    ended = [r.trial for r in finished if r.state == "COMPLETE" and r.trial.candidate.number]
    num_networks = len({trial.candidate.number for trial in ended})
    return num_networks >= FIRST_LOOK and len(ended) >= GROWTH * last


def gpu_hours(finished: Sequence[TrialResult]) -> float:
    """Hours of whole devices that trainings took, failed ones too."""
    seconds = (r.total_seconds * r.device_share for r in finished if r.total_seconds > 0)
    return sum(seconds) / 3600
