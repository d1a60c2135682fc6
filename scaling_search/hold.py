"""One coordinator for a run's folder: a file that says who it is."""

import json
import os
import socket
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Self

NAME = "hold.json"

RENEW_SECONDS = 10.0
"""So often a hold says that it is still there."""

STALE_SECONDS = 60.0
"""A hold that has not been renewed for so long is nobody's."""


class Hold:
    """Holds a folder while it is entered; a second one is refused by the name of the first.

    The file is made exclusively and renewed by a thread. It is stale after `STALE_SECONDS`, or at
    once if its process is gone from this host. Ages are by the file system's own clock, so that
    neither hosts whose clocks differ nor a clock that is set back matter.

    Attributes:
        lost: Set once another has taken the folder over, after this one was frozen for long.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.lost = threading.Event()
        self._token = uuid.uuid4().hex
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="hold")

    def __enter__(self) -> Self:
        """Takes the folder.

        Raises:
            RuntimeError: Another process holds it, or nothing can be written there.
        """
        try:
            while not self._make():
                self._take_from_the_dead()
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

    def _make(self) -> bool:
        """Makes the file, whole at once; False if there is one."""
        content = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "born": _born(os.getpid()),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "token": self._token,
        }
        handle, name = tempfile.mkstemp(prefix=f"{NAME}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file)
            os.link(name, self.path)  # fails if there is one, and is never half written
        except FileExistsError:
            return False
        finally:
            Path(name).unlink()
        return True

    def _take_from_the_dead(self) -> None:
        """Moves a stale file aside.

        Raises:
            RuntimeError: It is not stale.
        """
        held = self._read()
        if held is None:
            return  # gone in between
        age = self._age()
        if age is not None and age < STALE_SECONDS and not _is_dead(held):
            raise RuntimeError(
                f"out must be held by one command at a time, got {str(self.path.parent)!r}, which "
                f"process {held.get('process')} on {held.get('host')} has held since "
                f"{held.get('started')}; wait for it, or end it"
            )
        aside = self.path.with_name(f"{NAME}.{self._token}")
        try:
            self.path.rename(aside)  # of several that see it stale, one does this
        except FileNotFoundError:
            return
        aside.unlink()

    def _read(self) -> dict[str, object] | None:
        try:
            held = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return held if isinstance(held, dict) else {}

    def _age(self) -> float | None:
        """Seconds since it was renewed, by the clock of its file system; None if it is gone."""
        with tempfile.NamedTemporaryFile(prefix=f"{NAME}.", dir=self.path.parent) as probe:
            now = Path(probe.name).stat().st_mtime
        try:
            return now - self.path.stat().st_mtime
        except FileNotFoundError:
            return None

    def _is_mine(self) -> bool:
        held = self._read()
        return held is not None and held.get("token") == self._token

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            try:
                if not self._is_mine():
                    self.lost.set()
                    return
                os.utime(self.path)
            except OSError:
                continue  # storage that is gone for a while may come back


def _born(process: int) -> str:
    """When a process of this host began, in ticks since it was switched on; empty if unknown.

    A number of a process is used again; its number and its birth are not.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return fields.rpartition(")")[2].split()[19]


def _is_dead(held: dict[str, object]) -> bool:
    """Whether the holder was a process of this host that is no more."""
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
