"""The example of docs/extending.md, a network of one's own, word for word in another folder."""

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from scaling_search.base_networks import custom
from scaling_search.costs.activations import Activations
from scaling_search.costs.flops import Flops
from scaling_search.costs.train_flops import TrainFlops
from tests.documents import ROOT, Block, blocks

DOCUMENT = ROOT / "docs" / "extending.md"
PROGRAM = str(Path(sys.executable).parent / "scaling-search")


def example() -> tuple[dict[str, str], list[str]]:
    """The files of the example by their path, and its commands."""
    found = of_section("A network of your own")
    files = {
        re.findall(r"`([\w/]+\.(?:py|yaml))`", one.before)[-1]: one.text
        for one in found
        if one.language
    }
    (commands,) = (one for one in found if not one.language)
    return files, commands.lines


def of_section(heading: str) -> list[Block]:
    """The blocks below a heading."""
    return [one for one in blocks(DOCUMENT) if one.section == heading]


def written_to(folder: Path) -> list[str]:
    """Writes the files of the example and gives its commands."""
    files, commands = example()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(content, encoding="utf-8")
    return commands


def ran(command: str, folder: Path) -> str:
    """What a command of the example prints."""
    program, *arguments = shlex.split(command)
    assert program == "scaling-search"
    done = subprocess.run(
        [PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def own_operator(**_: object) -> nn.Module:
    """A network with the operator of the document's last example."""
    return Scanning(importlib.import_module("documented_operator").scan)


class Scanning(nn.Module):
    def __init__(self, scan: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.scan = scan
        self.weight = nn.Parameter(0.1 * torch.randn(20, 30))
        self.head = nn.Linear(30, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.scan(images.flatten(1, 2), self.weight).mean(1))
        return logits


def test_an_operator_of_ones_own_is_counted_and_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = of_section("An operator of your own")
    (tmp_path / "documented_operator.py").write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    base = custom(own_operator)
    assert [layer.flops for layer in base.layers()] == [20 * 20 * 30, 30 * 10]
    base.check()
    # Its backward pass is written as two products of matrices, which torch sees.
    for cost in (Flops(), Activations(), TrainFlops()):
        assert cost.measure(base) == cost.estimate(base)


def test_the_example_is_short() -> None:
    files, commands = example()
    assert list(files) == ["my_package/__init__.py", "conf/experiment/mine.yaml"]
    lines = [line for text in files.values() for line in text.splitlines()]
    assert len(lines) + len(commands) <= 30


@pytest.mark.slow
def test_the_example_plans_searches_and_reports(tmp_path: Path) -> None:
    plan, search, report = written_to(tmp_path)
    assert "8 networks are selected" in ran(plan, tmp_path)
    assert "all trainings are done" in ran(search, tmp_path)
    ran(report, tmp_path)
    results = pd.read_csv(tmp_path / "runs" / "mine" / "results.csv")
    assert list(results["state"]) == ["COMPLETE"] * 12  # three of them with a second seed
    assert results["network"].nunique() == 9
    # A tenth would be chance; a base network sees 2,000 images twice.
    assert results["val_accuracy"].max() > 0.3
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
    # The same command again trains nothing.
    assert "all trainings are done" in ran(search, tmp_path)


@pytest.mark.slow
def test_a_network_of_ones_own_goes_wherever_others_go(tmp_path: Path) -> None:
    """Ray's workers, larger networks, the network's new trainings."""
    written_to(tmp_path)
    little = "candidates.max_networks=7 dataset.num_train=200 dataset.num_val=100 recipe.epochs=1"
    own = "allow=my_package --config-dir conf"
    said = ran(f"scaling-search search experiment=mine executor=ray {little} {own}", tmp_path)
    assert "all trainings are done" in said
    ran(f"scaling-search report out=runs/mine {own}", tmp_path)
    results = pd.read_csv(tmp_path / "runs" / "mine" / "results.csv")
    assert list(results["state"]) == ["COMPLETE"] * 11  # three of them with a second seed
    more = "executor=inline scale.phis=[0,1] scale.families=[compound,depth] scale.num_seeds=1"
    ran(f"scaling-search scale out=runs/mine {more} {own}", tmp_path)
    families = pd.read_csv(tmp_path / "runs" / "mine" / "families.csv")
    assert set(families["family"]) == {"compound", "depth"}
    more = "executor=inline confirm.num_seeds=2"
    ran(f"scaling-search confirm out=runs/mine {more} {own}", tmp_path)
    assert (tmp_path / "runs" / "mine" / "confirm.csv").is_file()
