"""Commands that follow a search, killed at random moments, and what becomes of their tables.

    python benchmarks/kills.py [--kills 50] [--seed 0] [--out benchmarks/kills.csv]

In turn: scale, confirm, fairness, transfer, export, report, and a search whose pictures are
decoded for the first time; each in a copy of one finished search, recorded in SQLite and in
Optuna's journal in turn. At a random moment of the time that an undisturbed command takes, the
coordinator is sent SIGKILL or SIGTERM, or one of its workers SIGKILL. Then the same command runs
until it ends, and a report after it. Compared with what an undisturbed command and a report leave
are all tables, in every column but those that no two runs share, all exported and decoded files,
byte by byte, and the looks at the test split. Prints a table by command, writes CSV with a row for
each kill.
"""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from reliability import asked, still_there, waited
from rows import write_rows

import scaling_search as ss
from tests.datasets.pictures_of import write_tree
from tests.reliability.searches import SEARCH, STORAGES, Command, done, started
from tests.tables import VOLATILE

BASE = (
    *(option for option in SEARCH if not option.startswith(("num_seeds", "candidates.max"))),
    "base_network.width_divisor=1",
    "base_network.resolution_divisor=1",
    "candidates.max_networks=12",
    "num_seeds=1.25",
)
"""The search that the others follow: twelve places and some second seeds, enough for an answer."""

DECODING = "first decoding"
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "scale": ("scale", "out=run", "scale.phis=[0,1]", "scale.families=[compound,width]"),
    "confirm": ("confirm", "out=run", "confirm.num_seeds=2"),
    "fairness": ("fairness", "out=run", "fairness.learning_rate=true"),
    "transfer": ("transfer", "out=run", "transfer.phis=[2]"),
    "export": ("export", "out=run", "export.train=true"),
    "report": ("report", "out=run"),
    DECODING: (
        *(option for option in BASE if not option.startswith(("dataset.", "candidates.max"))),
        "candidates.max_networks=2",
        "dataset=imagefolder",
        "dataset.path=../photos",
    ),
}
"""Command lines by the name of what is killed."""

BLOWS = ("SIGKILL", "SIGTERM", "SIGKILL of a worker")


@dataclass(frozen=True)
class Kill:
    """The outcome of one kill.

    Attributes:
        number: From 1.
        command: One of `COMMANDS`.
        blow: One of `BLOWS`.
        storage: ``journal`` or ``sqlite``.
        after_seconds: From the command's start to the blow.
        code: The killed command's exit code.
        code_again: The same command's, again.
        is_same: True if all tables and files are those of an undisturbed command.
        differs: Names of those that are not.
        looks: Looks at the test split that the record holds.
        processes_left: Processes that both commands left.
        files_left: Files that an undisturbed command does not leave.
    """

    number: int
    command: str
    blow: str
    storage: str
    after_seconds: float
    code: int
    code_again: int
    is_same: bool
    differs: str
    looks: int
    processes_left: int
    files_left: int


@dataclass(frozen=True)
class Left:
    """What a command and a report leave: tables, digests of other files, names, looks."""

    tables: Mapping[str, pd.DataFrame]
    digests: Mapping[str, str]
    names: frozenset[str]
    looks: int

    def differing(self, other: "Left") -> list[str]:
        """Names of tables and files that differ."""
        tables = [
            name
            for name in {*self.tables, *other.tables}
            if name not in self.tables
            or name not in other.tables
            or not self.tables[name].equals(other.tables[name])
        ]
        digests = {name for name, _ in set(self.digests.items()) ^ set(other.digests.items())}
        return sorted([*tables, *digests])


def main() -> None:
    """Reads what was asked for."""
    show(*asked(str(__doc__), __file__))


def show(number: int, seed: int, out: Path) -> None:
    """Kills commands, prints a line for each and a table, and writes them."""
    draw = random.Random(seed)
    began = time.monotonic()
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_tree(folder / "photos", 40, 10, suffixes=("png",))
        for storage in STORAGES:
            (folder / storage).mkdir()
            done(folder / storage, *BASE, *options_of(storage))
        expected: dict[tuple[str, str], tuple[Left, float]] = {}
        while len(kills) < number:
            index = len(kills)
            name = list(COMMANDS)[index % len(COMMANDS)]
            storage = list(STORAGES)[index // len(COMMANDS) % len(STORAGES)]
            blow = BLOWS[index % len(BLOWS)]
            if (name, storage) not in expected:
                expected[name, storage] = undisturbed(folder, name, storage)
            left, seconds = expected[name, storage]
            place = prepared(folder, str(index), name, storage)
            kills.append(kill(index + 1, name, blow, storage, place, draw, seconds, left))
            shutil.rmtree(place)
            print(kills[-1], flush=True)
    write_rows([asdict(one) for one in kills], out)
    print(f"\n{'':16}kills  same  looks  processes left  files left")
    for name in COMMANDS:
        mine = [one for one in kills if one.command == name]
        print(
            f"{name:16}{len(mine):5}{sum(one.is_same for one in mine):6}"
            f"{max((one.looks for one in mine), default=0):7}"
            f"{sum(one.processes_left for one in mine):16}{sum(one.files_left for one in mine):12}"
        )
    print(
        f"exit codes {dict(Counter(one.code for one in kills))}, then "
        f"{dict(Counter(one.code_again for one in kills))}; "
        f"{(time.monotonic() - began) / 60:.1f} min in all"
    )


def options_of(storage: str) -> list[str]:
    """Options that record a command in a kind of storage."""
    return ["storage=run/study.log"] if storage == "journal" else []


def prepared(folder: Path, name: str, command: str, storage: str) -> Path:
    """A folder of its own for a command, with the finished search if it follows one."""
    place = folder / name
    if command == DECODING:
        place.mkdir()
    else:
        shutil.copytree(folder / storage, place)
    return place


def begun(place: Path, command: str, storage: str) -> Command:
    """A command, just started, with a cache of its own."""
    return started(
        place,
        *COMMANDS[command],
        *options_of(storage),
        SCALING_SEARCH_CACHE=str(place / "cache"),
    )


def undisturbed(folder: Path, command: str, storage: str) -> tuple[Left, float]:
    """What a command leaves that nothing happens to, and its seconds."""
    place = prepared(folder, "undisturbed", command, storage)
    began = time.monotonic()
    running = begun(place, command, storage)
    if running.ended():
        raise RuntimeError(f"{command} must succeed, got {running.err!r}")
    seconds = time.monotonic() - began
    left = left_in(place, storage)
    print(f"{command}, {storage}, undisturbed: {seconds:.1f} s", flush=True)
    shutil.rmtree(place)
    return left, seconds


def left_in(place: Path, storage: str) -> Left:
    """What a command has left, after a report."""
    names = names_in(place)
    done(place, *COMMANDS["report"], *options_of(storage))
    run = place / "run"
    tables = {str(path.relative_to(run)): table(path) for path in run.rglob("*.csv")}
    files = [*(run / "export").rglob("*"), *(place / "cache").rglob("*.npy")]
    digests = {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }
    with contextlib.chdir(place):
        confirmed = ss.load("run").studies.beyond("confirm")
        looks = 0 if confirmed is None else len(confirmed.final_tests)
    return Left(tables, digests, names, looks)


def table(path: Path) -> pd.DataFrame:
    """A table without what differs between two runs."""
    read = pd.read_csv(path)
    times = [name for name in read if str(name).startswith(VOLATILE)]
    return read.drop(columns=times)


def names_in(place: Path) -> frozenset[str]:
    """Files of a run's folder and of the cache."""
    return frozenset(
        str(path.relative_to(place))
        for part in ("run", "cache")
        for path in (place / part).rglob("*")
        if path.is_file()
    )


def kill(
    number: int,
    name: str,
    blow: str,
    storage: str,
    place: Path,
    draw: random.Random,
    seconds: float,
    expected: Left,
) -> Kill:
    """Kills a command at a random moment and runs it again until it ends."""
    began = time.monotonic()
    command = begun(place, name, storage)
    until = began + seconds * draw.random()
    while time.monotonic() < until and command.process.poll() is None:
        time.sleep(0.005)
    after_seconds = time.monotonic() - began
    strike(command, blow, draw)
    code = waited(command)
    processes_left = still_there(command)
    again = begun(place, name, storage)
    code_again = waited(again)
    processes_left += still_there(again)
    # A confirmation that had ended is refused: it would be a second look.
    is_refused = name == "confirm" and code == 0 and "confirm.force" in again.err
    if code_again and not is_refused:
        print(f"failed: {again.err!r}")
    left = left_in(place, storage)
    differs = left.differing(expected)
    if left.looks != expected.looks:
        differs.append("looks")
    return Kill(
        number,
        name,
        blow,
        storage,
        round(after_seconds, 2),
        code,
        code_again,
        not differs and (is_refused or not code_again),
        " ".join(differs),
        left.looks,
        processes_left,
        len(left.names - expected.names),
    )


def strike(command: Command, blow: str, draw: random.Random) -> None:
    """Sends the signal; a command whose workers are not there is killed itself."""
    workers = command.workers() if blow == BLOWS[2] else []
    target = draw.choice(workers) if workers else command.process.pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(target, signal.SIGTERM if blow == BLOWS[1] else signal.SIGKILL)


if __name__ == "__main__":
    main()
