"""The files of an export, each checked before any is handed out."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from scaling_search.export.family import (
    Family,
    Weights,
    check_family,
    check_weights,
    family_source,
    imported,
    needs,
)
from scaling_search.export.members import Member, Training, distinct
from scaling_search.export.onnx_files import check_onnx, onnx_file
from scaling_search.files import replace_file

MANIFEST = "manifest.json"

Bar = Callable[[Sequence[Any], str], Iterable[Any]]
"""Shows how far some things are, and what is done to them."""


@dataclass
class Contents:
    """Files by their path in the folder of an export, and what the manifest says of each."""

    files: dict[str, bytes] = field(default_factory=dict)
    details: dict[str, dict[str, object]] = field(default_factory=dict)

    def add(self, name: str, content: bytes, **details: object) -> None:
        """One more file."""
        self.files[name] = content
        self.details[name] = details

    def manifest(self) -> bytes:
        """Every file with its hash, its size and what else is known of it."""
        files = {
            name: {
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
                **self.details[name],
            }
            for name, content in sorted(self.files.items())
        }
        return (json.dumps({"files": files}, indent=2) + "\n").encode()

    def write(self, folder: Path) -> list[Path]:
        """Writes all, each file whole or not at all, the manifest last; the paths.

        What an earlier export left that is not written again goes, what others put there stays.

        Raises:
            RuntimeError: A file cannot be written.
        """
        before = set(_named(folder))
        files = self.files | {MANIFEST: self.manifest()}
        for name, content in files.items():
            replace_file(folder / name, content)
        for name in before - set(files):
            (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # others' files are there
                (folder / name).parent.rmdir()
        return [folder / name for name in files]


def _named(folder: Path) -> Iterator[str]:
    """The files that an earlier manifest names, none of them outside."""
    try:
        names = list(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in map(str, names):
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            yield name


def networks(
    members: Sequence[Member], kept: Sequence[Training], *, title: str, onnx: bool, bar: Bar
) -> tuple[Contents, dict[str, list[Weights]]]:
    """The source, the weights and the ONNX files; the weights by network.

    Args:
        members: The base network first.
        kept: Trainings whose weights there are.
        title: First words of the source.
        onnx: Whether to write ONNX files.
        bar: Shows the progress.

    Raises:
        ValueError: A network cannot be cut out of its package.
        RuntimeError: What was written is not what was trained.
    """
    contents = Contents()
    weights: dict[str, list[Weights]] = {}
    for training in kept:
        facts = training.facts()
        assert facts is not None
        name, content = f"weights/{training.path.name}", training.path.read_bytes()
        contents.add(
            name,
            content,
            members=_names(members, training.member),
            seed=facts.seed,
            epochs=facts.epochs,
            val_accuracy=facts.val_accuracy,
            val_loss=facts.val_loss,
            recorded_val_accuracy=training.row["val_accuracy"],
            recorded_val_loss=training.row["val_loss"],
        )
        weights.setdefault(training.member.network, []).append(
            Weights(
                seed=facts.seed,
                file=name,
                sha256=hashlib.sha256(content).hexdigest(),
                val_accuracy=facts.val_accuracy,
                val_loss=facts.val_loss,
                mean=facts.mean,
                std=facts.std,
            )
        )
    source = family_source(members, weights, title=title)
    contents.add("family.py", source.encode(), needs=needs(source))
    with TemporaryDirectory() as aside:
        contents.write(Path(aside))
        family = imported(Path(aside) / "family.py")
        for member in bar(distinct(members), "checking networks"):
            check_family(family, member)
        for training in bar(kept, "checking weights"):
            content = contents.files[f"weights/{training.path.name}"]
            check_weights(family, training.member, training.seed, content)
        if onnx:
            for member in bar(distinct(members), "writing ONNX"):
                _add_onnx(contents, members, member, family, weights)
    return contents, weights


def _add_onnx(
    contents: Contents,
    members: Sequence[Member],
    member: Member,
    family: Family,
    weights: Mapping[str, Sequence[Weights]],
) -> None:
    """A network as ONNX, with the weights of its first training where there are any."""
    there = weights.get(member.network, ())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = family.load(member.name) if there else family.build(member.name)
    which = f"seed{there[0].seed}" if there else "untrained"
    name = f"onnx/{member.name}-{which}.onnx"
    content = onnx_file(network, member.architecture)
    contents.add(
        name,
        content,
        members=_names(members, member),
        weights=there[0].file if there else None,
        largest_difference=check_onnx(content, network, member.architecture, name),
    )


def _names(members: Iterable[Member], member: Member) -> list[str]:
    return [other.name for other in members if other.network == member.network]
