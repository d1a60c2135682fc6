"""Runs a command and leaves nothing of it behind: ``python supervisor.py SECONDS WORD ...``.

The command has a process group of its own. Once it ends, or this process's standard input does, as
it does when whoever started it is killed, all that is left of it is ended too: asked by SIGTERM,
after so many seconds by SIGKILL, on Linux also what has left the group. This process then ends as
the command did, by the same exit code or signal.

It imports nothing of the package, so that it starts in hundredths of a second.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

NOT_FOUND, NOT_RUN = 127, 126
"""Exit codes of a shell for a command that is not there, and for one that cannot be run."""

POLL_SECONDS = 0.05


def main(seconds: float, words: list[str]) -> int:
    """Runs a command to its end; returns its exit code, negative for a signal."""
    for number in (signal.SIGINT, signal.SIGHUP):  # of a terminal, to all: its starter decides
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN it is not the command's too
    _adopt_orphans()
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"{words[0]}: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    threading.Thread(target=_wait_for_end, args=(is_over,), daemon=True).start()
    while process.poll() is None and not is_over.wait(POLL_SECONDS):
        pass
    _end(process, seconds)
    return NOT_RUN if process.returncode is None else process.returncode


def _wait_for_end(is_over: threading.Event) -> None:
    while os.read(0, 1):
        pass
    is_over.set()


def _end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Ends the command and all that it started."""
    until = time.monotonic() + seconds
    _signal_group(process.pid, signal.SIGTERM)
    while (process.poll() is None or _is_group(process.pid)) and time.monotonic() < until:
        _reap(process.pid)
        time.sleep(POLL_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # it may belong to another user by now
        process.wait(seconds)
    until = time.monotonic() + seconds
    while (children := _children()) and time.monotonic() < until:
        for child in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        _reap(process.pid)
        time.sleep(POLL_SECONDS)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _is_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _adopt_orphans() -> None:
    """Makes the processes that lose their parent children of this one."""
    if sys.platform == "linux":
        pr_set_child_subreaper = 36  # of prctl.h
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1)


def _children() -> set[int]:
    """The processes whose parent is this one, on Linux."""
    found: set[int] = set()
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(word) for word in path.read_text(encoding="ascii").split()}
    return found


def _reap(but: int) -> None:
    """Takes note of adopted processes that have ended; the command is its `Popen`'s to note."""
    for child in _children() - {but}:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


if __name__ == "__main__":
    code = main(float(sys.argv[1]), sys.argv[2:])
    if code < 0:  # end as the command did
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
        time.sleep(1)
    sys.exit(code)
