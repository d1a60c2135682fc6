"""The file that builds every network of a family with PyTorch alone."""

import ast
import dataclasses
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast, runtime_checkable

import jinja2
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from scaling_search.export.bundle import bundled
from scaling_search.export.literals import Code, literal
from scaling_search.export.members import Member, example
from scaling_search.protocols import Architecture
from scaling_search.training.weights import file_name

IMPORTS = {
    "dataclass": ("dataclasses", "dataclass"),
    "hashlib": ("hashlib", ""),
    "json": ("json", ""),
    "Path": ("pathlib", "Path"),
    "torch": ("torch", ""),
    "Tensor": ("torch", "Tensor"),
    "nn": ("torch", "nn"),
}
"""What the file uses beside what building needs, by module and name."""

RESERVED = (
    *("Member", "Weights", "BASE", "NETWORKS", "MEMBERS", "WEIGHTS", "DTYPES"),
    *("build", "load", "normalised", "trained", "main", "_member", "_tensors"),
)
"""Names that the file defines itself."""

DTYPES = Code(
    "{",
    tuple(
        (f'"{name}": ', Code(f"torch.{kind}"))
        for name, kind in (
            ("F64", "float64"),
            ("F32", "float32"),
            ("F16", "float16"),
            ("BF16", "bfloat16"),
            ("I64", "int64"),
            ("I32", "int32"),
            ("U8", "uint8"),
            ("BOOL", "bool"),
        )
    ),
    "}",
)

NUM_IMAGES = 2
"""In the batch that networks are compared on."""


@dataclass(frozen=True)
class Weights:
    """A file of trained weights, as ``family.py`` names it."""

    seed: int
    file: str
    sha256: str
    val_accuracy: float
    val_loss: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@runtime_checkable
class Called(Protocol):
    """An architecture that a function of somebody's own package builds; it stays there."""

    def call(self) -> tuple[str, Mapping[str, object]]:
        """The function, as in package.module.function, and what it is called with by name."""


def family_source(
    members: Sequence[Member], weights: Mapping[str, Sequence[Weights]], *, title: str
) -> str:
    """The text of ``family.py``.

    Args:
        members: The base network first.
        weights: Files by the name of their network.
        title: Its first words.

    Raises:
        ValueError: A network uses what cannot be cut out of its package.
    """
    architectures = {member.network: member.architecture for member in members}
    base = members[0].architecture
    networks: dict[str, Code]
    if isinstance(base, Called):
        module, _, function = base.call()[0].rpartition(".")
        imports = {"partial": ("functools", "partial"), "make_network": (module, function)}
        bundle = bundled((), IMPORTS | imports, RESERVED)
        networks = {name: _call(one) for name, one in architectures.items()}
    else:
        imports = {"replace": ("dataclasses", "replace")}
        bundle = bundled(architectures.values(), IMPORTS | imports, RESERVED)
        networks = {name: _change(base, one) for name, one in architectures.items()}
    source = resources.files("scaling_search.export").joinpath("family.py.j2").read_text("utf-8")
    environment = jinja2.Environment(  # Python, not HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    constants = [f"DTYPES = {literal(DTYPES, before=9)}"]
    made = [] if isinstance(base, Called) else [f"BASE = {literal(base, before=7)}"]
    return environment.from_string(source).render(
        title=title,
        example=example(members),
        packages=bundle.packages,
        imports=bundle.imports,
        definitions="\n\n\n".join([*constants, *filter(None, [bundle.definitions])]),
        networks="\n\n".join([*made, f"NETWORKS = {literal(networks, before=11)}"]),
        is_called=isinstance(base, Called),
        members=literal({m.name: _member(m) for m in members}, before=10),
        weights=literal(
            {name: tuple(weights[name]) for name in networks if weights.get(name)}, before=42
        ),
    )


def needs(source: str) -> list[str]:
    """The packages that a file imports, without Python's own."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return sorted({module.partition(".")[0] for module in modules} - sys.stdlib_module_names)


def _call(architecture: Architecture) -> Code:
    """A network by the call that makes it."""
    assert isinstance(architecture, Called)
    arguments = [(f"{name}=", value) for name, value in architecture.call()[1].items()]
    return Code("partial(", (("", Code("make_network")), *arguments), ")")


def _change(base: Architecture, architecture: Architecture) -> Code:
    """A network by what is not as in the base network."""
    assert dataclasses.is_dataclass(base)
    changed = [
        (f"{f.name}=", getattr(architecture, f.name))
        for f in dataclasses.fields(base)
        if getattr(architecture, f.name) != getattr(base, f.name)
    ]
    if not changed:
        return Code("BASE")
    return Code("replace(", (("", Code("BASE")), *changed), ")")


def _member(member: Member) -> Code:
    values: dict[str, object] = {"phi": member.phi, "network": member.network}
    for column in ("resolution", "flops", "params"):
        values[column] = int(member.number(column))
    return Code("Member(", tuple((f"{k}=", v) for k, v in values.items()), ")")


class Family(Protocol):
    """What is used of ``family.py``, once it is imported."""

    @property
    def MEMBERS(self) -> Mapping[str, object]:  # noqa: N802  # a constant there
        """By name."""

    def build(self, name: str) -> nn.Module:
        """A network."""

    def load(self, name: str, seed: int | None = None) -> nn.Module:
        """A trained network."""


def imported(path: Path) -> Family:
    """The module that a file is, without a place among the modules that are imported."""
    name = f"exported_family_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    writes = sys.dont_write_bytecode
    try:
        sys.dont_write_bytecode = True
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
        del sys.modules[name]
    return cast("Family", module)


def check_family(family: Family, member: Member) -> None:
    """Compares a network from the file with the package's own.

    Names, shapes and, with one seed, bits of all weights, and of the answers to two images.

    Raises:
        RuntimeError: It is another one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = member.architecture.build().eval()
        torch.manual_seed(0)
        other = family.build(member.name).eval()
        differs = difference_between(own, other, member.architecture)
    if differs is not None:
        raise RuntimeError(
            f"family.py must build {member.name} as this package does, got another {differs}; "
            "please report this with the run's config.yaml"
        )
    params, recorded = sum(p.numel() for p in other.parameters()), int(member.number("params"))
    if params != recorded:
        raise RuntimeError(
            f"{member.name} must have {recorded:,} parameters as in the record, got {params:,}; "
            "take the version that searched"
        )


def check_weights(family: Family, member: Member, seed: int, content: bytes) -> None:
    """Loads weights as the file does and compares them with what safetensors reads.

    Raises:
        RuntimeError: They are not those of the network.
    """
    try:
        loaded = family.load(member.name, seed).state_dict()
        expected = safetensors.torch.load(content)
    except (ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise RuntimeError(
            f"weights of {member.name} seed {seed} must fit the network, got "
            f"{' '.join(str(error).split())[:200]!r}; delete {file_name(member.network, seed)}"
        ) from error
    if any(not torch.equal(tensor, loaded[name]) for name, tensor in expected.items()):
        raise RuntimeError(
            f"weights of {member.name} seed {seed} must load as they were kept, got others; please "
            "report this"
        )


def difference_between(one: nn.Module, other: nn.Module, architecture: Architecture) -> str | None:
    """What first differs between two networks in eval mode; None if nothing does."""
    ours, theirs = one.state_dict(), other.state_dict()
    if list(ours) != list(theirs):
        return "list of weights"
    if others := [name for name, one in ours.items() if one.shape != theirs[name].shape]:
        return f"shape of {others[0]}"
    if others := [name for name, one in ours.items() if not torch.equal(one, theirs[name])]:
        return f"draw of {others[0]}"
    images = images_for(architecture, NUM_IMAGES)
    with torch.inference_mode():
        return None if torch.equal(one(images), other(images)) else "answer to an image"


def images_for(architecture: Architecture, number: int) -> Tensor:
    """Random images of an architecture's size, from torch's global generator."""
    size = architecture.resolution
    return torch.randn(number, architecture.in_channels, size, size)
