"""Searches from Python: they share folders with the command line, and refuse what is wrong."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from optuna.storages import RDBStorage
from rich.console import Console

import scaling_search as ss
from tests.cli import TINY, Cli, ran
from tests.datasets.pictures_of import write_tree
from tests.in_process import Executing

QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to search in."""
    monkeypatch.chdir(tmp_path)


def experiment(**changes: object) -> ss.Experiment:
    """The experiment that `TINY` makes on the command line."""
    options: dict[str, object] = {
        "recipe": ss.Recipe(epochs=1, learning_rate=0.2, batch_size=20, check=False),
        "dataset": ss.datasets.FashionMnistSmall(num_train=100, num_val=50),
        "candidates": ss.candidates.Buildable(max_networks=2),
        "num_seeds": 1,
    }
    return ss.Experiment(**options | changes)  # type: ignore[arg-type]  # each has its own type


def test_two_folders_of_one_record_are_both_read() -> None:
    shared = ("storage=both.log", *TINY)
    assert ran("search", "out=one", "limits.trainings=1", *shared).code == 0
    assert ran("search", "out=two", "num_seeds=2", "limits.trainings=2", *shared).code == 0
    assert [ss.load(folder).experiment.num_seeds for folder in ("one", "two")] == [1, 2]
    config = Path("one", "config.yaml")
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("num_seeds: 1", "num_seeds: 3"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"num_seeds must be 2 as in this folder's record, got 3"):
        ss.load("one")


@pytest.mark.slow
def test_python_goes_on_where_the_command_line_stopped_and_the_other_way_round() -> None:
    assert ran("search", "out=mine", "limits.trainings=1", *TINY).code == 0
    ss.search(experiment(), "mine", executor=(executor := Executing()), console=QUIET)
    assert len(executor.submitted) == 2
    ss.search(experiment(), "other", executor=Executing(), console=QUIET)
    again = ran("search", "out=other", *TINY)
    assert (again.code, again.err) == (0, "")
    assert "all trainings are done" in again.out
    columns = ["network", "seed", "val_loss", "val_accuracy"]
    tables = [ss.load(folder).results[columns] for folder in ("mine", "other")]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert ran("report", "out=other").code == 0
    refused = ran("search", "out=other", *TINY, "recipe.momentum=0.8")
    assert "recipe.momentum must be 0.9 as in this folder's record, got 0.8" in refused.err


def test_a_run_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ss.search(experiment(), "mine", executor=Executing(), console=QUIET)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(run.results) == 3
    assert run.report() == tmp_path / "mine" / "report.html"
    with pytest.raises(ValueError, match=r"recipe\.epochs must be 1\.0 as in"):
        ss.search(
            experiment(recipe=ss.Recipe(epochs=2, batch_size=20, check=False)),
            run.out,
            console=QUIET,
        )


def test_a_folder_of_tables_says_what_can_be_read_and_what_makes_its_record(cli: Cli) -> None:
    tables = Path(__file__).parents[2] / "experiments" / "table_3_resnet_small"
    shutil.copytree(tables, "mine")
    told = (
        "out must hold the record of 'table_3_resnet_small', got 'mine' with tables and no "
        "study.db; read results.csv as it is, or train again by its config.yaml: "
        "scaling-search search out=mine"
    )
    for command in ("report", "scale"):
        assert cli(command, "out=mine").err == f"scaling-search: {told}\n"
    with pytest.raises(RuntimeError, match=r"with tables and no study\.db; .* search out=.*mine$"):
        ss.load("mine").results  # noqa: B018  # it is read here
    priced = cli("search", "out=mine", "price_only=true", "timed=false")
    assert priced.code == 0, priced.err


def test_a_folder_whose_choices_were_changed_is_not_reported() -> None:
    run = ss.search(experiment(), "mine", executor=Executing(), console=QUIET)
    config = run.folder / "config.yaml"
    text = config.read_text("utf-8")
    config.write_text(text.replace("target: 2.0", "target: 4.0"), "utf-8")
    with pytest.raises(ValueError, match=r"candidates\.target must be 2\.0 as in"):
        ss.load("mine").report()
    config.write_text("", "utf-8")
    with pytest.raises(ValueError, match="must hold the options of a search"):
        ss.load("mine")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("num_seeds: 1", "num_seeds: 2", "num_seeds must be 1 as in .*, got 2"),
        ("delta: null", "delta: 0.1", r"decide\.delta must be None as in .*, got 0\.1"),
        ("num_train: 100", "num_train: 90", r"dataset\.num_train must be 100 as in .*, got 90"),
        (
            "sampler:\n  _target_: scaling_search.samplers.grid.Grid\n",
            "",
            r"sampler\._target_ must be 'scaling.*, got 'nothing'",
        ),
    ],
)
def test_a_changed_option_that_decides_no_training_is_refused_too(
    old: str, new: str, said: str
) -> None:
    run = ss.search(experiment(), "mine", executor=Executing(), console=QUIET)
    config = run.folder / "config.yaml"
    text = config.read_text("utf-8")
    assert text.count(old) == 1
    config.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(ValueError, match=f"{said}; put .*config.yaml back"):
        ss.load("mine")
    ss.search(experiment(), "mine", executor=Executing(), console=QUIET)
    assert config.read_text("utf-8") == text
    decided = ss.load("mine", decide=ss.Decide(delta=0.1))
    assert decided.experiment.decide.delta == 0.1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limits": 5}, "limits"),
        ({"executor": "inline"}, "executor"),
        ({"storage": 3}, "storage"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ss.search(experiment(), "mine", **changes)  # type: ignore[arg-type]  # which is the point
    with pytest.raises(ValueError, match="name must be plain text"):
        ss.search(experiment(name="${out}"), "mine", executor=Executing(), console=QUIET)
    assert not Path("mine").exists()


def test_overrides_compose_an_experiment_and_nothing_else() -> None:
    composed = ss.compose("experiment=default", "recipe.epochs=5")
    assert (composed.recipe.epochs, composed.candidates.target) == (5, 2.0)
    with pytest.raises(ValueError, match="overrides must set an experiment's choices"):
        ss.compose("executor=ray")
    with pytest.raises(ValueError, match="epochs"):
        ss.compose("recipe.epochs=-1")
    with pytest.raises(ValueError, match="allow must be"):
        ss.load("mine", allow=["os"])


def test_the_plan_is_a_table() -> None:
    table = experiment().plan().to_frame()
    assert table["candidate"].tolist() == [0, 1, 2]
    assert table["cost_ratio"].between(0.99, 2.1).all()


def test_public_names_are_there() -> None:
    assert {name for name in ss.__all__ if not hasattr(ss, name)} == set()
    assert ss.__version__


def test_what_own_images_leave_open_is_read_from_them(tmp_path: Path) -> None:
    images = ss.datasets.ImageFolder(path=str(write_tree(tmp_path / "tree", num_classes=3)))
    network = ss.base_networks.small_efficientnet(num_classes=3, in_channels=3)
    executor = Executing()
    with pytest.raises(ValueError, match=r"base_network\.num_classes must be the dataset's 3, got"):
        ss.search(experiment(dataset=images), "other", executor=executor, console=QUIET)
    mine = experiment(dataset=images, base_network=network)
    run = ss.search(mine, "mine", executor=executor, console=QUIET)
    dataset = run.experiment.dataset
    assert dataset is not None
    assert (dataset.num_classes, dataset.resolution) == (3, 28)
    assert len(run.results) == 3
    assert ss.load("mine").experiment.dataset == dataset


def test_figures_show_themselves() -> None:
    run = ss.search(experiment(), "mine", executor=Executing(), console=QUIET)
    for figure in (run.plot.accuracy(), run.plot.triangle(), run.plot.curves()):
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]  # IPython's
    with pytest.raises(RuntimeError, match="out must hold families"):
        run.plot.families()
    with pytest.raises(RuntimeError, match="out must hold an answer"):
        run.plot.comparisons()


def test_a_report_opens_its_storage_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ss.search(experiment(), "mine", executor=Executing(), console=QUIET)
    opened: list[str] = []
    create = RDBStorage.__init__

    def counted(self: RDBStorage, url: str, **options: Any) -> None:
        opened.append(url)
        create(self, url, **options)

    monkeypatch.setattr(RDBStorage, "__init__", counted)
    ss.load("mine", console=QUIET).report()
    assert len(opened) == 1
