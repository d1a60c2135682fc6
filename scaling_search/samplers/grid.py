"""Every candidate in turn, seed by seed."""

from collections.abc import Sequence

from scaling_search.protocols import part
from scaling_search.training import Trial, TrialResult


@part
class Grid:
    """Chooses seed 0 of every candidate, then seed 1 of every candidate, and so on."""

    def choose(
        self,
        remaining: Sequence[Trial],
        running: Sequence[Trial],  # noqa: ARG002 - the protocol's; a grid does not look at it
        finished: Sequence[TrialResult],  # noqa: ARG002 - as above
    ) -> Trial:
        """The first of ``remaining`` by seed, then by candidate."""
        return remaining[0]
