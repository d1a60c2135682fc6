"""Networks of larger costs: families over phi, and points of the triangle at one size."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import combinations

import pandas as pd

from scaling_search.core.candidate import Candidate
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Shares
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import is_in_band
from scaling_search.planning.costed import Costed
from scaling_search.planning.reachable import Ranges, networks_in_band

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


@dataclass(frozen=True)
class Placed:
    """A network that stands for a point of the triangle at a larger size.

    Attributes:
        phi: The cost is 2**phi times the base network's.
        point: Name of the point.
        candidate: The network; its number is 100·phi and its place from 1 up, so that no two sizes
            share one.
        distance: Of its shares from the point.
    """

    phi: int
    point: str
    candidate: Candidate
    distance: float

    @property
    def size(self) -> float:
        """Cost that it should have, over the base network's."""
        return 2.0**self.phi

    def row(self) -> dict[str, object]:
        """The network as columns of a table."""
        return {
            "size": self.size,
            "point": self.point,
            "distance": self.distance,
            **self.candidate.row(),
        }


def ten_points(found: Shares) -> dict[str, Shares]:
    """Corners, middles of edges and references of the triangle, and a split that was found."""
    middles = {
        " + ".join(pair): Shares(*(0.5 * (dimension in pair) for dimension in DIMENSIONS))
        for pair in combinations(DIMENSIONS, 2)
    }
    corners = {name: REFERENCES[name] for name in DIMENSIONS}
    named = {"thirds": REFERENCES["thirds"], "paper": REFERENCES["paper"], "found": found}
    return corners | middles | named | {"pycls": REFERENCES["pycls"]}


def family_shares(compound: Shares) -> dict[str, Shares]:
    """How each family splits the log of the cost, given the compound family's shares."""
    one_dimension = {name: REFERENCES[name] for name in ("depth", "width", "resolution")}
    return {"compound": compound, **one_dimension, "paper": REFERENCES["paper"]}


MOST_MEASURED = 8
"""Networks that are measured to find one whose cost is equal, the likeliest first."""


def members(
    budget: Budget,
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
        budget: What is held equal; its base network is a member of all families at phi 0.
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
            base = Costed(budget, 1).base()
            found += [Member(family, 0, base, 0.0) for family in families]
            continue
        costed = Costed(budget, phi)
        networks = list(
            networks_in_band(costed, 2.0**phi, tolerance, SEARCHED, option="scale.tolerance")
        )
        for family, shares in list(open_families.items()):
            allowed = [
                network
                for network in networks
                if max_resolution is None or network.architecture.resolution <= max_resolution
            ]
            member = _nearest(family, shares, networks, allowed, costed, tolerance)
            if member is None:
                del open_families[family]
                found = [replace(m, ends=True) if _is_last(m, family, found) else m for m in found]
            else:
                found.append(member)
    return _numbered(found)


def placed(
    budget: Budget,
    points: Mapping[str, Shares],
    *,
    phis: Iterable[int],
    tolerance: float,
    max_resolution: int | None,
) -> list[Placed]:
    """For each point the nearest network of the band around 2**phi, by phi, all distinct.

    Points choose one after another; where the nearest network is taken, it is the next nearest.
    Points go without one where there are fewer networks.

    Args:
        budget: What is scaled and held equal.
        points: Shares by name.
        phis: Compound coefficients from 1 up.
        tolerance: Half the width of the band, a fraction of the cost.
        max_resolution: Native resolution of the data in pixels, None for no limit.

    Raises:
        ValueError: No network lies in a band.
    """
    found: list[Placed] = []
    ranges = replace(SEARCHED, max_resolution=max_resolution)
    for phi in sorted(set(phis)):
        costed = Costed(budget, phi)
        band = networks_in_band(costed, 2.0**phi, tolerance, ranges, option="transfer.phis")
        taken = {one.candidate.network for one in found}  # two bands may overlap
        free = [candidate for candidate in band if candidate.network not in taken]
        for place, (point, shares) in enumerate(points.items(), start=1):
            if not free:
                break
            best = _nearest_equal(costed, free, shares, tolerance, "transfer.phis")
            free = [candidate for candidate in free if candidate.network != best.network]
            numbered = replace(best, number=100 * phi + place)
            found.append(Placed(phi, point, numbered, _distance(best, shares)))
    return found


def _nearest(
    family: str,
    shares: Shares,
    networks: list[Candidate],
    allowed: list[Candidate],
    costed: Costed,
    tolerance: float,
) -> Member | None:
    if not allowed:
        return None
    best = _nearest_equal(costed, allowed, shares, tolerance, "scale.tolerance")
    phi = round(costed.phi)
    distance = _distance(best, shares)
    nearest = min(networks, key=_closeness(shares, phi))
    if distance > ON_RAY and nearest.network not in {network.network for network in allowed}:
        return None
    return Member(family, phi, best, distance)


def _nearest_equal(
    costed: Costed, networks: list[Candidate], shares: Shares, tolerance: float, option: str
) -> Candidate:
    """The network nearest to shares that costs what it should, once that is measured.

    Raises:
        ValueError: None of the likeliest does.
    """
    phi = round(costed.phi)
    closeness = _closeness(shares, phi)

    def likeliest(network: Candidate) -> tuple[bool, tuple[float, float]]:
        return not is_in_band(network, 2.0**phi, tolerance), closeness(network)

    in_order = nsmallest(MOST_MEASURED, networks, key=likeliest)
    for network in in_order:
        settled = costed.settled(network)
        if is_in_band(settled, 2.0**phi, tolerance):
            return settled
    column = costed.budget.cost.column
    raise ValueError(
        f"{option} must leave a network of {2.0**phi:g}x, got none among the {len(in_order)} whose "
        f"{column} was measured; widen the tolerance"
    )


def _closeness(shares: Shares, phi: int) -> Callable[[Candidate], tuple[float, float]]:
    """Orders networks by their distance from shares, those as near by how far off their cost is."""
    return lambda c: (_distance(c, shares), abs(c.cost_ratio / 2.0**phi - 1))


def _distance(candidate: Candidate, shares: Shares) -> float:
    assert candidate.shares is not None  # only the base network has none
    return candidate.shares.distance(shares)


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


def members_table(found: Iterable[Member | Placed]) -> pd.DataFrame:
    """A row for each network."""
    return pd.DataFrame([member.row() for member in found])
