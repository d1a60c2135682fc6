"""Candidates: networks to train, with their costs and coefficients."""

from dataclasses import dataclass
from functools import cached_property

from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Coefficients, Shares

COLUMNS = (
    *("share_gap", "shares_of", "nominal_flops_ratio", "cost", "cost_ratio", "cost_spread"),
    *("flops_ratio", "flops", "params", "activations"),
)
"""Attributes of a candidate that are columns of its row."""


@dataclass(frozen=True)
class Candidate:
    """A network to train, its costs, and the coefficients that round to it.

    Attributes:
        number: Place in the plan; the base network is 0.
        coefficients: Coefficients that build it; of a buildable network the smallest ones.
        lowest: The smallest coefficients that round to it.
        highest: The largest coefficients that round to it.
        shares: Shares of the dimensions in the log of its cost, as built; None for the base
            network.
        share_gap: Difference between the sum of the three logs and the log of the whole cost, as a
            fraction of that.
        shares_of: The cost of the shares: that which is held equal, or flops if its gap is large.
        nominal_flops_ratio: The product of the multipliers without rounding.
        cost: The cost that is held equal, in its unit.
        cost_ratio: The cost over the base network's.
        cost_spread: Spread of a measured cost ratio over its runs; 0 if the cost is counted.
        flops_ratio: Multiply-adds over the base network's.
        flops: Multiply-adds for one image, forward.
        params: Trainable parameters.
        activations: Output elements of products for one image.
    """

    number: int
    architecture: Architecture
    coefficients: Coefficients
    lowest: Coefficients
    highest: Coefficients
    shares: Shares | None
    share_gap: float
    shares_of: str
    nominal_flops_ratio: float
    cost: float
    cost_ratio: float
    cost_spread: float
    flops_ratio: float
    flops: int
    params: int
    activations: int

    @cached_property
    def network(self) -> str:
        """The name, which only equal networks of one base network share."""
        return self.architecture.name

    def row(self) -> dict[str, object]:
        """The candidate as columns of a table, in their order."""
        shares = self.shares or (None, None, None)
        row: dict[str, object] = {"candidate": self.number, "network": self.network}
        row |= vars(self.coefficients)
        for name in ("alpha", "beta", "gamma"):
            row[f"{name}_low"] = getattr(self.lowest, name)
            row[f"{name}_high"] = getattr(self.highest, name)
        row |= {f"{d}_share": s for d, s in zip(DIMENSIONS, shares, strict=True)}
        row |= {name: getattr(self, name) for name in COLUMNS}
        row["layers"] = "-".join(map(str, self.architecture.num_layers))
        row["channels"] = "-".join(map(str, self.architecture.channels))
        row["resolution"] = self.architecture.resolution
        return row
