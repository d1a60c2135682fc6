"""Storage URLs: those that a file may give, and those with something behind them."""

from collections.abc import Sequence

from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError

from scaling_search.record.storage import (
    POSTGRESQL,
    SQLITE_OPTIONS,
    check_sqlite,
    engine_options,
    file_of,
    is_journal,
    unusable,
)
from scaling_search.runtime.command_line import as_override
from scaling_search.runtime.passwords import HIDDEN, without_password

POSTGRESQL_OPTIONS = {
    *("application_name", "channel_binding", "connect_timeout", "host", "keepalives"),
    *("keepalives_count", "keepalives_idle", "keepalives_interval", "password", "port"),
    *("sslmode", "target_session_attrs", "tcp_user_timeout"),
}
"""Keys behind ``?`` that a file may set. With others, such as ``sslkey``, libpq loads libraries."""


def is_plain(storage: str) -> bool:
    """True if a file may give this storage: a journal, an SQLite file, or plain PostgreSQL."""
    if is_journal(storage):
        return True
    try:
        url = make_url(storage)
    except (ArgumentError, ValueError):  # ValueError: of its port
        return False
    if url.drivername == "sqlite":
        return file_of(storage) is not None and {*url.query} <= SQLITE_OPTIONS
    return url.drivername in POSTGRESQL and {*url.query} <= POSTGRESQL_OPTIONS


def check_plain(storage: str) -> None:
    """Checks that a file may give a storage.

    Raises:
        ValueError: It may not.
    """
    if not is_plain(storage):
        raise ValueError(
            "storage must be a path ending in .log, an SQLite file or plain PostgreSQL where a "
            f"file gives it, got {without_password(storage)!r}; give storage=... yourself if you "
            "trust it"
        )


def has_studies(storage: str) -> bool:
    """True if a journal's file or Optuna's tables are there, which opening would create.

    Raises:
        ValueError: Its URL would name another file than it seems to.
        RuntimeError: It cannot be read.
    """
    check_sqlite(storage)
    if (file := file_of(storage)) is not None and (is_journal(storage) or not file.exists()):
        return file.exists()
    try:
        engine = create_engine(storage, **engine_options(storage))
        try:
            return inspect(engine).has_table("version_info")
        finally:
            engine.dispose()
    except Exception as error:
        raise RuntimeError(unusable(storage, error)) from error


def storage_flag(storage: str | None, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    """The option that a further command needs to find a storage that no file gives it.

    Args:
        storage: URL or path; None for the run's own file.
        overrides: As they were typed; one without its password, such as a variable, is repeated.
    """
    if not isinstance(storage, str):
        return ()
    is_whole = without_password(storage) == storage
    if is_whole and is_plain(storage):
        return ()
    typed = [o for o in overrides if o.startswith("storage=") and without_password(o) == o]
    if typed:
        return (typed[-1],)
    return (as_override("storage", storage) if is_whole else f"storage={HIDDEN}",)
