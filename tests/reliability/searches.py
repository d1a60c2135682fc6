"""Searches of tiny networks by the real command line, what they leave and who is left of them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import pandas as pd
from optuna.storages import RDBStorage

from scaling_search.record.results import Row, results_table
from scaling_search.record.storage import open_storage
from tests.tables import VOLATILE

PROGRAM = str(Path(sys.executable).parent / "scaling-search")
SEARCH = (
    "search",
    "out=run",
    "name=survived",
    "num_seeds=2",
    "dataset.num_train=200",
    "dataset.num_val=50",
    "recipe.epochs=4",
    "recipe.batch_size=20",
    "recipe.crop=0.05",
    "candidates.max_networks=8",
    "candidates.tolerance=0.1",
    "executor.workers_per_device=2",
    "base_network.num_layers=[1,2]",
    "base_network.kernel_size=[3,3]",
    "base_network.stride=[1,2]",
    "base_network.expand_ratio=[1,2]",
    "base_network.channels=[4,8]",
    "base_network.stem_channels=4",
    "base_network.head_channels=16",
    "base_network.resolution=8",
)
"""Nine networks of some 20,000 multiply-adds, two seeds, two workers; seconds without start-up.

Crops are taken of the native size, so that its maps are opened too.
"""

NUM_TRAININGS = 18
STORAGES = {"sqlite": "study.db", "journal": "study.log"}
"""Kinds of storage, and what they are called in a run's folder."""

LEFT = {"candidates.csv", "config.yaml", "data.json", "figures", "search.log"}
"""What a search leaves in its folder besides the record."""

PATIENCE_SECONDS = 300
"""For what takes seconds on a machine that does nothing else."""

LEAVES_SECONDS = 10
"""A command that is asked to end leaves within so many seconds."""

MARK = "SCALING_SEARCH_MARK"
"""Of the environment, by which a command's processes are known, orphans too."""


@dataclass(frozen=True)
class Command:
    """A command that was started, in a session of its own.

    Attributes:
        process: Of the coordinator.
        mark: What all its processes have in their environment.
        said: The folder of what it prints.
    """

    process: "subprocess.Popen[bytes]"
    mark: str
    said: Path

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return (self.said / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has complained about so far."""
        return (self.said / "err").read_text(encoding="utf-8")

    def until(self, ready: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Waits while it runs."""
        end = time.monotonic() + seconds
        while not ready():
            assert self.process.poll() is None, (self.process.returncode, self.out, self.err)
            assert time.monotonic() < end, (self.out, self.err)
            time.sleep(0.02)

    def until_trained(self, number: int) -> None:
        """Waits for so many trainings to be recorded."""
        self.until(lambda: self.num_ended >= number)

    @property
    def num_ended(self) -> int:
        """Trainings that it said have ended."""
        return sum(line.partition("/")[0].isdecimal() for line in self.out.splitlines())

    def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code of the coordinator, once all its processes are gone."""
        code = self.process.wait(timeout=seconds)
        end = time.monotonic() + LEAVES_SECONDS
        while processes := self.processes():
            assert time.monotonic() < end, f"{processes} are left"
            time.sleep(0.02)
        return code

    def processes(self) -> list[int]:
        """All of its processes that live, those that lost their parent too."""
        return [pid for pid in _pids() if f"{MARK}={self.mark}" in _words(pid, "environ")]

    def workers(self) -> list[int]:
        """Its worker processes."""
        return [
            pid for pid in self.processes() if "--multiprocessing-fork" in _words(pid, "cmdline")
        ]

    def at_work(self) -> int:
        """A worker that computes just now, after a wait for one."""
        found: list[int] = []

        def looked() -> bool:
            found[:] = [pid for pid in self.workers() if _state(pid) == "R"]
            return bool(found)

        self.until(looked)
        return found[0]

    def end(self) -> None:
        """Ends what is left of it, by process."""
        for pid in {self.process.pid, *self.processes()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def started(
    folder: Path,
    *arguments: str,
    before: Sequence[str] = (),
    program: Sequence[str] = (PROGRAM,),
    **environment: str,
) -> Command:
    """Starts a command in a folder.

    Args:
        folder: Of the command.
        arguments: Of the command line.
        before: A program that runs it, and that program's arguments.
        program: The command line itself.
        environment: Variables besides this process's.
    """
    mark = uuid.uuid4().hex
    said = Path(tempfile.mkdtemp(prefix="said_", dir=folder.parent))
    with (said / "out").open("wb") as out, (said / "err").open("wb") as err:
        process = subprocess.Popen(
            [*before, *program, *arguments],
            cwd=folder,
            env=os.environ | {MARK: mark} | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    return Command(process, mark, said)


def done(folder: Path, *arguments: str, before: Sequence[str] = (), **environment: str) -> Command:
    """A command that ended well."""
    command = started(folder, *arguments, before=before, **environment)
    try:
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    return command


def rows_of(path: Path, name: str = "survived") -> list[Row]:
    """All rows in a file of a record, failed tries too, from a copy: it stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / path.name
        for beside in path.parent.glob(f"{path.name}*"):  # SQLite's own journal too
            if not beside.is_symlink():  # the lock of Optuna's journal
                shutil.copy(beside, folder)
        if not copied.exists():
            return []
        return stored_rows(str(copied) if path.suffix == ".log" else f"sqlite:///{copied}", name)


def stored_rows(storage: str, name: str = "survived") -> list[Row]:
    """All rows in a storage, failed tries too, in the order in which they were written."""
    opened = open_storage(storage)
    is_there = name in optuna.get_all_study_names(opened)
    trials = optuna.load_study(storage=opened, study_name=name).get_trials() if is_there else []
    opened.remove_session()
    if isinstance(opened, RDBStorage):
        opened.engine.dispose()
    assert all(trial.state.is_finished() for trial in trials)  # nothing is recorded by halves
    return [dict(trial.user_attrs["row"]) for trial in trials]


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """Results without what differs between two runs."""
    return results_table(rows).drop(columns=list(VOLATILE), errors="ignore")


def assert_same(rows: Sequence[Row], undisturbed: pd.DataFrame) -> None:
    """Every training once, and the same bits as those of a search that nothing happened to."""
    keys = Counter((row["candidate"], row["seed"]) for row in rows)
    assert set(keys.values()) == {1}, keys
    pd.testing.assert_frame_equal(table(rows), undisturbed, check_exact=True)


def files(run: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in run.iterdir()}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _state(pid: int) -> str:
    """R: it computes; S: it waits; empty: it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _words(pid: int, what: str) -> list[str]:
    """Of a process's environment or command line; none once it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
