"""What the tests of reliability ask for by name."""

from pathlib import Path

import pandas as pd
import pytest

from tests.reliability.searches import SEARCH, done, rows_of, table


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The results of a search that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "folder"
    folder.mkdir()
    done(folder, *SEARCH)
    return table(rows_of(folder / "run" / "study.db"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to search in; what commands say goes beside it."""
    path = tmp_path / "folder"
    path.mkdir()
    return path
