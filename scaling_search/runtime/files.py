"""Atomic writes of files, and locks on them."""

import os
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:  # its mode is the user's umask's
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a lost power supply could leave the new name empty
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RuntimeError(
            f"{path.name} must be writable, got {error.strerror!r} for {str(path)!r}; "
            "take another folder or make room"
        ) from error


def conf() -> Path:
    """The folder of configurations: a checkout's own, else the installed package's."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "conf"
    return beside if (beside / "config.yaml").is_file() else package / "conf"


def wait_for_lock(file: BinaryIO) -> bool:
    """Waits for an exclusive lock until the file is closed; False where there are no locks."""
    try:
        import fcntl  # absent on Windows  # noqa: PLC0415

        fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return False
    return True
