"""Rehearsals of the scripts for a CUDA machine, without one."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "benchmarks" / "gpu"
PATIENCE_SECONDS = 300
REHEARSED = ("env", "anatomy-start", "anatomy-step", "anatomy-whole", "workers", "loop", "short")
ONLY_CUDA = ("anatomy-streams", "anatomy-kernels", "share")


def measured(folder: Path, *parts: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run parts by this Python, on the CPU."""
    return subprocess.run(
        ["bash", str(SCRIPTS / "measure"), str(folder), *parts],
        env=os.environ | {"DEVICE": "cpu", "PYTHON": sys.executable} | settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.slow
def test_all_tests_of_a_gpu_collect() -> None:
    marked = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"mark\.gpu", path.read_text(encoding="utf-8"))
    )
    assert {"tests/training/test_steps.py", "tests/executors/test_contract.py"} <= {*marked}
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "--collect-only", "-q"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *marked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    collected = {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert sorted(collected) == marked


@pytest.mark.parametrize("name", ["pack", "measure"])
def test_a_script_is_one_that_bash_can_read(name: str) -> None:
    subprocess.run(["bash", "-n", str(SCRIPTS / name)], check=True)


@pytest.mark.parametrize("parts", [(), ("env", "anatomie")])
def test_parts_that_there_are_not_are_refused_with_a_list(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    done = measured(tmp_path / "results", *parts)
    assert done.returncode == 2
    assert "parts: anatomy-kernels anatomy-start" in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_rehearsal_runs_each_part_and_leaves_out_what_needs_cuda(tmp_path: Path) -> None:
    done = measured(tmp_path, *REHEARSED, *ONLY_CUDA)
    log = (tmp_path / "measure.log").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stdout + log + done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*REHEARSED, *ONLY_CUDA]
    assert all(": exit 0 after " in line for line in lines[: len(REHEARSED)])
    assert all(line.endswith("left out, needs CUDA") for line in lines[len(REHEARSED) :])
    assert "fastest: efficientnet_small 20: " in log
    with tarfile.open(tmp_path / "results.tgz") as results:
        assert {"./workers.csv", "./short/results.csv", "./short/report.html"} <= {
            *results.getnames()
        }


@pytest.mark.slow
def test_a_part_ends_when_its_time_does(tmp_path: Path) -> None:
    done = measured(tmp_path, "short", "env", SECONDS_LEFT="12")
    first, second = done.stdout.splitlines()
    assert done.returncode == 1
    assert first.startswith("short: exit 1")
    assert second == "env: left out, no time is left"
    assert (tmp_path / "results.tgz").is_file()
