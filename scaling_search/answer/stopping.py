"""Limits at which a search ends early."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import of_results
from scaling_search.answer.outliers import usable
from scaling_search.answer.region import find_region
from scaling_search.core.part import part
from scaling_search.core.space_filling import places
from scaling_search.core.trial import TrialResult
from scaling_search.record.record import InterimAnalysis, Record

FIRST_ANALYSIS = 20
"""Number of places with a finished training at the first interim analysis."""

GROWTH = 1.25
"""Trainings at an interim analysis over those at the last one.

Each analysis is another chance of a wrong result; few of them keep that rare.
"""

FEWEST = 5
"""Minimum number of trainings before the failure rate is checked."""

LONGEST_REASON = 300
"""Characters of a failure's reason in a message."""


@part
class Limits:
    """Limits at which a search ends before all trainings are done.

    Attributes:
        trainings: Largest number of trainings in the record; None for no limit.
        hours: Hours of a command after which no training starts; None for no limit.
        gpu_hours: Device hours of the record after which no training starts, on GPU or CPU; None
            for no limit.
        region: End once the region of the rule is at most this part of the searched splits;
            None to train all.
        failed_share: Give up once more than this part of the finished trainings (counted as at
            least five) has failed; 1 never gives up.
    """

    trainings: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[float, Field(gt=0)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    region: Annotated[float, Field(gt=0, lt=1)] | None = None
    failed_share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Stopping:
    """The check of the limits before each training.

    Attributes:
        limits: The limits.
        record: Keeps the interim analyses, so that a resumed search has the same ones.
        target: Cost over the base network's.
        gave_up: True if too many trainings failed.
    """

    def __init__(
        self,
        limits: Limits,
        record: Record,
        target: float,
        *,
        others: Sequence[Mapping[str, Any]] = (),
        since: float | None = None,
    ) -> None:
        """Takes what counts besides the trainings that `reached` is given.

        Args:
            limits: The limits.
            record: Keeps the interim analyses.
            target: Cost over the base network's.
            others: Rows of trainings in other studies.
            since: Start of the command, by `time.monotonic`; None for now.
        """
        self.limits = limits
        self.record = record
        self.target = target
        self.gave_up = False
        self._since = time.monotonic() if since is None else since
        self._others = others
        seconds = (max(0.0, row["total_seconds"] or 0.0) * row["device_share"] for row in others)
        self._hours_of_others = sum(seconds) / 3600
        self._analyses = record.interim_analyses

    def reached(
        self, finished: Sequence[TrialResult], num_running: int, reasons: Counter[str]
    ) -> str:
        """The limit that is reached; empty for none.

        Args:
            finished: Sorted by candidate and seed.
            num_running: Trainings in flight, which `limits.trainings` counts too.
            reasons: Number of failures by kind.
        """
        limits = self.limits
        if reasons.total() > limits.failed_share * max(FEWEST, len(finished)):
            self.gave_up = True
            limit = f"limits.failed_share={limits.failed_share:g}"
            return f"{limit} is exceeded: {told_failures(finished)}"
        num_trainings = len(finished) + num_running + len(self._others)
        if limits.trainings is not None and num_trainings >= limits.trainings:
            return f"limits.trainings={limits.trainings} is reached"
        if limits.hours is not None and time.monotonic() - self._since >= limits.hours * 3600:
            return f"limits.hours={limits.hours:g} is reached"
        spent = gpu_hours(finished) + self._hours_of_others
        if limits.gpu_hours is not None and spent >= limits.gpu_hours:
            return f"limits.gpu_hours={limits.gpu_hours:g} is reached"
        if limits.region is not None:
            return self._region(finished, limits.region)
        return ""

    def _region(self, finished: Sequence[TrialResult], limit: float) -> str:
        analyses = self._analyses
        if is_due(finished, analyses[-1].trainings if analyses else 0):
            objective = self.record.objective
            try:
                data = of_results(finished, response=objective, target=self.target)
                surface = fit_surface(usable(data))
            except ValueError:
                return ""
            region = find_region(surface)
            part = region.area / region.searched_area
            analyses.append(InterimAnalysis(len(data.loss), part))
            self.record.add_interim_analysis(analyses[-1])
        if not analyses or analyses[-1].region > limit:
            return ""
        last = analyses[-1]
        return (
            f"limits.region={limit:g} is reached: with {last.trainings} trainings the region "
            f"of the rule is {100 * last.region:.0f} % of the searched splits"
        )


def told_failures(results: Sequence[TrialResult]) -> str:
    """The number of failed trainings and their most frequent reason; empty for no failure."""
    failed = [result for result in results if result.state == "FAIL"]
    if not failed:
        return ""
    ((kind, number),) = Counter(result.kind for result in failed).most_common(1)
    reasons = Counter(result.reason for result in failed if result.kind == kind)
    ((reason, _),) = reasons.most_common(1)
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]}…; search.log has the whole of it"
    trainings = "training" if len(results) == 1 else "trainings"
    said = f"{len(failed)} of {len(results)} {trainings} failed, most often"
    return f"{said} ({number}): {reason}"


def is_due(finished: Sequence[TrialResult], last: int) -> bool:
    """True if the next interim analysis is due.

    Args:
        finished: All finished trainings.
        last: Trainings at the last analysis, 0 before the first.
    """
    if len(finished) < max(FIRST_ANALYSIS, GROWTH * last):
        return False  # most calls need not count
    ended = [r.trial for r in finished if r.state == "COMPLETE" and r.trial.candidate.number]
    shares = {trial.candidate.number: trial.candidate.shares for trial in ended}
    if len(shares) < FIRST_ANALYSIS or len(ended) < GROWTH * last:
        return False
    place = places([one for one in shares.values() if one is not None])
    return len(np.unique(place)) >= FIRST_ANALYSIS


def gpu_hours(finished: Sequence[TrialResult]) -> float:
    """Device hours of trainings, failed ones too."""
    seconds = (r.total_seconds * r.device_share for r in finished if r.total_seconds > 0)
    return sum(seconds) / 3600
