"""Networks to train, with their costs and coefficients."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Coefficients, Shares


@dataclass(frozen=True)
class Candidate:
    """A network to train: what it is, what it costs, and the coefficients that round to it.

    Attributes:
        number: Place in the plan; the base network is 0.
        coefficients: A triple that builds it; of a buildable network its cell's corner of
            smallest multipliers.
        lowest: The smallest coefficients of the cell.
        highest: The largest coefficients of the cell.
        shares: The log of its cost split over the dimensions, as built; None for the base network.
        share_gap: By how much the three logs miss the log of the whole, as a fraction of it.
        shares_of: The cost that the shares are of: what is held equal, or flops where its three
            logs miss the whole.
        nominal_flops_ratio: The multipliers' product, nothing rounded.
        cost: What is held equal, in its unit.
        cost_ratio: The same over the base network's.
        cost_spread: Of a measured ratio, over its runs; 0 where it is counted.
        flops_ratio: Multiply-adds over the base network's.
        flops: Multiply-adds for one image, forward.
        params: Trainable parameters.
        activations: Elements that products put out for one image.
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
        """A name that only equal networks of one base share."""
        return self.architecture.name

    def row(self) -> dict[str, object]:
        """The candidate as columns of a table, in their order."""
        shares = self.shares or (None, None, None)
        row: dict[str, object] = {"candidate": self.number, "network": self.network}
        for name in ("alpha", "beta", "gamma"):
            row[name] = getattr(self.coefficients, name)
        for name in ("alpha", "beta", "gamma"):
            row[f"{name}_low"] = getattr(self.lowest, name)
            row[f"{name}_high"] = getattr(self.highest, name)
        row |= {f"{d}_share": s for d, s in zip(DIMENSIONS, shares, strict=True)}
        for name in ("share_gap", "shares_of", "nominal_flops_ratio", "cost", "cost_ratio"):
            row[name] = getattr(self, name)
        for name in ("cost_spread", "flops_ratio", "flops", "params", "activations"):
            row[name] = getattr(self, name)
        row["layers"] = _joined(self.architecture.num_layers)
        row["channels"] = _joined(self.architecture.channels)
        row["resolution"] = self.architecture.resolution
        return row


def _joined(numbers: Iterable[int]) -> str:
    return "-".join(str(number) for number in numbers)
