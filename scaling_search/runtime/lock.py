"""A lock that gives a run's folder to one command at a time."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from scaling_search.runtime.files import age, open_unlinked, remove_temporary, wait_for_lock
from scaling_search.runtime.progress import slow_progress

NAME = "lock.json"

RENEW_SECONDS = 10.0
"""Time between two renewals of a lock."""

STALE_SECONDS = 60.0
"""Age at which a lock that was not renewed is stale."""

NUM_STEPS = 15
"""Steps of the bar that is shown while a lock that seems stale is watched."""


class RunLock:
    """A lock of a folder; a second command is refused by the name of the first.

    A thread renews the file. It is stale once it is older than `STALE_SECONDS` and was not renewed
    while another command watched it, or at once if its process has ended and this one would see it.
    Ages are by the file system's clock: clocks of hosts may differ. That clock may be set too: a
    living holder renews the file all the same. A process that was frozen for long may find the
    folder taken; `check` tells it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._token = uuid.uuid4().hex
        self._watched = 0  # time of writing of another's file that was found too old
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="run-lock")

    def __enter__(self) -> Self:
        """Takes the folder, and removes temporary files that killed commands left there.

        Raises:
            RuntimeError: Another process holds it, or nothing can be written there.
        """
        try:
            while not self._take():
                pass
        except OSError as error:
            raise RuntimeError(
                f"out must be a folder that can be written, got {str(self.path.parent)!r} "
                f"({error.strerror}); fix it or use another"
            ) from error
        self._thread.start()
        remove_temporary(self.path.parent)
        return self

    def __exit__(self, *exc: object) -> None:
        """Leaves the folder to others."""
        self._done.set()
        self._thread.join()
        with suppress(OSError):  # it will be stale
            self._remove_stale(is_mine=True)

    def check(self) -> None:
        """Checks that the folder is still this command's.

        Raises:
            RuntimeError: Another command has taken it over.
        """
        if not self._is_mine():
            raise RuntimeError(
                f"out must be held until the end, got {str(self.path.parent)!r}, which another "
                "command has taken over since this one was frozen; wait for that one"
            )

    @property
    def mark(self) -> dict[str, str]:
        """The folder and the token, by which `holder` of another lock knows this one."""
        return {"folder": str(self.path.parent.resolve()), "token": self._token}

    def holder(self, mark: Mapping[str, object]) -> str:
        """The command that holds the lock of a mark, in words; empty if none is seen to."""
        folder, token = mark.get("folder"), mark.get("token")
        try:
            with open_unlinked(Path(str(folder)) / NAME, "rb") as file:
                held = _content(file.read())
                found = os.fstat(file.fileno())
                seconds = age(found, self.path.parent)
            if held.get("token") != token or _is_dead(held):
                return ""
            if not 0 <= seconds < STALE_SECONDS:  # or by another clock than this folder's
                time.sleep(1.5 * RENEW_SECONDS)
                if (Path(str(folder)) / NAME).stat().st_mtime_ns == found.st_mtime_ns:
                    return ""
        except OSError:
            return ""
        return f"{_holder(held)} in {str(folder)!r}"

    def _take(self) -> bool:
        """Creates the file, or removes a stale one; True if it was created."""
        try:
            self._create()
        except FileExistsError:
            if not self._remove_stale():
                said = "watching whether another command still holds the folder"
                for _ in slow_progress(range(NUM_STEPS), said, NUM_STEPS):
                    time.sleep(1.5 * RENEW_SECONDS / NUM_STEPS)
            return False
        return True

    def _create(self) -> None:
        content = {
            "host": socket.gethostname(),
            "processes": _namespace(),
            "process": os.getpid(),
            "born": _born(os.getpid()),
            "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "token": self._token,
        }
        with self.path.open("xb", buffering=0) as new:
            try:
                new.write(json.dumps(content).encode())
            except OSError:
                self.path.unlink()
                raise

    def _remove_stale(self, *, is_mine: bool = False) -> bool:
        """Removes the file if it is stale or mine; False if it has to be watched first.

        Several may want to: one at a time looks at it, and the next finds another file or none.

        Raises:
            RuntimeError: Another process holds the folder.
        """
        with suppress(FileNotFoundError), _opened(self.path) as file:
            wait_for_lock(file)
            found = os.fstat(file.fileno())
            held = _content(file.read())
            if is_mine and held.get("token") != self._token:
                return True
            if not is_mine and not _is_dead(held):
                seconds = age(found, self.path.parent)
                if seconds < 0:  # written before the clock was set back: its age counts from now
                    with suppress(PermissionError):  # another user's, who may live
                        self._stamp()
                if seconds < STALE_SECONDS:
                    raise RuntimeError(
                        f"out must be held by one command at a time, got {str(self.path.parent)!r},"
                        f" which {_holder(held)}; wait for it, or end it"
                    )
                if self._watched != found.st_mtime_ns:  # or the clock was set forward
                    self._watched = found.st_mtime_ns
                    return False
            if os.path.samestat(found, self.path.lstat()):
                self.path.unlink()
        return True

    def _stamp(self) -> None:
        os.utime(self.path, follow_symlinks=False)

    def _is_mine(self) -> bool:
        try:
            return _content(self.path.read_bytes()).get("token") == self._token
        except OSError:
            return True  # removed by hand, or storage that is gone for a while: nobody took it

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS) and self._is_mine():
            with suppress(OSError):
                if self.path.exists():
                    self._stamp()
                else:
                    self._create()


def _opened(path: Path) -> IO[bytes]:
    """The file of a lock; another user's can often be read only, and be locked all the same."""
    try:
        return open_unlinked(path, "rb+")
    except PermissionError:
        return open_unlinked(path, "rb")


def _content(text: bytes) -> dict[str, object]:
    """The content of a lock's file; empty where it is not one."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):  # too many brackets
        return {}
    return held if isinstance(held, dict) else {}


def _holder(held: dict[str, object]) -> str:
    """The holder of a lock, in words."""
    if not held:
        return f"another command has just taken, or a damaged {NAME} there keeps for a minute"
    return (
        f"process {held.get('process')} on {held.get('host')} has held since {held.get('started')}"
    )


def _namespace() -> str:
    """The boot and the PID namespace in which numbers of processes are unique; empty if unknown.

    Containers on different hosts, or on the same one, can have one host name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(process: int) -> str:
    """Start of a process of this host, in ticks since boot; empty if unknown.

    Numbers of processes are used again, but not together with their start.
    """
    try:
        if Path("/proc/self").readlink().name != str(os.getpid()):
            return ""  # it shows the processes of another namespace
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return fields.rpartition(")")[2].split()[19]


def _is_dead(held: dict[str, object]) -> bool:
    """True if the holder was a process that can be seen from here, and has ended."""
    process = held.get("process")
    here = (socket.gethostname(), _namespace())
    if (held.get("host"), held.get("processes")) != here or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    born = _born(process)
    return "" not in {born, held.get("born")} and born != held["born"]
