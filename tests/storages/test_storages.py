"""A search in SQLite, in a journal and in a real PostgreSQL: the same table, open to others."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.storages.servers import PASSWORD, dashboard, postgresql, postgresql_programs
from tests.tables import VOLATILE

PROGRAM = str(Path(sys.executable).parent / "scaling-search")
KINDS = ("sqlite", "journal", "postgresql")
NUM_TRAININGS = 12
SEARCH = (
    "search",
    "out=run",
    "name=stored",
    "executor=inline",
    "dataset.num_train=100",
    "dataset.num_val=50",
    "recipe.epochs=2",
    "recipe.batch_size=20",
    "candidates.max_networks=3",
    "num_seeds=3",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL that was started for these tests."""
    if postgresql_programs() is None:
        pytest.skip("needs Debian's package postgresql")
    pytest.importorskip("psycopg")
    # Not below pytest's own folder, which no other user may enter.
    with (
        tempfile.TemporaryDirectory(prefix="scaling_search_pg_") as folder,
        postgresql(Path(folder)) as url,
    ):
        yield url


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An SQLAlchemy URL or a journal's path, for ``storage=``."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("server"))
    return f"sqlite:///{tmp_path}/own.db" if request.param == "sqlite" else f"{tmp_path}/own.log"


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(folder: Path, *arguments: str) -> str:
    """What a command that ends well printed."""
    process = started(folder, *arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out + err


def table(folder: Path) -> pd.DataFrame:
    results = pd.read_csv(folder / "run" / "results.csv")
    return results.drop(columns=list(VOLATILE), errors="ignore")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of the same search in the run's own SQLite file, never cut off."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    said(folder, *SEARCH)
    said(folder, "report", "out=run")
    return table(folder)


def test_a_killed_search_goes_on_to_the_same_table_while_a_dashboard_watches(
    storage: str, tmp_path: Path, uninterrupted: pd.DataFrame
) -> None:
    own = f"storage={storage}"
    printed = said(tmp_path, *SEARCH, own, "limits.trainings=1")
    with dashboard(storage, tmp_path) as shown:
        assert shown()["stored"] == 1
        search = started(tmp_path, *SEARCH, own)
        try:
            wait_for(lambda: shown()["stored"] > 2, search)
            search.send_signal(signal.SIGKILL)
            printed += "".join(search.communicate(timeout=60))
        finally:
            search.kill()
            search.wait(timeout=60)
        assert 2 < shown()["stored"] < NUM_TRAININGS
        printed += said(tmp_path, *SEARCH, own)
        assert shown()["stored"] == NUM_TRAININGS
    printed += said(tmp_path, "report", "out=run", own)
    pd.testing.assert_frame_equal(table(tmp_path), uninterrupted)
    (tmp_path / "dashboard.log").unlink()  # another program's
    assert_no_password(tmp_path, printed)


def wait_for(ready: Callable[[], bool], search: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not ready():
        assert search.poll() is None, search.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def assert_no_password(folder: Path, printed: str) -> None:
    assert PASSWORD not in printed
    for path in folder.rglob("*"):
        assert PASSWORD not in str(path)
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


def test_a_password_is_asked_for_again_and_kept_nowhere(server: str, tmp_path: Path) -> None:
    search = [option for option in SEARCH if not option.startswith("name=")]
    chosen = [*search, "name=secretive", f"storage={server}"]
    printed = said(tmp_path, *chosen, "limits.trainings=3")
    config = (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    assert f"storage: {server.replace(PASSWORD, '***')}" in config
    without = started(tmp_path, "report", "out=run")
    _, err = without.communicate(timeout=60)
    assert without.returncode == 2
    assert "storage must be given with its password" in err
    assert err.count("\n") == 1
    wrong = started(tmp_path, "report", "out=run", f"storage={server.replace(PASSWORD, 'wrong7')}")
    _, refusal = wrong.communicate(timeout=60)
    assert wrong.returncode == 2
    assert "storage must be readable" in refusal
    assert "wrong7" not in refusal
    assert refusal.count("\n") == 1
    printed += said(tmp_path, "report", "out=run", f"storage={server}")
    printed += said(tmp_path, "search", "--multirun", *chosen[2:], "limits.trainings=1,2")
    printed += said(tmp_path, "plan", *chosen[1:], "--cfg", "job")
    assert_no_password(tmp_path, printed + err + refusal)
    rows = server_text(server)
    assert "secretive" in rows
    assert PASSWORD not in rows


def server_text(url: str) -> str:
    """All that a PostgreSQL's tables hold, as text."""
    import sqlalchemy  # noqa: PLC0415 - needed by this one check

    engine = sqlalchemy.create_engine(url)
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        held = [str(list(connection.execute(t.select()))) for t in tables.sorted_tables]
    engine.dispose()
    return "\n".join(held)
