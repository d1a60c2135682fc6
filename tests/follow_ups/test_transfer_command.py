"""The next size from the command, on simulated trainings of a search with an answer."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from scaling_search.answer.stopping import Limits
from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.commands.transfer import transfer
from scaling_search.core.scaling import DIMENSIONS, Shares
from scaling_search.display.transfer import transfer_section
from scaling_search.experiment.options import Transfer
from scaling_search.record.tables import read_table
from tests.in_process import printed
from tests.simulated import Simulating, simulated_run
from tests.tables import VOLATILE
from tests.tiny import tiny_dataset, tiny_recipe, tiny_run

FOUR = Transfer(phis=(2,))


@pytest.fixture
def run(answered: Run) -> Run:
    """A search with an answer, whose trainings are simulated."""
    return answered


def trained(run: Run) -> pd.DataFrame:
    """What the record holds of larger sizes."""
    return run.results_of("transfer").drop(columns=list(VOLATILE), errors="ignore")


def test_ten_networks_are_trained_and_the_answer_printed_and_written(
    run: Run,
) -> None:
    out = printed(transfer, run, FOUR)
    lines = out.splitlines()
    before = next(i for i, line in enumerate(lines) if line.startswith("1/10"))
    assert any("In 80 of 100 cases these trainings show" in line for line in lines[:before])
    assert any(line.startswith("10 trainings: about") for line in lines[:before])
    assert "From 2x to 4x the shares of the rule change by" in out
    folder = run.folder
    table = read_table(folder / "transfer.csv")
    assert table["size"].eq(4).all()
    assert table["flops_ratio"].between(3.6, 4.4).all()
    assert table["resolution"].max() <= tiny_dataset().resolution
    assert table["network"].is_unique
    assert table["num_seeds"].tolist() == [1] * 10
    rows = trained(run)
    assert rows["candidate"].tolist() == list(range(201, 211))
    assert rows["val_loss"].tolist() == pytest.approx(table["val_loss_mean"].tolist(), rel=1e-6)
    for suffix in ("png", "svg"):
        assert (folder / "figures" / f"transfer.{suffix}").stat().st_size > 5_000
    assert max(map(len, out[out.index("size ") :].splitlines()[:11])) <= 100


def test_the_found_split_is_that_of_the_network_nearest_to_the_rule(run: Run) -> None:
    answer = run.answer
    assert answer is not None
    assert answer.nearest != answer.network
    shares = {one.number: one.shares for one in run.networks}
    nearest, network = shares[answer.nearest], shares[answer.network]
    assert nearest is not None
    assert network is not None
    printed(transfer, replace(run, limits=Limits(trainings=1)), FOUR)
    table = read_table(run.folder / "transfer.csv")
    row = table[table["point"] == "found"].iloc[0]
    built = Shares(*(float(row[f"{dimension}_share"]) for dimension in DIMENSIONS))
    assert built.distance(nearest) == pytest.approx(row["distance"], abs=1e-5)
    assert built.distance(nearest) < built.distance(network)


def test_the_same_command_again_trains_nothing_and_says_the_same(run: Run) -> None:
    once, again = (printed(transfer, run, FOUR) for _ in range(2))
    assert "All 10 trainings are done." in again
    assert again[again.index("size ") :] == once[once.index("size ") :]


def test_a_price_trains_and_writes_nothing(run: Run) -> None:
    out = printed(transfer, run, Transfer(num_seeds=2), price_only=True)
    assert "In 80 of 100 cases these trainings show a change from 2x to 8x the" in out
    assert "40 trainings: about" in out
    assert trained(run).empty
    assert not (run.folder / "transfer.csv").exists()


@pytest.mark.slow
def test_more_sizes_and_seeds_go_on_from_what_is_known(run: Run) -> None:
    printed(transfer, run, FOUR)
    out = printed(transfer, run, Transfer(num_seeds=2))
    assert "30 trainings (10 more are done): about" in out
    rows = trained(run)
    assert len(rows) == 40
    assert rows.groupby("candidate")["network"].nunique().eq(1).all()
    assert "From 2x to 8x the shares of the rule change by" in out


def test_at_a_limit_it_ends_and_the_stored_part_is_told(run: Run) -> None:
    out = printed(transfer, replace(run, limits=Limits(trainings=4)), FOUR)
    assert "shares of the rule" not in out
    networks = read_table(run.folder / "transfer.csv")
    assert len(networks) == 10
    assert len(trained(run)) == 4


def test_what_is_stored_says_the_same_without_training(run: Run) -> None:
    out = printed(transfer, run, FOUR)
    told = run.transferred(run.conclusion)
    assert told is not None
    assert all(sentence in out.replace("\n", " ") for sentence in transfer_section(told).sentences)


def test_equal_training_flops_are_those_of_each_size(tmp_path: Path) -> None:
    run = simulated_run(tmp_path / "run", recipe=tiny_recipe(epochs=1, equal="training_flops"))
    printed(search, run)
    printed(transfer, run, FOUR)
    rows = trained(run)
    assert (rows["epochs"] * rows["flops_ratio"]).tolist() == pytest.approx([4.0] * 10)


def test_failed_trainings_are_rows_and_the_answer_says_so(run: Run) -> None:
    out = printed(transfer, replace(run, executor=Simulating(lost=((0, 201), (0, 210)))), FOUR)
    assert "2 of 10 trainings failed and are left out." in out
    assert "Without a finished training: depth at 4x, pycls at 4x." in out
    assert (trained(run)["state"] == "FAIL").sum() == 2


def test_where_all_fail_nothing_can_be_told(run: Run) -> None:
    all_of_them = tuple((0, number) for number in range(201, 211))
    said = r"10 of 10 trainings failed, most often \(10\): .*; nothing to report"
    for _ in range(2):  # the second has nothing left to train
        with pytest.raises(RuntimeError, match=said):
            printed(transfer, replace(run, executor=Simulating(lost=all_of_them)), FOUR)
    drawn = {path.name for path in (run.folder / "figures").iterdir()}
    assert drawn == {"contact_sheet.png"}


def refused(run: Run, options: Transfer = FOUR) -> str:
    with pytest.raises(ValueError, match="must") as error:
        printed(transfer, run, options)
    return str(error.value)


def test_it_needs_an_answer_and_sizes_above_the_searchs(run: Run, tmp_path: Path) -> None:
    assert refused(run, Transfer(phis=(1, 2))).startswith(
        "transfer.phis must be sizes above the search's 2x, got [1, 2]; [2, 3] are"
    )
    few = tiny_run(tmp_path / "few")
    printed(search, few)
    message = refused(few)
    assert message.startswith("out must hold a search with an answer, got '")
    assert "; for more places use candidates.max_networks=null" in message
    assert message.endswith("; search further first")
    assert "\n" not in message
