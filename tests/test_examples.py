"""The examples: each trains a few networks on a few real images, in a folder of its own."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from tests.documents import ROOT

EXAMPLES = ROOT / "examples"
PROGRAM = str(Path(sys.executable).parent / "scaling-search")
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
"""On which a command finds the Python of these tests."""

TWO = ("candidates.max_networks=2", "executor=inline", "executor.device=cpu", "timed=false")
FEW = (*TWO, "dataset.num_train=200", "dataset.num_val=100")
LONGER = "training.function.epochs=10"


def searched(example: str, name: str, out: Path, *options: str, allow: str = "") -> pd.DataFrame:
    """The results of an example's search, by the commands of its README with less of everything."""
    text = (EXAMPLES / example / "README.md").read_text("utf-8")
    trusted = [f"allow={allow or name}", "--config-dir", "conf"]
    assert " ".join(["scaling-search run", f"experiment={name}", *trusted]) in text
    for command in (["search", f"experiment={name}", *options], ["report"]):
        done = subprocess.run(
            [PROGRAM, *command, f"out={out}", *trusted],
            cwd=EXAMPLES / example,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PATH": PATH},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return pd.read_csv(out / "results.csv")


@pytest.mark.slow
def test_a_plain_loop_learns_embeddings_that_find_their_class(tmp_path: Path) -> None:
    results = searched("plain_pytorch", "retrieval", tmp_path / "out", *FEW)
    assert len(results) == 3
    # By chance a tenth of the images is of the same class.
    assert results["average_precision"].min() > 0.2


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed")
def test_lightning_trains_the_same_networks(tmp_path: Path) -> None:
    results = searched("lightning_training", "lightning_loop", tmp_path / "out", *FEW, LONGER)
    assert len(results) == 3
    # One class for all images has an F1 of 0.018.
    assert results["f1"].max() > 0.1


@pytest.mark.slow
def test_a_script_trains_the_networks_that_it_builds(tmp_path: Path) -> None:
    allow = "train,training.command"
    results = searched("own_command", "own_command", tmp_path / "out", *TWO, allow=allow)
    assert len(results) == 3
    # By chance nine of ten images are of another class.
    assert results["error"].max() < 0.6
