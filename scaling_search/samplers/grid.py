"""Every candidate, seed by seed."""

from collections.abc import Sequence

from scaling_search.core.metric import Metric
from scaling_search.core.part import part
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.training.price import longest_of_round


@part
class Grid:
    """Chooses seed 0 of every candidate, then seed 1 of every candidate, and so on.

    The base network opens the search. Then the longest of a seed come first, so that in the end no
    slot waits for a long one; about equal ones keep the order of the plan.
    """

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],  # noqa: ARG002 - the protocol's; a grid does not look at it
        finished: Sequence[TrialResult],  # noqa: ARG002 - as above
        objective: Metric,  # noqa: ARG002 - as above
    ) -> Trial:
        """One of the longest trainings of the lowest seed in ``remaining``."""
        return longest_of_round(remaining)
