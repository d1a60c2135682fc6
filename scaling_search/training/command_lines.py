"""The run of a command line that trains, and the result that it leaves."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scaling_search.core.trial import Trial
from scaling_search.runtime import supervisor

RESULT, PRINTED, COMPLAINED = "result.json", "printed.txt", "complained.txt"
"""Files in a training's folder: the result, if the command writes one, and what it printed."""

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
    """What replaces the names in braces of a command: those of `SAMPLES`."""
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
    started: Sequence[str], folder: Path, device: str, told: Callable[[dict[str, Any]], None]
) -> None:
    """Runs a command to its end, and ends all that it started; its output goes to its folder.

    Args:
        started: Its words.
        folder: Of the training; a result of an earlier try is removed.
        device: The device, the only GPU that it sees.
        told: Called with each JSON line on an epoch.

    Raises:
        CommandError: It ended with another exit code than 0.
        CommandLostError: A signal ended it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).unlink(missing_ok=True)
    with (folder / PRINTED).open("wb") as printed, (folder / COMPLAINED).open("wb") as complained:
        process = subprocess.Popen(
            [sys.executable, "-IS", supervisor.__file__, str(GRACE_SECONDS), *started],
            stdin=subprocess.PIPE,  # its end tells the supervisor that this process has gone
            stdout=printed,
            stderr=complained,
            env=os.environ | _environment(device),
        )
        assert process.stdin is not None
        try:
            _wait(process, folder / PRINTED, told)
        finally:
            process.stdin.close()
            process.wait()
    if process.returncode < 0:
        raise CommandLostError(process.returncode)
    if process.returncode:
        last = _last_line(folder / COMPLAINED) or _last_line(folder / PRINTED) or "it said nothing"
        raise CommandError(f"exit code {process.returncode}: {last}; more is in {folder}")


def outcome(folder: Path, objective: str) -> dict[str, Any]:
    """The result that a command left in its folder: a file, or a line of its output.

    The result is a JSON object with the metric that decides. Lines with ``epoch`` are reports, the
    last of which is the result if there is no other.

    Raises:
        CommandError: There is none, or there are several that differ.
    """
    printed = list(_objects(folder / PRINTED))
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
