"""The files of an export, each checked before the first is written."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scaling_search.exports.card import card
from scaling_search.exports.card_data import CardData, as_yaml, values_of
from scaling_search.exports.members import NamedNetwork, distinct
from scaling_search.exports.programs import ONNX, PROGRAM, Format, checked
from scaling_search.record.serialization import to_json
from scaling_search.runtime.files import replace_file

FAMILY = "family.json"


@dataclass
class Files:
    """Contents by their path in the folder of an export, and details of each."""

    contents: dict[str, bytes] = field(default_factory=dict)
    details: dict[str, dict[str, object]] = field(default_factory=dict)

    def add(self, name: str, content: bytes, **details: object) -> None:
        """Adds a file."""
        self.contents[name] = content
        digest = hashlib.sha256(content).hexdigest()
        self.details[name] = {"sha256": digest, "bytes": len(content), **details}


def write_export(data: CardData, folder: Path) -> list[Path]:
    """Writes all files of an export, each whole or not at all, ``family.json`` last; their paths.

    Files of an earlier export that are not written again are removed, others stay.

    Raises:
        RuntimeError: Weights do not fit their network, a program does not answer as its network,
            or a file cannot be written.
    """
    options = data.options
    formats = [form for form in (PROGRAM, ONNX) if getattr(options, form.option)]
    files = Files()
    for member, *others in distinct(data.members).values():
        _add_network(files, member, [member.name, *(one.name for one in others)], data, formats)
    values = values_of(data)
    files.add("coefficients.yaml", as_yaml(values).encode())
    files.add("README.md", card(data, values, files.details).encode())
    members = {member.name: _facts(member, data, files) for member in data.members}
    family = {"experiment": data.experiment.name, "members": members, "files": files.details}
    before = set(_earlier(folder))
    contents = files.contents | {FAMILY: (json.dumps(family, indent=2) + "\n").encode()}
    for name, content in contents.items():
        replace_file(folder / name, content)
    for name in before - set(contents):
        (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # others' files are there
            (folder / name).parent.rmdir()
    return [folder / name for name in contents]


def _add_network(
    files: Files,
    member: NamedNetwork,
    names: list[str],
    data: CardData,
    formats: Iterable[Format],
) -> None:
    """Adds a network's weights, and its programs with the first of them."""
    network, weights = None, None
    for training, facts in data.kept_of(member):
        trained = training.network(facts)
        if network is None:
            network, weights = trained, f"weights/{training.path.name}"
        files.add(
            f"weights/{training.path.name}",
            training.path.read_bytes(),
            members=names,
            seed=facts.seed,
            epochs=facts.epochs,
            val_accuracy=facts.val_accuracy,
            val_loss=facts.val_loss,
            recorded_val_accuracy=training.row["val_accuracy"],
            recorded_val_loss=training.row["val_loss"],
        )
    network = network or member.build()
    for form in formats:
        first, *others = (f"{form.option}/{name}.{form.suffix}" for name in names)
        content, difference = checked(form, network, member.candidate.architecture, first)
        for name in (first, *others):
            files.add(name, content, members=names, weights=weights, largest_difference=difference)


def _facts(member: NamedNetwork, data: CardData, files: Files) -> dict[str, object]:
    """A member as ``family.json`` has it."""
    normalised = next(({"mean": f.mean, "std": f.std} for _, f in data.kept_of(member)), None)
    program = f"{PROGRAM.option}/{member.name}.{PROGRAM.suffix}"
    return {
        "phi": member.phi,
        "coefficients": asdict(member.candidate.coefficients),
        "network": member.network,
        "resolution": member.candidate.architecture.resolution,
        "flops": member.candidate.flops,
        "params": member.candidate.params,
        "architecture": to_json(member.candidate.architecture),
        "input": normalised,
        "program": program if program in files.contents else None,
    }


def _earlier(folder: Path) -> Iterator[str]:
    """The files in this folder that an earlier ``family.json`` names."""
    try:
        names = list(json.loads((folder / FAMILY).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in map(str, names):
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            yield name
