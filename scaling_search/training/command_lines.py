"""The run of a command line that trains, and the result that it leaves."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scaling_search.core.trial import Trial
from scaling_search.runtime import supervisor

RESULT, STDOUT, STDERR = "result.json", "stdout.txt", "stderr.txt"
"""Files in a training's folder: the result, if the command writes one, and what it printed."""

LOCK = "lock"
"""File in that folder that is locked while something of the command lives."""

GRACE_SECONDS = 5.0
"""Time in which a command may end by itself once it is asked to."""

POLL_SECONDS = 0.5
LONGEST = 300
"""Characters of a command's last words that are repeated."""


class CommandError(RuntimeError):
    """A command that failed or left no result."""


class CommandLostError(RuntimeError):
    """A command that a signal ended.

    Attributes:
        exitcode: The signal's number, negative.
    """

    def __init__(self, exitcode: int) -> None:
        super().__init__("its command ended")
        self.exitcode = exitcode


def values(trial: Trial, folder: Path, device: str) -> dict[str, object]:
    """Values of the names in braces of a command, which are those of `SAMPLES`."""
    candidate = trial.candidate
    return {
        "depth": candidate.coefficients.alpha,
        "width": candidate.coefficients.beta,
        "resolution": candidate.architecture.resolution,
        "resolution_multiplier": candidate.coefficients.gamma,
        "seed": trial.seed,
        "folder": folder,
        "device": device.partition(":")[0],  # the command sees one GPU alone
        "candidate": candidate.number,
        "network": candidate.network,
    }


def run(
    started: Sequence[str],
    folder: Path,
    device: str,
    told: Callable[[dict[str, Any]], None],
    *,
    place: Path | None = None,
) -> None:
    """Runs a command to its end, and ends all that it started; its output goes to its folder.

    It begins once an earlier try in this folder has ended, of which it leaves no file.

    Args:
        started: Its words.
        folder: Of the training.
        device: The device, the only GPU that it sees.
        told: Called with each JSON line on an epoch.
        place: Its working folder; None for this process's.

    Raises:
        CommandError: It ended with another exit code than 0.
        CommandLostError: A signal ended it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / LOCK) as lock:
        for name in (RESULT, STDOUT, STDERR):
            (folder / name).unlink(missing_ok=True)
        with (folder / STDOUT).open("xb") as stdout, (folder / STDERR).open("xb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-IS", supervisor.__file__, str(GRACE_SECONDS), *started],
                stdin=subprocess.PIPE,  # its end tells the supervisor that this process has gone
                stdout=stdout,
                stderr=stderr,
                cwd=place,
                env=os.environ | _environment(device),
                pass_fds=(lock,),  # so that it is locked until the supervisor ends too
            )
        assert process.stdin is not None
        try:
            _wait(process, folder / STDOUT, told)
        finally:
            process.stdin.close()
            process.wait()
    if process.returncode < 0:
        raise CommandLostError(process.returncode)
    if process.returncode:
        last = _last_line(folder / STDERR) or _last_line(folder / STDOUT) or "it said nothing"
        raise CommandError(f"exit code {process.returncode}: {last}; more is in {folder}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Waits for a file's lock, which a process that ends in any way gives back."""
    import fcntl  # absent on Windows, where no command runs  # noqa: PLC0415

    with path.open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(POLL_SECONDS)
            else:
                break
        yield file.fileno()


def outcome(folder: Path, objective: str) -> dict[str, Any]:
    """The result that a command left in its folder: a file, or a line of its output.

    The result is a JSON object with the metric that decides. Lines with ``epoch`` are reports, the
    last of which is the result if there is no other.

    Raises:
        CommandError: There is none, or there are several that differ.
    """
    printed = list(_objects(folder / STDOUT))
    reports = [line for line in printed if "epoch" in line]
    results = [line for line in printed if "epoch" not in line and objective in line]
    if (written := _written(folder / RESULT)) is not None:
        results.append(written)
    results = results or reports[-1:]
    if not results:
        raise CommandError(
            f"it must print a JSON line with its result or write {RESULT} in {{folder}}, got "
            f"neither; print one such as {json.dumps({objective: 0.5})}"
        )
    if any(result != results[0] for result in results):
        raise CommandError(
            f"it must leave one result, got {len(results)} that differ, {results[0]} and "
            f"{results[-1]}; lines on epochs have a key 'epoch'"
        )
    return results[0]


def _environment(device: str) -> dict[str, str]:
    """Variables that keep a command to its device, as trainings of this package are."""
    kind, _, number = device.partition(":")
    if kind == "cuda":
        visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        return {"CUDA_VISIBLE_DEVICES": visible[int(number)] if visible else number}
    # One thread: more give other bits, and workers are as many as cores.
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")} if kind == "cpu" else {}


def _wait(
    process: "subprocess.Popen[bytes]", printed: Path, told: Callable[[dict[str, Any]], None]
) -> None:
    """Waits for the end; tells of epochs as they are printed."""
    num_read = 0
    while True:
        try:
            process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            is_over = False
        else:
            is_over = True
        with printed.open("rb") as file:
            file.seek(num_read)
            whole, newline, _ = file.read().rpartition(b"\n")
        num_read += len(whole + newline)
        for line in whole.splitlines():
            if (report := _object(line)) is not None and "epoch" in report:
                told(report)
        if is_over:
            return


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects among the lines of a file."""
    with path.open("rb") as file:
        for line in file:
            if (found := _object(line)) is not None:
                yield found


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None if it is something else."""
    text = line.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _written(path: Path) -> dict[str, Any] | None:
    """The JSON object of a file; None if it is missing."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = json.loads(content)
    except ValueError as error:
        raise CommandError(f"{RESULT} must be JSON, got {error}") from None
    if not isinstance(found, dict):
        raise CommandError(f"{RESULT} must hold a JSON object, got {str(found)[:LONGEST]}")
    return found


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:LONGEST] for line in reversed(lines) if line.strip()), "")
