"""A search whose networks a function of the user's own trains, and that its metric decides."""

import io
import math
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import scaling_search as ss
from scaling_search.datasets import FashionMnistSmall
from tests.cli import Cli
from tests.training import own

BY = ("training=custom", "allow=tests", "objective=margin", "objective_direction=max")
SMALL = (
    *("dataset.num_train=100", "dataset.num_val=50", "candidates.max_networks=2"),
    *("executor=inline", "timed=false"),
)
FUNCTION = "training.function._target_=tests.training.own."
SEARCH = ("search", *BY, f"{FUNCTION}train", *SMALL)
TRUST = ("allow=tests",)
QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_function_of_the_user_s_own_trains_and_its_metric_decides(cli: Cli) -> None:
    done = cli(*SEARCH, "+training.function.epochs=2", "out=mine")
    assert done.code == 0, done.err
    assert "Trainings are by tests.training.own.train(epochs=2)." in done.out
    assert "Options of recipe do not apply" in done.out
    run = ss.load("mine", allow=["tests"], console=QUIET)
    results, table = run.results, run.coefficients
    assert (results["state"] == "COMPLETE").all()
    assert results[["epochs", "learning_rate"]].isna().all(axis=None)
    assert not {"val_loss", "val_accuracy"} & {*results, *table}
    scaled = table[table["candidate"] != 0]
    assert scaled["margin_mean"].is_monotonic_decreasing
    assert {"margin_gain", "error_mean"} <= {*table}
    assert "error_gain" not in table
    assert run.curves.groupby("candidate")["epoch"].agg(list).tolist() == [[1, 2]] * 3
    assert run.curves["margin"].iloc[-1] == results["margin"].iloc[-1]
    assert not (run.folder / "trainings").exists()
    said = cli("report", "out=mine", *TRUST)
    assert said.code == 0, said.err
    assert "The highest mean margin is" in said.out
    page = (run.folder / "report.html").read_text("utf-8")
    assert "margin ± sd" in page
    assert "accuracy, %" not in page
    assert "Validation accuracy" not in page


def test_a_search_goes_on_and_trains_nothing_twice(cli: Cli) -> None:
    assert cli(*SEARCH, "limits.trainings=1", "out=mine").code == 0
    assert "1 of the search's 3 trainings are done" in cli(*SEARCH, "out=mine").out
    assert cli(*SEARCH, "out=whole").code == 0
    runs = [ss.load(out, allow=["tests"]).results for out in ("mine", "whole")]
    pd.testing.assert_series_equal(runs[0]["margin"], runs[1]["margin"])


def test_python_takes_the_function_itself() -> None:
    run = ss.search(
        ss.Experiment(
            training=ss.training.custom(partial(own.train, learning_rate=0.02)),
            objective="error",
            objective_direction="min",
            candidates=ss.candidates.Buildable(max_networks=2),
            dataset=FashionMnistSmall(num_train=100, num_val=50),
        ),
        "mine",
        executor=ss.executors.Inline(),
        console=QUIET,
    )
    scaled = run.coefficients[run.coefficients["candidate"] != 0]
    assert scaled["error_mean"].is_monotonic_increasing
    again = ss.load("mine", allow=["tests"], console=QUIET)
    assert again.experiment.training == run.experiment.training
    pd.testing.assert_frame_equal(again.results, run.results)
    with pytest.raises(ValueError, match="must be a function of an allowed package"):
        ss.load("mine")


def test_code_that_brings_its_data_is_answered_by_any_metric(cli: Cli) -> None:
    options = ("objective=gap", "objective_direction=min", "~dataset", "num_seeds=1.5")
    sizes = ("base_network.in_channels=1", "base_network.num_classes=10")
    done = cli(
        *("search", *BY[:2], f"{FUNCTION}without_data", *options, *sizes, "out=mine"),
        *("candidates.max_networks=16", "candidates.max_resolution=28", "executor=inline"),
    )
    assert done.code == 0, done.err
    run = ss.load("mine", allow=["tests"], console=QUIET)
    answer = run.answer
    assert answer is not None
    means = run.coefficients.set_index("candidate")["gap_mean"]
    assert means[answer.network] < means[0]
    assert answer.expected == pytest.approx(means[answer.network], abs=10)
    assert run.conclusion.by_other is None
    said = cli("report", "out=mine", *TRUST)
    assert said.code == 0, said.err
    assert "Noise, as standard deviation of the gap:" in said.out


def test_confirm_uses_the_test_split_if_the_function_does(cli: Cli) -> None:
    for name, options in (("with", ()), ("without", ("+training.function.with_test=false",))):
        assert cli(*SEARCH, *options, f"out={name}").code == 0
        done = cli("confirm", f"out={name}", "confirm.num_seeds=2", *TRUST)
        assert done.code == 0, done.err
        splits = set(pd.read_csv(f"{name}/confirm.csv")["split"])
        if name == "with":
            assert splits == {"test", "validation"}
            assert "On the test split, network" in done.out
            assert "It includes the noise of seeds alone" in done.out
        else:
            assert splits == {"validation"}
            assert "The training returned no test_margin" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("function", "options", "reason"),
    [
        ("lacking", (), "must return 'margin', the objective, got 'error'"),
        ("wrong", ("text",), "must give a number for 'margin', got 'high'"),
        ("wrong", ("many",), "must give a number for 'margin', got 'Tensor of several elements'"),
        ("wrong", ("infinite",), "must give a finite number for 'margin', got inf"),
        ("wrong", ("list",), "must return a dict of metrics, got list"),
        ("wrong", ("column",), "by no column of the tables, got 'flops'"),
    ],
)
def test_what_is_no_metric_is_a_failed_row_with_its_reason(
    cli: Cli, function: str, options: tuple[str, ...], reason: str
) -> None:
    kinds = [f"+training.function.kind={kind}" for kind in options]
    done = cli("search", *BY, f"{FUNCTION}{function}", *kinds, *SMALL, "out=mine")
    assert done.code == 2
    assert reason in done.err
    rows = ss.load("mine", allow=["tests"], console=QUIET).results
    assert (rows["state"] == "FAIL").all()
    assert rows["margin"].isna().all()
    assert rows["reason"].str.contains(reason, regex=False).all()


def test_a_failed_training_finds_its_folder_again(cli: Cli) -> None:
    done = cli("search", *BY, f"{FUNCTION}raising", *SMALL, "training.keep=true", "out=mine")
    assert done.code == 0, done.err
    assert "is tried again: RuntimeError: training.function must return metrics, got" in done.out
    run = ss.load("mine", allow=["tests"], console=QUIET)
    assert (run.results["state"] == "COMPLETE").all()
    assert (run.results["attempts"] == 2).all()
    folders = list((run.folder / "trainings").iterdir())
    assert len(folders) == 3
    assert all((folder / "begun").exists() for folder in folders)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([f"{FUNCTION}misfit"], ["training.function must take network, data, seed", "images"]),
        ([f"{FUNCTION}train", "+training.function.speed=2"], ["must take", "speed"]),
        ([f"{FUNCTION}train", "+training.function.seed=2"], ["training.function.seed is not an"]),
        ([f"{FUNCTION}nothing"], ["must name a class or function of a module"]),
        (["training.function._target_=os.system"], ["must lie in scaling_search or tests"]),
        ([f"{FUNCTION}train", "objective_direction=null"], ["objective_direction=min"]),
        ([f"{FUNCTION}train", "recipe.learning_rate=auto", "recipe.check=true"], ["recipe.learn"]),
        ([f"{FUNCTION}train", "keep_weights=true"], ["keep_weights must be false"]),
        ([f"{FUNCTION}train", "objective=test_margin"], ["does not begin with test_"]),
        ([f"{FUNCTION}train", "objective=flops"], ["by no column of the tables, got 'flops'"]),
        (["training=builtin", "objective=speed"], ["objective must be", "'speed'"]),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    cli: Cli, changed: list[str], said: list[str]
) -> None:
    done = cli("search", *BY, *SMALL, "out=mine", *changed)
    assert done.code == 2, done.out
    assert len(done.err.strip().splitlines()) == 1
    assert all(text in done.err for text in said), done.err
    assert not Path("mine").exists()


def test_what_needs_this_package_s_training_is_refused_by_name(cli: Cli) -> None:
    assert cli(*SEARCH, "out=mine").code == 0
    for command, option in (("fairness", "fairness.length=true"), ("export", "export.onnx=false")):
        done = cli(command, "out=mine", option, *TRUST)
        assert done.code == 2
        assert done.err.startswith(f"scaling-search: {command} must be of this package's training")


def test_workers_import_the_function(cli: Cli) -> None:
    done = cli(*SEARCH[:-2], "executor=processes", "executor.device=cpu", "out=mine")
    assert done.code == 0, done.err
    results = ss.load("mine", allow=["tests"], console=QUIET).results
    assert results["margin"].map(math.isfinite).all()


LOSSES = ("search", "training=custom", "allow=tests", f"{FUNCTION}losses", *SMALL, "out=mine")


@pytest.mark.parametrize("has_accuracy", [True, False])
def test_metrics_with_the_names_of_this_package_s_are_the_user_s(
    cli: Cli, has_accuracy: bool
) -> None:
    done = cli(*LOSSES, f"+training.function.has_accuracy={has_accuracy}".lower(), "num_seeds=2")
    assert done.code == 0, done.err
    run = ss.load("mine", allow=["tests"], console=QUIET)
    assert (run.coefficients["num_seeds"] == 2).all()
    assert run.coefficients["val_loss_mean"].notna().all()  # 90 times the loss of chance
    assert ("val_accuracy_mean" in run.coefficients) == has_accuracy
    said = cli("report", "out=mine", *TRUST)
    assert said.code == 0, said.err
    confirmed = cli("confirm", "out=mine", "confirm.num_seeds=2", *TRUST)
    assert confirmed.code == 0, confirmed.err  # it has a test_loss, but no test_accuracy
    table = pd.read_csv("mine/confirm.csv")
    assert {*table["split"]} == {"test", "validation"}
    assert cli("report", "out=mine", *TRUST).code == 0


def test_a_metric_of_some_trainings_alone_ends_no_live_view() -> None:
    run = ss.search(
        ss.Experiment(
            training=ss.training.custom(partial(own.losses, by_seed=True)),
            candidates=ss.candidates.Buildable(max_networks=1),
            dataset=FashionMnistSmall(num_train=100, num_val=50),
            num_seeds=2,
        ),
        "mine",
        executor=ss.executors.Inline(),
        console=Console(file=io.StringIO(), force_terminal=True, width=80),
    )
    assert run.results["f1"].notna().tolist() == [False, True] * 2


def test_a_function_that_would_end_its_process_is_a_failed_training(cli: Cli) -> None:
    done = cli("search", *BY, f"{FUNCTION}leaving", *SMALL, "out=mine")
    assert done.code == 2
    assert "training.function must return metrics, got SystemExit: 0" in done.err
