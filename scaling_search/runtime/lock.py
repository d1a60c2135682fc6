"""A lock that gives a run's folder to one command at a time."""

import json
import os
import socket
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

from scaling_search.runtime.files import wait_for_lock

NAME = "lock.json"

RENEW_SECONDS = 10.0
"""Time between two renewals of a lock."""

STALE_SECONDS = 60.0
"""Age at which a lock that was not renewed is stale."""


class RunLock:
    """A lock of a folder; a second command is refused by the name of the first.

    A thread renews the file. It is stale after `STALE_SECONDS`, or at once if its process has ended
    on this host. Ages are by the file system's clock: clocks of hosts may differ or be set back.

    Attributes:
        lost: Set once another process has taken the folder, after this one was frozen for long.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.lost = threading.Event()
        self._token = uuid.uuid4().hex
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="run-lock")

    def __enter__(self) -> Self:
        """Takes the folder.

        Raises:
            RuntimeError: Another process holds it, or nothing can be written there.
        """
        try:
            while not self._take():
                pass
        except OSError as error:
            raise RuntimeError(
                f"out must be a folder that can be written, got {str(self.path.parent)!r} "
                f"({error.strerror}); mend it or take another"
            ) from error
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Leaves the folder to others."""
        self._done.set()
        self._thread.join()
        if self._is_mine():
            self.path.unlink(missing_ok=True)

    def _take(self) -> bool:
        """Creates the file, or removes a stale one; True if it was created."""
        content = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "born": _born(os.getpid()),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "token": self._token,
        }
        with tempfile.NamedTemporaryFile(prefix=f"{NAME}.", dir=self.path.parent) as new:
            new.write(json.dumps(content).encode())
            new.flush()
            with suppress(FileExistsError):
                os.link(new.name, self.path)  # never half written
                return True
            with suppress(FileNotFoundError), self.path.open("rb+") as file:
                held = _read(self.path)
                age = Path(new.name).stat().st_mtime - self.path.stat().st_mtime
                if age < STALE_SECONDS and not _is_dead(held):
                    raise RuntimeError(
                        "out must be held by one command at a time, got "
                        f"{str(self.path.parent)!r}, which process {held.get('process')} on "
                        f"{held.get('host')} has held since {held.get('started')}; wait for it, "
                        "or end it"
                    )
                # Several may see it stale: the first removes it, and the next finds another file.
                wait_for_lock(file)
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    self.path.unlink()
        return False

    def _is_mine(self) -> bool:
        with suppress(FileNotFoundError):
            return _read(self.path).get("token") == self._token
        return False

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            try:
                if not self._is_mine():
                    self.lost.set()
                    return
                os.utime(self.path)
            except OSError:
                continue  # storage that is gone for a while may come back


def _read(path: Path) -> dict[str, object]:
    """The content of a lock's file; empty where it is not one."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}


def _born(process: int) -> str:
    """Start of a process of this host, in ticks since boot; empty if unknown.

    Numbers of processes are used again, but not together with their start.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return fields.rpartition(")")[2].split()[19]


def _is_dead(held: dict[str, object]) -> bool:
    """True if the holder was a process of this host that has ended."""
    process = held.get("process")
    if held.get("host") != socket.gethostname() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return bool(held.get("born")) and _born(process) != held["born"]
