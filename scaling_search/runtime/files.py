"""Atomic writes of files, and locks on them."""

import errno
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

TEMPORARY = ".scaling-search"
"""End of the name of a file that is not finished."""

DEPTHS = ("", "*/", "*/*/")
"""Folders of a run's folder that files are written to."""

BEGUN_SECONDS = 60.0
"""Age at which an empty file is one that its writer will not lock any more."""


def remove_file(path: Path) -> None:
    """Removes a file and the temporary ones that killed writers of it left.

    Raises:
        OSError: A file cannot be removed.
    """
    for left in path.parent.glob(f".{escape(path.name)}.*"):
        left.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file by renaming a finished one over it; makes its folder.

    Raises:
        RuntimeError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:  # never through a link; its mode is the user's umask's
            wait_for_lock(file)  # until it has its name: `remove_temporary` leaves it alone
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a lost power supply could leave the new name empty
            temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RuntimeError(
            f"{path.name} must be writable, got {error.strerror!r} for {str(path)!r}; "
            "use another folder or free some space"
        ) from error


def remove_temporary(folder: Path) -> None:
    """Removes temporary files of killed writers in a run's folder; those of living ones stay."""
    for left in (path for depth in DEPTHS for path in folder.glob(f"{depth}.*{TEMPORARY}")):
        with suppress(OSError), open_unlinked(left, "rb+") as file:
            found = os.fstat(file.fileno())
            is_begun = found.st_size or age(found, folder) > BEGUN_SECONDS
            if is_begun and _locked(file, waits=False):
                left.unlink()


def age(found: os.stat_result, folder: Path) -> float:
    """Seconds since a file of a folder was written, by the clock of the file system alone.

    Raises:
        OSError: Nothing can be written there.
    """
    with tempfile.TemporaryFile(prefix=".", suffix=TEMPORARY, dir=folder) as now:
        return os.fstat(now.fileno()).st_mtime - found.st_mtime


def open_unlinked(path: Path, mode: str, **options: Any) -> IO[Any]:
    """Opens a file as `open` does, but no link, pipe or device, which a stranger may have left.

    Raises:
        OSError: It is one, or cannot be opened.
    """
    return open(path, mode, opener=_open_file, **options)


def _open_file(name: str, flags: int) -> int:
    # To open a pipe can take for ever.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(name, flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file", name)
    return handle


def conf() -> Path:
    """The folder of configurations: a checkout's own, else the installed package's."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "conf"
    return beside if (beside / "config.yaml").is_file() else package / "conf"


def wait_for_lock(file: IO[bytes]) -> bool:
    """Waits for an exclusive lock until the file is closed; False where there are no locks."""
    return _locked(file, waits=True)


def _locked(file: IO[bytes], *, waits: bool) -> bool:
    """Locks a file; False where there are no locks, and without a wait if another has it."""
    try:
        import fcntl  # absent on Windows  # noqa: PLC0415

        fcntl.flock(file, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
