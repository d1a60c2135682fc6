"""A search whose networks a command of the user's own trains: its results, its faults, its ends."""

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import scaling_search as ss
from scaling_search.record.results import results_table
from tests.cli import Cli, Outcome
from tests.documents import ROOT
from tests.reliability.searches import PATIENCE_SECONDS, rows_of, started
from tests.tables import VOLATILE

TOLD = "--depth {depth} --width {width} --res {resolution} --seed {seed}"
BRINGS_DATA = (
    *("dataset=null", "base_network.num_classes=10", "base_network.in_channels=1"),
    *("candidates.max_resolution=28", "objective_direction=min"),
)
SMALL = (*BRINGS_DATA, "objective=dice", "candidates.max_networks=2", "executor=inline")
QUIET = Console(quiet=True)

PROGRAM = """\
import argparse, json, os, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("depth", "width", "res", "seed"):
    parser.add_argument("--" + name, type=float)
parser.add_argument("--out", type=Path)
given = parser.parse_args()
dice = 1 / (given.depth + 2 * given.width + given.res / 30 + given.seed / 100)
Path("began").open("a").write("x")
"""
"""A program whose result its options decide; what a test adds prints it."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def command(ending: str) -> str:
    """A command whose program ends so, in the current folder."""
    Path("program.py").write_text(PROGRAM + ending, encoding="utf-8")
    return f"{shlex.quote(sys.executable)} program.py {TOLD}"


def searched(cli: Cli, ending: str, *options: str) -> Outcome:
    typed = f"training.command={command(ending)}"
    return cli("search", "training=command", typed, *SMALL, "out=mine", *options)


def test_a_program_trains_and_its_metric_decides(cli: Cli) -> None:
    ending = """print(json.dumps({"epoch": 1, "dice": 2, "lr": 0.1, "seed": 1, "by": "me"}))
print(json.dumps({"dice": dice, "f1": 1 - dice, "seed": given.seed, "note": [1]}))"""
    done = searched(cli, ending)
    assert done.code == 0, done.err
    assert done.err == ""
    run = ss.load("mine", allow=["training.command"], console=QUIET)
    results = run.results
    assert (results["state"] == "COMPLETE").all()
    by = results["alpha"] + 2 * results["beta"] + results["resolution"] / 30 + results["seed"] / 100
    pd.testing.assert_series_equal(results["dice"], 1 / by, check_names=False)
    pd.testing.assert_series_equal(results["f1"], 1 - results["dice"], check_names=False)
    assert run.curves[["epoch", "dice", "lr"]].drop_duplicates().to_numpy().tolist() == [
        [1, 2, 0.1]
    ]
    assert not (run.folder / "trainings").exists()
    assert cli("search", "out=mine", "allow=training.command").code == 0
    assert Path("began").read_text() == "xxx"


def test_a_program_writes_its_result_into_its_folder_which_can_be_kept(cli: Cli) -> None:
    ending = "(given.out / 'result.json').write_text(json.dumps({'dice': dice}))"
    typed = f"training.command={command(ending)} --out {{folder}}"
    options = (*SMALL, "training.keep=true", "out=a b")
    done = cli("search", "training=command", typed, *options)
    assert done.code == 0, done.err
    kept = sorted(Path("a b").glob("trainings/*/result.json"))
    assert len(kept) == 3


def test_a_command_of_a_file_runs_once_it_is_allowed(cli: Cli) -> None:
    assert searched(cli, "print(json.dumps({'dice': dice}))", "limits.trainings=1").code == 0
    for name in ("search", "report"):
        refused = cli(name, "out=mine")
        assert refused.code == 2
        assert "training.command must be typed or allowed, got " in refused.err
        assert "allow=training.command" in refused.err
        assert refused.err.count("\n") == 1
    with pytest.raises(ValueError, match=r"training\.command must be typed or allowed"):
        ss.load("mine")
    assert Path("began").read_text() == "x"
    assert cli("search", "out=mine", "allow=training.command").code == 0
    assert Path("began").read_text() == "xxx"


def test_a_typed_command_trusts_neither_a_package_of_its_name_nor_a_prefix_of_a_file(
    cli: Cli,
) -> None:
    Path("conf/sampler").mkdir(parents=True)
    Path("conf/experiment").mkdir()
    Path("training").mkdir()
    Path("training/command.py").write_text("open('ran', 'w')", "utf-8")
    Path("conf/sampler/nice.yaml").write_text("_target_: training.command.Nice", "utf-8")
    Path("conf/experiment/theirs.yaml").write_text(
        "# @package _global_\ntraining: {prefix: sh -c exit}", "utf-8"
    )
    typed = ("training=command", f"training.command={command('')}", "--config-dir=conf")
    for allow in ((), ("allow=training.command",)):
        refused = cli("plan", *typed, *SMALL, "sampler=nice", *allow)
        assert "sampler._target_ must lie in scaling_search, got " in refused.err
    refused = cli("plan", *typed, *SMALL, "experiment=theirs")
    assert "training.prefix must be typed or allowed, got 'sh -c exit' from a file" in refused.err
    assert not Path("ran").exists()


def test_python_gives_a_command_too() -> None:
    run = ss.search(
        ss.Experiment(
            training=ss.training.command(command("print(json.dumps({'dice': dice}))")),
            objective="dice",
            objective_direction="min",
            base_network=ss.base_networks.small_efficientnet(),
            candidates=ss.candidates.Buildable(max_networks=2, max_resolution=28),
            dataset=None,
        ),
        "mine",
        executor=ss.executors.Inline(),
        console=QUIET,
    )
    assert run.coefficients["dice_mean"].notna().all()
    again = ss.load("mine", allow=["training.command"], console=QUIET)
    pd.testing.assert_frame_equal(again.results, run.results)


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("raise ValueError('no pictures')", "CommandError: exit code 1: ValueError: no pictures; "),
        ("", "CommandError: it must print a JSON line with its result or write result.json in "),
        (
            "print(json.dumps({'dice': 1})); print(json.dumps({'dice': 2}))",
            "CommandError: it must leave one result, got 2 that differ",
        ),
        (
            "print(json.dumps({'dice': float('nan')}))",
            "FloatingPointError: training.command must give a finite number for 'dice', got nan",
        ),
        (
            "print(json.dumps({'dice': 'high'}))",
            "ValueError: training.command must give a number for 'dice', got 'high'",
        ),
        ("os.kill(os.getpid(), 9)", "worker lost: its command ended (exit code -9, SIGKILL: by a "),
    ],
    ids=["raises", "prints-nothing", "two-results", "nan", "text", "killed"],
)
def test_what_a_program_does_wrong_is_a_row_with_its_reason(
    cli: Cli, ending: str, reason: str
) -> None:
    failed = searched(cli, ending)
    assert failed.code == 2
    assert reason in failed.err
    assert failed.err.count("\n") == 1
    rows = ss.load("mine", allow=["training.command"], console=QUIET).results
    assert (rows["state"] == "FAIL").all()
    assert rows["reason"].str.startswith(reason).all()
    tries = 1 if "FloatingPointError" in reason else 2
    assert (rows["attempts"] == tries).all()
    (Path.cwd() / "began").unlink()
    mended = searched(cli, "print(json.dumps({'dice': dice}))", "executor.retries=2")
    assert mended.code == 0 or tries == 1, mended.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("training.command=no-program " + TOLD,), "must begin with a program that is here"),
        (("training.command=nice --depth {depth}",), "training.command must hold {width}, got "),
        ((f"training.command=nice {TOLD} {{lr}}",), "{lr} is none of {depth}, "),
        ((f"training.command=nice {TOLD}", "training.prefix=no-srun"), "got 'no-srun'"),
        (
            ("training.command=nice " + TOLD, "objective_direction=null"),
            "objective_direction=min or ",
        ),
        ((f"training.command=nice {TOLD}", "dataset=fashion_mnist_small"), "add dataset=null "),
    ],
)
def test_a_command_that_would_not_do_is_refused_before_anything_is_written(
    cli: Cli, options: tuple[str, ...], says: str
) -> None:
    given = {one.partition("=")[0] for one in options}
    small = [one for one in SMALL if one.partition("=")[0] not in given]
    refused = cli("search", "training=command", *small, "out=mine", *options)
    assert refused.code == 2
    assert says in refused.err
    assert refused.err.count("\n") == 1
    assert not Path("mine").exists()


@pytest.mark.slow
@pytest.mark.alone
def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(cli: Cli) -> None:
    ending = """import subprocess
if not (given.out / "began").exists():
    (given.out / "began").touch()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path("pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
print(json.dumps({"dice": dice}))"""
    typed = f"training.command={command(ending)} --out {{folder}}"
    options = ("executor=processes", "executor.workers_per_device=1", "candidates.max_networks=1")
    limit = "executor.timeout_minutes=0.05"
    done = cli("search", "training=command", typed, *SMALL, *options, limit, "out=mine")
    assert done.code == 0, done.err
    assert "failed and is tried again: overdue" in done.out
    rows = ss.load("mine", allow=["training.command"], console=QUIET).results
    assert rows[["state", "attempts"]].to_numpy().tolist() == [["COMPLETE", 2]] * 2
    end = time.monotonic() + PATIENCE_SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in Path("pids").read_text().split()):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_stranger_s_script_that_is_killed_twice_gives_the_table_of_an_undisturbed_search(
    tmp_path: Path,
) -> None:
    """The example: argparse, JSON lines, a network of its own; nothing in it was changed."""
    data = ROOT / "scaling_search" / "datasets" / "fashion_mnist_small_data"
    (tmp_path / "conf").mkdir()
    (tmp_path / "train.py").write_bytes((ROOT / "examples/own_command/train.py").read_bytes())
    line = f"{shlex.quote(sys.executable)} train.py --data {shlex.quote(str(data))} {TOLD}"
    search = (
        *("search", "allow=train", "--config-dir=conf", "training=command"),
        *(f"training.command={line} --images 300", "objective=loss", *BRINGS_DATA),
        *("base_network=custom", "base_network.network._target_=train.build"),
        *("base_network.resolution=14", "candidates.max_networks=3", "candidates.tolerance=0.1"),
        *("num_seeds=1", "executor.workers_per_device=2"),
    )
    for _ in range(2):
        killed = started(tmp_path, *search, "out=killed")
        try:
            killed.until_trained(1)
            os.kill(killed.process.pid, signal.SIGKILL)
            assert killed.ended() == -signal.SIGKILL  # and nothing of it is left
        finally:
            killed.end()
    for out in ("killed", "whole"):
        ended = started(tmp_path, *search, f"out={out}")
        try:
            assert ended.ended() == 0, (ended.out, ended.err)
        finally:
            ended.end()
    killed_twice, undisturbed = (
        results_table(rows_of(tmp_path / out / "study.db", "default")).drop(columns=[*VOLATILE])
        for out in ("killed", "whole")
    )
    pd.testing.assert_frame_equal(killed_twice, undisturbed, check_exact=True)
    assert undisturbed["loss"].nunique() == 4
