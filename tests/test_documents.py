"""Every block of code in README.md and docs/ runs; those that do not have their reason here."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import scaling_search as ss
from scaling_search.core.protocols import Sampler
from scaling_search.display.formatting import rounded
from tests.cli import TINY, Cli, ran
from tests.datasets.pictures_of import write_tree
from tests.documents import PAGES, ROOT, blocks, words

RECORD = ROOT / "experiments" / "fashion_mnist_small"
PYTHON = ROOT / "docs" / "python.md"
PROGRAM = str(Path(sys.executable).parent / "scaling-search")

OF_A_FOLDER = ("report", "scale", "confirm", "fairness", "transfer", "export", "compare")
"""Commands that need a search's folder."""

DATA = {
    "name,width,depth": "a table for the commands above it, which read it here",
    "SCALING_SEARCH_CACHE/": "a listing of files",
    "def build(depth, width, resolution, num_classes, in_channels, image_size)": (
        "the beginning of a function"
    ),
    "def train(network, data, seed, device, folder, report, epochs=5)": (
        "the outline of a function; examples/ has whole ones"
    ),
    "_target_: scaling_search.samplers.random.Random": "as if the sampler lay in the package",
    "# @package _global_": "the file of tests/test_custom_example.py, which runs it",
}
"""Blocks that hold no command, by the beginning of their first line."""

ELSEWHERE = {
    "pip": "installs from an index; its extras are looked up here",
    "make": "the checks themselves; its targets are looked up here",
    "source": "an environment of the reader",
    "export": "settings of a shell for the commands below",
    "ray": "a cluster of several hosts; tests/executors/test_ray.py starts one on loopback",
    "chmod": "the file of the line above",
    "script": "for the line below",
    "sbatch": "SLURM; tests/slurm/test_slurm.py submits the same script",
    "bash": "a CUDA machine; tests/test_gpu_benchmarks.py rehearses both scripts",
}
"""Programs of the other command lines."""

ONLY_COMPOSED = {
    "cuda": "a CUDA device",
    "latency_ms": "as many networks as this machine is fast enough for",
    "dataset=fashion_mnist ": "the full data set, from Debian or a download",
    "executor=ray": "tests/executors/test_ray.py trains in a cluster",
    "postgresql": "tests/storages/test_storages.py has a server",
    "/data/imagenet": "ImageNet",
    "my_package": "tests/test_custom_example.py runs it",
    "timm_networks": "tests/examples/test_timm_networks.py runs it",
}
"""Options of command lines that are composed and go no further, with what they would need."""

MORE = {
    "plan": ["timed=false"],
    "search": ["timed=false", "price_only=true"],
    "run": ["price_only=true"],  # it times steps to find what fits
    "export.train=true": ["price_only=true"],
    "confirm": ["price_only=true", "confirm.force=true"],  # the record has a confirmation
    **{command: ["price_only=true"] for command in ("scale", "fairness", "transfer")},
}
"""Options with which a command, or one with an option of its own, says what it would train."""


ALL = blocks(*PAGES)
PROGRAMS = [one for one in ALL if one.language == "python"]
NO_DATA = [one for one in ALL if not any(one.first.startswith(start) for start in DATA)]
LINES = [(block.page, line) for block in NO_DATA if block not in PROGRAMS for line in block.lines]
"""Command lines, each with its page."""
COMMANDS = list(
    dict.fromkeys(
        shlex.join(words(line)) for _, line in LINES if line.startswith("scaling-search ")
    )
)
"""Those of this package, each once."""


def own_parts(folder: Path) -> None:
    """Writes what commands of the pages name: parts of one's own and a table."""
    (sampler,) = (one.text for one in PROGRAMS if "class Random" in one.text)
    (table,) = (one.text for one in ALL if one.first.startswith("name,width"))
    (network,) = (one.text for one in ALL if "blocks: [2, 3, 4]" in one.text)
    (function,) = (one.text for one in ALL if "blocks):" in one.text)
    files = {
        "mine/my_parts.py": sampler,
        "mine/conf/sampler/last.yaml": "_target_: my_parts.Random\nseed: 0\n",
        "conf/experiment/mine.yaml": network,
        "my_package/__init__.py": function,
        "mine.csv": table,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "examples", folder / "examples")


@pytest.fixture
def here(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages take for granted, as the current one."""
    assert cli is ran
    monkeypatch.setenv("DATABASE_URL", "sqlite:///record.db")
    monkeypatch.setattr(sys, "path", list(sys.path))
    own_parts(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    """Packages of other folders have the same names."""
    yield
    for name in ("my_parts", "my_package"):
        sys.modules.pop(name, None)


def test_every_block_is_a_program_or_has_its_reason() -> None:
    named = [re.split(r"[ =]", line)[0] for _, line in LINES]
    assert {*named} == {"scaling-search", *ELSEWHERE}
    unread = [start for one in ALL for start in DATA if one.first.startswith(start)]
    assert sorted(unread) == sorted(DATA)
    assert all(any(option in line for line in COMMANDS) for option in ONLY_COMPOSED)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_is_composed(here: Path, line: str) -> None:
    _, command, *options = words(line)
    if "--multirun" in options:  # of which Hydra shows no configuration
        options = [one.partition(",")[0] for one in options if one != "--multirun"]
    shown = [] if {"--help", "--help-all"} & {*options} else ["--cfg", "job"]
    said = ran(command, *options, *shown)
    assert said.code == 0, said.err
    assert re.sub(r"scaling-search: .* is taken as the text .*\n", "", said.err) == ""
    assert "base_network" in said.out
    assert not list(here.glob("runs/*"))


@pytest.mark.usefixtures("here")
def test_a_command_behind_the_slurm_script_is_composed() -> None:
    (line,) = (words(line) for _, line in LINES if line.startswith("sbatch"))
    command, *options = line[line.index("$script") + 1 :]
    assert ran(command, *options, "executor=ray", "--cfg", "job").code == 0


def test_other_command_lines_name_what_there_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for _, line in LINES:
        program, *arguments = words(line) if line.startswith(("pip", "make", "bash")) else [""]
        if program == "pip":
            (extra,) = re.findall(r"\[(.*)\]", arguments[-1])
            assert extra in project["optional-dependencies"]
        elif program:
            assert arguments[0] in targets or (ROOT / arguments[0]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("line", [one for one in COMMANDS if " audit" in one or "report" in one])
def test_tables_of_the_pages_are_printed(here: Path, line: str) -> None:
    _, command, *options = words(line)
    if any(option in line for option in ONLY_COMPOSED):
        return
    for option in options:
        if command == "report" and option.startswith("out="):
            shutil.copytree(RECORD, here / option.removeprefix("out="))
    said = ran(command, *options)
    assert (said.code, said.err) == (0, "")
    assert "alpha" in said.out or "depth" in said.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        one
        for one in COMMANDS
        if not any(option in one for option in ONLY_COMPOSED)
        if words(one)[1] not in {"report", "audit"}
        if "--help" not in one
    ],
)
def test_every_command_line_says_what_it_would_train(here: Path, line: str) -> None:
    """By processes: planning takes some of its own."""
    _, command, *options = words(line)
    if command in OF_A_FOLDER:
        for option in options:
            if option.startswith(("out=", "runs/")):
                shutil.copytree(RECORD, here / option.removeprefix("out="))
    for option in options:
        if option.startswith("dataset.path="):
            write_tree(here / option.removeprefix("dataset.path="))
    more = [one for key in (command, *options) for one in MORE.get(key, []) if one not in options]
    done = subprocess.run(
        [PROGRAM, command, *options, *more], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_first_report_leaves_the_committed_record_as_it_is(here: Path) -> None:
    (line,) = (one for one in COMMANDS if "report.to" in one)
    _, *arguments = words(line)
    folder = here / "experiments" / "fashion_mnist_small"
    shutil.copytree(RECORD, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    said = ran(*arguments)
    assert said.code == 0, said.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    readme = PAGES[0].read_text("utf-8")
    assert "runs/recorded/figures/families.png" in readme
    assert (here / "runs" / "recorded" / "figures" / "families.png").is_file()


def test_the_coefficient_table_of_the_readme_is_the_record_s() -> None:
    table = PAGES[0].read_text("utf-8").partition("| network | alpha |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    recorded = pd.read_csv(RECORD / "coefficients.csv").head(len(rows))
    assert len(rows) == 4
    losses = ("expected", "val_loss_mean")
    for row, (_, one) in zip(rows, recorded.iterrows(), strict=True):
        shown = [rounded(one[name]) for name in ("alpha", "beta", "gamma")]
        shown += [f"{one['cost_ratio']:.3f}"]
        shown += [f"{one[name]:.4f}" for name in losses]
        shown += [f"{100 * one['val_accuracy_mean']:.2f}"]
        number = str(one["candidate"]) if one["candidate"] else "base"
        assert row == [number, *shown, str(one["num_seeds"])]


def test_findings_are_those_of_the_record() -> None:
    pages = (PAGES[0], ROOT / "docs" / "findings.md")
    readme, findings = (" ".join(page.read_text("utf-8").split()) for page in pages)
    against = pd.read_csv(RECORD / "comparisons.csv").set_index("split").loc["depth"]
    low, high = against["difference_low"], against["difference_high"]
    assert f"Depth alone is {against['difference']:.3f} worse in loss" in readme
    assert f"({low:.3f} to {high:.3f})" in findings
    assert f"{low:.3f} to {high:.3f}" in readme
    confirmed = pd.read_csv(RECORD / "confirm.csv").query("split == 'test' and measure == 'loss'")
    base = confirmed.set_index("against").loc["base"]
    for page in (readme, findings):
        assert f"{base['better_by']:.3f} better" in page
        assert f"({base['low']:.3f} to {base['high']:.3f})" in page
    assert f"Its test loss is {base['found_mean']:.3f}" in findings


def anchors(page: Path) -> set[str]:
    """Where a link into a page can lead."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_public_name_is_listed_once() -> None:
    page = PYTHON.read_text("utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page.partition("## All names\n")[2], re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == ss.__all__


def ran_as_notebook(code: str, folder: Path) -> str:
    """Output of Python without a file."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_code_of_the_python_page_runs_in_order(tmp_path: Path) -> None:
    programs = [one.text for one in PROGRAMS if one.page == PYTHON.name]
    (module,) = (one for one in programs if "class Random" in one)
    (tmp_path / "my_parts.py").write_text(module, encoding="utf-8")
    said = ran_as_notebook("".join(one for one in programs if one is not module), tmp_path)
    assert "out must be a folder that a search has made, got 'runs/nothing'" in said
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
    assert (tmp_path / "runs" / "mine" / "export" / "family.json").is_file()
    assert len(ss.load(tmp_path / "runs" / "mine").results) == 20


def test_the_code_of_the_readme_runs(tmp_path: Path) -> None:
    (program,) = (one.text for one in PROGRAMS if one.page == "README.md")
    shutil.copytree(RECORD, tmp_path / "experiments" / RECORD.name)
    ran_as_notebook(program, tmp_path)


@pytest.mark.slow
def test_the_code_of_the_export_page_runs_on_what_its_commands_write(here: Path) -> None:
    commands = [line for page, line in LINES if page == "export.md"]
    more = {
        "search": [*TINY, "keep_weights=true"],
        "scale": ["scale.phis=[0,1]", "scale.families=[width]"],
    }
    for line in commands[:3]:
        _, command, *options = words(line)
        said = ran(command, *options, *more.get(command, []))
        assert said.code == 0, said.err
    folder = here / "runs" / "mine" / "export"
    files = json.loads((folder / "family.json").read_text("utf-8"))["files"]
    (weights,) = (
        name
        for name, one in files.items()
        if name.startswith("weights/")
        if "found" in one["members"]
    )
    images = "import torch\nimages = torch.rand(2, 1, 20, 20)\n"
    for program in (one.text for one in PROGRAMS if one.page == "export.md"):
        ran_as_notebook(images + program.replace("weights/...", weights), folder)


def test_the_sampler_of_the_python_page_is_one(here: Path) -> None:
    spec = importlib.util.spec_from_file_location("my_parts", here / "mine" / "my_parts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.Random(seed=1), Sampler)
