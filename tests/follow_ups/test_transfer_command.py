"""The next size from the command, on real trainings of a fraction of a second each."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from scaling_search.commands import search, transfer
from scaling_search.commands.run_folder import Call, record_of, study_name
from scaling_search.commands.run_folder import searched as searched_by
from scaling_search.experiment import DECIDING, Experiment, Limits, Transfer
from scaling_search.follow_ups.transfer import stored
from scaling_search.record.results import VOLATILE, results_table
from scaling_search.record.tables import read_table
from scaling_search.spaces import Buildable
from tests.in_process import Executing, printed
from tests.tiny import tiny_dataset, tiny_experiment, tiny_network, tiny_recipe


def experiment_in(folder: Path, **changes: Any) -> Experiment:
    """A search among nine tiny networks, one epoch each."""
    options: dict[str, Any] = {
        "base_network": tiny_network(width_divisor=1, resolution_divisor=1),
        "candidates": Buildable(tolerance=0.1, max_networks=9),
        "recipe": tiny_recipe(epochs=1),
    }
    return tiny_experiment(folder, **options | changes)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that search."""
    folder = tmp_path_factory.mktemp("searched")
    printed(search.run, experiment_in(folder))
    return folder


@pytest.fixture
def experiment(searched: Path, tmp_path: Path) -> Experiment:
    """The same search in a folder of its own."""
    shutil.copytree(searched, tmp_path / "run")
    return experiment_in(tmp_path / "run")


def trained(experiment: Experiment) -> pd.DataFrame:
    """What the record holds of larger sizes."""
    rows = record_of(experiment, study_name(experiment.name, "transfer")).rows()
    return results_table(rows).drop(columns=list(VOLATILE), errors="ignore")


def test_ten_networks_are_trained_and_the_answer_printed_and_written(
    experiment: Experiment,
) -> None:
    out = printed(transfer.run, experiment)
    lines = out.splitlines()
    before = next(i for i, line in enumerate(lines) if line.startswith("1/10"))
    assert any("With probability 0.8 these trainings find" in line for line in lines[:before])
    assert any(line.startswith("10 trainings: about") for line in lines[:before])
    assert "From 2x to 4x the best split moves by" in out
    folder = Path(experiment.out)
    table = read_table(folder / "transfer.csv")
    assert table["size"].eq(4).all()
    assert table["flops_ratio"].between(3.6, 4.4).all()
    assert table["resolution"].max() <= tiny_dataset().resolution
    assert table["network"].is_unique
    assert table["num_seeds"].tolist() == [1] * 10
    rows = trained(experiment)
    assert rows["candidate"].tolist() == list(range(201, 211))
    assert rows["val_loss"].tolist() == pytest.approx(table["val_loss_mean"].tolist(), rel=1e-6)
    for suffix in ("png", "svg"):
        assert (folder / "figures" / f"transfer.{suffix}").stat().st_size > 5_000
    assert max(map(len, out[out.index("size ") :].splitlines()[:11])) <= 100


def test_the_same_command_again_trains_nothing_and_says_the_same(experiment: Experiment) -> None:
    once, again = (printed(transfer.run, experiment) for _ in range(2))
    assert "All 10 trainings are done." in again
    assert again[again.index("size ") :] == once[once.index("size ") :]


def test_a_price_trains_and_writes_nothing(experiment: Experiment) -> None:
    priced = replace(experiment, price_only=True, transfer=Transfer(phis=(2, 3), num_seeds=2))
    out = printed(transfer.run, priced)
    assert "With probability 0.8 these trainings find a change from 2x to 8x of" in out
    assert "40 trainings: about" in out
    assert trained(experiment).empty
    assert not (Path(experiment.out) / "transfer.csv").exists()


@pytest.mark.slow
def test_more_sizes_and_seeds_go_on_from_what_is_known(experiment: Experiment) -> None:
    printed(transfer.run, experiment)
    more = replace(experiment, transfer=Transfer(phis=(2, 3), num_seeds=2))
    out = printed(transfer.run, more)
    assert "30 trainings (10 more are done): about" in out
    rows = trained(experiment)
    assert len(rows) == 40
    assert rows.groupby("candidate")["network"].nunique().eq(1).all()
    assert "From 2x to 8x the best split moves by" in out


def test_at_a_limit_it_ends_and_the_stored_part_is_told(experiment: Experiment) -> None:
    limits = Limits(trainings=4, hours=None, gpu_hours=None, region=None, failed_share=1.0)
    out = printed(transfer.run, replace(experiment, limits=limits))
    assert "best split moves" not in out
    networks = read_table(Path(experiment.out) / "transfer.csv")
    assert len(networks) == 10
    assert len(trained(experiment)) == 4


def test_what_is_stored_says_the_same_without_training(experiment: Experiment) -> None:
    out = printed(transfer.run, experiment)
    call = Call(experiment, {key: str(getattr(experiment, key)) for key in DECIDING}, "", Console())
    before = searched_by(call)
    networks = read_table(Path(experiment.out) / "transfer.csv")
    rows = record_of(experiment, study_name(experiment.name, "transfer")).rows()
    told = stored(before.conclusion, networks, results_table(rows))
    assert told is not None
    assert all(sentence in out.replace("\n", " ") for sentence in told.section.sentences)


def test_equal_training_flops_are_those_of_each_size(tmp_path: Path) -> None:
    experiment = experiment_in(
        tmp_path / "run", recipe=tiny_recipe(epochs=1, equal="training_flops")
    )
    printed(search.run, experiment)
    printed(transfer.run, experiment)
    rows = trained(experiment)
    assert (rows["epochs"] * rows["flops_ratio"]).tolist() == pytest.approx([4.0] * 10)


def test_failed_trainings_are_rows_and_the_answer_says_so(experiment: Experiment) -> None:
    out = printed(transfer.run, replace(experiment, executor=Executing(lost=((0, 201), (0, 210)))))
    assert "2 of 10 trainings failed and do not count." in out
    assert "Left out, without a finished training: depth at 4x, pycls at 4x." in out
    assert (trained(experiment)["state"] == "FAIL").sum() == 2


def test_where_all_fail_nothing_can_be_told(experiment: Experiment) -> None:
    all_of_them = tuple((0, number) for number in range(201, 211))
    said = r"10 of 10 trainings failed, most often \(10\): .*; nothing to report"
    for _ in range(2):  # the second has nothing left to train
        with pytest.raises(RuntimeError, match=said):
            printed(transfer.run, replace(experiment, executor=Executing(lost=all_of_them)))
    drawn = {path.name for path in (Path(experiment.out) / "figures").iterdir()}
    assert drawn == {"contact_sheet.png"}


def refused(experiment: Experiment) -> str:
    with pytest.raises(ValueError, match="must") as error:
        printed(transfer.run, experiment)
    return str(error.value)


def test_it_needs_a_surface_and_sizes_above_the_searchs(
    experiment: Experiment, tmp_path: Path
) -> None:
    small = replace(experiment, transfer=Transfer(phis=(1, 2), num_seeds=1))
    assert refused(small).startswith(
        "transfer.phis must be sizes above the search's 2x, got [1, 2]; [2, 3] are"
    )
    few = tiny_experiment(tmp_path / "few")
    printed(search.run, few)
    message = refused(few)
    assert message.startswith("out must hold a search with a fitted surface, got '")
    assert "(the surface must have 7 networks or more" in message
    assert message.endswith("; search further first")
    assert "\n" not in message
