"""What tests of people's own images ask for by name."""

from pathlib import Path

import pytest

from scaling_search.data import gathering
from scaling_search.training.batches import load
from tests.cli import Cli, Outcome


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the maps of one test go; what this process knows is forgotten."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SCALING_SEARCH_CACHE", str(folder))
    gathering.CHECKED.clear()
    load.cache_clear()
    return folder


@pytest.fixture
def cli(own_cache: Path, cli: Cli, tmp_path: Path) -> Cli:
    """Run a command line in this process, as if it were a new one."""
    assert own_cache.parent == tmp_path

    def run(*arguments: str) -> Outcome:
        load.cache_clear()
        return cli(*arguments)

    return run
