"""Families over phi: each member costs what it should, and is split as its family says."""

from dataclasses import replace

import pandas as pd
import pytest

from scaling_search.base_networks import small_efficientnet
from scaling_search.core.scaling import DIMENSIONS, REFERENCES, Shares
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.families import (
    ON_RAY,
    SEARCHED,
    FamilyMember,
    PointNetwork,
    family_shares,
    members,
    nearest_to_points,
    ten_points,
)
from scaling_search.planning.reachable import networks_in_band
from scaling_search.planning.scaler import Scaler

COMPOUND = Shares(0.3, 0.4, 0.3)
FAMILIES = family_shares(COMPOUND)
TOLERANCE = 0.05


def grown(**changes: object) -> list[FamilyMember]:
    options: dict[str, object] = {
        "phis": (0, 1, 2),
        "tolerance": TOLERANCE,
        "max_resolution": 28,
    }
    return members(Budget(small_efficientnet(), Flops()), FAMILIES, **options | changes)  # type: ignore[arg-type]  # they are


@pytest.fixture(scope="module")
def families() -> list[FamilyMember]:
    """All families of the small proxy, 20 px of 28, at one, two and four times its cost."""
    return grown()


def test_families_are_the_compound_one_the_three_dimensions_and_the_papers() -> None:
    assert list(FAMILIES) == ["compound", "depth", "width", "resolution", "paper"]
    assert FAMILIES["compound"] == COMPOUND
    assert [tuple(FAMILIES[d]) for d in DIMENSIONS] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert FAMILIES["paper"] == REFERENCES["paper"]


def test_every_family_begins_at_the_base_network(families: list[FamilyMember]) -> None:
    first = [member for member in families if member.phi == 0]
    assert [member.family for member in first] == list(FAMILIES)
    for member in first:
        assert member.candidate.architecture == small_efficientnet()
        assert member.candidate.number == 0
        assert member.candidate.flops_ratio == 1
        assert (member.distance, member.is_on_ray) == (0, True)


@pytest.mark.slow
def test_every_member_costs_two_to_the_phi_times_the_base_network(
    families: list[FamilyMember],
) -> None:
    flops = {
        network: Flops().measure(network)
        for network in {m.candidate.architecture for m in families}
    }
    for member in families:
        ratio = flops[member.candidate.architecture] / flops[small_efficientnet()]
        assert ratio == pytest.approx(2**member.phi, rel=TOLERANCE)
        assert member.candidate.flops_ratio == pytest.approx(ratio, rel=1e-12)
        assert member.candidate.architecture.resolution <= 28


@pytest.mark.parametrize("phi", [1, 2])
def test_no_network_of_the_band_is_nearer_to_the_familys_shares(
    families: list[FamilyMember], phi: int
) -> None:
    scaler = Scaler(Budget(small_efficientnet(), Flops()), phi)
    band = [
        candidate.shares
        for candidate in networks_in_band(scaler, 2.0**phi, TOLERANCE, SEARCHED)
        if candidate.shares is not None and candidate.architecture.resolution <= 28
    ]
    for member in families:
        if member.phi != phi:
            continue
        shares = member.candidate.shares
        assert shares is not None
        nearest = min(other.distance(FAMILIES[member.family]) for other in band)
        assert shares.distance(FAMILIES[member.family]) == pytest.approx(nearest, abs=1e-3)
        assert member.distance == pytest.approx(nearest, abs=1e-3)
        assert member.is_on_ray == (nearest <= ON_RAY)


def test_members_on_the_ray_of_one_dimension_change_nothing_else(
    families: list[FamilyMember],
) -> None:
    base = small_efficientnet()
    seen = []
    for member in families:
        if member.family not in DIMENSIONS or member.phi == 0 or member.distance != 0:
            continue
        network = member.candidate.architecture
        changed = {
            "depth": network.num_layers != base.num_layers,
            "width": network.channels != base.channels,
            "resolution": network.resolution != base.resolution,
        }
        assert changed == {d: d == member.family for d in DIMENSIONS}
        seen.append((member.family, member.phi))
    # Rounding leaves a network for each of them: depth and width twice, resolution up to 28 px.
    assert seen == [("depth", 1), ("width", 1), ("resolution", 1), ("depth", 2), ("width", 2)]


def test_the_resolution_family_ends_where_the_data_have_no_more_pixels(
    families: list[FamilyMember],
) -> None:
    # (28 / 20)² = 1.96 is about twice the cost; twice more would need 40 px.
    (last,) = (m for m in families if m.ends)
    assert (last.family, last.phi) == ("resolution", 1)
    assert last.candidate.architecture.resolution == 28
    assert max(m.phi for m in families if m.family == "resolution") == 1
    for family in FAMILIES:
        if family != "resolution":
            assert [m.phi for m in families if m.family == family] == [0, 1, 2]


def test_without_a_native_resolution_no_family_ends() -> None:
    found = grown(max_resolution=None)
    assert not any(member.ends for member in found)
    (large,) = (m for m in found if m.family == "resolution" and m.phi == 2)
    assert large.candidate.architecture.resolution == 40
    assert large.distance == 0


def test_equal_networks_share_a_number_and_others_do_not(families: list[FamilyMember]) -> None:
    # A second compound family that is the paper's has the paper's networks.
    twins = members(
        Budget(small_efficientnet(), Flops()),
        {"compound": FAMILIES["paper"], "paper": FAMILIES["paper"]},
        phis=(0, 1),
        tolerance=TOLERANCE,
        max_resolution=28,
    )
    assert [(m.phi, m.candidate.number) for m in twins] == [(0, 0), (0, 0), (1, 1), (1, 1)]
    for found in (families, twins):
        number_of = {m.candidate.network: m.candidate.number for m in found}
        assert all(number_of[m.candidate.network] == m.candidate.number for m in found)
        numbers = sorted(number_of.values())
        assert numbers == list(range(len(number_of)))


def test_the_order_of_phis_does_not_matter(families: list[FamilyMember]) -> None:
    assert grown(phis=(2, 0, 1, 1)) == families


def test_families_may_begin_above_the_base_network(families: list[FamilyMember]) -> None:
    assert grown(phis=(1,)) == [
        replace(member, ends=False) for member in families if member.phi == 1
    ]


def test_a_band_without_a_network_says_what_to_widen() -> None:
    with pytest.raises(ValueError, match=r"must leave a network within 2x ± 0.0%, got none"):
        grown(phis=(1,), tolerance=1e-7)


def test_the_table_has_a_row_for_each_member(families: list[FamilyMember]) -> None:
    table = pd.DataFrame([member.row() for member in families])
    assert table["family"].tolist() == [member.family for member in families]
    assert table["phi"].tolist() == [member.phi for member in families]
    assert table["candidate"].tolist() == [member.candidate.number for member in families]
    assert table["ends_at_native_resolution"].sum() == 1
    assert table["is_on_ray"].tolist() == [member.distance <= ON_RAY for member in families]
    assert {"flops_ratio", "depth_share", "alpha", "network", "distance"} < set(table.columns)


FOUND = Shares(0.0, 0.3, 0.7)


def ten(
    *phis: int, tolerance: float = TOLERANCE, max_resolution: int | None = 28
) -> list[PointNetwork]:
    return nearest_to_points(
        Budget(small_efficientnet(), Flops()),
        ten_points(FOUND),
        phis=phis,
        tolerance=tolerance,
        max_resolution=max_resolution,
    )


def test_ten_points_are_corners_middles_references_and_the_one_found() -> None:
    points = ten_points(FOUND)
    assert list(points) == [
        *DIMENSIONS,
        "depth + width",
        "depth + resolution",
        "width + resolution",
        "thirds",
        "paper",
        "found",
        "pycls",
    ]
    assert points["found"] == FOUND
    assert points["depth + resolution"] == Shares(0.5, 0.0, 0.5)
    assert all(points[name] == REFERENCES[name] for name in REFERENCES)


def test_each_size_has_ten_distinct_networks_with_numbers_of_their_own() -> None:
    found = ten(3, 2)
    assert [one.phi for one in found] == [2] * 10 + [3] * 10
    assert [one.point for one in found[:10]] == list(ten_points(FOUND))
    assert len({one.candidate.network for one in found}) == 20
    numbers = [one.candidate.number for one in found]
    assert numbers == [*range(201, 211), *range(301, 311)]
    for one in found:
        assert one.candidate.flops_ratio == pytest.approx(one.size, rel=TOLERANCE)
        assert one.candidate.architecture.resolution <= 28
        shares = one.candidate.shares
        assert shares is not None
        assert one.distance == shares.distance(ten_points(FOUND)[one.point])


def test_a_point_has_the_nearest_network_that_no_earlier_point_took() -> None:
    scaler = Scaler(Budget(small_efficientnet(), Flops()), 2)
    band = [
        candidate
        for candidate in networks_in_band(scaler, 4.0, TOLERANCE, SEARCHED)
        if candidate.architecture.resolution <= 28
    ]
    taken: set[str] = set()
    for one in ten(2):
        point = ten_points(FOUND)[one.point]
        free = [c.shares.distance(point) for c in band if c.shares and c.network not in taken]
        assert one.distance == pytest.approx(min(free), abs=1e-12)
        taken.add(one.candidate.network)


def test_a_corner_that_needs_more_pixels_than_the_data_have_is_replaced_by_the_nearest() -> None:
    distances = {one.point: one.distance for one in ten(2)}
    assert distances["resolution"] == pytest.approx(0.5, abs=0.01)
    assert distances["depth"] == distances["width"] == 0
    without = {one.point: one.distance for one in ten(2, max_resolution=None)}
    assert without["resolution"] == 0


def test_overlapping_bands_share_no_network() -> None:
    found = ten(2, 3, tolerance=0.4)
    assert len({one.candidate.network for one in found}) == len(found) == 20


def test_points_go_without_a_network_where_there_are_too_few() -> None:
    few = ten(2, tolerance=0.0001)
    assert 0 < len(few) < 10
    assert [one.point for one in few] == list(ten_points(FOUND))[: len(few)]
    with pytest.raises(ValueError, match=r"transfer\.phis must leave a network within 4x ± 0\.0%"):
        ten(2, tolerance=1e-9)


def test_the_table_of_nearest_networks_names_size_point_and_distance() -> None:
    table = pd.DataFrame([one.row() for one in ten(2)])
    assert table.columns[:4].tolist() == ["size", "point", "distance", "candidate"]
    assert table["size"].eq(4.0).all()
    assert table["candidate"].tolist() == list(range(201, 211))
