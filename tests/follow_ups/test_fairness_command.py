"""The command fairness: its price, its sections, its files, and what it refuses."""

import shutil
from pathlib import Path

import optuna
import pandas as pd
import pytest

from tests.cli import TINY, Cli, ran


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a search among two networks left."""
    folder = tmp_path_factory.mktemp("searched") / "mine"
    assert ran("search", f"out={folder}", *TINY).code == 0
    return folder


@pytest.fixture
def cli(searched: Path, cli: Cli, tmp_path: Path) -> Cli:
    """Run command lines beside a copy of that folder, in this process."""
    shutil.copytree(searched, tmp_path / "mine")
    return cli


def num_trained(folder: Path) -> int:
    url = f"sqlite:///{folder / 'study.db'}"
    return len(optuna.load_study(study_name="default-fairness", storage=url).trials)


@pytest.mark.slow
def test_both_sections_are_printed_and_written(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    outcome = cli("fairness", "out=mine", "fairness.learning_rate=true", "fairness.length=true")
    assert outcome.code == 0
    # Two networks at three rates and, with the base, for three lengths, two seeds each; the search
    # has one seed of each, and the base network's.
    assert num_trained(folder) == 2 * 3 * 2 + 3 * 3 * 2 - 2 * 2 - 3
    assert "Learning rates are checked with the networks nearest to depth, width" in outcome.out
    assert "Lengths of training are checked with the base network and up to 10" in outcome.out
    assert "Does the learning rate favour some networks?" in outcome.out
    assert "Does the length of training favour some networks?" in outcome.out
    tables = [line for line in outcome.out.splitlines() if " / " in line]
    assert tables
    assert max(map(len, tables)) <= 100
    for name, setting in (("fairness_learning_rate", "rate"), ("fairness_length", "length")):
        table = pd.read_csv(folder / f"{name}.csv")
        assert list(table[setting]) == [0.5, 1.0, 2.0] * 2
        assert (table["num_seeds"] == 2).all()
        assert (folder / "figures" / f"{name}.png").stat().st_size > 5_000

    again = cli("fairness", "out=mine", "fairness.learning_rate=true", "fairness.length=true")
    assert again.code == 0
    assert "All 26 trainings are done." in again.out
    assert num_trained(folder) == 23
    # What followed does not keep the search from going on.
    assert cli("search", "out=mine", *TINY).code == 0


def test_the_price_comes_before_any_training(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("fairness", "out=mine", "fairness.learning_rate=true", "price_only=true")
    assert outcome.code == 0
    assert "10 trainings (2 more are done): about " in outcome.out
    studies = optuna.get_all_study_names(f"sqlite:///{tmp_path / 'mine' / 'study.db'}")
    assert studies == ["default"]
    assert not list((tmp_path / "mine").glob("fairness*"))


@pytest.mark.slow
def test_a_limit_ends_it_without_sections_and_it_goes_on(cli: Cli, tmp_path: Path) -> None:
    asked = ("fairness", "out=mine", "fairness.learning_rate=true")
    outcome = cli(*asked, "limits.trainings=3")
    assert outcome.code == 0
    assert "favour" not in outcome.out
    assert 0 < num_trained(tmp_path / "mine") < 10
    assert "Does the learning rate favour some networks?" in cli(*asked).out
    assert num_trained(tmp_path / "mine") == 10


def test_nothing_asked_is_refused_in_one_line(cli: Cli) -> None:
    outcome = cli("fairness", "out=mine")
    assert outcome.code == 2
    assert outcome.err == (
        "scaling-search: fairness.learning_rate or fairness.length must be true, got false for "
        "both; add fairness.learning_rate=true\n"
    )
