"""The exported file alone builds the package's own networks, to the bit."""

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scaling_search.base_networks import custom
from scaling_search.costs.flops import Flops
from scaling_search.export.bundle import bundled
from scaling_search.export.family import check_family, family_source, imported
from scaling_search.export.literals import literal
from scaling_search.export.members import Member
from scaling_search.export.onnx_files import check_onnx, onnx_file
from scaling_search.protocols import Architecture
from scaling_search.scaling import Multipliers
from tests.base_networks import own
from tests.composed import PARTS, part
from tests.tiny import tiny_network

ROOT = Path(__file__).resolve().parent.parent

ALONE = """
import sys
import torch

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"scaling_search", "pydantic", "safetensors", "fvcore"}:
            raise ImportError(name)

sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
import family

built = {}
for name, member in family.MEMBERS.items():
    torch.manual_seed(7)
    network = family.build(name).eval()
    images = torch.randn(2, int(sys.argv[2]), member.resolution, member.resolution)
    with torch.inference_mode():
        built[name] = (network.state_dict(), network(images))
torch.save(built, sys.argv[1] + "/built.pt")
roots = {module.partition(".")[0] for module in set(sys.modules) - before}
print(" ".join(sorted(roots - set(sys.stdlib_module_names) - {"family", "torch"})))
"""
"""Builds all members where this package cannot be imported, and says what else was."""

CASES = [
    pytest.param(name, marks=[] if name.endswith("_small") else pytest.mark.slow)
    for group, name in PARTS
    if group == "base_network" and name != "custom"
]


def custom_network() -> Architecture:
    """A network that a user function makes."""
    return custom(functools.partial(own.build, blocks=[1, 2, 2]), resolution=12)


def member(name: str, phi: float, architecture: Architecture) -> Member:
    """As a record would have it."""
    layers = architecture.layers()
    row: dict[str, object] = {
        "network": architecture.name,
        "resolution": architecture.resolution,
        "flops": Flops().measure(architecture),
        "params": sum(layer.params for layer in layers),
    }
    return Member(name, phi, row, architecture)


def family_of(base: Architecture) -> list[Member]:
    """A base network, one of twice its cost, one of twice its depth."""
    scaled = base.scaled(Multipliers(1.2, 1.1, 1.15))
    deep = base.scaled(Multipliers(2.0, 1.0, 1.0))
    members = [member("base", 0.0, base), member("found", 1.0, scaled)]
    return [*members, member("compound-1", 1.0, scaled), member("depth-1", 1.0, deep)]


def alone(folder: Path, members: list[Member]) -> tuple[dict[str, Any], str]:
    """What a process without this package builds of the file, and what it imported for that."""
    source = family_source(members, {}, title="A family")
    (folder / "family.py").write_text(source, encoding="utf-8")
    arguments = ["-c", ALONE, str(folder), str(members[0].architecture.in_channels)]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    built: dict[str, Any] = torch.load(folder / "built.pt")
    return built, done.stdout.strip()


@pytest.mark.parametrize("name", CASES)
def test_the_file_alone_builds_the_same_networks(name: str, tmp_path: Path) -> None:
    members = family_of(part("base_network", name))
    built, others = alone(tmp_path, members)
    assert others == ""
    assert list(built) == [one.name for one in members]
    for one in members:
        compare(one, *built[one.name])


def test_a_network_of_ones_own_is_called_with_its_multipliers(tmp_path: Path) -> None:
    members = family_of(custom_network())
    built, others = alone(tmp_path, members)
    assert others == "tests"
    for one in members:
        compare(one, *built[one.name])
    assert "from tests.base_networks.own import build as make_network" in (
        tmp_path / "family.py"
    ).read_text(encoding="utf-8")


def compare(one: Member, weights: dict[str, Tensor], logits: Tensor) -> None:
    """The same names, shapes, draws and answers as the package's own, of the recorded cost."""
    torch.manual_seed(7)
    network = one.architecture.build().eval()
    expected = network.state_dict()
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    size = one.architecture.resolution
    images = torch.randn(2, one.architecture.in_channels, size, size)
    with torch.inference_mode():
        # Another number of threads adds in another order.
        torch.testing.assert_close(logits, network(images), rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in network.parameters()) == one.row["params"]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(images[:1])
    assert counter.get_total_flops() == 2 * one.number("flops")  # it counts both operations


@pytest.mark.parametrize("name", ["efficientnet_small", "resnet_small", "convnext_small"])
def test_the_file_has_the_shape_of_a_formatter_and_nothing_that_is_not_used(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "family.py"
    source = family_source(family_of(part("base_network", name)), {}, title="A family")
    path.write_text(source, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    for arguments in (
        ["format", "--isolated", "--check", "--line-length", "100"],
        ["check", "--isolated", "--line-length", "100", "--select", "E,F,I,W,B,SIM"],
    ):
        done = subprocess.run([*ruff, *arguments, str(path)], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode()
    assert not any(word in source for word in ("pydantic", "type: ignore", "noqa", "flops_of"))


def test_it_prints_its_members(tmp_path: Path) -> None:
    path = tmp_path / "family.py"
    path.write_text(family_source(family_of(tiny_network()), {}, title="T"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=True
    ).stdout
    header, base, *others = done.splitlines()
    assert header.split()[:4] == ["member", "phi", "px", "multiply-adds"]
    assert base.split() == ["base", "0", "8", "18,552", "1,258", "none"]
    assert [line.split()[0] for line in others] == ["found", "compound-1", "depth-1"]


def test_what_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "family.py"
    path.write_text(family_source(family_of(tiny_network()), {}, title="T"), encoding="utf-8")
    family = imported(path)
    with pytest.raises(ValueError, match="one of base, found, compound-1, depth-1, got 'b0'"):
        family.build("b0")
    with pytest.raises(ValueError, match="weights of base must be of the seeds none, got None"):
        family.load("base")


def test_another_network_is_found_out(tmp_path: Path) -> None:
    members = family_of(tiny_network())
    source = family_source(members, {}, title="A family")
    path = tmp_path / "family.py"
    for right, wrong, what in (
        ("head_channels=16", "head_channels=18", "shape of head.0.weight"),
        ("nn.init.zeros_(module.bias)", "nn.init.ones_(module.bias)", "draw of classifier.bias"),
        ("features.mean((2, 3))", "features.amax((2, 3))", "answer to an image"),
    ):
        assert right in source
        path.write_text(source.replace(right, wrong), encoding="utf-8")
        with pytest.raises(RuntimeError, match=f"got another {what}"):
            check_family(imported(path), members[0])


@dataclass(frozen=True)
class Unusual:
    """An architecture whose option has no literal."""

    option: object

    def build(self) -> nn.Module:
        return nn.Identity()


@dataclass(frozen=True)
class Clashing:
    """An architecture that uses a name of the exported file."""

    option: int

    def build(self) -> nn.Module:
        return Member_(self.option)


class Member_(nn.Module):  # noqa: N801  # nearly the file's own
    """Whose name differs from the reserved one."""

    def __init__(self, option: int) -> None:
        super().__init__()
        self.option = option


def test_names_that_the_file_needs_are_refused() -> None:
    assert "class Member_" in bundled([Clashing(1)], {}).definitions
    with pytest.raises(ValueError, match="must have different names, got Member_ in"):
        bundled([Clashing(1)], {}, ["Member_"])


def test_options_without_a_literal_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be numbers, strings, .* got <object"):
        literal(Unusual(object()))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1,), "(1,)"),
        ((), "()"),
        ({"a": [1, 2.5]}, '{"a": [1, 2.5]}'),
        ("it's", '"it\'s"'),
        ('a "b"', "'a \"b\"'"),
        (None, "None"),
        (1e-05, "1e-05"),
    ],
)
def test_literals_are_what_they_mean(value: object, text: str) -> None:
    assert literal(value) == text
    assert eval(text) == value


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for kind, n in PARTS if kind == "base_network" and n.endswith("_small")]
)
def test_every_kind_of_network_has_an_onnx_file_that_answers_as_it_does(name: str) -> None:
    architecture = part("base_network", name)
    torch.manual_seed(0)
    network = architecture.build()
    content = onnx_file(network, architecture)
    assert check_onnx(content, network, architecture, name) < 1e-5
