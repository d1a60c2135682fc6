"""The committed search: its record gives the committed tables."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scaling_search as ss
from scaling_search.display.fairness import about_rates
from scaling_search.follow_ups.fairness import span_of
from scaling_search.follow_ups.interactions import fit_cells

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


def test_its_three_rates_cannot_tell_whether_they_favour_some_networks(run: ss.Run) -> None:
    table = pd.read_csv(RECORDED / "fairness_learning_rate.csv")
    sd = float((table["val_loss_se"] * np.sqrt(table["num_seeds"])).iloc[0])
    # Trainings with the means, standard error and degrees of freedom of the table: seeds of even
    # networks lie on one side of their mean, those of odd ones on the other.
    lines = table.loc[table.index.repeat(table["num_seeds"])].reset_index(drop=True)
    seed = lines.groupby(["candidate", "rate"]).cumcount().to_numpy().astype(np.int64)
    away = np.where(seed == 2, 0, 1 - 2 * seed) * np.where(lines["candidate"] % 2, 1, -1)
    network = lines["candidate"].to_numpy() - 1
    setting = np.searchsorted([0.5, 1, 2], lines["rate"].to_numpy()).astype(np.int64)
    loss = lines["val_loss_mean"].to_numpy() + sd * away * np.sqrt(12 / (away**2).sum())
    cells = fit_cells(network, setting, seed, loss)
    assert cells.freedom == 12
    assert cells.errors.ravel() == pytest.approx(table["val_loss_se"], rel=1e-6)
    first, second, last = about_rates(cells, list("abcd"), "val_loss", span_of(run.answer))
    assert first == (
        "These results cannot tell whether the learning rate favours some networks "
        "(F(6, 12) = 1.75, p = 0.193)."
    )
    assert second == (
        "With probability 0.8 the test finds one of the 4 that gains 0.0501 more than the others "
        "from half to twice the rate; the search's surface has a range of 0.0268, best to worst."
    )
    assert last == "All 4 together are best at twice the rate."
    page = (RECORDED / "report.html").read_text(encoding="utf-8")
    assert first in page
    assert second.replace("'", "&#39;") in page
