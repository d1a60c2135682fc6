"""Files from others are data: what a configuration may name, and what it may not say."""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import scaling_search as ss
from scaling_search.runtime.files import replace_file
from scaling_search.runtime.passwords import is_hidden, without_password
from tests.cli import TINY, ran

PROGRAM = str(Path(sys.executable).parent / "scaling-search")
QUICK = ("candidates.max_networks=2", "timed=false")
"""A plan of no time."""


def refused(*arguments: str) -> str:
    """The line by which a command line is refused."""
    outcome = ran(*arguments)
    assert (outcome.code, outcome.out) == (2, ""), outcome.err
    assert outcome.err.startswith("scaling-search: ")
    assert outcome.err.count("\n") == 1
    return outcome.err


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, and the import path as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_parts"]:
        del sys.modules[name]


def written(path: str, text: str) -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return place


# What a _target_ may name.


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("os.system", ["must lie in scaling_search", "allow="]),
        ("builtins.eval", ["must lie in scaling_search", "allow="]),
        ("scaling_searching.Part", ["must lie in scaling_search"]),
        ("scaling_search.runtime.files.replace_file", ["must be a part"]),
        ("scaling_search.training.engine.train_trial", ["must be a part"]),
        ("scaling_search.core.candidate.Candidate", ["must be a part"]),
        (
            "scaling_search.commands.cli.os.system",
            ["commands.cli' is not a package"],
        ),
        ("scaling_search.commands.cli.os", ["a class or function of a module"]),
        ("scaling_search.runtime.files", ["a class or function of a module"]),
        ("scaling_search.runtime.files.Path", ["must be defined in scaling_search", "pathlib"]),
        ("scaling_search.samplers.optuna.Tpe.choose", ["is not a package"]),
        ("scaling_search.nowhere.Part", ["No module named 'scaling_search.nowhere'"]),
        ("scaling_search..cli.main", ["package.module.Name"]),
        ("'scaling_search; import os'", ["package.module.Name"]),
        ("7", ["package.module.Name", "got 7"]),
        ("null", ["package.module.Name", "None"]),
    ],
)
def test_a_target_that_is_no_part_is_refused_by_its_key(target: str, said: list[str]) -> None:
    line = refused("plan", f"sampler._target_={target}")
    assert "sampler._target_ must" in line
    for part in said:
        assert part in line


def test_a_target_is_found_at_any_depth_and_behind_references() -> None:
    evil = "{_target_: os.system, command: 'touch evil'}"
    for option in (f"+sampler.deep.deeper=[1,{{x: [{evil}]}}]", f"recipe.epochs={evil}"):
        assert "_target_ must lie in" in refused("plan", option)
    line = refused("plan", "sampler._target_=${name}", "name=os.system")
    assert "sampler._target_ must lie in scaling_search, got 'os.system'" in line
    made = "+sampler.made='${oc.create:{_target_: os.system, command: touch evil}}'"
    assert "sampler.made._target_" in refused("plan", made)
    assert not Path("evil").exists()


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_"])
def test_no_part_says_how_hydra_builds_it(key: str) -> None:
    assert f"sampler.{key} is not an option" in refused("plan", f"+sampler.{key}=true")


@pytest.mark.parametrize("given", ["os", "subprocess,my_parts", "", "my-parts", "a..b"])
def test_allow_takes_names_of_packages_but_not_pythons_own(given: str) -> None:
    assert "allow must be packages" in refused("plan", f"allow={given}")


def test_a_file_cannot_allow_anything() -> None:
    target = "sampler:\n  _target_: my_parts.Grid\n"
    written("conf/experiment/mine.yaml", f"# @package _global_\nallow: my_parts\n{target}")
    line = refused("plan", "--config-dir", "conf", "experiment=mine")
    assert "sampler._target_ must lie in scaling_search," in line
    written("conf/experiment/mine.yaml", "# @package _global_\nallow: my_parts\n")
    assert "allow is not an option" in refused("plan", "--config-dir", "conf", "experiment=mine")


def test_a_run_folder_is_checked_like_any_file() -> None:
    assert ran("search", "limits.trainings=1", "out=mine", *TINY).code == 0
    config = Path("mine/config.yaml")
    text = config.read_text(encoding="utf-8")
    assert "samplers.grid.Grid" in text
    for changed, said in (
        (text.replace("scaling_search.samplers.grid.Grid", "os.getcwd"), "sampler._target_ must"),
        (text.replace("num_seeds: 1", "num_seeds: ${oc.env:HOME}"), "num_seeds must be a value"),
        (f"{text}hydra:\n  callbacks: {{}}\n", "hydra is not an option of a file"),
        (f"{text}allow: os\n", "allow is not an option"),
        (f"{text}evil: !!python/object/apply:os.getcwd []\n", "python/object/apply"),
        ("- a list\n", "a search by their keys"),
        ("name: [unclosed\n", "expected"),
    ):
        config.write_text(changed, encoding="utf-8")
        assert said in refused("report", "out=mine")


# Parts of one's own, in a package of one's own.

SAMPLER = '''
from scaling_search.core.part import part


@part
class Last:
    """Chooses the last."""

    word: str

    def choose(self, remaining, running, finished, objective):
        return remaining[-1]
'''
DATASET = '''
import torch

from scaling_search.core.dataset import Split, Splits
from scaling_search.core.part import part


@part
class Stripes:
    """Light and dark images, from nowhere."""

    num_images: int
    num_classes: int
    in_channels: int
    resolution: int

    def check(self):
        pass

    def fingerprint(self):
        return f"stripes {self.num_images}"

    def load(self, resolution, device):
        labels = torch.arange(self.num_images) % 2
        shape = (self.num_images, 1, resolution, resolution)
        images = (labels[:, None, None, None] * 200).expand(shape).to(torch.uint8).contiguous()
        split = Split(images, labels)
        return Splits(split, split, split)
'''


def own_parts(folder: Path) -> Path:
    """A package with a dataset and a sampler and the YAML files that name them."""
    written(str(folder / "my_parts" / "__init__.py"), "")
    written(str(folder / "my_parts" / "stripes.py"), DATASET)
    written(str(folder / "my_parts" / "last.py"), SAMPLER)
    written(
        str(folder / "conf" / "dataset" / "stripes.yaml"),
        "_target_: my_parts.stripes.Stripes\n"
        "num_images: 40\nnum_classes: 2\nin_channels: 1\nresolution: 28\n",
    )
    written(
        str(folder / "conf" / "sampler" / "last.yaml"),
        "_target_: my_parts.last.Last\nword: ${name}\n",
    )
    return folder / "conf"


def test_parts_of_ones_own_need_to_be_allowed(here: Path) -> None:
    conf = str(own_parts(here / "mine"))
    chosen = ("plan", "--config-dir", conf, "sampler=last", *QUICK)
    assert "got 'my_parts.last.Last'; add allow=" in refused(*chosen)
    assert "got 'my_parts.last.Last'; add allow=" in refused(*chosen, "allow=my_part")
    assert "my_parts" not in sys.modules
    outcome = ran(*chosen, "allow=other_parts,my_parts")
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 networks are selected" in outcome.out


def test_an_allowed_package_lends_no_other_ones_code(here: Path) -> None:
    conf = str(own_parts(here / "mine"))
    written("mine/my_parts/last.py", "from os import system as Last\n")
    chosen = ("plan", "--config-dir", conf, "sampler=last", "allow=my_parts")
    assert "must be defined in scaling_search or my_parts" in refused(*chosen)


def test_hydra_refuses_functions_that_run_what_they_are_given() -> None:
    """Even those of an allowed package."""
    line = refused("plan", "allow=yaml", "sampler._target_=yaml.unsafe_load")
    assert "'yaml.unsafe_load' is blocklisted" in line


@pytest.mark.slow
def test_parts_of_ones_own_train_in_worker_processes(here: Path) -> None:
    conf = str(own_parts(here / "mine"))
    own = ("allow=my_parts", "--config-dir", conf)
    epochs = [option for option in TINY if not option.startswith("dataset")]
    searched = subprocess.run(
        [PROGRAM, "search", *own, "dataset=stripes", "sampler=last", *epochs, "executor=processes"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert searched.returncode == 0, searched.stderr
    assert "all trainings are done" in searched.stdout
    reported = subprocess.run(
        [PROGRAM, "report", "out=runs/default", *own], capture_output=True, text=True, check=False
    )
    assert reported.returncode == 0, reported.stderr
    results = pd.read_csv("runs/default/results.csv")
    assert list(results["state"]) == ["COMPLETE"] * 3
    assert "got 'my_parts.stripes.Stripes'; add allow=" in refused("report", "out=runs/default")


# A network of one's own, the one part that is handed on instead of called.

OWN_NETWORK = """
from torch import nn


def build(*, depth, width, num_classes, in_channels, **rest):
    channels = round(8 * width)
    layers = [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU()]
    for _ in range(round(4 * depth)):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    return nn.Sequential(*layers, *end)


class Build(nn.Module):
    pass


def made(**rest):
    return {}
"""
MINE = ("allow=my_parts", "base_network=custom", "base_network.network._target_=my_parts.build")


def own_network(folder: Path) -> tuple[str, str]:
    """A package with a function that makes networks, beside a folder of YAML files."""
    written(str(folder / "my_parts" / "__init__.py"), OWN_NETWORK)
    (folder / "conf").mkdir()
    return "--config-dir", str(folder / "conf")


def test_a_network_of_ones_own_is_planned(here: Path) -> None:
    outcome = ran("plan", *MINE, *QUICK, *own_network(here / "mine"))
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 networks are selected" in outcome.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["+sampler._partial_=true"], "sampler._partial_ is not an option, got True"),
        (["+base_network._partial_=true"], "base_network._partial_ is not an option, got True"),
        (["base_network.network._partial_=false"], "network._partial_ is not an option, got False"),
        (["base_network.network._partial_=1"], "network._partial_ is not an option, got 1"),
        (["+base_network.network.x._partial_=true"], "network.x._partial_ is not an option"),
        (["+base_network.network._args_=[1]"], "network._args_ is not an option"),
        (["+base_network.network.x._target_=os.system"], "x._target_ must lie in scaling_search"),
    ],
)
def test_nothing_else_is_handed_on(here: Path, options: list[str], said: str) -> None:
    assert said in refused("plan", *MINE, *options, *own_network(here / "mine"))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("os.system", "must lie in scaling_search or my_parts, got 'os.system'; add allow="),
        ("my_parts.nowhere", "must name a class or function of a module, got 'my_parts.nowhere'"),
        ("my_parts.nets.build", "must name what can be imported, got 'my_parts.nets.build'"),
        ("my_parts.nn", "must name a class or function of a module"),
        ("my_parts.Build", "must be a function of a package of your own, got 'my_parts.Build'"),
        (
            "scaling_search.base_networks.resnets.resnet",
            "must be a function of a package of your own, got 'scaling_search.base_networks",
        ),
        ("scaling_search.runtime.files.replace_file", "must be a part"),
        ("null", "must be package.module.Name, got None"),
        ("my_parts.made", "must return a torch.nn.Module, got dict from my_parts.made(depth=1,"),
    ],
)
def test_a_network_must_be_made_by_a_function_of_an_allowed_package(
    here: Path, target: str, said: str
) -> None:
    folder = own_network(here / "mine")
    option = f"base_network.network._target_={target}"
    line = refused("plan", *MINE[:2], option, *QUICK, *folder)
    assert "base_network.network" in line
    assert said in line


def test_a_network_must_be_named_and_allowed(here: Path) -> None:
    folder = own_network(here / "mine")
    line = refused("plan", *MINE[:2], *folder)
    assert "base_network.network._target_ must be given, got ???" in line
    assert "got 'my_parts.build'; add allow=" in refused("plan", *MINE[1:], *folder)
    assert "my_parts" not in sys.modules


# Hydra itself.

CALLBACK = "{evil: {_target_: evil_callback.Evil}}"
EVIL = """
from pathlib import Path


class Evil:
    def __init__(self):
        Path("evil").touch()
"""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("experiment/mine.yaml", f"# @package _global_\nhydra:\n  callbacks: {CALLBACK}\n"),
        ("experiment/mine.yaml", f'# @package _global_\n"h\\x79dra":\n  callbacks: {CALLBACK}\n'),
        ("experiment/mine.yaml", f"# @package hydra.callbacks\nevil: {CALLBACK}\n"),
        ("experiment/mine.yaml", f"# @package _global_.hydra\ncallbacks: {CALLBACK}\n"),
        ("experiment/mine.yaml", "defaults:\n  - override /hydra/job_logging: evil\n"),
        ("experiment/mine.yaml", "defaults:\n  - /sampler@_global_.hydra.x: grid\n"),
        ("experiment/mine.yaml", "defaults:\n  - /../../elsewhere@_global_\n"),
        ("experiment/mine.yaml", "defaults:\n  - //tmp/elsewhere\n"),
        ("experiment/mine.yaml", "defaults:\n  - /sampler: ../../elsewhere\n"),
        ("experiment/mine.yaml", "defaults:\n  - /${name}: x\n"),
        ("hydra/job_logging/evil.yaml", "version: 1\n"),
        ("experiment/hydra.yaml", "name: x\n"),
        ("experiment/unused.yaml", f"# @package _global_\nhydra:\n  callbacks: {CALLBACK}\n"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--multirun"]])
def test_a_file_of_others_cannot_set_up_hydra(
    here: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str, how: list[str]
) -> None:
    written("evil_callback.py", EVIL)
    monkeypatch.syspath_prepend(here)
    written("conf/experiment/mine.yaml", "# @package _global_\nname: mine\n")
    written(f"conf/{path}", text)
    line = refused("plan", *how, "--config-dir", "conf", "experiment=mine")
    assert str(Path("conf") / path) in line
    assert "hydra is not an option of a file" in line or "defaults must name parts" in line
    assert not Path("evil").exists()


def test_hydra_would_run_a_callback_if_nobody_looked() -> None:
    """What the refusal is for: the same file, given to Hydra alone."""
    written(
        "conf/config.yaml",
        f"defaults:\n  - override hydra/job_logging: none\n  - override hydra/hydra_logging: none\n"
        f"hydra:\n  output_subdir: null\n  run:\n    dir: .\n  callbacks: {CALLBACK}\n",
    )
    written("evil_callback.py", EVIL)
    written(
        "bare.py",
        "import hydra\n\n\n@hydra.main(config_path='conf', config_name='config', "
        "version_base='1.3')\ndef run(config):\n    pass\n\n\nrun()\n",
    )
    subprocess.run([sys.executable, "bare.py"], capture_output=True, check=False, timeout=60)
    assert Path("evil").exists()


@pytest.mark.parametrize(
    "override",
    [
        "hydra.callbacks={}",
        "+hydra.callbacks.evil._target_=subprocess.Popen",
        "++hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=os.system",
        "+hydra/launcher=x",
        "hydra/job_logging=default",
        "hydra.searchpath=[/tmp]",
        "hydra.job.env_set={A: b}",
        "+sampler@hydra.x=grid",
        "hydra={}",
    ],
)
def test_of_hydra_only_folders_can_be_set(override: str) -> None:
    assert "is not an option; of Hydra itself only" in refused("plan", override)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config-path", "/tmp"],
        ["--config-name", "mine"],
        ["-cn", "mine"],
        ["--experimental-rerun", "config.pickle"],
    ],
)
def test_no_other_root_and_no_pickle_is_taken(arguments: list[str]) -> None:
    assert "is not an option" in refused("plan", *arguments)


def test_no_part_lies_outside_the_known_folders() -> None:
    written("elsewhere/evil.yaml", "name: x\n")
    for option in (f"experiment=../../..{Path.cwd()}/elsewhere/evil", "+../elsewhere=evil"):
        assert "must be in conf or --config-dir" in refused("plan", option)


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "a ${oc.decode:x} b", "${${name}:x}", "${a.${oc.env:HOME}}"]
)
def test_a_file_of_others_reads_no_environment(value: str) -> None:
    written("conf/experiment/mine.yaml", f"# @package _global_\nname: '{value}'\n")
    line = refused("plan", "--config-dir", "conf", "experiment=mine")
    assert "name must be a value or refer to one" in line
    assert os.environ["HOME"] not in line.replace(str(Path.cwd()), "")


def test_a_file_of_others_may_refer_to_options_and_the_user_to_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINE", "seven")
    written("conf/experiment/mine.yaml", "# @package _global_\nout: 'a: ${name}, b'\n")
    chosen = ("plan", "--config-dir", "conf", "--cfg", "job", "--resolve", "experiment=mine")
    outcome = ran(*chosen, "name=${oc.env:MINE}")
    assert (outcome.code, outcome.err) == (0, "")
    assert "out: 'a: seven, b'" in outcome.out


# Storages that a file gives.

RELEASED = Path(__file__).parents[1] / "record" / "released" / "schema_2"
LOADING = [
    "postgresql+psycopg://h/d?sslkey=/path/evil.so:key",
    "postgresql+psycopg://h/d?ssl%6Bey=/path/evil.so:key",
    "postgresql+psycopg://h/d?service=evil",
    "postgresql+asyncpg://h/d",
    "mysql+pymysql://h/d",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3D/tmp/evil.so",
    "sqlite+pysqlcipher:///a.db",
    "sqlite:///file:a.db?uri=true&vfs=evil",
    "sqlite:///a.db?plugin=evil",
    "sqlite:///:memory:",
    "no storage",
]


def run_with_storage(storage: str) -> None:
    """A copy of a released run whose configuration gives another storage."""
    text = (RELEASED / "config.yaml").read_text(encoding="utf-8")
    assert "storage: runs/old/study.log\n" in text
    written("old/config.yaml", text.replace("runs/old/study.log", f"'{storage}'"))


@pytest.mark.parametrize("storage", LOADING)
def test_no_file_gives_a_storage_that_could_load_code(storage: str) -> None:
    said = "storage must be a path ending in .log, an SQLite file or plain PostgreSQL where a file"
    run_with_storage(storage)
    for command in ("report", "scale"):
        assert said in refused(command, "out=old")
    with pytest.raises(ValueError, match=r"storage must be a path .* where a file gives it"):
        ss.load("old")
    text = f"# @package _global_\nname: '{storage}'\nstorage: ${{name}}\n"
    written("conf/experiment/mine.yaml", text)
    for command in ("plan", "search"):
        assert said in refused(command, "--config-dir", "conf", "experiment=mine", *TINY)
    assert {path.name for path in Path().iterdir()} == {"old", "conf"}


def test_a_file_gives_plain_postgresql() -> None:
    run_with_storage("postgresql+psycopg://me@127.0.0.1:1/d?sslmode=disable&connect_timeout=1")
    line = refused("report", "out=old")
    assert "storage must be readable and writable" in line
    assert "where a file gives it" not in line


def test_the_command_line_and_python_give_any_storage() -> None:
    run_with_storage(LOADING[0])
    shutil.copy(RELEASED / "study.log", "old")
    assert ran("report", "out=old", "storage=old/study.log").code == 0
    assert len(ss.load("old", storage="old/study.log").results) > 0
    url = "postgresql+psycopg://127.0.0.1:1/d?sslcrl=no.crl"
    line = ran("report", "out=old", f"storage={url}").err.splitlines()[-1]
    assert "storage must be readable and writable" in line


def test_the_next_command_repeats_a_storage_that_the_folder_may_not_give() -> None:
    typed = ("storage=sqlite:///file:mine.db?uri=true", "out=mine")
    searched = ran("search", *typed, *TINY, "limits.trainings=1")
    assert searched.code == 0, searched.err
    (command,) = re.findall(r"tables: scaling-search (.*)", searched.out)
    assert ran(*shlex.split(command)).code == 0
    assert "where a file gives it" in refused("report", "out=mine")


@pytest.mark.parametrize(
    "storage", ["sqlite:///others.db", "sqlite:///empty.db", "sqlite:///no.db", "no.log"]
)
def test_commands_that_read_create_nothing_where_a_file_says_a_record_lies(storage: str) -> None:
    with sqlite3.connect("others.db") as others:
        others.execute("create table studies (of_others int)")
    Path("empty.db").touch()
    before = {path: path.read_bytes() for path in Path().iterdir()}
    run_with_storage(storage)
    said = f"out must hold the record of 'old', got none at {storage!r}; the same search again"
    assert said in refused("report", "out=old")
    with pytest.raises(RuntimeError, match="out must hold the record"):
        _ = ss.load("old").results
    written("conf/experiment/mine.yaml", f"# @package _global_\nstorage: {storage}\n")
    assert ran("plan", "--config-dir", "conf", "experiment=mine", *QUICK).code == 0
    assert {p: p.read_bytes() for p in Path().iterdir() if p.is_file()} == before


# Clusters that a file gives.


def test_no_file_gives_a_cluster_which_could_run_code_here() -> None:
    said = "executor.address must be null or auto where a file gives it, for a cluster can run code"
    run_with_storage("old/study.log")
    shutil.copy(RELEASED / "study.log", "old")
    config = Path("old/config.yaml")
    text = config.read_text(encoding="utf-8")
    cluster = "executors.ray.Ray\n  address: 127.0.0.1:1\n"
    assert "executors.inline.Inline\n" in text
    config.write_text(text.replace("executors.inline.Inline\n", cluster), encoding="utf-8")
    assert ran("report", "out=old").code == 0
    assert said in refused("scale", "out=old")
    typed = ran("scale", "out=old", "executor.address=127.0.0.1:1")
    assert typed.code == 2
    assert said not in typed.err
    loaded = ss.load("old")
    assert len(loaded.results) > 0
    with pytest.raises(ValueError, match=r"executor\.address must be null or auto"):
        ss.scale(loaded)
    theirs = "_target_: scaling_search.executors.ray.Ray\naddress: 127.0.0.1:1\n"
    written("conf/executor/theirs.yaml", theirs)
    chosen = ("experiment=default", "dataset.num_train=100", "executor=theirs")
    assert said in refused("search", "--config-dir", "conf", *chosen)


# YAML files that grow when they are read.

GROWING = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)
)


@pytest.mark.parametrize(
    "text",
    [
        GROWING,
        GROWING.replace("[x, x]", "{x: 1}").replace("[", "{<<: [").replace("]", "]}"),
        "a: &a [*a]\n",
        f"a: {'[' * 2000}{']' * 2000}\n",
        f"a: {'x' * 2_000_000}\n",
        f"a: [{'1, ' * 20_000}]\n",
    ],
    ids=["aliases", "merged", "itself", "deep", "long", "many"],
)
def test_a_file_that_would_take_minutes_to_read_is_refused_at_once(text: str) -> None:
    since = time.monotonic()
    written("mine/config.yaml", f"base_network: {{}}\ndataset: {{}}\n{text}")
    assert "mine/config.yaml must be at most 1,000,000 bytes" in refused("report", "out=mine")
    written("conf/experiment/mine.yaml", "# @package _global_\nname: mine\n")
    written("conf/experiment/unused.yaml", f"# defaults\n{text}")
    line = refused("plan", "--config-dir", "conf", "experiment=mine")
    assert "conf/experiment/unused.yaml must be at most 1,000,000 bytes" in line
    assert time.monotonic() - since < 20  # minutes without the refusal; imports take a while


def test_a_configuration_of_a_run_whose_values_refer_to_each_other_is_refused_at_once(
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(RELEASED, tmp_path / "mine")
    growing = "".join(f"x{i}: " + 10 * f"${{x{i - 1}}}" + "\n" for i in range(1, 9))
    with (folder / "config.yaml").open("a", encoding="utf-8") as file:
        file.write(f"x0: {'a' * 100}\n{growing}")
    assert "config.yaml must hold values, got ${...}" in refused("report", f"out={folder}")


def doubling(first: str, next_: str, *, last: int = 40) -> str:
    """Lines of which each refers to the one before."""
    lines = (f"x{i}: {next_.replace('BEFORE', f'x{i - 1}')}\n" for i in range(1, last + 1))
    return f"x0: {first}\n{''.join(lines)}"


SAID = "must be at most 2,000,000 bytes longer with references replaced, at most 50 deep, got"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (doubling("a", '"${BEFORE}${BEFORE}"'), "x14"),
        (doubling("[1, 2]", '["${BEFORE}", "${BEFORE}"]'), "x12"),
        (doubling("{y: 1}", "{a: '${BEFORE}', b: '${.a}', c: '${BEFORE}'}"), "x8"),
        (doubling("[a, b]", '["${BEFORE[-1]}${BEFORE.1}", "${BEFORE[0]}${BEFORE[1]}"]'), "x13"),
        (doubling("a", "${BEFORE}", last=60), "x49"),
        ("a: ${b}\nb: ${a}\n", "b"),
        ("a: {b: {c: '${a}'}}\n", "a.b.c"),
        ("a: '${b.x}'\nb: ${c}\nc: ${b}\n", "a"),
        ("sampler: {x: '${..sampler}'}\n", "sampler.x"),
    ],
)
def test_references_that_grow_or_go_in_a_circle_are_refused_at_once(text: str, key: str) -> None:
    since = time.monotonic()
    written("conf/experiment/mine.yaml", f"# @package _global_\n{text}")
    assert f": {key} {SAID}" in refused("plan", "--config-dir", "conf", "experiment=mine")
    assert time.monotonic() - since < 20  # hours without the refusal


def test_whoever_replaces_references_refuses_those_that_grow() -> None:
    text = doubling("a", "${BEFORE}${BEFORE}") + "name: ${x40}\nout: runs/${name}\n"
    written("conf/experiment/mine.yaml", f"# @package _global_\n{text}")
    chosen = ("--config-dir", "conf", "experiment=mine")
    assert SAID in refused("search", *chosen)
    assert SAID in refused("plan", *chosen, "--cfg", "job", "--resolve")
    with pytest.raises(ValueError, match="longer with references"):
        ss.compose("experiment=mine", config_dir="conf")
    assert not Path("runs").exists()


def test_references_that_grow_from_file_to_file_are_refused() -> None:
    first, *lines = doubling("a", "${BEFORE}${BEFORE}").splitlines()
    for number, line in enumerate(lines):
        before = f"defaults: [/experiment/part{number - 1}]\n" if number else ""
        text = f"# @package _global_\n{before}{first}\n{line}\nname: ${{x40}}\n"
        written(f"conf/experiment/part{number}.yaml", text)
    assert SAID in refused("plan", "--config-dir", "conf", "experiment=part39")


def test_references_of_files_of_which_one_is_used_are_read() -> None:
    of_data, of_network = "dataset: {num_train: '%s'}\n", "candidates: {max_networks: '%s'}\n"
    one = of_data % "${candidates.max_networks}" + of_network % 100
    other = of_data % 100 + of_network % "${dataset.num_train}"
    for name, text in (("one", one), ("other", other)):
        written(f"conf/experiment/{name}.yaml", f"# @package _global_\n{text}")
    for number in range(100):
        text = f"name: mine{number}\nout: runs/${{name}}\nstorage: ${{out}}/study.log\n"
        written(f"conf/experiment/of{number}.yaml", f"# @package _global_\n{text}")
    chosen = ("plan", "--config-dir", "conf", "--cfg", "job", "--resolve")
    assert "num_train: '100'" in ran(*chosen, "experiment=one").out
    assert "max_networks: '100'" in ran(*chosen, "experiment=other").out
    assert "storage: runs/mine7/study.log" in ran(*chosen, "experiment=of7").out


def test_a_name_that_another_reference_makes_is_refused() -> None:
    written("conf/experiment/mine.yaml", "# @package _global_\nx: a\nname: '${${x}}'\n")
    line = refused("plan", "--config-dir", "conf", "experiment=mine")
    assert "name must refer to options by their names, got '${${x}}'" in line


def test_plain_references_are_read() -> None:
    text = "name: mine\nout: a/${name}/${name}\nsampler: {seed: '${num_seeds}'}\nnum_seeds: 2\n"
    written(
        "conf/experiment/mine.yaml",
        f"# @package _global_\ndefaults:\n- override /sampler: tpe\n{text}",
    )
    chosen = ("plan", "--config-dir", "conf", "experiment=mine", "--cfg", "job", "--resolve")
    assert "out: a/mine/mine" in ran(*chosen).out


@pytest.mark.parametrize("text", ["name: mine\n", "\n# a comment\nname: mine\n"])
def test_an_experiments_file_without_its_first_line_is_named(text: str) -> None:
    written("conf/experiment/other.yaml", "# @package _global_\nname: other\n")
    written("conf/experiment/mine.yaml", text)
    line = refused("plan", "--config-dir", "conf", "experiment=mine")
    assert "conf/experiment/mine.yaml must have '# @package _global_' on its first line" in line
    assert "experiment must be the name" in refused("plan", "+experiment.name=mine")


def test_a_pipe_in_place_of_a_file_is_refused() -> None:
    written("conf/experiment/mine.yaml", "# @package _global_\nname: mine\n")
    os.mkfifo("conf/experiment/pipe.yaml")
    line = refused("plan", "--config-dir", "conf", "experiment=mine")
    assert "conf/experiment/pipe.yaml must be a file" in line


def test_a_few_aliases_are_read() -> None:
    text = "# @package _global_\nname: &name mine\nout: *name\n"
    written("conf/experiment/mine.yaml", text)
    chosen = ("plan", "--config-dir", "conf", "experiment=mine", "--cfg", "job", "--resolve")
    assert "out: mine" in ran(*chosen).out


# Passwords.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:pw@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql+psycopg://u:p%40w@h/d?sslmode=x", "postgresql+psycopg://u:***@h/d?sslmode=x"),
        ("postgresql://u:p@w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p/w?x@h/d", "postgresql://u:***@h/d"),
        ("redis://:pw@h", "redis://:***@h"),
        ("postgresql://u@h/d?password=pw&x=1", "postgresql://u@h/d?password=***&x=1"),
        ("x y://u:pw@h' and z://u:pw@h, said", "x y://u:***@h' and z://u:***@h, said"),
    ],
)
def test_a_password_is_hidden_and_all_else_is_kept(url: str, shown: str) -> None:
    assert without_password(url) == shown == without_password(shown)
    assert is_hidden(shown)
    assert not is_hidden(url)


@pytest.mark.parametrize(
    "url", ["sqlite:////tmp/a:b@c/study.db", "postgresql://u@h:5432/d", "record.log", "no url: a@b"]
)
def test_a_text_without_a_password_stays(url: str) -> None:
    assert without_password(url) == url
    assert not is_hidden(url)


def test_a_password_is_in_no_line_that_is_printed() -> None:
    storage = "storage=postgresql+psycopg://me:tellNobody@127.0.0.1:1/d"
    for arguments in (
        ["plan", storage, "--cfg", "job"],
        ["plan", storage, "--help-all"],
        ["plan", storage, "--info", "config"],
        ["plan", storage, *QUICK],
        ["search", storage, *TINY],
        ["search", "--multirun", storage, *TINY],
        ["plan", f"{storage}]["],
        ["plan", f"{storage}", "sampler._target_=${storage}"],
        ["search", f"{storage}", "name=${storage}", *TINY],
        ["search", f"{storage}", "+sampler.place=${storage}", *TINY],
    ):
        outcome = ran(*arguments)
        said = outcome.out + outcome.err
        assert "tellNobody" not in said, arguments
        assert "127.0.0.1" in said
    assert not [path for path in Path().rglob("*") if "tellNobody" in str(path)]


# Files.


@pytest.mark.parametrize(("umask", "mode"), [(0o027, 0o640), (0o022, 0o644), (0o077, 0o600)])
def test_a_file_has_the_mode_of_the_users_umask(here: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        replace_file(here / "table.csv", b"a")
        replace_file(here / "table.csv", b"ab")
    finally:
        os.umask(before)
    assert (here / "table.csv").stat().st_mode & 0o777 == mode
    assert [path.name for path in here.iterdir()] == ["table.csv"]


# The report.


def test_names_in_a_report_are_text(here: Path) -> None:
    name = "<script>alert(1)</script>"
    assert ran("search", f"name='{name}'", "out=mine", *TINY).code == 0
    assert ran("report", "out=mine").code == 0
    html = (here / "mine" / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in html
    assert len(re.findall("<script", html, re.IGNORECASE)) == 1  # the page's own
