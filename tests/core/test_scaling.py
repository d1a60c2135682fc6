"""Coefficients, multipliers and shares, and the way between them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.core.scaling import (
    DIMENSIONS,
    PAPER,
    REFERENCES,
    Coefficients,
    Multipliers,
    Shares,
    phi_of,
)

always_the_same = settings(derandomize=True, deadline=None)
coefficients = st.builds(Coefficients, *(st.floats(1.0, 4.0) for _ in DIMENSIONS))
targets = st.floats(0.05, 40.0).filter(lambda target: abs(math.log(target)) > 1e-3)
weights = st.tuples(*(st.floats(0.0, 1.0) for _ in DIMENSIONS)).filter(lambda w: sum(w) > 1e-3)
shares = weights.map(lambda w: Shares.of_logs(*w))


@always_the_same
@given(shares)
def test_shares_of_logs_sum_to_one(split: Shares) -> None:
    assert sum(split) == pytest.approx(1, abs=1e-12)
    assert all(0 <= share <= 1 for share in split)


@pytest.mark.parametrize("split", REFERENCES.values(), ids=REFERENCES)
def test_shares_of_every_reference_sum_to_one(split: Shares) -> None:
    assert sum(split) == pytest.approx(1, abs=1e-12)


@always_the_same
@given(shares, targets)
def test_multipliers_of_shares_have_the_target_as_nominal_cost(
    split: Shares, target: float
) -> None:
    assert split.multipliers(target).nominal_flops_ratio == pytest.approx(target, rel=1e-12)


@always_the_same
@given(shares, targets)
def test_nominal_shares_of_the_multipliers_of_shares_are_those_shares(
    split: Shares, target: float
) -> None:
    assert tuple(Shares.nominal(split.multipliers(target))) == pytest.approx(
        tuple(split), abs=1e-10
    )


@always_the_same
@given(coefficients, st.floats(-4, 8).filter(lambda phi: abs(phi) > 0.1))
def test_coefficients_of_the_multipliers_of_coefficients_are_those_coefficients(
    given_coefficients: Coefficients, phi: float
) -> None:
    back = Coefficients.of(given_coefficients.multipliers(phi), phi)
    for name in ("alpha", "beta", "gamma"):
        # Twelve decimals are kept.
        assert getattr(back, name) == pytest.approx(getattr(given_coefficients, name), abs=1e-11)


@always_the_same
@given(coefficients, st.floats(-4, 8))
def test_nominal_cost_grows_by_the_same_factor_with_each_step_of_phi(
    given_coefficients: Coefficients, phi: float
) -> None:
    # Source: Tan & Le 2019, Section 3.3: total cost grows by (alpha·beta²·gamma²)**phi.
    assert given_coefficients.multipliers(phi).nominal_flops_ratio == pytest.approx(
        given_coefficients.nominal_flops_ratio**phi, rel=1e-9
    )


@always_the_same
@given(coefficients)
def test_nominal_shares_of_coefficients_do_not_depend_on_phi(
    given_coefficients: Coefficients,
) -> None:
    if given_coefficients.nominal_flops_ratio < 1.01:
        return
    splits = [Shares.nominal(given_coefficients.multipliers(phi)) for phi in (-1, 0.5, 3)]
    for split in splits[1:]:
        assert tuple(split) == pytest.approx(tuple(splits[0]), abs=1e-9)


@always_the_same
@given(shares, shares, shares)
def test_distance_is_a_metric_of_at_most_one(a: Shares, b: Shares, c: Shares) -> None:
    assert a.distance(a) == 0
    assert a.distance(b) == b.distance(a)
    assert (a.distance(b) == 0) == (a == b)
    assert 0 <= a.distance(b) <= 1 + 1e-12
    assert a.distance(c) <= a.distance(b) + b.distance(c) + 1e-12


def test_corners_of_the_triangle_are_one_apart() -> None:
    corners = [REFERENCES[dimension] for dimension in DIMENSIONS]
    assert [a.distance(b) for a in corners for b in corners if a != b] == [1.0] * 6


def test_paper_splits_cost_into_28_29_and_43_percent() -> None:
    # Source: log 1.2, 2 log 1.1, 2 log 1.15 over their sum; coefficients of Tan & Le 2019, 3.3.
    assert [round(share, 2) for share in REFERENCES["paper"]] == [0.28, 0.29, 0.43]


def test_paper_triple_costs_nominally_less_than_two() -> None:
    # Source: 1.2 · 1.1² · 1.15², Tan & Le 2019, Section 3.3.
    assert round(PAPER.nominal_flops_ratio, 4) == 1.9203
    assert PAPER.multipliers(1) == Multipliers(1.2, 1.1, 1.15)


def test_pycls_reference_gives_its_published_multipliers() -> None:
    # Source: Dollár et al. 2021: d = s**0.1, w = s**0.4, r = s**0.05 for d1_w8_r1.
    multipliers = REFERENCES["pycls"].multipliers(4)
    assert multipliers == Multipliers(4**0.1, 4**0.4, 4**0.05)


def test_alone_keeps_one_multiplier() -> None:
    multipliers = Multipliers(1.2, 1.1, 1.15)
    assert multipliers.alone("depth") == Multipliers(1.2, 1.0, 1.0)
    assert multipliers.alone("width") == Multipliers(1.0, 1.1, 1.0)
    assert multipliers.alone("resolution") == Multipliers(1.0, 1.0, 1.15)


def test_unchanged_dimensions_have_a_share_of_plain_zero_when_shrinking() -> None:
    split = Shares.of_logs(0.0, -0.7, 0.0)
    assert [math.copysign(1, share) for share in split] == [1, 1, 1]


def test_multipliers_of_the_base_network_have_no_shares() -> None:
    with pytest.raises(ValueError, match="must differ from the base network's"):
        Shares.nominal(Multipliers(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("target", "phi"), [(2.0, 1.0), (4.0, 2.0), (0.5, -1.0), (math.sqrt(2), 0.5)]
)
def test_phi_is_the_number_of_doublings(target: float, phi: float) -> None:
    assert phi_of(target) == pytest.approx(phi, abs=1e-12)


@pytest.mark.parametrize("target", [0.0, -2.0, 1.0, 0.003, 257, math.inf, math.nan])
def test_phi_of_an_impossible_target_says_what_to_write(target: float) -> None:
    with pytest.raises(ValueError, match=r"from 1/256 to 256 and other than 1, got .*write twice"):
        phi_of(target)
