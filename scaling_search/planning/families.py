"""Networks of larger sizes: families over phi, and points of the triangle at one size."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from scaling_search.core.candidate import Candidate
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Shares
from scaling_search.core.space_filling import as_points, distances
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import CandidatePool, is_in_band
from scaling_search.planning.reachable import Ranges, networks_in_band
from scaling_search.planning.scaler import Scaler
from scaling_search.runtime.progress import progress

ON_RAY = 0.05
"""Largest distance of a network's shares from its family's that still counts as on its ray."""

SEARCHED = Ranges(alpha=(1.0, 2.5), beta=(1.0, 1.7), gamma=(1.0, 1.7), max_resolution=None)
"""Coefficients of the networks that are searched: one dimension alone needs 2, 1.42 and 1.42, and
more where rounding or a part that does not scale takes some of the effect."""

MOST_MEASURED = 8
"""Networks that are measured to find one whose cost is equal, the likeliest first."""


@dataclass(frozen=True)
class FamilyMember:
    """A network of a family.

    Attributes:
        family: compound, depth, width, resolution or paper.
        phi: The cost is 2**phi times the base network's.
        candidate: The network; the base at phi 0.
        distance: Distance of its shares from the family's.
        ends: True if the next member would need more pixels than the data have.
    """

    family: str
    phi: int
    candidate: Candidate
    distance: float
    ends: bool = False

    @property
    def is_on_ray(self) -> bool:
        """True if its shares are its family's, nearly."""
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
class PointNetwork:
    """The network nearest to a point of the triangle at a larger size.

    Attributes:
        phi: The cost is 2**phi times the base network's.
        point: Name of the point.
        candidate: The network; its number is 100·phi and the number of the point from 1 up, so that
            no two sizes share one.
        distance: Distance of its shares from the point.
    """

    phi: int
    point: str
    candidate: Candidate
    distance: float

    @property
    def size(self) -> float:
        """Target of its cost over the base network's."""
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
    """Corners, middles of edges and references of the triangle, and the shares of a search."""
    middles = {
        " + ".join(pair): Shares(*(0.5 * (dimension in pair) for dimension in DIMENSIONS))
        for pair in combinations(DIMENSIONS, 2)
    }
    corners = {name: REFERENCES[name] for name in DIMENSIONS}
    named = {"thirds": REFERENCES["thirds"], "paper": REFERENCES["paper"], "found": found}
    return corners | middles | named | {"pycls": REFERENCES["pycls"]}


def family_shares(compound: Shares) -> dict[str, Shares]:
    """Shares of each family, given the compound family's."""
    corners = {name: REFERENCES[name] for name in DIMENSIONS}
    return {"compound": compound, **corners, "paper": REFERENCES["paper"]}


def members(
    budget: Budget,
    families: Mapping[str, Shares],
    *,
    phis: Iterable[int],
    tolerance: float,
    max_resolution: int | None,
) -> list[FamilyMember]:
    """The members of each family, by phi and family; measures a cost that is measured.

    A member is the network of the band around 2**phi whose shares as built are nearest to its
    family's. A family ends where that network has more pixels than the data and no other lies on
    its ray.

    Args:
        budget: The cost that is held equal; its base network is a member of all families at phi 0.
        families: Shares by name.
        phis: Compound coefficients from 0 up.
        tolerance: Half the width of the band, a fraction of the cost.
        max_resolution: Native resolution of the data in pixels, None for no limit.

    Raises:
        ValueError: No network lies in a band.
    """
    found: list[FamilyMember] = []
    growing = dict(families)
    for phi in _sizes(phis):
        budget.calibrate(phi or 1)
        scaler = Scaler(budget, phi or 1)
        if phi == 0:
            found += [FamilyMember(family, 0, scaler.base(), 0.0) for family in families]
            continue
        pool = networks_in_band(scaler, 2.0**phi, tolerance, SEARCHED, option="scale.tolerance")
        is_allowed = pool.resolutions <= (max_resolution or np.inf)
        for family, shares in list(growing.items()):
            nearest = int(_by_distance(pool, shares, phi)[0])
            best = _nearest(scaler, pool, shares, is_allowed, tolerance, option="scale.tolerance")
            distance = np.inf if best is None else _distance(best, shares)
            if best is None or (distance > ON_RAY and not is_allowed[nearest]):
                del growing[family]
                last = max((m.phi for m in found if m.family == family), default=None)
                found = [
                    replace(m, ends=True) if (m.family, m.phi) == (family, last) else m
                    for m in found
                ]
            else:
                found.append(FamilyMember(family, phi, best, distance))
    return _numbered(found)


def nearest_to_points(
    budget: Budget,
    points: Mapping[str, Shares],
    *,
    phis: Iterable[int],
    tolerance: float,
    max_resolution: int | None,
) -> list[PointNetwork]:
    """For each point the nearest network of the band around 2**phi, by phi, all distinct.

    Points choose one after another; where the nearest network is taken, it is the next nearest.
    Points go without one where there are fewer networks. Measures a cost that is measured.

    Args:
        budget: The base network and the cost that is held equal.
        points: Shares by name.
        phis: Compound coefficients from 1 up.
        tolerance: Half the width of the band, a fraction of the cost.
        max_resolution: Native resolution of the data in pixels, None for no limit.

    Raises:
        ValueError: No network lies in a band.
    """
    found: list[PointNetwork] = []
    ranges, option = replace(SEARCHED, max_resolution=max_resolution), "transfer.phis"
    for phi in _sizes(phis):
        budget.calibrate(phi)
        scaler = Scaler(budget, phi)
        pool = networks_in_band(scaler, 2.0**phi, tolerance, ranges, option=option)
        is_allowed = np.ones(len(pool), dtype=bool)
        taken = {one.candidate.network for one in found}  # two bands may overlap
        for number, (point, shares) in enumerate(points.items(), start=100 * phi + 1):
            best = _nearest(scaler, pool, shares, is_allowed, tolerance, option=option, taken=taken)
            if best is None:
                break
            taken.add(best.network)
            candidate = replace(best, number=number)
            found.append(PointNetwork(phi, point, candidate, _distance(best, shares)))
    return found


def _sizes(phis: Iterable[int]) -> Iterable[int]:
    distinct = sorted(set(phis))
    return progress(distinct, "finding networks of each size", len(distinct))


def _nearest(
    scaler: Scaler,
    pool: CandidatePool,
    shares: Shares,
    is_allowed: NDArray[np.bool_],
    tolerance: float,
    *,
    option: str,
    taken: Collection[str] = (),
) -> Candidate | None:
    """The network nearest to shares whose measured cost is equal; None where none is allowed.

    Raises:
        ValueError: None of the likeliest has an equal cost once it is measured.
    """
    target = 2.0**scaler.phi
    order = _by_distance(pool, shares, scaler.phi)
    is_outside = np.abs(pool.ratios[order] / target - 1) > tolerance + 1e-12
    order = order[np.argsort(is_outside, kind="stable")]
    free = (c for c in map(pool.candidate, order[is_allowed[order]]) if c.network not in taken)
    likeliest = list(islice(free, MOST_MEASURED))
    for network in map(scaler.measured, likeliest):
        if is_in_band(network, target, tolerance):
            return network
    if not likeliest:
        return None
    raise ValueError(
        f"{option} must leave a network of {target:g}x, got none among the {len(likeliest)} whose "
        f"{scaler.budget.cost.column} was measured; widen the tolerance"
    )


def _by_distance(pool: CandidatePool, shares: Shares, phi: float) -> NDArray[np.intp]:
    """Indices by distance from shares, then by difference from the target's cost."""
    off = np.abs(pool.ratios / 2.0**phi - 1)
    return np.lexsort((off, distances(pool.shares, as_points([shares]))[:, 0]))


def _distance(candidate: Candidate, shares: Shares) -> float:
    assert candidate.shares is not None  # only the base network has none
    return candidate.shares.distance(shares)


def _numbered(found: list[FamilyMember]) -> list[FamilyMember]:
    """Members with candidates numbered by first appearance, equal networks alike."""
    numbers: dict[str, int] = {}
    for member in found:
        if member.candidate.shares is not None:
            numbers.setdefault(member.candidate.network, len(numbers) + 1)
    return [
        replace(m, candidate=replace(m.candidate, number=numbers.get(m.candidate.network, 0)))
        for m in found
    ]
