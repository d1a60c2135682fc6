"""Time and memory of commands, as whole processes.

    python benchmarks/commands.py [--runs 5] [--commands NAME ...] [--search]
        [--out benchmarks/commands.csv]

Prints a table and writes CSV. The commands are taken in turns, so that a machine whose speed
drifts slows all of them alike. --search adds a whole ``search experiment=default``, once.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rows import machine, today, write_rows

BIN = Path(sys.executable).parent
PRESCREEN = """
from scaling_search.planning.budget import Budget
from scaling_search.base_networks import efficientnet
from scaling_search.costs.flops import Flops
from scaling_search.candidates.paper_grid import PaperGrid
PaperGrid(step=0.01).plan(Budget(efficientnet("b0"), Flops()))
"""
COMMANDS = {
    "scaling-search --help": [str(BIN / "scaling-search"), "--help"],
    "scaling-search search --help": [str(BIN / "scaling-search"), "search", "--help"],
    "scaling-search audit": [str(BIN / "scaling-search"), "audit"],
    "scaling-search plan (default)": [str(BIN / "scaling-search"), "plan"],
    "prescreen of 262,701 points of B0": [sys.executable, "-c", PRESCREEN],
}
SEARCH = [str(BIN / "scaling-search"), "search", "experiment=default", "out=run"]


def main() -> None:
    """Runs the commands in turns and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each command")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--search", action="store_true", help="time a whole default search too")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    measured: dict[str, list[tuple[float, int]]] = {name: [] for name in arguments.commands}
    for _ in range(arguments.runs):
        for name in arguments.commands:
            measured[name].append(timed(COMMANDS[name]))
    if arguments.search:
        measured["scaling-search search (default)"] = [timed(SEARCH)]
    where = {"machine": machine(), "date": today()}
    print(", ".join(where.values()) + "\n")
    print(f"{'command':36}{'runs':>5}{'median s':>10}{'worst s':>10}{'peak MiB':>10}")
    rows = []
    for name, runs in measured.items():
        seconds = [run[0] for run in runs]
        median, worst = round(statistics.median(seconds), 3), round(max(seconds), 3)
        peak = max(run[1] for run in runs) >> 20
        print(f"{name:36}{len(runs):5}{median:10.2f}{worst:10.2f}{peak:10}")
        row = {"command": name, "runs": len(runs), "median_seconds": median}
        rows.append({**row, "worst_seconds": worst, "peak_mib": peak, **where})
    write_rows(rows, arguments.out)


def timed(command: list[str]) -> tuple[float, int]:
    """Wall seconds of a command in an empty folder, and the most bytes it held with its workers.

    Bytes are the sum of proportional set sizes at one moment, 0 where /proc is absent.
    """
    folder = tempfile.mkdtemp()
    try:
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            peak = [0]
            watcher = threading.Thread(target=watch, args=(process, peak))
            watcher.start()
            assert process.stderr is not None
            complaints = process.stderr.read().decode()
            process.wait()
            seconds = time.perf_counter() - started
            watcher.join()
        if process.returncode:
            raise RuntimeError(f"{command[:2]} must succeed, got {complaints[-500:]!r}")
        return seconds, peak[0]
    finally:
        shutil.rmtree(folder)


def watch(process: "subprocess.Popen[bytes]", peak: list[int]) -> None:
    """Keeps the largest memory of a process and those that it started, until it ends."""
    while process.poll() is None:
        peak[0] = max(peak[0], sum(memory(pid) for pid in tree(process.pid)))
        time.sleep(0.1)


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        below = [int(child) for child in children.read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(p for child in below for p in tree(child))]


def memory(pid: int) -> int:
    """Bytes that a process holds, shared pages divided among those that share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
