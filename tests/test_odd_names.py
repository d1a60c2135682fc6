"""Characters that mean something to a shell, Hydra, a URL or a database, in every path and name."""

import ast
import csv
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.commands.trainings import logged
from scaling_search.core.metric import VAL_LOSS
from scaling_search.exports.members import named as named_networks
from scaling_search.record.record import Record
from scaling_search.record.tables import read_table, write_table
from scaling_search.runtime.visible_text import visible
from tests.cli import TINY, ran
from tests.in_process import printed
from tests.tiny import tiny_run, tiny_trial

BIN = str(Path(sys.executable).parent)
ODD = (
    *("lr 0.1?", "100% %41", "a=b,c;d#e", "[old] run (1)", "{name}", 'it\'s "so"', "back\\slash"),
    *("end\\", "$HOME `date`", "-dash", "~tilde", "été 漢字", "2026", "1_000", "true", "*"),
    *("a&b|c<d>@e:f", "\N{NO-BREAK SPACE}nbsp", ":smile:"),
)
ONE = (*TINY, "limits.trainings=1")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def next_command(out: str) -> str:
    """The command that a search prints for its report."""
    (command,) = re.findall(r"tables: (scaling-search .*)", out)
    return str(command)


def in_bash(command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_a_run_lies_in_the_folder_that_was_named_whatever_its_characters(
    here: Path, name: str
) -> None:
    searched = ran("search", f"out={name}", *ONE)
    assert searched.code == 0, searched.err
    assert {path.name for path in here.iterdir()} == {name}
    assert (here / name / "study.db").is_file()
    again = ran("search", f"out={name}", *ONE)
    assert "seed 0" not in again.out  # what is there is found
    words = shlex.split(next_command(searched.out))
    assert words[0] == "scaling-search"
    reported = ran(*words[1:])
    assert (reported.code, reported.err) == (0, "")
    assert (here / name / "report.html").is_file()
    assert {path.name for path in here.iterdir()} == {name}


@pytest.mark.slow
def test_folders_that_differ_behind_a_question_mark_alone_are_two(here: Path) -> None:
    assert ran("search", "out=lr 0.1?", *ONE).code == 0
    other = ran("search", "out=lr 0.1?b", "recipe.learning_rate=0.05", *ONE)
    assert other.code == 0, other.err
    assert ran("report", "out=lr 0.1?").code == 0
    assert {path.name for path in here.iterdir()} == {"lr 0.1?", "lr 0.1?b"}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("out=a\nb", "out must be text of whole, visible characters, got 'a\\nb'"),
        ("name=a\x7f", "name must be text of whole, visible characters"),
        ("out=a\udcff", "out must be text of whole, visible characters"),
        ("out= a", "if it does, write 'out=\" a\"'"),
        ("out=a ", "if it does, write 'out=\"a \"'"),
        ("out=a${b", 'with ${name} for another\'s value alone, got out="a${b"'),
        ("out='a\\${b}'", "out must be plain text once composed, got 'a${b}'"),
        ("out=x?password=y", "out must not look like a password in a URL"),
        ("name=mine-confirm", "name must not end in -confirm"),
        ("storage=sqlite:///a?b.db", "a file of that name is sqlite:///a%3Fb.db"),
        ("storage=sqlite:///a?", "a file of that name is sqlite:///a%3F"),
        ("storage=no/folder/here.log", "storage must be readable and writable"),
        ("storage=rec.db", "storage must be readable and writable"),
        (f"out={'x' * 300}", "name too long"),
        ("recipe.epochs=(1", "if text is meant, write 'recipe.epochs=\"(1\"'"),
        ("sampler=(grid", "sampler must be a value that Hydra can read"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    here: Path, option: str, said: str
) -> None:
    outcome = ran("search", option, *ONE)
    assert (outcome.code, outcome.out) == (2, "")
    assert said.lower() in outcome.err.splitlines()[-1].lower()
    assert not list(here.iterdir())


@pytest.mark.slow
def test_the_quoting_that_a_refusal_shows_works_when_it_is_pasted(here: Path) -> None:
    refused = ran("search", "out=a ", *ONE).err
    (quoted,) = re.findall(r"write (.*)", refused)
    done = in_bash(f"scaling-search search {shlex.join(ONE)} {quoted}", here)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in here.iterdir()} == {"a "}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my photos (1)", "a=b", "x,y", "100%#?", "~/pictures [new]"])
def test_data_lie_where_they_are_said_to(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(here))
    folder = here / name.removeprefix("~/")
    folder.mkdir()
    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (120, 28, 28), dtype=np.uint8)
    np.savez(folder / "data.npz", images=images, labels=np.arange(120) % 3)
    data = ("dataset=arrays", f"dataset.path={name}/data.npz", "dataset.num_classes=3")
    more = (*ONE[2:], "dataset.resolution=28", "out=run")
    outcome = ran("search", *data, "dataset.in_channels=1", *more)
    assert outcome.code == 0, outcome.err
    assert f"dataset.path is taken as the text '{name}/data.npz'" in outcome.err


def test_other_options_that_are_paths_take_any_characters(here: Path) -> None:
    (here / "mine (1).csv").write_text(
        "name,depth,width,resolution\na,1,1,224\nb,1.2,1.1,240\n", encoding="utf-8"
    )
    audited = ran("audit", "audit.table=mine (1).csv", "base_network=resnet")
    assert audited.code == 0, audited.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "storage", ["a b#.log", "x?%.log", "sqlite:///a%3Fb{c}.db", "sqlite:///a#b (1).db?timeout=2"]
)
def test_a_record_lies_where_storage_says(here: Path, storage: str) -> None:
    outcome = ran("search", "out=run", f"storage={storage}", *ONE)
    assert outcome.code == 0, outcome.err
    name = storage.removeprefix("sqlite:///").removesuffix("?timeout=2").replace("%3F", "?")
    assert {path.name for path in here.iterdir()} == {"run", name}
    assert ran("report", "out=run").code == 0


@pytest.mark.slow
def test_two_experiments_in_one_storage_are_not_taken_for_each_others_follow_ups() -> None:
    shared = ("storage=shared.log", *ONE)
    assert ran("search", "name=a-b", "out=other", *shared, "num_seeds=3").code == 0
    assert ran("search", "name=a", "out=mine", *shared).code == 0
    priced = ran("confirm", "out=mine", "confirm.num_seeds=2", "price_only=true")
    assert priced.code == 2  # only the base network was trained
    assert ran("search", "name=a", "out=mine", *shared[:-1]).code == 0
    priced = ran("confirm", "out=mine", "confirm.num_seeds=2", "price_only=true")
    assert "with seeds 1 to 2: " in priced.out  # and not beyond those of a-b
    # As a version that did not look at names could have recorded it.
    Record("shared.log", "a-confirm", VAL_LOSS).claim({"name": "a-confirm"})
    assert ran("report", "out=mine").code == 0
    confirmed = ran("confirm", "out=mine", "confirm.num_seeds=2")
    assert confirmed.code == 2
    assert "storage must have no search of the name 'a-confirm'" in confirmed.err


@pytest.mark.slow
def test_a_sweep_keeps_its_folders_below_out_whatever_its_values(here: Path) -> None:
    swept = ("search", "--multirun", "recipe.crop=0.0,0.1", *ONE)
    climbing = (*swept, "dataset.num_classes=10", "audit.table=../../../x")
    assert ran(*climbing).code == 0
    assert ran(*swept, f"audit.table={'long/' * 60}").code == 0
    folders = [path for path in (here / "runs" / "default").iterdir() if path.is_dir()]
    assert len(folders) == 4
    assert all((folder / "study.db").is_file() for folder in folders)
    assert {path.name for path in here.iterdir()} == {"runs"}


@pytest.mark.slow
def test_a_number_of_values_is_a_sweep_only_with_multirun(here: Path) -> None:
    assert ran("search", "--multirun", "out=a,b", *ONE).code == 0
    assert ran("search", "out=a,b", *ONE).code == 0
    assert {path.name for path in here.iterdir()} == {"a", "b", "a,b"}


OWN = """
from torch import nn


class Twice(nn.Module):
    def __init__(self, channels, depth, num_classes, in_channels):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, channels, 3, 2, 1)
        self.block = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels))
        self.same = self.block
        self.rest = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(depth))
        self.rest[-1].weight = self.block[0].weight
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images):
        x = self.same(self.block(self.stem(images)))
        for layer in self.rest:
            x = layer(x).relu()
        return self.head(x.mean((2, 3)))


def build(depth, width, resolution, num_classes, in_channels):
    return Twice(round(8 * width), round(3 * depth), num_classes, in_channels)
"""


@pytest.mark.slow
def test_the_next_command_is_pasted_and_brings_what_a_network_of_ones_own_needs(
    here: Path,
) -> None:
    """A module under two names and a tied weight, kept and taken away, in an odd folder."""
    folder = here / "it's my (1) $folder"
    shutil.copytree(here, folder / "conf")
    (folder / "twice_used").mkdir()
    (folder / "twice_used" / "__init__.py").write_text(OWN, encoding="utf-8")
    own = ("base_network=custom", "base_network.network._target_=twice_used.build")
    flags = ("allow=twice_used", "--config-dir", "conf")
    line = shlex.join(["search", *TINY, *own, *flags, "keep_weights=true", "out=r [1], a=b"])
    searched = in_bash(f"scaling-search {line}", folder)
    assert searched.returncode == 0, searched.stderr
    assert "Traceback" not in searched.stderr
    reported = in_bash(next_command(searched.stdout), folder)
    assert (reported.returncode, reported.stderr) == (0, "")
    assert len(list((folder / "r [1], a=b" / "weights").iterdir())) == 3
    exported = in_bash(next_command(searched.stdout).replace(" report ", " export ", 1), folder)
    assert exported.returncode == 0, exported.stderr
    loads = "import torch; torch.export.load('programs/base.pt2').module()"
    done = subprocess.run(
        [sys.executable, "-c", loads],
        cwd=folder / "r [1], a=b" / "export",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_next_command_says_of_a_password_that_it_is_wanted_again() -> None:
    hidden = tiny_run(Path("runs/mine"), flags=("allow=mine", "storage=***"))
    assert hidden.next("report") == (
        "scaling-search report out=runs/mine allow=mine, with storage= and its password again"
    )
    typed = tiny_run(Path("runs/mine"), flags=("storage=${oc.env:DATABASE_URL}",))
    assert typed.next("report") == (
        "scaling-search report out=runs/mine 'storage=${oc.env:DATABASE_URL}'"
    )


# Names of others are text wherever they go.

CLASSES = (
    *("=1+1", "-5", "@SUM(1)", "'=quoted", "[red]x[bold]", ":smile:", "<b>&amp;", r"$\frac$"),
    *('"""\\', "**a** `b` | c", "escape\x1b[31m", "line\nline"),
)
NAME = '"""\\ *a* `b` [c](d) <e> $f$ | _g_ & =1'


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder and the output of a search, a report and an export with odd names in all places."""
    place = tmp_path_factory.mktemp("named")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        draw = np.random.default_rng(0)
        for name in CLASSES:
            folder = place / "data" / name
            folder.mkdir(parents=True)
            for number in range(12):
                pixels = draw.integers(0, 255, (28, 28), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
        data = ("dataset=imagefolder", "dataset.path=data", *TINY[2:], "candidates.max_networks=1")
        out = "out=runs [red]a[bold]"
        shown = (
            ran("search", out, f"name={NAME}", *data),
            ran("report", out),
            ran("export", out),
        )
        assert [outcome.code for outcome in shown] == [0, 0, 0], shown
    return place / "runs [red]a[bold]", "".join(one.out + one.err for one in shown)


@pytest.mark.slow
def test_no_file_and_no_line_has_control_characters_of_a_name(named: tuple[Path, str]) -> None:
    folder, printed = named
    kinds = {".csv", ".html", ".md", ".yaml", ".json", ".log", ".svg"}
    files = [path for path in folder.rglob("*") if path.suffix in kinds]
    assert {path.suffix for path in files} == kinds
    texts = {str(path): path.read_text(encoding="utf-8") for path in files}
    for where, text in (texts | {"the terminal": printed}).items():
        signs = {sign for sign in text if unicodedata.category(sign) in {"Cc", "Zl", "Zp"}}
        assert signs <= {"\n"}, where


@pytest.mark.slow
def test_names_are_shown_as_they_are(named: tuple[Path, str]) -> None:
    folder, printed = named
    assert f"  {folder.name}/report.html" in printed
    assert f'torch.export.load("{folder.name}/export/programs/' in printed
    for name in ("[red]x[bold]", ":smile:", "=1+1"):
        assert repr(name) in printed
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;amp;" in page
    assert "<b>" not in page
    assert "[red]x[bold]" in page


@pytest.mark.slow
def test_a_table_runs_nothing_in_a_spreadsheet_and_keeps_each_name(
    named: tuple[Path, str],
) -> None:
    path = named[0] / "data.csv"
    with path.open(encoding="utf-8", newline="") as file:
        cells = [row["class"] for row in csv.DictReader(file)]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]
    assert read_table(path)["class"].tolist() == [visible(name) for name in sorted(CLASSES)]


@pytest.mark.slow
def test_a_card_shows_a_name_and_its_source_is_whole(named: tuple[Path, str]) -> None:
    card = (named[0] / "export" / "README.md").read_text(encoding="utf-8")
    escaped = r'"""\\ \*a\* \`b\` \[c\](d) \<e\> \$f\$ \| \_g\_ \& =1'
    assert f"\n# {escaped}: " in card
    sources = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert sources
    for source in sources:
        ast.parse(source)
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["model-index"][0]["name"] == f"{NAME}-found"


def test_numbers_in_a_table_are_not_touched(here: Path) -> None:
    table = pd.DataFrame({"loss": [-1.5, 2.0], "change": [-1, 1], "name": ["-1.5", "'-x"]})
    write_table(table, here / "table.csv")
    lines = (here / "table.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["loss,change,name", "-1.5,-1,'-1.5", "2,1,''-x"]
    pd.testing.assert_frame_equal(read_table(here / "table.csv"), table)


def test_markup_in_a_folder_is_no_markup_for_a_console_of_ones_own(here: Path) -> None:
    run = tiny_run(here / "[red]a[" / "x] :smile: b")
    assert "[red]a[/x] :smile: b" in printed(search, run)
    assert "[red]a[/x] :smile: b/report.html" in printed(Run.report, run)


def test_a_line_of_an_error_or_of_the_log_is_one_line(here: Path) -> None:
    refused = ran("search", "na\x1b[31mme=1", *ONE)
    assert (refused.code, "\x1b" in refused.err) == (2, False)
    with logged(tiny_run(here)):
        logging.getLogger("scaling_search").warning("%s cannot be read", "a\n2026 b\x1b[31m\rc")
    first, second = (here / "search.log").read_text(encoding="utf-8").splitlines()
    assert first.endswith(" WARNING a")
    assert second == "    2026 b\\x1b[31m\\rc cannot be read"


def test_a_name_with_control_characters_is_refused_from_python_too(here: Path) -> None:
    with pytest.raises(ValueError, match="name must be text of whole, visible characters"):
        search(tiny_run(here / "a", name="a\x1b[31m"))
    assert not list(here.iterdir())


def test_a_network_of_anothers_record_names_no_file_elsewhere() -> None:
    candidate = tiny_trial().candidate
    for name in ("../../evil-2", "a/b-2", "..-2", "a\nb-2"):
        with pytest.raises(RuntimeError, match="must have names like compound-2"):
            named_networks({name: candidate}, 2.0)
