"""A clock that jumps while a search runs: nothing is measured by it."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from scaling_search.runtime.lock import RunLock
from tests.reliability.searches import LEFT, SEARCH, assert_same, files, rows_of, started

pytestmark = [pytest.mark.slow, pytest.mark.alone]

HOUR = 3600


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What moves the clock of a process that it is preloaded into."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(
        [compiler, "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", path, source], check=True
    )
    return path


@pytest.mark.parametrize("hours", [-72, 30 * 365 * 24])
def test_a_clock_that_jumps_changes_nothing(
    folder: Path, tmp_path: Path, undisturbed: pd.DataFrame, library: Path, hours: int
) -> None:
    moved = tmp_path / "moved"
    moved.write_text("0", encoding="utf-8")
    command = started(
        folder,
        *SEARCH,
        *("limits.hours=1", "executor.timeout_minutes=30"),
        LD_PRELOAD=str(library),
        CLOCK_MOVED=str(moved),
    )
    try:
        command.until_trained(4)
        moved.write_text(f"{hours * HOUR}", encoding="utf-8")
        # Another is still refused the folder, by the file system's clock.
        with pytest.raises(RuntimeError, match="must be held by one command at a time"):
            RunLock(folder / "run").__enter__()
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    assert "all trainings are done" in command.out
    assert "tried again" not in command.out
    assert command.err == ""
    rows = rows_of(folder / "run" / "study.db")
    assert_same(rows, undisturbed)
    times = pd.to_datetime([str(row["finished"]) for row in rows])
    jumps = (times[1:] - times[:-1]) / pd.Timedelta("1h")
    assert sum(abs(jump - hours) < 1 for jump in jumps) == 1  # rows lie in the order they ended in
    assert sum(abs(jump) < 1 for jump in jumps) == len(jumps) - 1
    for row in rows:
        assert 0 < float(str(row["train_seconds"])) < float(str(row["total_seconds"])) < HOUR
    assert files(folder / "run") == LEFT | {"study.db"}
