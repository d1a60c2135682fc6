import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest

from scaling_search.commands.cli import COMMANDS
from scaling_search.core.metric import VAL_LOSS
from scaling_search.record.record import Record
from scaling_search.record.schema import CROP_KEY
from scaling_search.runtime.files import conf
from scaling_search.training import timing
from tests.cli import TINY, Cli, ran
from tests.tables import VOLATILE

PROGRAM = str(Path(sys.executable).parent / "scaling-search")


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two searches: `begun`, with one training, and `done`."""
    folder = tmp_path_factory.mktemp("searches")
    with contextlib.chdir(folder):
        assert ran("search", "out=begun", "limits.trainings=1", *TINY).code == 0
        assert ran("search", "out=done", *TINY).code == 0
    return folder


@pytest.fixture
def begun(searches: Path, tmp_path: Path) -> Path:
    """The folder ``mine`` of a search that has done one of its trainings."""
    return Path(shutil.copytree(searches / "begun", tmp_path / "mine"))


@pytest.fixture
def done(searches: Path, tmp_path: Path) -> Path:
    """The folder ``mine`` of a search whose trainings are done."""
    return Path(shutil.copytree(searches / "done", tmp_path / "mine"))


def test_help_is_our_own_list_of_commands(cli: Cli) -> None:
    outcome = cli("--help")
    assert outcome.code == 0
    assert all(f"  {name}" in outcome.out for name in COMMANDS)
    assert cli().out == outcome.out


def test_a_folder_that_was_removed_under_the_command_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    refused = cli("plan", *TINY)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("scaling-search: the current folder must be there, got one that")


def test_too_many_open_files_say_which_limit_to_raise(cli: Cli, done: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        lowest_free = stack.enter_context(Path(os.devnull).open()).fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        refused = cli("report", f"out={done}")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "open files must stay below the system's limit, got 'Too many open" in refused.err
    assert "ulimit -n" in refused.err


def test_the_version_is_the_packages(cli: Cli) -> None:
    assert cli("--version").out.startswith("scaling-search 0.")


def test_help_of_a_command_has_what_is_set_most_with_the_comments_of_the_yaml(cli: Cli) -> None:
    outcome = cli("search", "--help")
    assert outcome.code == 0
    for option in ("recipe.epochs=1", "num_seeds=1", "out=runs/default", "limits.hours=null"):
        assert option in outcome.out
    (line,) = re.findall(r"price_only: false # (.*)", (conf() / "config.yaml").read_text())
    shown = " ".join(outcome.out.split())
    assert line in shown
    assert "focus, gp, grid, qmc, tpe" in shown
    assert "momentum" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 110


def test_help_of_every_command_can_be_had_in_three_ways(cli: Cli) -> None:
    for command in COMMANDS:
        short = cli(command, "--help")
        assert (short.code, short.err) == (0, "")
        assert cli(command, "-h").out == cli("help", command).out == short.out
        assert f"usage: scaling-search {command}" in short.out


def test_help_all_lists_every_option_with_a_comment_and_every_part(cli: Cli) -> None:
    outcome = cli("search", "--help-all")
    assert outcome.code == 0
    shown = " ".join(outcome.out.split())
    for option in ("recipe.momentum=0.9 of SGD", "caps.latency.repeats=30", "sampler=tpe Optuna's"):
        assert option in shown
    left = re.findall(r"^  (\S+=\S+)$", outcome.out, re.MULTILINE)
    assert left == [
        "scale.families=[compound,depth,width,resolution,paper]"
    ]  # its comment is below


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(conf().glob("*/*.yaml")) if path.parent.name != "experiment"],
    ids=lambda path: path.stem,
)
def test_every_part_s_options_have_comments(cli: Cli, path: Path) -> None:
    group = path.parent.name
    outcome = cli("search", f"{group}={path.stem}", "--help-all")
    assert outcome.code == 0
    bare = re.findall(rf"^  ({group}\.\S+=\S+)\n(?!   )", outcome.out, re.MULTILINE)
    assert not bare
    assert not re.findall(rf"^  ({group}=\S+)\n(?!   )", outcome.out, re.MULTILINE)


def test_help_shows_the_options_of_a_part_that_is_chosen(cli: Cli) -> None:
    outcome = cli("search", "dataset=imagefolder", "recipe.epochs=7", "--help")
    assert "options of dataset=imagefolder:" in outcome.out
    assert "dataset.path=null" in outcome.out
    assert "recipe.epochs=7" in outcome.out


def test_help_of_a_command_on_a_folder_has_its_own_options_alone(cli: Cli) -> None:
    outcome = cli("confirm", "--help")
    for option in ("confirm.num_seeds=null", "decide.delta=null", "executor.device=auto"):
        assert option in outcome.out
    assert "recipe." not in outcome.out
    assert cli("confirm", "--help-all").out == outcome.out


def test_help_refuses_what_the_command_would_refuse(cli: Cli) -> None:
    unknown = cli("serch", "--help")
    assert (unknown.code, unknown.out) == (2, "")
    assert "did you mean search?" in unknown.err
    assert "recipe.epoch is not an option" in cli("search", "recipe.epoch=3", "--help").err


def test_help_shows_comments_of_a_folder_of_one_s_own(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine/recipe").mkdir(parents=True)
    text = (conf() / "recipe/short.yaml").read_text().replace("# of SGD", "# of ours", 1)
    (tmp_path / "mine/recipe/long.yaml").write_text(text)
    outcome = cli("search", "--config-dir=mine", "recipe=long", "--help")
    assert re.search("recipe.momentum=0.9 +of ours", outcome.out)


def test_the_composed_configuration_is_shown_and_nothing_run(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("search", "--cfg", "job", "sampler=tpe", "recipe.epochs=7")
    assert outcome.code == 0
    assert "epochs: 7" in outcome.out
    assert "samplers.optuna.Tpe" in outcome.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serch"], ["serch", "search"]),
        (["search", "recipe.epoch=3"], ["recipe.epoch is not an option", "recipe.epochs"]),
        (["search", "smapler=tpe"], ["smapler is not an option", "sampler"]),
        (["search", "experiment=defualt"], ["experiment", "'defualt'", "default"]),
        (
            ["search", "sampler=tpee"],
            ["sampler must be one of focus, gp, grid, qmc, tpe", "'tpee'", "tpe?"],
        ),
        (["search", "recipe.epochs=many"], ["recipe.epochs", "number", "'many'"]),
        (["search", "recipe.learning_rate=nan"], ["recipe.learning_rate", "nan"]),
        (["search", "objective=speed"], ["objective", "'val_loss' or 'val_accuracy'", "'speed'"]),
        (["plan", "candidates.alpha=[0.9,2.0]"], ["candidates.alpha", "1 <= low", "[0.9, 2.0]"]),
        (["plan", "candidates.target=1"], ["candidates.target", "other than 1"]),
        (["plan", "candidates.target=0"], ["candidates.target", "from 1/256", "0"]),
        (
            ["plan", "candidates.tolerance=0.00001"],
            ["candidates.tolerance", "2x ± 0.0%", "nearest", "2.000"],
        ),
        (["plan", "base_network.resolution=3"], ["base_network.resolution", "strides", "3"]),
        (
            ["plan", "base_network.stride=[1,2]"],
            ["base_network.stride must have one for each stage, 3 values, got 2"],
        ),
        (
            ["search", "dataset=fashion_mnist", "dataset.root=/nowhere/at/all"],
            ["dataset.root", "/nowhere/at/all"],
        ),
        (["search", "dataset.num_train=99999"], ["dataset.num_train", "10000", "99999"]),
        (["search", "executor.device=cuda:9"], ["executor.device", "'cuda:9'", "cpu"]),
        (["search", "experiment=paper_grid"], ["dataset must be given"]),
        (["report", "out=nothing/here"], ["out", "'nothing/here'", "scaling-search search"]),
        (["scale", "out=nothing/here"], ["out", "'nothing/here'"]),
        (["search", "--nonsense"], ["--nonsense"]),
        (["search", "--config-dir", "absent"], ["absent", "not found"]),
        (
            ["plan", "~dataset"],
            ["base_network.in_channels must be given without dataset.in_channels, got nothing"],
        ),
        (["plan", "scale.coefficients=[1,2,3,4]"], ["at most 3 values, got [1, 2, 3, 4]"]),
        (["search", "recipe.epochs=[1"], ["recipe.epochs=[1"]),
        (["search", "storage=postgresql+nonsense://u:secret@h/d"], ["storage", "h/d"]),
        (["search", "storage=rec"], ["neither a path", "write storage=rec.log"]),
        (["search", "out", "=", "x"], ["key=value without spaces, got 'out'; write out=VALUE"]),
        (["search", "recipe.epochs = 3"], ["write recipe.epochs=3"]),
        (["search", "--out=x"], ["without dashes, got '--out=x'; write out=VALUE"]),
        (["search", "out="], ["out must have at least 1 character, got ''"]),
        (["search", "candidates.gamma=[1,", "2]"], ["write a list without spaces, as [1,2]"]),
        (
            ["search", "dataset.path=photos"],
            ["dataset.path is not an option of the chosen dataset; add dataset=arrays", "folder"],
        ),
        (["search", "recipe.crop=5%"], ["recipe.crop", "'5%'; write 5 % as 0.05"]),
        (["search", "executor=ray", "executor.address=x"], ["must be auto or host:port, got 'x'"]),
        (["search", "limits.hours=-1"], ["limits.hours must be greater than 0, got -1"]),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(
    cli: Cli, tmp_path: Path, arguments: list[str], said: list[str]
) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("scaling-search: ")
    assert outcome.err.count("\n") <= 2
    assert "secret" not in outcome.err
    for part in said:
        assert part in outcome.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_in_place_of_a_command_or_an_option_is_told_how_it_is_written(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    assert "write report out=mine" in cli("mine").err
    assert "for a folder write out=mine" in cli("report", "mine").err


def test_a_plan_prints_its_networks_and_what_they_leave_open(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("plan", "candidates.max_networks=3", "timed=false")
    assert outcome.code == 0
    assert "306 distinct networks" in outcome.out
    assert "3 networks are selected" in outcome.out
    assert "because of gaps over 0.25 in shares" in outcome.out
    assert "4 trainings; how long they take is not known before one has ended." in outcome.out
    assert not list(tmp_path.iterdir())


@pytest.fixture
def timed_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WARM_SECONDS", "TIMED_SECONDS", "EVALUATION_SECONDS"):
        monkeypatch.setattr(timing, name, 0.01)


@pytest.mark.usefixtures("timed_shortly")
def test_a_plan_times_steps_and_says_what_the_search_would_take(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("plan", *TINY, "timed=true")
    assert outcome.code == 0
    assert "from a few steps of 3 networks on cpu, 1 at a time" in outcome.out
    said = r"3 trainings: about [^,]+ with 1 at a time, \d+\.\d\d hours of a device; one takes "
    assert re.search(said, outcome.out)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("begun")
def test_a_plan_of_trainings_that_have_begun_times_nothing(cli: Cli) -> None:
    outcome = cli("plan", "out=mine", *TINY, "timed=true")
    assert "Timed" not in outcome.out
    assert re.search(r"2 trainings \(1 more are done\): about .+ with 1 at a time", outcome.out)


def test_a_plan_without_its_device_says_so_and_times_nothing(cli: Cli) -> None:
    outcome = cli("plan", *TINY, "executor.device=cuda:9", "timed=true")
    assert outcome.code == 0
    assert (
        "No steps were timed: executor.device must be on this machine, got 'cuda:9'" in outcome.out
    )
    assert "3 trainings; how long they take is not known before one has ended." in outcome.out


@pytest.mark.slow
def test_the_papers_procedure_compares_unequal_costs(cli: Cli) -> None:
    outcome = cli("plan", "experiment=paper_grid")
    assert outcome.code == 0
    assert "108 coefficient triples round to 65 distinct networks, with 1.93 to 3.33" in outcome.out
    assert "Of these, 5 triples (4 networks) have the target's cost, 2 ± 0.1 times." in outcome.out
    assert "imed" not in outcome.out  # there are no data to time on


def test_the_audit_shows_what_the_published_coefficients_cost(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("audit")
    assert outcome.code == 0
    for variant, ratio in (("B1", "1.78"), ("B2", "2.58"), ("B4", "11.39"), ("B7", "97.83")):
        lines = [x.split() for x in outcome.out.splitlines() if x.strip().startswith(variant)]
        assert ratio in [cell for line in lines for cell in line]
    assert not list(tmp_path.iterdir())


def test_from_search_to_report_scale_and_report_again(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "default"
    searched = cli("search", *TINY)
    assert searched.code == 0
    assert "3/3" in searched.out
    assert "all trainings are done" in searched.out
    assert {p.name for p in folder.iterdir()} == {
        "candidates.csv",
        "config.yaml",
        "data.json",
        "figures",
        "search.log",
        "study.db",
    }
    study = optuna.load_study(study_name="default", storage=f"sqlite:///{folder / 'study.db'}")
    assert len(study.trials) == 3
    assert all(set(trial.params) == {"alpha", "beta", "gamma"} for trial in study.trials)

    reported = cli("report", "out=runs/default")
    assert reported.code == 0
    assert "One seed" in reported.out
    for name in ("candidates", "results", "curves", "coefficients"):
        assert len(pd.read_csv(folder / f"{name}.csv")) == 3
    figures = ("accuracy_over_flops", "triangle_of_shares", "training_curves")
    for name in figures:
        for suffix in ("png", "svg"):
            assert (folder / "figures" / f"{name}.{suffix}").stat().st_size > 5_000
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")

    scaled = cli(
        "scale",
        "out=runs/default",
        "scale.phis=[0,1]",
        "scale.families=[width,compound,resolution]",
    )
    assert scaled.code == 0
    assert "ends: the data have no more pixels" not in scaled.out
    again = cli("report", "out=runs/default", "report.published=true")
    assert again.code == 0
    families = pd.read_csv(folder / "families.csv")
    assert set(families["family"]) == {"width", "compound", "resolution"}
    assert (families["num_seeds"] == 1).all()
    assert (folder / "figures" / "families.svg").is_file()
    assert (folder / "figures" / "published_family.png").is_file()


def test_the_same_command_again_trains_nothing(cli: Cli, done: Path) -> None:
    results = (done / "search.log").read_text(encoding="utf-8")
    outcome = cli("search", "out=mine", *TINY)
    assert outcome.code == 0
    assert "all trainings are done" in outcome.out
    assert "1/3" not in outcome.out
    log = (done / "search.log").read_text(encoding="utf-8")
    assert log.count("accuracy") == results.count("accuracy") == 3


def test_more_seeds_go_on_from_the_same_folder(cli: Cli, begun: Path) -> None:
    cli("search", "out=mine", "num_seeds=2", "sampler=tpe", *TINY)
    cli("report", "out=mine")
    results = pd.read_csv(begun / "results.csv")
    assert list(zip(results["candidate"], results["seed"], strict=True)) == [
        (candidate, seed) for candidate in (0, 1, 2) for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ("recipe.epochs=2", "recipe.epochs"),
        ("dataset.num_train=200", "dataset"),
        ("base_network.head_channels=98", "base_network.head_channels"),
        ("name=other", "name"),
    ],
)
@pytest.mark.usefixtures("begun")
def test_a_folder_takes_no_other_experiment(cli: Cli, changed: str, key: str) -> None:
    tiny = [option for option in TINY if option.partition("=")[0] != changed.partition("=")[0]]
    outcome = cli("search", "out=mine", *tiny, changed)
    assert outcome.code == 2
    assert f"{key} must be" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_record_with_crops_of_each_networks_pixels_is_read_and_not_gone_on_with(
    cli: Cli, tmp_path: Path
) -> None:
    cropped = (*TINY, "recipe.crop=0.05")
    cli("search", "out=mine", *cropped, "limits.trainings=1")
    record = Record(f"sqlite:///{tmp_path / 'mine' / 'study.db'}", "default", VAL_LOSS)
    # As records were before crops were taken of the native image.
    record.claim({k: v for k, v in record.choices.items() if k != CROP_KEY})
    for command in (["search", *cropped], ["confirm"]):
        outcome = cli(*command, "out=mine")
        assert outcome.code == 2
        assert outcome.err == (
            "scaling-search: what recipe.crop is a fraction of must be 'the size that a network "
            "sees' as in this folder's record, got 'the native size'; use another "
            "out= for another experiment\n"
        )
    outcome = cli("report", "out=mine")
    assert outcome.code == 0, outcome.err
    assert len(pd.read_csv(tmp_path / "mine" / "results.csv")) == 1


def test_a_record_without_crops_names_nothing_about_them_and_goes_on(
    cli: Cli, tmp_path: Path
) -> None:
    command = ("search", "recipe.crop=0.0", "out=mine", *TINY)
    cli(*command, "limits.trainings=1")
    record = Record(f"sqlite:///{tmp_path / 'mine' / 'study.db'}", "default", VAL_LOSS)
    assert CROP_KEY not in record.study.user_attrs["choices"]
    assert "all trainings are done" in cli(*command).out


@pytest.mark.usefixtures("begun")
def test_report_and_scale_take_only_their_own_options(cli: Cli) -> None:
    for command in ("report", "scale"):
        outcome = cli(command, "out=mine", "recipe.epochs=9")
        assert outcome.code == 2
        assert "recipe.epochs=9" in outcome.err


@pytest.mark.usefixtures("begun")
def test_scale_needs_coefficients_that_were_given_or_found(cli: Cli) -> None:
    outcome = cli("scale", "out=mine")
    assert outcome.code == 2
    assert "scale.coefficients" in outcome.err


@pytest.mark.slow
def test_failed_trainings_are_rows_and_the_report_says_so(cli: Cli, tmp_path: Path) -> None:
    searched = cli("search", *TINY, "recipe.learning_rate=1e30")
    assert searched.code == 2
    assert "failed: FloatingPointError" in searched.out
    assert searched.err.startswith(
        "scaling-search: 3 of 3 trainings failed, most often (3): FloatingPointError: "
    )
    assert searched.err.endswith("; nothing to report; use another recipe and another out=\n")
    reported = cli("report", "out=runs/default")
    assert reported.code == 0
    assert "failed" in reported.out
    results = pd.read_csv(tmp_path / "runs" / "default" / "results.csv")
    assert set(results["state"]) == {"FAIL"}
    assert results["val_accuracy"].isna().all()
    log = (tmp_path / "runs" / "default" / "search.log").read_text(encoding="utf-8")
    assert "Traceback" in log


def test_a_journal_is_a_record_too(cli: Cli, tmp_path: Path) -> None:
    assert cli("search", "storage=record.log", *TINY).code == 0
    assert not (tmp_path / "runs" / "default" / "study.db").exists()
    assert (tmp_path / "record.log").is_file()
    assert cli("report", "out=runs/default").code == 0


def test_multirun_makes_a_folder_for_each_experiment_and_none_for_hydra(
    cli: Cli, tmp_path: Path
) -> None:
    outcome = cli("search", "--multirun", "limits.trainings=1", *TINY, "recipe.crop=0.0,0.1")
    assert outcome.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert len(list(tmp_path.rglob("study.db"))) == 2


@pytest.mark.slow
def test_multirun_makes_them_below_a_folder_that_is_given(cli: Cli, tmp_path: Path) -> None:
    swept = ("search", "--multirun", "limits.trainings=1", *TINY)
    outcome = cli(*swept, "recipe.crop=0.0,0.1", "out=both")
    assert outcome.code == 0, outcome.err
    assert len(list((tmp_path / "both").glob("*/study.db"))) == 2
    # Folders that are named each are taken as they are, and so is one that a search has made.
    assert cli(*swept, "out=one,two").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"both", "one", "two"}
    assert cli("report", "--multirun", "out=one", "report.most=1").code == 0


@pytest.mark.parametrize("command", ["plan", "search", "run"])
def test_a_sweep_below_a_run_whose_options_it_would_not_take_is_refused(
    cli: Cli, begun: Path, command: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in begun.rglob("*")}
    refused = cli(command, "--multirun", "out=mine", "recipe.epochs=1,2")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "scaling-search: out must be a folder without a run for --multirun, got 'mine', whose "
        "options a sweep does not take; write out=mine_sweep with every option that is not the "
        "default\n"
    )
    assert {path: path.stat().st_mtime_ns for path in begun.rglob("*")} == before


def test_a_sweep_takes_the_options_that_each_of_its_folders_has(cli: Cli, begun: Path) -> None:
    for number in (1, 2):
        shutil.copytree(begun, begun / f"num_seeds={number}")
    planned = cli("plan", "--multirun", "out=mine", "num_seeds=1,2")
    assert planned.code == 0, planned.err
    for number, left in ((1, 2), (2, 5)):
        assert f"are those of mine/num_seeds={number}/config.yaml" in planned.out
        assert f"{left} trainings (1 more are done)" in planned.out


def test_a_sweep_of_another_experiment_composes_it_anew(cli: Cli, begun: Path) -> None:
    planned = cli("plan", "--multirun", "out=mine", "experiment=default", "num_seeds=1,2", *TINY)
    assert planned.code == 0, planned.err
    assert (begun / "config.yaml").is_file()
    assert "are those of" not in planned.out


def test_a_folder_of_ones_own_adds_experiments(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "conf" / "experiment" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("# @package _global_\nname: mine\nrecipe:\n  epochs: 7\n", encoding="utf-8")
    flags = ("--config-dir", "conf", "--cfg", "job")
    for line in (
        ("experiment=mine", "num_seeds=8", *flags),
        ("experiment=mine", *flags, "num_seeds=8"),
        (*flags[:2], "experiment=mine", *flags[2:], "num_seeds=8"),
    ):
        outcome = cli("search", *line)
        assert outcome.code == 0
        assert {"name: mine", "  epochs: 7", "num_seeds: 8"} <= set(outcome.out.splitlines())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("scaling-search ", {"plan", "search", "report"}),
        ("scaling-search search sampler=", {"sampler=grid", "sampler=tpe"}),
        ("scaling-search search recipe.ep", {"recipe.epochs="}),
    ],
)
def test_tab_completion_knows_commands_and_options(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, line: str, offered: set[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    outcome = cli("-sc", "query=bash")
    assert offered <= set(outcome.out.split())


@pytest.mark.slow
def test_every_executor_gives_the_same_table(cli: Cli, tmp_path: Path) -> None:
    search = (*TINY, "candidates.max_networks=4")
    assert cli("search", *search, "out=inline").code == 0
    subprocess.run(
        [PROGRAM, "search", *search, "executor=processes", "out=processes"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    tables = []
    for folder in (tmp_path / "inline", tmp_path / "processes"):
        assert cli("report", f"out={folder.name}").code == 0
        results = pd.read_csv(folder / "results.csv")
        tables.append(results.drop(columns=list(VOLATILE), errors="ignore"))
    one, other = tables
    pd.testing.assert_frame_equal(one, other)
