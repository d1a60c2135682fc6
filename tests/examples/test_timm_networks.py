"""The example of docs/timm.md: timm's own networks, counted, planned and trained."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.documents import ROOT, blocks, words

FOLDER = ROOT / "examples" / "timm_networks"
PROGRAM = str(Path(sys.executable).parent / "scaling-search")
COUNTS = """
import json, timm_networks
from functools import partial
from scaling_search.base_networks import custom
from scaling_search.costs import Flops, Params
networks = (partial(timm_networks.vit, image_size=224), timm_networks.efficientnet,
            timm_networks.convnext)
bases = [custom(one, resolution=224, in_channels=3, num_classes=1000) for one in networks]
print(json.dumps([(Flops().measure(base), Params().measure(base)) for base in bases]))
"""
TINY = [
    *("dataset.num_train=100", "dataset.num_val=50", "candidates.max_networks=2"),
    *("recipe.epochs=1", "recipe.batch_size=20", "recipe.learning_rate=0.02", "recipe.check=false"),
    *("executor=inline", "timed=false"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("timm") is None,
        reason="timm is not installed; make test does, without torchvision",
    ),
]


def ran(*command: str) -> str:
    """The output of a command, with names for a torchvision that is not there.

    In a process of its own: torch's exporters would take the names for torchvision.
    """
    has_torchvision = importlib.util.find_spec("torchvision") is not None
    names = [] if has_torchvision else [str(Path(__file__).parent / "names")]
    paths = [*names, str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_timm_s_networks_have_the_counts_of_our_own_and_of_the_page() -> None:
    counts = json.loads(ran(sys.executable, "-c", COUNTS))
    # Source: ViT-Ti and EfficientNet-B0 as in docs/sources.md; parameters of atto as timm has them.
    assert counts == [
        [1_253_683_200, 5_717_416],
        [385_814_752, 5_288_548],
        [547_332_480, 3_695_520],
    ]
    page = (ROOT / "docs" / "timm.md").read_text("utf-8")
    assert all(f"{flops:,}" in page for flops, _ in counts)


@pytest.mark.parametrize("name", ["vit", "efficientnet", "convnext"])
def test_a_search_trains_timm_s_networks_of_equal_cost(name: str, tmp_path: Path) -> None:
    (block,) = (one for one in blocks(ROOT / "docs" / "timm.md") if "--config-dir" in one.text)
    (line,) = (line for line in block.lines if f"experiment=timm_{name}" in line)
    _, _, *options = words(line)
    ran(PROGRAM, "search", *options, *TINY, f"out={tmp_path}")
    own = [one for one in options if not one.startswith("experiment=")]
    ran(PROGRAM, "report", f"out={tmp_path}", *own)
    results = pd.read_csv(tmp_path / "results.csv")
    assert set(results["state"]) == {"COMPLETE"}
    assert results["network"].nunique() == 3
    assert results["cost_ratio"].drop_duplicates().sort_values().iloc[1:].between(1.9, 2.1).all()
