"""Several searches in one table and one triangle, and what may be said of them together."""

import csv
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import scaling_search as ss
from scaling_search.commands.compare import Compared
from scaling_search.commands.search import search
from tests.cli import TINY, Cli, ran
from tests.in_process import printed
from tests.simulated import BEST, Simulating, simulated_run
from tests.surfaces import around, flat
from tests.test_odd_names import ODD
from tests.test_options import contents
from tests.tiny import tiny_recipe

RECORDED = Path(__file__).parents[2] / "experiments" / "fashion_mnist_small"
RELEASED = Path(__file__).parents[1] / "record" / "released"
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def simulated(answered_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three searches with an answer: in ``flat`` the split does not matter."""
    folder = tmp_path_factory.mktemp("simulated")
    shutil.copytree(answered_folder, folder / "here")
    for name, truth in (("far", around(0.8, 0.1, spread=0.2)), ("flat", flat)):
        executor = Simulating(truth=truth, lead=0)
        run = simulated_run(folder / name, executor=executor, recipe=tiny_recipe(epochs=3))
        printed(search, run)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of two networks, which has no answer."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    assert ran("search", *TINY, f"out={folder}").code == 0
    return folder


def compared(*runs: str | Path | ss.Run) -> Compared:
    return ss.compare(*runs, console=QUIET)


def said(found: Compared) -> str:
    return "\n".join(found.sentences)


def test_several_runs_are_one_table_and_one_triangle(
    cli: Cli, tmp_path: Path, simulated: Path
) -> None:
    shutil.copytree(RECORDED, tmp_path / "recorded")
    before = contents(tmp_path / "recorded") | contents(simulated)
    folders = ("recorded", *(str(simulated / name) for name in ("here", "far")))
    outcome = cli("compare", *folders, "out=both")
    assert (outcome.code, outcome.err) == (0, "")
    assert contents(tmp_path / "recorded") | contents(simulated) == before
    written = {str(p.relative_to(tmp_path / "both")) for p in (tmp_path / "both").rglob("*.*")}
    assert written == {"compared.csv", "figures/compared.png", "figures/compared.svg"}
    table = pd.read_csv(tmp_path / "both" / "compared.csv")
    assert table["folder"].tolist() == list(folders)
    recorded, here, far = table.to_dict("records")
    answer = ss.load("recorded").answer
    assert answer is not None
    assert recorded["network"] == answer.network
    assert recorded["p_value"] == pytest.approx(answer.flat.p_value, rel=1e-5)
    assert (recorded["trainings"], recorded["places"]) == (69, 53)
    assert [row["is_everything"] for row in (recorded, here, far)] == [True, False, False]
    assert here["rule_width_share"] == pytest.approx(BEST.width, abs=0.1)
    assert far["rule_depth_share"] == pytest.approx(0.8, abs=0.1)
    assert all(row["gain_low"] < row["gain"] < row["gain_high"] for row in (recorded, here, far))
    assert "Losses of different data sets cannot be compared" in outcome.out


def test_python_says_what_the_command_line_says(cli: Cli, simulated: Path) -> None:
    folders = [simulated / name for name in ("here", "far")]
    outcome = cli("compare", *map(str, folders))
    found = compared(folders[0], ss.load(folders[1], console=QUIET))
    assert all(sentence in outcome.out for sentence in found.sentences)
    assert found.report() == Path("runs/compared")
    assert list(found.answers) == found.table["run"].tolist() == ["here", "far"]
    (legend,) = found.triangle().legends
    assert [text.get_text() for text in legend.get_texts()] == ["here", "far"]


def test_rules_apart_are_told_apart(simulated: Path) -> None:
    found = compared(simulated / "here", simulated / "far", simulated / "flat")
    assert "The recipes differ: recipe.epochs 2 (here), else 3." in said(found)
    assert "The results of flat (p = " in said(found)
    assert "The 95 % region of far excludes the rule of here." in found.sentences
    assert "Regions without a split in common: here and far." in found.sentences
    assert "No split that all 3 runs searched can be the best in all of them" in said(found)


def test_copies_agree_and_are_no_independent_evidence(tmp_path: Path, simulated: Path) -> None:
    for name in ("one", "other"):
        shutil.copytree(simulated / "here", tmp_path / name)
    found = compared(tmp_path / "one", tmp_path / "other")
    number = found.table["trainings"].iloc[0]
    assert f"Warning: up to {number} trainings are in more than one of one, other;" in said(found)
    assert "The 95 % region of each run holds the rules of all others." in found.sentences
    assert "That does not show that the best splits are equal" in said(found)
    assert "Assuming that one split is the best in all 2 runs" in said(found)


def test_a_run_that_shows_that_the_split_matters_is_not_held_against_one_that_does_not(
    simulated: Path,
) -> None:
    found = compared(simulated / "here", simulated / "flat")
    assert (
        "Whether the runs agree on the best split cannot be told: only here shows that it matters."
    ) in found.sentences
    assert "Assuming" not in said(found)


def test_the_tables_fit_80_columns_with_every_number_whole(
    tmp_path: Path, simulated: Path, tiny: Path
) -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    folders = (simulated / "here", simulated / "flat", tiny)
    found = ss.compare(*folders, out=tmp_path / "out", console=console)
    found.report()
    lines = out.getvalue().partition("Equal in all")[0].splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in out.getvalue()
    for row in found.table.to_dict("records"):
        gain = f"{row['gain']:.4f} ± {row['gain'] - row['gain_low']:.4f} nats"
        cell = "no answer" if row["missing"] else gain
        assert any(Path(row["run"]).name in line and cell in line for line in lines)


def test_runs_without_an_answer_say_so(cli: Cli, tmp_path: Path, tiny: Path) -> None:
    for name in ("one", "other"):
        shutil.copytree(tiny, tmp_path / name)
    outcome = cli("compare", "one", "other")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("no answer") == 6  # two cells and a sentence each
    assert outcome.out.count("There is no answer yet for ") == 2
    assert "cannot be told: no run shows that it matters" in outcome.out
    rows = pd.read_csv(tmp_path / "runs" / "compared" / "compared.csv")
    assert rows["missing"].str.startswith("an answer needs ").all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "compare.runs must be two folders or more, got []"),
        (("one",), "compare.runs must be two folders or more, got ['one']"),
        (("one", "./one/"), "must be different folders, got 'one' and './one/'"),
        (("one", "link"), "must be different folders, got 'one' and 'link'"),
        (("one", "nothing"), "got 'nothing' without a config.yaml"),
        (("one", "report.most=3"), "got 'report.most=3' without a config.yaml"),
        (("one", "begun"), "begun' without study.db; scaling-search search out="),
        (("one", "table_3"), "with tables and no study.db; read results.csv as it is, or train"),
        (("one", "foreign"), "if you trust its code; that is of the run 'foreign'"),
        (("one", "other", "compare.runs=[a,b]"), "compare must be given folders once"),
        (("--multirun", "one", "other"), "compare must be given folders once and no sweep"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    cli: Cli, tmp_path: Path, tiny: Path, arguments: tuple[str, ...], message: str
) -> None:
    for name in ("one", "other", "foreign"):
        shutil.copytree(tiny, tmp_path / name)
    (tmp_path / "link").symlink_to("one")
    config = tmp_path / "foreign" / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("scaling_search.samplers", "theirs"), encoding="utf-8")
    (tmp_path / "begun").mkdir()
    shutil.copy(tmp_path / "one" / "config.yaml", tmp_path / "begun")
    shutil.copytree(RECORDED.parent / "table_3_resnet_small", tmp_path / "table_3")
    before = contents(tmp_path)
    refused = cli("compare", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert message in refused.err
    assert contents(tmp_path) == before


def test_folders_of_any_name_are_taken_as_they_are(cli: Cli, tmp_path: Path, tiny: Path) -> None:
    names = [*ODD, "recipe.epochs=2", "null"]
    for name in names:
        shutil.copytree(tiny, tmp_path / "x" / name)
    outcome = cli("compare", "out=both", "--", *(f"x/{name}" for name in names))
    assert (outcome.code, outcome.err) == (0, "")
    with (tmp_path / "both" / "compared.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"].removeprefix("'") for row in rows] == names


def test_a_folder_that_begins_with_a_dash_stands_behind_two(
    cli: Cli, tmp_path: Path, tiny: Path
) -> None:
    for name in ("-one", "out=two"):
        shutil.copytree(tiny, tmp_path / name)
    outcome = cli("compare", "./out=two", "--", "-one")
    assert (outcome.code, outcome.err) == (0, "")
    assert "\n-one " in outcome.out


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_runs_of_every_released_version_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path, schema: int
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RELEASED / f"schema_{schema}", "runs/old")
    found = compared("runs/old", tiny)
    number = len(ss.load("runs/old", console=QUIET).results)
    assert found.table["trainings"].tolist() == [number, 3]


@pytest.mark.slow
def test_the_searches_of_a_sweep_are_compared_by_their_options(cli: Cli, tmp_path: Path) -> None:
    swept = ("recipe.epochs=1,2", "out=x", *(one for one in TINY if "epochs" not in one))
    assert cli("search", "--multirun", *swept).code == 0
    folders = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "x").iterdir())
    assert len(folders) == 2
    outcome = cli("compare", *folders)
    assert (outcome.code, outcome.err) == (0, "")
    assert "The recipes differ: recipe.epochs 1 (" in outcome.out


@pytest.mark.parametrize(
    ("line", "offered"), [("compare ", ""), ("compare runs/a runs/b o", "out="), ("compare a ", "")]
)
def test_completion_leaves_folders_to_the_shell(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, line: str, offered: str
) -> None:
    monkeypatch.setenv("COMP_LINE", f"scaling-search {line}")
    outcome = cli("-sc", "query=bash")
    assert (outcome.code, outcome.out.strip()) == (0, offered)
