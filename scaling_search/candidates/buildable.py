"""Every network of the target's cost that the base network's rounding can reach."""

from typing import Annotated

from pydantic import Field

from scaling_search.core.part import part
from scaling_search.core.scaling import phi_of
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.planning.reachable import Range, Ranges, networks_in_band
from scaling_search.planning.scaler import Scaler
from scaling_search.planning.selection import select


@part
class Buildable:
    """Every network that the base network's rounding can reach, of the target's cost.

    Depths, widths and resolutions go from one distinct result of rounding to the next, so that no
    network is missed between the points of a grid and none comes twice.

    Attributes:
        target: Cost over the base network's.
        tolerance: Half the width of the band around the target, a fraction of it.
        max_networks: Largest number of selected networks, which fill the triangle of shares: one
            of each place, then second ones; None for one of each place.
        alpha: Range of the depth coefficient.
        beta: Range of the width coefficient.
        gamma: Range of the resolution coefficient.
        max_resolution: Largest images in pixels: what the data have; None for no limit.
    """

    target: float = 2.0
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    max_networks: Annotated[int, Field(ge=1)] | None = None
    alpha: Range = (1.0, 3.0)
    beta: Range = (1.0, 2.0)
    gamma: Range = (1.0, 2.0)
    max_resolution: Annotated[int, Field(ge=1)] | None = 28

    def __post_init__(self) -> None:
        """Checks the target and the ranges."""
        phi_of(self.target)
        self.ranges()

    def ranges(self) -> Ranges:
        """Ranges of the coefficients."""
        return Ranges(self.alpha, self.beta, self.gamma, self.max_resolution)

    def plan(self, budget: Budget) -> Plan:
        """The distinct networks in the band, and which of them to train.

        Raises:
            ValueError: No network lies in the band, or a cap leaves none.
        """
        scaler = Scaler(budget, phi_of(self.target))
        pool = networks_in_band(scaler, self.target, self.tolerance, self.ranges())
        return select(
            scaler,
            pool,
            range(len(pool)),
            self.max_networks,
            target=self.target,
            tolerance=self.tolerance,
        )
