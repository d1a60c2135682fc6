"""The published EfficientNets beside their own rule, against the numbers of others."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from scaling_search.audit import READERS_PHI, audit, published_family, rule_as_built
from scaling_search.base_networks.efficientnet import efficientnet
from scaling_search.costs.flops import Flops
from scaling_search.scaling import DIMENSIONS, PAPER, Coefficients
from tests.proxies import small_proxy

VARIANTS = ["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"]
MEASURED = Path(__file__).parent / "reference" / "measured_family_macs.csv"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return audit(efficientnet("b0"), Flops(), PAPER, published_family())


@pytest.fixture(scope="module")
def rule() -> pd.Series:
    return rule_as_built(efficientnet("b0"), Flops(), PAPER).iloc[0]


def rounded(column: pd.Series, digits: int) -> list[float]:
    return [float(f"{value:.{digits}f}") for value in column]


def test_published_family_is_b0_to_b7_with_a_readers_phi() -> None:
    family = published_family()
    assert family["variant"].tolist() == VARIANTS == list(READERS_PHI)
    # Source: tensorflow/tpu#390; docs/sources.md, the published family.
    assert family["phi"].tolist() == [0, 0.5, 1, 2, 3.5, 5, 6, 7]
    # Source: tensorflow/tpu `efficientnet_builder.py`.
    assert family["depth"].tolist() == [1.0, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1]
    assert family["width"].tolist() == [1.0, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0]
    assert family["resolution"].tolist() == [224, 240, 260, 300, 380, 456, 528, 600]


def test_audit_repeats_what_was_published(table: pd.DataFrame) -> None:
    family = published_family()
    for column in ("variant", "phi", "depth", "width", "resolution"):
        assert table[column].tolist() == family[column].tolist()


@pytest.mark.parametrize(
    ("column", "expected"),
    [  # Source: docs/sources.md, the published family, as printed there.
        ("phi_from_depth", [0, 0.52, 1.00, 1.85, 3.22, 4.32, 5.24, 6.21]),
        ("phi_from_width", [0, 0.00, 1.00, 1.91, 3.53, 4.93, 6.17, 7.27]),
        ("phi_from_resolution", [0, 0.49, 1.07, 2.09, 3.78, 5.09, 6.14, 7.05]),
    ],
)
def test_each_dimension_implies_another_phi(
    table: pd.DataFrame, column: str, expected: list[float]
) -> None:
    assert rounded(table[column], 2) == expected


def test_nominal_ratios_are_the_published_products(table: pd.DataFrame) -> None:
    # Source: docs/sources.md, the published family: two decimals, one from 10 on.
    assert rounded(table["nominal_flops_ratio"], 2)[:4] == [1.00, 1.26, 1.96, 3.62]
    assert rounded(table["nominal_flops_ratio"], 1)[4:] == [10.2, 23.3, 46.8, 89.0]


def test_real_ratios_are_the_measured_ones(table: pd.DataFrame) -> None:
    # Source: docs/sources.md, the published family; reference/measured_family_macs.csv.
    assert rounded(table["flops_ratio"], 2)[:4] == [1.00, 1.78, 2.58, 4.74]
    assert rounded(table["flops_ratio"], 1)[4:] == [11.4, 26.6, 49.4, 97.8]
    measured = pd.read_csv(MEASURED)
    assert rounded(table["flops_ratio"], 3) == measured["ratio_to_b0"].tolist()
    assert table["flops"].tolist() == measured["macs_conv_linear"].tolist()
    assert table["params"].tolist() == measured["params"].tolist()
    assert table["params"].tolist() == published_family()["params_exact"].tolist()


def test_the_rule_goes_beyond_the_published_depth_of_b7(table: pd.DataFrame) -> None:
    # Source: docs/sources.md, the published family: "B7's depth is 3.1 where the rule gives 3.58".
    b7 = table.iloc[7]
    assert (b7["depth"], round(b7["rule_depth"], 2)) == (3.1, 3.58)
    b0 = table.iloc[0]
    assert (b0["rule_depth"], b0["rule_width"], b0["rule_resolution"]) == (1, 1, 224)
    assert b0["rule_flops_ratio"] == 1


def test_rule_at_one_is_257_px_before_they_are_rounded(table: pd.DataFrame) -> None:
    b2 = table.iloc[2]
    assert b2["rule_resolution"] == pytest.approx(257.6)
    assert round(b2["rule_flops_ratio"], 3) == 2.573  # reference/measured_rounding_effects.csv


def test_shares_sum_to_one_and_are_undefined_for_b0(table: pd.DataFrame) -> None:
    for columns in (
        [f"nominal_{dimension}_share" for dimension in DIMENSIONS],
        [f"{dimension}_share" for dimension in DIMENSIONS],
    ):
        assert table.loc[0, columns].isna().all()
        assert table.loc[1:, columns].sum(axis=1).tolist() == pytest.approx([1.0] * 7)
        assert (table.loc[1:, columns] >= 0).all().all()


def test_b1_spends_nothing_on_width(table: pd.DataFrame) -> None:
    # Depth 1.1 and 240 px: log 1.1 and 2 log (240/224) over their sum.
    b1 = table.iloc[1]
    assert b1["nominal_width_share"] == b1["width_share"] == 0
    assert round(b1["nominal_depth_share"], 2) == 0.41
    # As built: 1.476x for depth and 1.199x for resolution alone. Source: docs/sources.md, rounding.
    assert round(b1["depth_share"], 2) == 0.68


def test_rule_as_built_costs_2_57(rule: pd.Series) -> None:
    # Source: reference/measured_rounding_effects.csv, 257 px; shares in design, "Words".
    assert rule["resolution"] == 257
    assert round(rule["flops_ratio"], 3) == 2.573
    assert round(rule["flops_ratio"], 3) == round(rule["rule_flops_ratio"], 3)
    assert rule["flops"] == 992_629_472
    assert rule["params"] == 9_109_994
    assert round(rule["nominal_flops_ratio"], 4) == 1.9203
    assert [round(rule[f"{d}_share"], 2) for d in DIMENSIONS] == [0.42, 0.15, 0.43]
    assert [round(rule[f"nominal_{d}_share"], 2) for d in DIMENSIONS] == [0.28, 0.29, 0.43]
    assert [rule[f"phi_from_{d}"] for d in DIMENSIONS] == pytest.approx([1, 1, 1])


def test_rule_as_built_follows_phi() -> None:
    at_two = rule_as_built(efficientnet("b0"), Flops(), PAPER, phi=2.0).iloc[0]
    assert at_two["variant"] == "rule, phi = 2"
    assert at_two["depth"] == pytest.approx(1.44)
    assert at_two["nominal_flops_ratio"] == pytest.approx(1.92027**2)


def test_rule_as_built_stands_in_one_table_with_the_family(table: pd.DataFrame) -> None:
    row = rule_as_built(efficientnet("b0"), Flops(), PAPER)
    assert list(row.columns) == list(table.columns)
    both = pd.concat([table, row], ignore_index=True)
    assert both["variant"].tolist() == [*VARIANTS, "rule, phi = 1"]
    assert both.dtypes.tolist() == table.dtypes.tolist()


def test_audit_of_another_base_network_scales_that_one() -> None:
    table = audit(small_proxy(), Flops(), PAPER, published_family())
    assert table["resolution"].tolist()[:3] == [20, 22, 24]  # 20 · 240/224, 20 · 260/224, even
    assert table["flops"].iloc[0] == 1_178_016
    assert table["flops_ratio"].iloc[0] == 1


def test_a_dimension_that_the_rule_leaves_alone_implies_no_phi() -> None:
    rule = Coefficients(1.0, 1.2, 1.1)
    table = audit(efficientnet("b0"), Flops(), rule, published_family())
    assert table["phi_from_depth"].isna().all()
    assert table["phi_from_width"].notna().all()


def test_audit_builds_no_network() -> None:
    before = torch.get_rng_state()
    audit(efficientnet("b0"), Flops(), PAPER, published_family())
    # A network that is built draws its weights.
    assert torch.equal(torch.get_rng_state(), before)
