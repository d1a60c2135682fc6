"""What tests of people's own images ask for by name."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaling_search.commands.cli import main
from scaling_search.data import gathering
from scaling_search.training.batches import load


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the maps of one test go; what this process knows is forgotten."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SCALING_SEARCH_CACHE", str(folder))
    gathering.CHECKED.clear()
    load.cache_clear()
    return folder


@pytest.fixture
def cli(
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """Runs a command line in this process, as if it were a new one."""
    assert own_cache.parent == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMP_LINE", raising=False)

    def run(*arguments: str) -> Outcome:
        load.cache_clear()
        monkeypatch.setattr(sys, "argv", ["scaling-search", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return run
