"""Searches that are killed at random moments, what is left of them and what becomes of them.

    python benchmarks/reliability.py [--kills 50] [--seed 0] [--out benchmarks/reliability.csv]

Each kill is of a search of its own, 18 trainings of tiny networks on real images by the real
command line with two worker processes, recorded in SQLite and in Optuna's journal in turn. At a
random moment, in three of ten cases before the first training has ended, the coordinator is sent
SIGKILL or SIGTERM, or one of its workers SIGKILL, or first a worker and later the coordinator. Then
the same command runs until it ends. Compared are: the results with those of a search that nothing
happened to, in every column but those that no two runs share; what was recorded before with what is
afterwards; the processes that are left; the files that are left. Prints a table by kind of kill,
writes CSV with a row for each.
"""

import argparse
import itertools
import os
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from rows import write_rows

from scaling_search.record.results import Row
from tests.reliability.searches import (
    LEFT,
    NUM_TRAININGS,
    PATIENCE_SECONDS,
    SEARCH,
    STORAGES,
    Command,
    files,
    rows_of,
    started,
    table,
)

KINDS = (
    "SIGKILL of the coordinator",
    "SIGTERM of the coordinator",
    "SIGKILL of a worker",
    "SIGKILL of a worker, then of the coordinator",
)
START = 0.3
"""The part of the kills that happen before the first training has ended."""

JITTER_SECONDS = 0.3
"""About what a training takes."""

Blow = Callable[[Command, random.Random], None]


@dataclass(frozen=True)
class Kill:
    """The outcome of one kill.

    Attributes:
        number: From 1.
        kind: One of `KINDS`.
        storage: ``journal`` or ``sqlite``.
        after_seconds: From the command's start to the first blow.
        code: The killed command's exit code.
        leave_seconds: From the last blow on the coordinator until all its processes were gone.
        recorded: Trainings that the record held then.
        code_again: The same command's, again.
        again_seconds: Time of the same command again.
        trained_again: Recorded trainings that were trained once more.
        is_same: True if all results are those of an undisturbed search.
        more_attempts: Trainings that were tried again because their worker was lost.
        processes_left: Processes that both commands left.
        files_left: Files that both commands left and that do not belong in the folder.
    """

    number: int
    kind: str
    storage: str
    after_seconds: float
    code: int
    leave_seconds: float
    recorded: int
    code_again: int
    again_seconds: float
    trained_again: int
    is_same: bool
    more_attempts: int
    processes_left: int
    files_left: int


def main() -> None:
    """Reads what was asked for."""
    show(*asked(str(__doc__), __file__))


def asked(text: str, file: str) -> tuple[int, int, Path]:
    """Number of kills, seed and file of the table, as the command line gives them.

    Args:
        text: Docstring of the benchmark.
        file: Its own file, beside which the table is written by default.
    """
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the workers")
    parser.add_argument("--out", type=Path, default=Path(file).with_suffix(".csv"))
    options = parser.parse_args()
    return options.kills, options.seed, options.out


def show(number: int, seed: int, out: Path) -> None:
    """Kills searches, prints a line for each and a table, and writes them."""
    draw = random.Random(seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        expected = {}
        for storage in STORAGES:
            expected[storage], start_seconds, seconds = undisturbed(Path(folder), storage)
            print(f"{storage}, undisturbed: {seconds:.1f} s, {start_seconds:.1f} s to the first")
        pd.testing.assert_frame_equal(expected["sqlite"], expected["journal"])
        kills = []
        for index, (storage, kind) in enumerate(
            itertools.islice(itertools.cycle(itertools.product(STORAGES, KINDS)), number)
        ):
            place = Path(folder) / f"{index}"
            kills.append(
                kill(index + 1, kind, storage, place, draw, start_seconds, expected[storage])
            )
            print(kills[-1], flush=True)
    write_rows([asdict(kill) for kill in kills], out)
    print(f"\n{'':46}kills  same  trained again  processes left  files left  most s to leave")
    for kind in dict.fromkeys(k.kind for k in kills):
        mine = [k for k in kills if k.kind == kind]
        print(
            f"{kind:46}{len(mine):5}{sum(k.is_same for k in mine):6}"
            f"{sum(k.trained_again for k in mine):15}{sum(k.processes_left for k in mine):16}"
            f"{sum(k.files_left for k in mine):12}{max(k.leave_seconds for k in mine):17.1f}"
        )
    recorded = [k.recorded for k in kills]
    print(
        f"recorded when killed: {min(recorded)} to {max(recorded)} of {NUM_TRAININGS}, median "
        f"{statistics.median(recorded):g}; exit codes {dict(Counter(k.code for k in kills))}, then "
        f"{dict(Counter(k.code_again for k in kills))}; {sum(k.more_attempts for k in kills)} "
        f"trainings tried again; {(time.monotonic() - began) / 60:.1f} min in all"
    )


def undisturbed(folder: Path, storage: str) -> tuple[pd.DataFrame, float, float]:
    """The results of a search that nothing happens to, seconds to its first and last training."""
    place = folder / storage
    place.mkdir()
    began = time.monotonic()
    command = begun(place, storage)
    command.until_trained(1)
    start_seconds = time.monotonic() - began
    if command.ended():
        raise RuntimeError(f"the search must succeed, got {command.err!r}")
    results = table(rows_of(place / "run" / STORAGES[storage]))
    return results, start_seconds, time.monotonic() - began


def begun(place: Path, storage: str) -> Command:
    """The search, just started."""
    path = place / "run" / STORAGES[storage]
    own = f"storage={path}" if storage == "journal" else f"storage=sqlite:///{path}"
    return started(place, *SEARCH, own)


def kill(
    number: int,
    kind: str,
    storage: str,
    place: Path,
    draw: random.Random,
    start_seconds: float,
    expected: pd.DataFrame,
) -> Kill:
    """Kills a search at a random moment and runs the same command until it ends."""
    place.mkdir()
    began = time.monotonic()
    command = begun(place, storage)
    first_blow = last_blow = 0.0
    blows = blows_of(kind)
    for blow, moment in zip(blows, sorted(draw.random() for _ in blows), strict=True):
        wait_for(moment, command, began, start_seconds, draw)
        last_blow = time.monotonic()
        first_blow = first_blow or last_blow
        blow(command, draw)
    code = waited(command)
    # A worker's loss ends no coordinator, which leaves when all is trained.
    since = time.monotonic() if kind == KINDS[2] else last_blow
    processes_left = still_there(command)
    leave_seconds = time.monotonic() - since
    study = place / "run" / STORAGES[storage]
    before = rows_of(study)
    began_again = time.monotonic()
    again = begun(place, storage)
    code_again = waited(again)
    again_seconds = time.monotonic() - began_again
    processes_left += still_there(again)
    after = rows_of(study)
    kept = files(place / "run") - LEFT - {study.name}
    return Kill(
        number,
        kind,
        storage,
        round(first_blow - began, 2),
        code,
        round(leave_seconds, 2),
        len(before),
        code_again,
        round(again_seconds, 2),
        trained_again(before, after, again.num_ended),
        len(after) == NUM_TRAININGS and table(after).equals(expected),
        sum(row["attempts"] != 1 for row in after),
        processes_left,
        len(kept),
    )


def wait_for(
    moment: float, command: Command, began: float, start_seconds: float, draw: random.Random
) -> None:
    """Waits for a moment of a search: 0 is its start, 1 its end.

    After its start it goes by the trainings that have ended, however fast the machine is.
    """
    if moment < START:
        until = began + start_seconds * moment / START
    else:
        number = int(NUM_TRAININGS * (moment - START) / (1 - START))
        while command.num_ended < number and command.process.poll() is None:
            time.sleep(0.005)
        until = time.monotonic() + draw.uniform(0, JITTER_SECONDS)
    while time.monotonic() < until and command.process.poll() is None:
        time.sleep(0.005)


def blows_of(kind: str) -> list[Blow]:
    """The kills of a command, one after the other."""

    def to_a_worker(command: Command, draw: random.Random) -> None:
        while command.process.poll() is None:
            if workers := command.workers():
                os.kill(draw.choice(workers), signal.SIGKILL)
                return

    def to_the_coordinator(blow: signal.Signals) -> Blow:
        return lambda command, _: command.process.send_signal(blow)

    coordinator_killed = to_the_coordinator(signal.SIGKILL)
    blows: dict[str, list[Blow]] = {
        KINDS[0]: [coordinator_killed],
        KINDS[1]: [to_the_coordinator(signal.SIGTERM)],
        KINDS[2]: [to_a_worker],
        KINDS[3]: [to_a_worker, coordinator_killed],
    }
    return blows[kind]


def waited(command: Command) -> int:
    """The exit code; that of SIGKILL for one that neither trains nor leaves."""
    try:
        return command.process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"hangs: {command.out!r} {command.err!r}")
        command.process.kill()
        return command.process.wait()


def still_there(command: Command) -> int:
    """Processes of a command that ended which live ten seconds later; ends them."""
    end = time.monotonic() + 10
    while (processes := command.processes()) and time.monotonic() < end:
        time.sleep(0.01)
    command.end()
    return len(processes)


def trained_again(before: Sequence[Row], after: Sequence[Row], num_ended: int) -> int:
    """Number of recorded trainings that were trained once more."""
    repeated = len(after) - len({(row["network"], row["seed"]) for row in after})
    changed = sum(ours != theirs for ours, theirs in zip(before, after, strict=False))
    return repeated + changed + max(0, num_ended - (NUM_TRAININGS - len(before)))


if __name__ == "__main__":
    main()
