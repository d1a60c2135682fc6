"""Families over phi: one for each way to spend compute, all at equal measured cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from scaling_search.candidates import Candidate, Costed
from scaling_search.protocols import Architecture, Cost
from scaling_search.reachable import Ranges, networks_in_band
from scaling_search.scaling import REFERENCES, Shares

ON_RAY = 0.05
"""A member whose shares are farther than this from its family's is marked."""

SEARCHED = Ranges(alpha=(1.0, 2.5), beta=(1.0, 1.7), gamma=(1.0, 1.7), max_resolution=None)
"""Coefficients within which members are looked for: one dimension alone needs 2, 1.42 and 1.42,
and more where rounding or a part that does not scale takes some of the effect."""


@dataclass(frozen=True)
class Member:
    """A network of a family.

    Attributes:
        family: compound, depth, width, resolution or paper.
        phi: The cost is 2**phi times the base network's.
        candidate: The network; the base at phi 0.
        distance: Of its shares from the family's.
        ends: Whether the next member would need more pixels than the data have.
    """

    family: str
    phi: int
    candidate: Candidate
    distance: float
    ends: bool = False

    @property
    def is_on_ray(self) -> bool:
        """Whether its cost is split as the family's name says."""
        return self.distance <= ON_RAY

    def row(self) -> dict[str, object]:
        """The member as columns of a table."""
        return {
            "family": self.family,
            "phi": self.phi,
            **self.candidate.row(),
            "distance": self.distance,
            "is_on_ray": self.is_on_ray,
            "ends_at_native_resolution": self.ends,
        }


def family_shares(compound: Shares) -> dict[str, Shares]:
    """How each family splits the log of the cost, given the compound family's shares."""
    one_dimension = {name: REFERENCES[name] for name in ("depth", "width", "resolution")}
    return {"compound": compound, **one_dimension, "paper": REFERENCES["paper"]}


def members(
    base_network: Architecture,
    cost: Cost,
    families: Mapping[str, Shares],
    *,
    phis: Iterable[int],
    tolerance: float,
    max_resolution: int | None,
) -> list[Member]:
    """The members of each family, by phi and family.

    A member is the network of the band around 2**phi whose shares as built are nearest to its
    family's. A family ends where that network has more pixels than the data and no other lies on
    its ray.

    Args:
        base_network: Member of all families at phi 0.
        cost: What is held equal.
        families: Shares by name.
        phis: Compound coefficients from 0 up.
        tolerance: Half the width of the band, a fraction of the cost.
        max_resolution: Native resolution of the data in pixels, None for no limit.

    Raises:
        ValueError: No network lies in a band.
    """
    found: list[Member] = []
    open_families = dict(families)
    for phi in sorted(set(phis)):
        if phi == 0:
            base = Costed(base_network, cost, 1).base()
            found += [Member(family, 0, base, 0.0) for family in families]
            continue
        costed = Costed(base_network, cost, phi)
        networks = list(
            networks_in_band(costed, 2.0**phi, tolerance, SEARCHED, option="scale.tolerance")
        )
        for family, shares in list(open_families.items()):
            member = _nearest(family, phi, shares, networks, max_resolution)
            if member is None:
                del open_families[family]
                found = [replace(m, ends=True) if _is_last(m, family, found) else m for m in found]
            else:
                found.append(member)
    return _numbered(found)


def _nearest(
    family: str, phi: int, shares: Shares, networks: list[Candidate], max_resolution: int | None
) -> Member | None:
    def closeness(candidate: Candidate) -> tuple[float, float]:
        assert candidate.shares is not None  # only the base network has none
        off = abs(candidate.flops_ratio / 2.0**phi - 1)
        return candidate.shares.distance(shares), off

    allowed = [
        c for c in networks if max_resolution is None or c.architecture.resolution <= max_resolution
    ]
    if not allowed:
        return None
    best = min(allowed, key=closeness)
    distance = closeness(best)[0]
    if distance > ON_RAY and min(networks, key=closeness) is not best:
        return None
    return Member(family, phi, best, distance)


def _is_last(member: Member, family: str, found: list[Member]) -> bool:
    return member.family == family and member.phi == max(m.phi for m in found if m.family == family)


def _numbered(found: list[Member]) -> list[Member]:
    """Members with candidates numbered by first appearance, equal networks alike."""
    numbers: dict[str, int] = {}
    for member in found:
        if member.candidate.shares is not None:
            numbers.setdefault(member.candidate.network, len(numbers) + 1)
    return [
        replace(m, candidate=replace(m.candidate, number=numbers.get(m.candidate.network, 0)))
        for m in found
    ]


def members_table(found: Iterable[Member]) -> pd.DataFrame:
    """A row for each member."""
    return pd.DataFrame([member.row() for member in found])
