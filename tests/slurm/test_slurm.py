"""Searches that the script for SLURM runs on a real SLURM: the same table, no process left."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest

from tests.slurm.servers import Slurm, missing, slurm
from tests.tables import VOLATILE

SCRIPT = str(files("scaling_search") / "executors" / "ray.sbatch")
PROGRAMS = Path(sys.executable).parent
NUM_NODES = 2
NUM_TRAININGS = 12
SEARCH = (
    "search",
    "out=run",
    "dataset.num_train=100",
    "dataset.num_val=50",
    "recipe.epochs=2",
    "recipe.batch_size=20",
    "candidates.max_networks=3",
    "num_seeds=3",
)
JOB_SECONDS = 600
"""For a job to end; it takes half a minute, on a machine that is busy several."""

LEAVE_SECONDS = 30
"""For the last processes of a job, which SLURM has sent away when it says that the job is over."""

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    """A SLURM of two nodes."""
    if reason := missing():
        pytest.skip(reason)
    pytest.importorskip("ray")
    with (
        tempfile.TemporaryDirectory(prefix="scaling_search_slurm_") as folder,
        slurm(Path(folder), num_nodes=NUM_NODES, cpus=1) as running,
    ):
        yield running


@pytest.fixture
def idle(cluster: Slurm) -> Iterator[Slurm]:
    """The SLURM, whose network has the same processes after a test as before, and Ray no files."""
    before = left(cluster)
    yield cluster
    wait_until(lambda: cluster.said("squeue", "--noheader") == "")
    end = time.monotonic() + LEAVE_SECONDS
    while left(cluster) != before and time.monotonic() < end:
        time.sleep(0.1)
    assert left(cluster) == before


def left(cluster: Slurm) -> tuple[dict[int, str], list[str]]:
    """Processes in SLURM's network, and what Ray keeps of the jobs on a node."""
    jobs = cluster.said("squeue", "--noheader", "--states=all", "--format=%i").split()
    return cluster.processes(), [job for job in jobs if any(Path("/tmp").glob(f"ray-{job}-*"))]


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of the same search without SLURM and Ray."""
    folder = tmp_path_factory.mktemp("in_one_process")
    command = [str(PROGRAMS / "scaling-search"), *SEARCH, "executor=inline"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=JOB_SECONDS)
    return table(folder)


def table(folder: Path) -> pd.DataFrame:
    command = [str(PROGRAMS / "scaling-search"), "report", "out=run"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=JOB_SECONDS)
    results = pd.read_csv(folder / "run" / "results.csv")
    # Someone may commit while these tests run.
    return results.drop(columns=[*VOLATILE, "commit"], errors="ignore")


def submitted(cluster: Slurm, folder: Path, *search: str, requeue: bool = False) -> str:
    """A job with the shipped script, by its number."""
    environment = {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    if requeue:
        environment["SCALING_SEARCH_REQUEUE"] = "1"
    options = (f"--nodes={NUM_NODES}", f"--chdir={folder}", f"--output={folder}/job.out")
    return cluster.said("sbatch", "--parsable", *options, SCRIPT, *search, env=environment).strip()


def wait_until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + JOB_SECONDS
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.1)


def shown(cluster: Slurm, job: str, key: str) -> str:
    """What SLURM says of a job, such as its JobState."""
    found = re.search(rf"\b{key}=(\S+)", cluster.said("scontrol", "show", "job", job))
    assert found is not None
    return found[1]


def end_of(cluster: Slurm, job: str) -> tuple[str, str]:
    """State and exit code of a job that has left its nodes."""
    wait_until(lambda: cluster.said("squeue", "--noheader", f"--jobs={job}") == "")
    return shown(cluster, job, "JobState"), shown(cluster, job, "ExitCode")


def said(folder: Path) -> str:
    """What jobs of a folder wrote so far."""
    path = folder / "job.out"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def ended_trainings(folder: Path) -> list[int]:
    """The numbers of the trainings that jobs of a folder said to have ended."""
    return [int(n) for n in re.findall(rf"^(\d+)/{NUM_TRAININGS}\b", said(folder), re.MULTILINE)]


def wait_for_the_middle(cluster: Slurm, job: str, folder: Path) -> None:
    def is_there() -> bool:
        assert shown(cluster, job, "JobState") in {"PENDING", "RUNNING"}, said(folder)
        return len(ended_trainings(folder)) > 1

    wait_until(is_there)


def assert_whole(folder: Path, expected: pd.DataFrame) -> None:
    """That jobs trained each training once, and as one process does."""
    assert ended_trainings(folder) == list(range(1, NUM_TRAININGS + 1)), said(folder)
    pd.testing.assert_frame_equal(table(folder), expected)


@pytest.mark.parametrize(
    ("options", "state"),
    [
        pytest.param(["--signal=TERM", "--batch"], "FAILED", id="the script alone"),
        pytest.param([], "CANCELLED", id="all that runs"),
    ],
)
def test_a_job_that_was_ended_goes_on_in_another(
    idle: Slurm,
    tmp_path: Path,
    in_one_process: pd.DataFrame,
    options: list[str],
    state: str,
) -> None:
    job = submitted(idle, tmp_path, *SEARCH)
    wait_for_the_middle(idle, job, tmp_path)
    idle.said("scancel", *options, job)
    assert end_of(idle, job) == (state, "130:0"), said(tmp_path)
    assert len(ended_trainings(tmp_path)) < NUM_TRAININGS
    job = submitted(idle, tmp_path, *SEARCH)
    assert end_of(idle, job) == ("COMPLETED", "0:0"), said(tmp_path)
    assert_whole(tmp_path, in_one_process)


def test_a_job_near_its_time_limit_queues_again_and_goes_on(
    idle: Slurm, tmp_path: Path, in_one_process: pd.DataFrame
) -> None:
    job = submitted(idle, tmp_path, *SEARCH, requeue=True)
    wait_for_the_middle(idle, job, tmp_path)
    idle.said("scancel", "--signal=USR1", "--batch", job)  # what SLURM itself then does
    wait_until(lambda: shown(idle, job, "JobState") == "PENDING")
    assert len(ended_trainings(tmp_path)) < NUM_TRAININGS
    idle.said("scontrol", "update", f"JobId={job}", "StartTime=now")  # not two minutes later
    assert end_of(idle, job) == ("COMPLETED", "0:0"), said(tmp_path)
    assert shown(idle, job, "Restarts") == "1"
    assert_whole(tmp_path, in_one_process)


def test_a_command_that_cannot_be_run_ends_the_job(idle: Slurm, tmp_path: Path) -> None:
    job = submitted(idle, tmp_path, "search", "num_seeds=none")
    assert end_of(idle, job) == ("FAILED", "2:0")
    assert "num_seeds" in said(tmp_path)
