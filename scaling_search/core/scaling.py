"""Coefficients, multipliers and shares of depth, width and resolution."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

DIMENSIONS = ("depth", "width", "resolution")


@dataclass(frozen=True)
class Multipliers:
    """Depth, width and resolution of a network over those of the base network.

    Source: Tan & Le 2019, Eq. 3 (d, w, r).
    """

    depth: float
    width: float
    resolution: float

    @property
    def nominal_flops_ratio(self) -> float:
        """The cost over the base network's if nothing were rounded: depth·width²·resolution²."""
        return self.depth * self.width**2 * self.resolution**2

    def alone(self, dimension: str) -> "Multipliers":
        """These multipliers with every dimension but one of `DIMENSIONS` left as in the base."""
        return Multipliers(**{d: getattr(self, d) if d == dimension else 1.0 for d in DIMENSIONS})


@dataclass(frozen=True)
class Coefficients:
    """Bases alpha, beta, gamma of compound scaling, each at least 1.

    Source: Tan & Le 2019, Eq. 3: depth alpha**phi, width beta**phi, resolution gamma**phi.
    """

    alpha: float
    beta: float
    gamma: float

    @property
    def nominal_flops_ratio(self) -> float:
        """The nominal cost of one step of phi: alpha·beta²·gamma²."""
        return self.alpha * self.beta**2 * self.gamma**2

    def multipliers(self, phi: float) -> Multipliers:
        """The multipliers at compound coefficient ``phi``; negative when shrinking."""
        return Multipliers(self.alpha**phi, self.beta**phi, self.gamma**phi)

    @classmethod
    def of(cls, multipliers: Multipliers, phi: float) -> "Coefficients":
        """The coefficients that give ``multipliers`` at ``phi``.

        Twelve decimals: with the six of a grid, their power could fall below the step of a
        rounding rule and give another network.
        """
        return cls(*(round(getattr(multipliers, d) ** (1 / phi), 12) for d in DIMENSIONS))


@dataclass(frozen=True)
class Shares:
    """Shares of the dimensions in the logarithm of a cost; the three sum to 1."""

    depth: float
    width: float
    resolution: float

    def __iter__(self) -> Iterator[float]:
        """Iterates over depth, width, resolution, in this order."""
        return iter((self.depth, self.width, self.resolution))

    @classmethod
    def of_logs(cls, depth: float, width: float, resolution: float) -> "Shares":
        """The split of three logarithms of cost.

        Raises:
            ValueError: The logarithms sum to zero, so nothing was scaled.
        """
        total = depth + width + resolution
        if abs(total) < 1e-12:
            raise ValueError(
                f"the cost must differ from the base network's, got a log of {total!r}"
            )
        # Adding zero turns the -0.0 of an unchanged dimension into 0.0.
        return cls(depth / total + 0.0, width / total + 0.0, resolution / total + 0.0)

    @classmethod
    def nominal(cls, multipliers: Multipliers) -> "Shares":
        """The split of the nominal cost: logs of depth, width² and resolution² over their sum.

        Source: Dollár et al. 2021, Section 3 (e_d, e_w, e_r).
        """
        return cls.of_logs(
            math.log(multipliers.depth),
            2 * math.log(multipliers.width),
            2 * math.log(multipliers.resolution),
        )

    def multipliers(self, target: float) -> Multipliers:
        """The multipliers of nominal cost ``target`` on the ray of these shares.

        Source: Dollár et al. 2021: d = s**e_d, w = s**(e_w/2), r = s**(e_r/2).
        """
        return Multipliers(
            target**self.depth, target ** (self.width / 2), target ** (self.resolution / 2)
        )

    def distance(self, other: "Shares") -> float:
        """Half the sum of absolute differences: the part of the log cost split differently."""
        return sum(abs(a - b) for a, b in zip(self, other, strict=True)) / 2


FARTHEST = 256
"""Largest target: plans enumerate every rounding, and B7 has 98 times the cost of B0."""


def phi_of(target: float) -> float:
    """The compound coefficient of a target cost ratio: log2, so that twice the cost is 1.

    Raises:
        ValueError: The target is beyond `FARTHEST`, or 1.
    """
    if not (1 / FARTHEST <= target <= FARTHEST) or target == 1:
        raise ValueError(
            f"candidates.target must be from 1/{FARTHEST} to {FARTHEST} and other than 1, got "
            f"{target!r}; write twice the base network's cost as 2"
        )
    return math.log2(target)


PAPER = Coefficients(1.2, 1.1, 1.15)
"""Coefficients of EfficientNet. Source: Tan & Le 2019, Section 3.3, step 1."""

REFERENCES = {
    "depth": Shares(1.0, 0.0, 0.0),
    "width": Shares(0.0, 1.0, 0.0),
    "resolution": Shares(0.0, 0.0, 1.0),
    "thirds": Shares(1 / 3, 1 / 3, 1 / 3),
    "paper": Shares.nominal(PAPER.multipliers(1)),
    "pycls": Shares(0.1, 0.8, 0.1),
}
"""Points of the triangle with a name: one dimension alone, equal thirds, the paper's coefficients
(nominal) and the fast compound scaling of Dollár, Singh & Girshick 2021 (d1_w8_r1)."""
