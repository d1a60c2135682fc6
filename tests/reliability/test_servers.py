"""A search whose database server fails over, or does not answer: nothing lost, nothing twice."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from optuna.storages import RDBStorage

from scaling_search.core.metric import VAL_LOSS
from scaling_search.record.record import Record
from scaling_search.record.storage import open_storage
from tests.reliability.searches import SEARCH, assert_same, started, stored_rows
from tests.reliability.test_storage import TRIES, crashed
from tests.storages.servers import (
    PASSWORD,
    backup,
    free_port,
    postgresql,
    postgresql_programs,
    serving,
    unanswered,
)
from tests.tiny import ended, tiny_trial

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for servers."""
    if postgresql_programs() is None:
        pytest.skip("needs Debian's package postgresql")
    pytest.importorskip("psycopg")
    # Not below pytest's own folder, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="scaling_search_pg_") as name:
        yield Path(name)


def test_a_search_records_again_what_a_standby_had_not_received(
    folder: Path, place: Path, undisturbed: pd.DataFrame
) -> None:
    with postgresql(place) as url:
        port, way = free_port(), url.rpartition(":")[0]
        hosts = f"host={way.rpartition('@')[2]}:{url.rpartition(':')[2].partition('/')[0]}"
        both = f"{way.rpartition('@')[0]}@/postgres?{hosts}&host=127.0.0.1:{port}"
        command = started(folder, *SEARCH, f"storage={both}&target_session_attrs=read-write")
        try:
            command.until_trained(2)
            command.process.send_signal(signal.SIGSTOP)
            backup(url, place / "standby")
            command.process.send_signal(signal.SIGCONT)
            command.until_trained(command.num_ended + 3)
            crashed(place)
            command.until(lambda: TRIES in command.out)
            with serving(place / "standby", port):
                assert command.ended() == 0, (command.out, command.err)
                rows = stored_rows(f"{way}:{port}/postgres")
        finally:
            command.end()
    assert PASSWORD not in command.out + command.err
    assert_same(rows, undisturbed)
    log = (folder / "run" / "search.log").read_text(encoding="utf-8")
    assert "trainings were lost by the storage and are recorded again" in log


def test_a_training_whose_commit_is_not_answered_is_recorded_once(place: Path) -> None:
    with postgresql(place) as url, unanswered(url) as (way, left):
        opened = open_storage(way)
        assert isinstance(opened, RDBStorage)
        record = Record(way, "survived", VAL_LOSS, opened=opened)
        for seed in range(3):
            left[:] = [b""]
            record.add(ended(tiny_trial(1, seed=seed), 2.0))
            assert left == []
        assert [row["seed"] for row in stored_rows(url)] == [0, 1, 2]
        opened.remove_session()
        opened.engine.dispose()
