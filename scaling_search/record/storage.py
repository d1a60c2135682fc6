"""Storages of records: databases by their SQLAlchemy URL, and files of Optuna's journal."""

import json
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy import event, make_url
from sqlalchemy.engine import URL, ExceptionContext

from scaling_search.record.digests import DIGEST, DamagedError, digest
from scaling_search.record.holding import TakenOverError
from scaling_search.runtime.passwords import without_password
from scaling_search.runtime.progress import progress

PATIENCE_SECONDS = 90.0
"""Time for which a failed write is repeated: a server restarts, a lock is held, a disk is full."""

LOCKED_SECONDS = 0.5
"""Time that SQLite itself waits for another process's lock."""

POSTGRESQL = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
"""Drivers of PostgreSQL that take libpq's options."""

SILENT: dict[str, float] = {
    "connect_timeout": 8,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
}
"""Options by which a host that has gone is noticed in 8 s; else it may take hours."""

MOST_SECONDS = 10.0
"""Longest time between two tries."""

SQLITE_OPTIONS = {
    *("timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"),
}
"""Keys that an SQLite URL may have behind ``?``; SQLAlchemy silently drops others."""

Pause = Callable[[str, float], None]
"""Waits for a number of seconds; its first argument is the reason."""


def sqlite_url(path: str) -> str:
    """The URL of an SQLite file, with special characters of its path quoted."""
    return URL.create("sqlite", database=path).render_as_string(hide_password=False)


def default_storage(out: Path) -> str:
    """The URL of a folder's own storage, an SQLite file."""
    return sqlite_url(str((out / "study.db").resolve()))


def open_storage(storage: str) -> BaseStorage:
    """The storage of an SQLAlchemy URL, or of a path ending in ``.log`` for Optuna's journal.

    Raises:
        ValueError: Its URL would name another file than it seems to.
        RuntimeError: It cannot be opened, or its file is damaged.
    """
    check_sqlite(storage)
    try:
        if is_journal(storage):
            _check_last_line(Path(storage))
            return JournalStorage(_Journal(str(Path(storage).resolve())))
        if (file := file_of(storage)) is not None and not file.exists():
            file.touch()  # with the user's umask, where SQLite's own mode shuts out a group
        literal = storage.replace("{", "{{").replace("}", "}}")  # Optuna takes it for a format
        opened = RDBStorage(literal, engine_kwargs=engine_options(storage))
        event.listen(opened.engine, "handle_error", _lost_connection)
        if storage.startswith("sqlite"):
            _check_pages(opened)
    except Exception as error:
        raise RuntimeError(unusable(storage, error)) from error
    return opened


def engine_options(storage: str) -> dict[str, Any]:
    """Options of SQLAlchemy's engine for a storage's URL."""
    # Optuna and `write` try again after a short wait; no signal ends a long one.
    if storage.startswith("sqlite"):
        return {"connect_args": {} if "timeout=" in storage else {"timeout": LOCKED_SECONDS}}
    has_libpq = make_url(storage).drivername in POSTGRESQL
    silent = {k: v for k, v in SILENT.items() if has_libpq and f"{k}=" not in storage}
    # A server, or what lies before it, ends connections that were idle through a long training.
    return {"connect_args": silent, "pool_pre_ping": True}


def _lost_connection(context: ExceptionContext) -> ConnectionError | None:
    """An error of a lost connection that Optuna does not answer by writing a trial once more.

    The transaction may have been committed; `write` looks before it tries again.
    """
    is_lost = context.is_disconnect or context.connection is None
    if not is_lost or context.is_pre_ping:  # after which SQLAlchemy connects again
        return None
    return ConnectionError(context.original_exception)


def _check_pages(opened: RDBStorage) -> None:
    """Checks an SQLite file's own structure: a row that an index misses would not be read.

    Raises:
        DamagedError: It is damaged.
    """
    with opened.engine.connect() as connection:
        said = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if said != "ok":
        raise DamagedError(said)


def check_sqlite(storage: str) -> None:
    """Checks that the text behind ``?`` is options of SQLite and not the end of a file's name.

    Raises:
        ValueError: It is not, so that the URL would name another file than it seems to.
    """
    _, mark, query = storage.partition("?")
    names = {option.partition("=")[0] for option in query.split("&")}
    if not storage.startswith("sqlite") or not mark or "uri" in names or names <= SQLITE_OPTIONS:
        return
    path = storage.partition(":///")[2]
    raise ValueError(
        f"storage must not have a ? but before options of SQLite, got {storage!r}; a file of that "
        f"name is {sqlite_url(path)}"
    )


def file_of(storage: str) -> Path | None:
    """The file of a journal or of SQLite; None for a server and for SQLite's own kinds of URL."""
    if is_journal(storage):
        return Path(storage)
    path = make_url(storage).database if storage.startswith("sqlite:///") else None
    return None if path is None or path.startswith((":", "file:")) else Path(path)


def is_journal(storage: str) -> bool:
    """True if a storage is a file of Optuna's journal."""
    return storage.endswith(".log") and "://" not in storage


class _Journal(JournalFileBackend):
    """A journal whose lines have digests, without the unfinished last line of a killed writer.

    Optuna would append to such a line, and could not open the journal again.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, _lock_of(path))
        self._path = Path(path)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends a line for each entry."""
        _cut_to_whole_lines(self._path)
        super().append_logs([log | {DIGEST: digest(log)} for log in logs])

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any]]:
        """The entries from a line on, those of older versions without a digest too.

        Raises:
            DamagedError: A line was changed.
        """
        number, logs = log_number_from, super().read_logs(log_number_from)
        try:
            for log in logs if number else progress(logs, "reading the record", None):
                number += 1
                yield _whole(log)
        except DamagedError as error:
            raise DamagedError(f"line {number}{error}") from None
        except ValueError as error:  # no JSON
            raise DamagedError(f"line {number + 1}: {error}") from None


def _lock_of(journal: str) -> JournalFileOpenLock:
    """The lock of a journal, a file beside it; Optuna takes away one that was left after 30 s.

    Earlier versions left a link to the journal. If the folder was moved or copied since, it leads
    to no file or to another's, and Optuna would wait for ever.
    """
    left = Path(f"{journal}.lock")
    if left.is_symlink() and left.resolve() != Path(journal).resolve():
        left.unlink(missing_ok=True)
    return JournalFileOpenLock(journal)


def _whole(log: Any) -> dict[str, Any]:
    """An entry of a journal without its digest."""
    if not isinstance(log, dict) or "op_code" not in log:
        raise DamagedError(" is no entry")
    if log.pop(DIGEST, None) not in (None, digest(log)):  # may be a list
        raise DamagedError("")
    return log


def _check_last_line(journal: Path) -> None:
    """Checks that a last line that ends is JSON; Optuna would leave it out and say nothing.

    Raises:
        DamagedError: It is not.
    """
    content = journal.read_bytes() if journal.is_file() else b""
    if not content.endswith(b"\n"):
        return
    try:
        json.loads(content[content.rfind(b"\n", 0, -1) + 1 :])
    except ValueError as error:
        number = content.count(b"\n")
        raise DamagedError(f"line {number}: {error}") from None


def _cut_to_whole_lines(journal: Path) -> None:
    """Removes a last line that does not end."""
    with journal.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read() in {b"", b"\n"}:
            return
    lock = _lock_of(str(journal))
    lock.acquire()  # a process that is writing now finishes its line
    try:
        content = journal.read_bytes()
        begins = b'{"op_code"'
        if content[: len(begins)] == begins[: len(content)]:  # else it is no journal
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def wait(reason: str, seconds: float) -> None:
    """The `Pause` that waits and says nothing."""
    del reason
    time.sleep(seconds)


def write(storage: str, function: Callable[[bool], object], pause: Pause = wait) -> None:
    """Calls a function that writes, again for `PATIENCE_SECONDS` while the storage fails.

    Args:
        storage: URL or path.
        function: Its argument is False after a first try, which may have written in spite of its
            error.
        pause: Waits until the next try.

    Raises:
        TakenOverError: Another command writes there.
        RuntimeError: The storage cannot be written.
    """
    end, seconds, is_first_try = time.monotonic() + PATIENCE_SECONDS, 1.0, True
    while True:
        try:
            if is_journal(storage):
                Path(storage).stat()  # Optuna would begin a new one
            function(is_first_try)
        except TakenOverError:
            raise
        except Exception as error:
            message = unusable(storage, error)
            if time.monotonic() + seconds > end:
                raise RuntimeError(message) from error
        else:
            return
        is_first_try = False
        pause(message, seconds)
        seconds = min(2 * seconds, MOST_SECONDS)


def unusable(storage: str, error: BaseException) -> str:
    """The message of a storage that cannot be used, without its password."""
    reason = next(iter(str(error.__cause__ or error).split("\n")), "") or type(error).__name__
    if is_journal(storage):
        place = storage
    elif storage.startswith("sqlite:///"):
        place = make_url(storage).database or storage
    else:  # passwords stand before @ or after ?
        place = storage.rpartition("@")[2].partition("?")[0]
    if isinstance(error, DamagedError):
        return (
            f"storage must hold what was recorded, got {place!r} damaged or changed ({reason}); "
            "put a copy of it back, or search again with another out= or storage="
        )
    if "://" not in storage and not is_journal(storage):
        return (
            f"storage must be readable and writable, got {place!r}, which is neither a path that "
            f"ends in .log nor a URL; write storage={Path(place).name}.log"
        )
    return (
        f"storage must be readable and writable, got {place!r} ({without_password(reason)}); check "
        "that the folder exists, is writable and that nothing else holds a lock on it"
    )
