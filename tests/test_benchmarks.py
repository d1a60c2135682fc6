"""Every benchmark runs, as a process of its own at its tiniest setting, and writes what it says."""

import csv
import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scaling_search.datasets.fashion_mnist import DEBIAN_FOLDER
from scaling_search.datasets.fashion_mnist_small import FOLDER

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 300
IMAGES = "dataset.num_train=100 dataset.num_val=50"
ONE = "limits.trainings=1 recipe.check=false recipe.batch_size=30"
FEW = f"{IMAGES} recipe.epochs=0.1 candidates.max_networks=2"
VARIANTS = "'efficientnet-pytorch,optimiser not fused,images one by one,two threads'"
WITH_TABLE = {
    "commands": "--runs 1 --commands 'scaling-search --help'",
    "coordinator": "--trainings 100 --slots 4 --storages journal",
    "kills": "--kills 1",
    "plain_loop": f"--networks 1 --lengths 1,2 --pairs 1 {IMAGES}",
    "prediction": f"--trainings 1 {FEW} executor=inline executor.device=cpu",
    "prescreen": "--runs 1 --sample 2",
    "reliability": "--kills 1",
    "simulate_samplers": "--draws 1 --samplers grid",
    "simulation": "--draws 1 --only 'bowl inside'",
    "training_step": f"--steps 1 --rounds 1 --variants {VARIANTS}",
    "workers": f"--device cpu --workers 1 --trainings 2 {FEW}",
}
"""Arguments of those that write a table where ``--out`` says."""
PRINTED = {
    "many": "--slots 4 --trainings 500 --choosing --samplers grid --finished 100",
    "pictures_in_hours": f"--pictures 300 --hours 0.1 run.stages=[search] {ONE} recipe.epochs=0.1 "
    "recipe.warmup_epochs=0",
    "report": "--networks 12 --seeds 2",
}
"""Arguments of those that only print."""
ELSEWHERE = {"composed", "rows", "draw_fashion_mnist_small", "gpu_share", "anatomy"}
"""Imported by the others, or with a test of its own, `anatomy` among the GPU's."""


def ran(folder: Path, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a benchmark in a folder, by this checkout's code."""
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.slow
def test_every_benchmark_can_be_imported() -> None:
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    said = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    done = subprocess.run(
        [sys.executable, "-c", said, *names],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_benchmark_is_run_here() -> None:
    names = {path.stem for path in (ROOT / "benchmarks").rglob("*.py")}
    assert names == {*WITH_TABLE, *PRINTED, *ELSEWHERE}


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_TABLE)
def test_a_benchmark_writes_its_table(tmp_path: Path, name: str) -> None:
    table = tmp_path / "table.csv"
    done = ran(tmp_path, name, "--out", str(table), *shlex.split(WITH_TABLE[name]))
    assert done.returncode == 0, done.stderr
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_a_benchmark_prints_what_it_found(tmp_path: Path, name: str) -> None:
    done = ran(tmp_path, name, *shlex.split(PRINTED[name]))
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_the_plain_loop_refuses_no_pairs_in_one_line(tmp_path: Path) -> None:
    done = ran(tmp_path, "plain_loop", "--pairs", "0")
    assert done.returncode == 2
    assert done.stderr == "plain_loop.py: --pairs must be 1 or more, got 0\n"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_share_of_a_gpu_needs_one(tmp_path: Path) -> None:
    done = ran(tmp_path, "gpu_share", "--out", str(tmp_path / "table.csv"))
    assert done.returncode == 2
    assert done.stderr == "gpu_share.py needs a CUDA device, and this machine has none\n"


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_small_fashion_mnist_is_drawn_again_to_the_same_bytes(tmp_path: Path) -> None:
    done = ran(tmp_path, "draw_fashion_mnist_small", "--out", str(tmp_path / "drawn"))
    assert done.returncode == 0, done.stderr
    drawn, kept = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in (tmp_path / "drawn", FOLDER)
    )
    assert drawn == {name: kept[name] for name in drawn}
    assert len(drawn) == 7
