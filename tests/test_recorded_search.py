"""The committed search: its record gives the committed tables."""

import html
import shutil
from pathlib import Path

import pandas as pd
import pytest

import scaling_search as ss
from scaling_search.commands.reporting import sections_of

RECORDED = Path(__file__).resolve().parent.parent / "experiments" / "fashion_mnist_small"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ss.Run:
    """The run in a folder of its own."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    shutil.copytree(RECORDED, folder)
    return ss.load(folder)


@pytest.mark.parametrize(
    "name", ["candidates", "results", "curves", "coefficients", "comparisons", "families"]
)
def test_the_record_gives_the_committed_table(run: ss.Run, name: str) -> None:
    committed = pd.read_csv(RECORDED / f"{name}.csv")
    table = run.conclusion.comparisons() if name == "comparisons" else getattr(run, name)
    table.to_csv(run.folder / "again.csv", index=False)
    again = pd.read_csv(run.folder / "again.csv")
    # Recorded values have seven digits; columns may stand in another order.
    pd.testing.assert_frame_equal(
        again[committed.columns], committed, check_dtype=False, rtol=5e-6, atol=1e-6
    )


def test_networks_are_named_and_build(run: ss.Run) -> None:
    assert list(run.members())[:3] == ["base", "found", "compound-1"]
    answer = run.answer
    assert answer is not None
    assert run.network("found") == run.network(str(answer.network))
    recorded = pd.read_csv(RECORDED / "candidates.csv").set_index("candidate")["params"]
    built = run.network("found").build()
    assert sum(p.numel() for p in built.parameters()) == recorded[answer.network]


def test_its_page_says_what_the_record_says(run: ss.Run) -> None:
    page = html.unescape((RECORDED / "report.html").read_text(encoding="utf-8"))
    conclusion = run.conclusion
    sections = [section for section, _ in sections_of(run, conclusion)]
    assert [one.name for one in sections] == ["recipe_check", "confirm", "fairness_learning_rate"]
    for sentence in (*conclusion.sentences, *(line for one in sections for line in one.sentences)):
        assert sentence in page
