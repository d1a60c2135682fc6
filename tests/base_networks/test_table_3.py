"""Table 3 of the paper beside ours: what is read, what is recognised, what is said."""

import pandas as pd
import pytest

from scaling_search.display.audit import scalings_sentences
from scaling_search.planning.published import published_scalings
from tests.base_networks.families import NAMES, family
from tests.cli import Cli


def scalings(name: str) -> pd.DataFrame:
    return published_scalings(family(name, num_classes=1000))


@pytest.mark.parametrize(
    ("name", "methods", "paper", "ours"),
    [
        # Source: Tan & Le 2019 (arXiv v5), Table 3; ours counted in closed form.
        (
            "mobilenet_v1",
            ["baseline", "width only", "resolution only", "compound"],
            [0.6, 2.2, 2.2, 2.3],
            [568_740_352, 2_216_465_408, 2_271_889_408, 2_469_723_976],
        ),
        (
            "mobilenet_v2",
            ["baseline", "depth only", "width only", "resolution only", "compound"],
            [0.3, 1.2, 1.1, 1.2, 1.3],
            [300_774_272, 1_219_587_776, 1_137_428_224, 1_199_257_088, None],
        ),
        (
            "resnet",
            ["baseline", "depth only", "width only", "resolution only", "compound"],
            [4.1, 16.2, 14.7, 16.4, 16.7],
            [4_089_184_256, 14_570_749_952, 16_116_613_120, 16_350_593_024, None],
        ),
    ],
)
def test_each_way_of_scaling_stands_beside_ours(
    name: str, methods: list[str], paper: list[float], ours: list[int | None]
) -> None:
    table = scalings(name)
    assert table["method"].tolist() == methods
    assert table["flops_paper_b"].tolist() == paper
    assert [None if pd.isna(flops) else int(flops) for flops in table["flops"]] == ours


def test_what_is_not_stated_is_left_empty() -> None:
    compound = scalings("resnet").iloc[-1]
    assert compound["method"] == "compound"
    assert compound[["d", "w", "r", "flops", "resolution"]].isna().all()
    assert compound["layers"] == ""


@pytest.mark.parametrize("name", [n for n in NAMES if n not in {"mobilenet_v1", "mobilenet_v2"}])
def test_other_networks_are_not_in_the_table(name: str) -> None:
    assert published_scalings(family(name)).empty


def test_other_options_are_not_the_papers_network() -> None:
    assert not scalings("mobilenet_v1").empty
    assert published_scalings(family("mobilenet_v1", num_classes=10)).empty
    assert published_scalings(family("mobilenet_v1", num_classes=1000, in_channels=1)).empty


def test_deviations_are_said() -> None:
    assert "In 2 of 4 rows" in scalings_sentences(scalings("resnet"))[1]
    said = scalings_sentences(scalings("resnet"))[1]
    assert said.endswith("depth only -10.1%, width only +9.6%.")
    assert scalings_sentences(scalings("mobilenet_v2"))[1].endswith(
        "ours round to the paper's number."
    )


@pytest.mark.slow
def test_plan_prints_the_papers_costs(cli: Cli) -> None:
    options = [
        "experiment=paper_grid",
        "base_network=mobilenet_v2",
        "candidates=buildable",
        "candidates.max_resolution=null",
        "candidates.max_networks=1",
    ]
    outcome = cli("plan", *options)
    assert outcome.code == 0
    said = outcome.out
    assert "MobileNetV2 as scaled in Tan & Le 2019, Table 3." in said
    (depth,) = (line.split() for line in said.splitlines() if line.lstrip().startswith("depth on"))
    assert depth == ["depth", "only", "4", "1", "1", "1.2", "1.220", "224", "4-8-12-16-12-12-4"]
