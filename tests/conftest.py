"""What several test modules ask for by name."""

import copy
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest
import torch
import yaml
from alembic.config import Config
from alembic.script import ScriptDirectory
from hydra._internal.hydra import Hydra

from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.experiment.experiment import Experiment
from tests.cli import Cli, ran
from tests.in_process import printed
from tests.simulated import simulated_run
from tests.tiny import tiny_experiment, tiny_run

# Under a debugger or coverage OmegaConf raises other errors, with a longer traceback.
os.environ["OC_CAUSE"] = "0"

# More threads than cores, with other tests beside, make the small networks here ten times slower.
torch.set_num_threads(1)

for blow in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(blow) == signal.SIG_IGN:
        # By a shell's background or nohup. What the tests start would ignore it too; a handler that
        # does nothing is this process's alone.
        signal.signal(blow, lambda *_: None)


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Data are kept in a folder of these tests, in the processes that they start too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALING_SEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def migrations_read_once() -> Iterator[None]:
    """Optuna runs the files of its migrations each time that a storage is opened."""
    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def read_once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", staticmethod(read_once))
        yield


@pytest.fixture(autouse=True, scope="session")
def configurations_composed_once() -> Iterator[None]:
    """Hydra composes each configuration once more to see if it is a sweep; here only flags say so.

    Files of YAML are parsed once, in pure Python as OmegaConf has it.
    """
    load: Callable[..., object] = yaml.load
    parsed: dict[str, object] = {}

    def load_once(stream: TextIO | str, Loader: type) -> object:  # noqa: N803
        text = stream if isinstance(stream, str) else stream.read()
        if text not in parsed:
            parsed[text] = load(text, Loader=Loader)
        return copy.deepcopy(parsed[text])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        patch.setattr("omegaconf.omegaconf.yaml.load", load_once)
        yield


@pytest.fixture
def experiment() -> Experiment:
    """Four networks to train on 100 real images."""
    return tiny_experiment()


@pytest.fixture
def mine(tmp_path: Path) -> Run:
    """The same in a folder of its own."""
    return tiny_run(tmp_path)


@pytest.fixture(scope="session")
def answered_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a simulated search that has an answer."""
    folder = tmp_path_factory.mktemp("answered") / "run"
    printed(search, simulated_run(folder))
    return folder


@pytest.fixture
def answered(answered_folder: Path, tmp_path: Path) -> Run:
    """The same search in a folder of its own."""
    shutil.copytree(answered_folder, tmp_path / "answered")
    return simulated_run(tmp_path / "answered")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run command lines in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMP_LINE", raising=False)
    return ran
