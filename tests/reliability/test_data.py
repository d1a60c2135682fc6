"""Data that are damaged while a search runs: what it says, and how it is mended."""

import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest

import scaling_search
from tests.reliability.searches import (
    LEFT,
    NUM_TRAININGS,
    SEARCH,
    assert_same,
    done,
    files,
    rows_of,
    started,
)

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ROOT = Path(scaling_search.__file__).parent.parent
DAMAGED = "train-images.npy"


def test_maps_that_become_shorter_cost_a_try_and_are_written_anew(
    folder: Path, tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    cache = tmp_path / "cache"
    command = started(folder, *SEARCH, "executor.retries=9", SCALING_SEARCH_CACHE=str(cache))
    try:
        command.until_trained(4)
        sizes = {path: path.stat().st_size for path in cache.glob(f"*/{DAMAGED}")}
        assert sizes
        for path in sizes:
            os.truncate(path, 200)
        assert command.ended() == 0, (command.out, command.err)
    finally:
        command.end()
    assert "failed and is tried again: worker lost: " in command.out
    assert "SIGBUS" in command.out
    damaged = "maps are not used and made again: train-images.npy and SHA256SUMS differ in "
    # From each process that opened them then.
    assert set(command.err.splitlines()) == {f"{damaged}{path.parent}" for path in sizes}
    assert_same(rows_of(folder / "run" / "study.db"), undisturbed)
    assert {path: path.stat().st_size for path in sizes} == sizes


def test_a_source_file_that_is_cut_off_gets_one_line_until_it_is_mended(
    folder: Path, tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    # A copy of the program, whose own file of images is damaged while it runs.
    copy = tmp_path / "copy"
    for name in ("scaling_search", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    source = copy / "scaling_search/datasets/fashion_mnist_small_data/train-images.gz"
    whole = source.read_bytes()
    environment = {"PYTHONPATH": str(copy), "SCALING_SEARCH_CACHE": str(tmp_path / "cache")}
    study = folder / "run" / "study.db"
    command = started(folder, *SEARCH, "executor.retries=0", **environment)
    try:
        command.until_trained(4)
        os.truncate(source, len(whole) // 2)
        # Whoever has read it needs it no more; a new worker does.
        os.kill(command.at_work(), signal.SIGKILL)
        assert command.ended() in {0, 2}, (command.out, command.err)
    finally:
        command.end()
    rows = rows_of(study)
    reasons = {str(row["reason"]).partition(": ")[0] for row in rows if row["state"] == "FAIL"}
    assert reasons == {"worker lost", "RuntimeError"}
    assert "train-images.gz must be" in command.out
    refused = started(folder, *SEARCH, **environment)
    try:
        assert refused.ended() == 2
    finally:
        refused.end()
    assert "train-images.gz must be" in refused.err
    assert "install scaling-search again" in refused.err
    assert refused.err.count("\n") == 1
    assert rows_of(study) == rows
    source.write_bytes(whole)
    done(folder, *SEARCH, "executor.retries=2", **environment)
    rows = rows_of(study)
    last = {(row["candidate"], row["seed"]): row for row in rows}
    assert len(last) == NUM_TRAININGS
    expected = undisturbed.drop(columns="commit")  # the copy has none
    ours = [{k: v for k, v in row.items() if k != "commit"} for row in last.values()]
    assert_same(ours, expected)
    assert files(folder / "run") == LEFT | {"study.db"}
