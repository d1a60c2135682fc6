"""The published EfficientNets beside their own rule, against the numbers of others."""

import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.base_networks import efficientnet, small_efficientnet
from scaling_search.core.scaling import DIMENSIONS, PAPER, Coefficients
from scaling_search.costs.flops import Flops
from scaling_search.planning.multiplier_table import MULTIPLIERS
from scaling_search.planning.published import (
    READERS_PHI,
    audit_input,
    audited_table,
    published_family,
    rule_as_built,
)
from tests.base_networks.families import family
from tests.cli import Cli
from tests.tiny import tiny_network

VARIANTS = ["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"]
MEASURED = Path(__file__).parents[1] / "reference" / "measured_family_macs.csv"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return audited_table(efficientnet("b0"), Flops(), PAPER, published_family())


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
    assert rounded(table["cost_ratio"], 2)[:4] == [1.00, 1.78, 2.58, 4.74]
    assert rounded(table["cost_ratio"], 1)[4:] == [11.4, 26.6, 49.4, 97.8]
    measured = pd.read_csv(MEASURED)
    assert rounded(table["cost_ratio"], 3) == measured["ratio_to_b0"].tolist()
    assert table["flops"].tolist() == measured["macs_conv_linear"].tolist()
    assert table["params"].tolist() == measured["params"].tolist()
    assert table["params"].tolist() == published_family()["params_exact"].tolist()


def test_the_rule_goes_beyond_the_published_depth_of_b7(table: pd.DataFrame) -> None:
    # Source: docs/sources.md, the published family: "B7's depth is 3.1 where the rule gives 3.58".
    b7 = table.iloc[7]
    assert (b7["depth"], round(b7["rule_depth"], 2)) == (3.1, 3.58)
    b0 = table.iloc[0]
    assert (b0["rule_depth"], b0["rule_width"], b0["rule_resolution"]) == (1, 1, 224)
    assert b0["rule_cost_ratio"] == 1


def test_rule_at_one_is_257_px_before_they_are_rounded(table: pd.DataFrame) -> None:
    b2 = table.iloc[2]
    assert b2["rule_resolution"] == pytest.approx(257.6)
    assert round(b2["rule_cost_ratio"], 3) == 2.573  # reference/measured_rounding_effects.csv


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
    assert round(rule["cost_ratio"], 3) == 2.573
    assert round(rule["cost_ratio"], 3) == round(rule["rule_cost_ratio"], 3)
    assert rule["flops"] == 992_629_472
    assert rule["params"] == 9_109_994
    assert round(rule["nominal_flops_ratio"], 4) == 1.9203
    assert [round(rule[f"{d}_share"], 2) for d in DIMENSIONS] == [0.42, 0.15, 0.43]
    assert [round(rule[f"nominal_{d}_share"], 2) for d in DIMENSIONS] == [0.28, 0.29, 0.43]
    assert [rule[f"phi_from_{d}"] for d in DIMENSIONS] == pytest.approx([1, 1, 1])


def test_rule_as_built_stands_in_one_table_with_the_family(table: pd.DataFrame) -> None:
    row = rule_as_built(efficientnet("b0"), Flops(), PAPER)
    assert list(row.columns) == list(table.columns)
    both = pd.concat([table, row], ignore_index=True)
    assert both["variant"].tolist() == [*VARIANTS, "rule, phi = 1"]
    assert both.dtypes.tolist() == table.dtypes.tolist()


def test_audit_of_another_base_network_scales_that_one() -> None:
    table = audited_table(small_efficientnet(), Flops(), PAPER, published_family())
    assert table["resolution"].tolist()[:3] == [20, 21, 23]  # 20 · 240/224, 20 · 260/224
    assert table["flops"].iloc[0] == 1_178_016
    assert table["cost_ratio"].iloc[0] == 1


def test_a_dimension_that_the_rule_leaves_alone_implies_no_phi() -> None:
    rule = Coefficients(1.0, 1.2, 1.1)
    table = audited_table(efficientnet("b0"), Flops(), rule, published_family())
    assert table["phi_from_depth"].isna().all()
    assert table["phi_from_width"].notna().all()


def test_audit_builds_no_network() -> None:
    before = torch.get_rng_state()
    audited_table(efficientnet("b0"), Flops(), PAPER, published_family())
    # A network that is built draws its weights.
    assert torch.equal(torch.get_rng_state(), before)


MOBILENET_V2 = """name,width,depth,resolution,flops,params
0.75,0.75,1,224,209e6,2.61e6
1.0,1,1,224,300e6,3.47e6
1.4,1.4,1,224,582e6,6.06e6
1.0 at 192 px,1,1,192,221e6,3.47e6
"""
# Source: tensorflow/models `slim/nets/mobilenet/README.md`, the table of checkpoints.


def test_mobilenet_v2_has_its_published_counts_at_other_widths(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(MOBILENET_V2, encoding="utf-8")
    network = family("mobilenet_v2", num_classes=1000)
    what = audit_input(network, str(tmp_path / "mine.csv"), None)
    assert what.rule is None
    table = audited_table(network, Flops(), what.rule, what.variants)
    assert (table["flops"] / 1e6).round().tolist() == [209, 301, 582, 221]
    assert table["published_flops"].tolist() == [209e6, 300e6, 582e6, 221e6]
    # The published parameters leave out the norms' statistics and biases in part: ours are 1 % up.
    assert (table["params"] / table["published_params"] - 1).between(0, 0.011).all()
    assert table["params"][1] == 3_504_872  # torchvision's
    assert table["resolution"].tolist() == [224, 224, 224, 192]
    assert table[[f"{d}_share" for d in DIMENSIONS]].to_numpy()[[0, 2, 3]].tolist() == [
        [0, 1, 0],
        [0, 1, 0],
        [0, 0, 1],
    ]
    # Without phi it is the binary logarithm of the cost.
    assert (2 ** table["phi"]).tolist() == pytest.approx(table["cost_ratio"].tolist())
    assert table.filter(like="rule_").isna().all(axis=None)


@pytest.mark.parametrize(
    ("name", "billions", "unstated"),
    [  # Source: Tan & Le 2019, Table 3, and ours to a tenth beside them.
        ("mobilenet_v1", {0.6: 0.6, 2.2: 2.3, 2.3: 2.5}, ()),
        ("mobilenet_v2", {0.3: 0.3, 1.2: 1.2, 1.1: 1.1}, ("compound",)),
        ("resnet", {4.1: 4.1, 16.2: 14.6, 14.7: 16.1, 16.4: 16.4}, ("compound",)),
    ],
)
def test_table_3_is_what_is_published_of_its_networks(
    name: str, billions: dict[float, float], unstated: tuple[str, ...]
) -> None:
    options = {"variant": 50} if name == "resnet" else {}
    network = family(name, num_classes=1000, **options)
    what = audit_input(network, None, None)
    assert (what.source, what.rule, what.unstated) == ("table_3", None, unstated)
    table = audited_table(network, Flops(), None, what.variants)
    found = dict(zip(table["published_flops"] / 1e9, table["flops"] / 1e9, strict=True))
    assert {theirs: round(ours, 1) for theirs, ours in found.items()} == billions
    assert table["cost_ratio"][0] == 1


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(*[st.floats(*MULTIPLIERS)] * 3), min_size=1, max_size=4),
    st.none() | st.tuples(*[st.floats(1, 10)] * 3),
)
def test_any_multipliers_are_costed_at_once_or_refused_by_their_row(
    triples: list[tuple[float, float, float]], rule: tuple[float, float, float] | None
) -> None:
    variants = pd.DataFrame(triples, columns=["depth", "width", "resolution_multiplier"])
    variants["variant"] = [str(number) for number in range(len(triples))]
    network = tiny_network()
    began = time.monotonic()
    try:
        table = audited_table(network, Flops(), Coefficients(*rule) if rule else None, variants)
    except ValueError as error:
        assert "audit.table must have multipliers that the base network can be" in str(error)  # noqa: PT017  # or nothing is raised
        return
    assert time.monotonic() - began < 5
    for row, triple in zip(table.to_dict("records"), triples, strict=True):
        assert row["cost_ratio"] == row["flops"] / 18_552
        assert sum(row[f"{d}_share"] for d in DIMENSIONS) == pytest.approx(1) or (
            row["cost_ratio"] == 1 or pd.isna(row["depth_share"])
        )
        if rule:
            assert row["rule_depth"] == pytest.approx(rule[0] ** row["phi"])
            assert row["off_depth"] == pytest.approx(triple[0] / row["rule_depth"] - 1)


def test_a_table_of_ones_own_says_its_rule_and_how_far_its_rows_are(
    cli: Cli, tmp_path: Path
) -> None:
    text = "name,phi,depth,width,resolution\ntiny,0,1,1,224\n[b]twice,1,1.2,1.1,260\n"
    (tmp_path / "mine.csv").write_text(text + "$\\frac$,2,1.44,1.21,296\n", encoding="utf-8")
    outcome = cli("audit", "base_network=mobilenet_v2", "audit.table=mine.csv", "audit.write=true")
    assert (outcome.code, outcome.err) == (0, "")
    assert (
        "The rule is alpha 1.20, beta 1.10, gamma 1.15, fitted to the logarithms of the table"
        in outcome.out
    )
    assert "All rows follow the rule within ±0.8 %. The largest difference is " in outcome.out
    assert " of '[b]twice'." in outcome.out
    assert "EfficientNet" not in outcome.out
    assert "tensorflow" not in outcome.out
    rows = outcome.out.splitlines()[1:4]
    assert [line.split()[0] for line in rows] == ["tiny", "[b]twice", r"$\frac$"]
    kept = pd.read_csv("runs/paper_grid/audit.csv")
    assert kept["variant"].tolist() == ["tiny", "[b]twice", r"$\frac$"]
    assert (tmp_path / "runs/paper_grid/figures/audited_shares.png").stat().st_size > 5_000


def test_given_coefficients_are_the_rule(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(MOBILENET_V2, encoding="utf-8")
    options = ("base_network=mobilenet_v2", "audit.table=mine.csv")
    out = cli("audit", *options, "audit.coefficients=[1.0,1.4,1.0]").out
    assert "The rule is alpha 1.00, beta 1.40, gamma 1.00, as given." in out
    out = cli("audit", *options).out
    assert "add a column phi, or audit.coefficients=[alpha,beta,gamma]." in out
    assert "Ours are within ±0.3 % of the published flops." in out
    assert "The largest difference is +0.3 %, at '1.0'." in out
    assert not (tmp_path / "runs").exists()


def test_another_base_network_is_not_spoken_of_as_the_papers(cli: Cli) -> None:
    out = cli("audit", "base_network=resnet_small", "base_network.resolution=20").out
    assert "multipliers published for B0 to B7, used on this network" in out
    assert "EfficientNet" not in out
    assert "rounded up in every stage" not in out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("audit.table=absent.csv",), ["audit.table must be a CSV file", "'absent.csv'"]),
        (("audit.table=.",), ["audit.table must be a CSV file", "'.'"]),
        (("audit.coefficients=[0.5,1,1]",), ["audit.coefficients", "greater than or equal to 1"]),
        (("audit.coefficients=[1,1,1e6]",), ["audit.coefficients", "less than or equal to 10"]),
        (("audit.coefficients=[1,1]",), ["audit.coefficients"]),
        (("audit.coefficients=[1,1,nan]",), ["audit.coefficients"]),
        (("audit.tabel=x.csv",), ["audit.tabel is not an option", "audit.table"]),
    ],
)
def test_what_cannot_be_audited_gets_one_line(
    cli: Cli, options: tuple[str, ...], expected: list[str]
) -> None:
    outcome = cli("audit", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") <= 2
    for part in expected:
        assert part in outcome.err


def test_a_network_too_small_to_be_scaled_down_is_named_by_its_row(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("name,depth,width,resolution\nS,1,2,1\n", encoding="utf-8")
    outcome = cli("audit", "audit.table=mine.csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("scaling-search: audit.table must have multipliers")
    assert "got 'S' with depth 1, width 2, resolution 0.00446429" in outcome.err
    assert outcome.err.count("\n") == 1
