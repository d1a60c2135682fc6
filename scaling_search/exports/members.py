"""The networks of an export, by name, with their trainings and weights."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from scaling_search.core.candidate import Candidate
from scaling_search.core.scaling import phi_of
from scaling_search.training.weights import Facts, file_name, read_weights

Row = Mapping[str, object]


@dataclass(frozen=True)
class NamedNetwork:
    """A network under one of its names.

    Attributes:
        name: ``base``, ``found``, or a family and its phi as in ``compound-2``.
        phi: The cost is 2**phi times the base network's.
        candidate: The network.
    """

    name: str
    phi: float
    candidate: Candidate

    @property
    def network(self) -> str:
        """The network's name in the record, which several members may share."""
        return self.candidate.network

    def build(self) -> nn.Module:
        """The network, freshly initialised with seed 0.

        Raises:
            RuntimeError: Its number of parameters is not that of the record.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.candidate.architecture.build()
        params, recorded = sum(p.numel() for p in network.parameters()), self.candidate.params
        if params != recorded:
            raise RuntimeError(
                f"{self.name} must have {recorded:,} parameters as in the record, got {params:,}; "
                "use the version of the search"
            )
        return network


def named(members: Mapping[str, Candidate], target: float) -> list[NamedNetwork]:
    """The networks of `Run.members` with their phi; ``target`` is the cost ratio of ``found``.

    Raises:
        RuntimeError: A name is no file's name.
    """
    for name in members:
        if not re.fullmatch(r"[^\W_][\w.-]*", name):  # it stands in a record, perhaps another's
            raise RuntimeError(
                f"networks of scale must have names like compound-2, got {name!r}; put back the "
                "record as it was"
            )
    phis = {"base": 0.0, "found": phi_of(target)}
    return [
        NamedNetwork(
            name, phis[name] if name in phis else float(name.rpartition("-")[2]), candidate
        )
        for name, candidate in members.items()
    ]


def distinct(members: Iterable[NamedNetwork]) -> dict[str, list[NamedNetwork]]:
    """Members grouped by their network, in order."""
    by_network: dict[str, list[NamedNetwork]] = {}
    for member in members:
        by_network.setdefault(member.network, []).append(member)
    return by_network


def rows_of(table: pd.DataFrame) -> Iterator[Row]:
    """The rows of a table as dicts."""
    for row in table.to_dict("records"):
        yield {str(column): value for column, value in row.items()}


@dataclass(frozen=True, eq=False)
class Training:
    """A finished training of a member, and its file of weights.

    Attributes:
        member: The network under the first of its names.
        row: Row of the record.
        folder: Folder of weights.
        fingerprint: Fingerprint of the data.
    """

    member: NamedNetwork
    row: Row
    folder: Path
    fingerprint: str

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(str(self.row["seed"]))

    @property
    def path(self) -> Path:
        """The file of its weights, which may be missing."""
        return self.folder / file_name(self.member.network, self.seed)

    def facts(self) -> Facts | None:
        """The facts in its file of weights; None if there is none of this very training.

        Raises:
            RuntimeError: The file is damaged.
        """
        if (found := read_weights(self.path)) is None:
            return None
        facts, _ = found
        mine = (facts.network, facts.seed, facts.epochs, facts.learning_rate, facts.fingerprint)
        row = self.row
        wanted = (self.member.network, self.seed, row["epochs"], row["learning_rate"])
        return facts if mine == (*wanted, self.fingerprint) else None

    def network(self, facts: Facts) -> nn.Module:
        """The trained network.

        Raises:
            RuntimeError: The weights are damaged or do not fit it.
        """
        network = self.member.build()
        if (found := read_weights(self.path)) is None:
            raise RuntimeError(
                f"{self.path} must stay while it is exported, but is gone; run again"
            )
        try:
            missing, others = network.load_state_dict(found[1], strict=False)
            if others := {*missing, *others} - {*facts.left_out}:
                raise ValueError(f"no or unknown {min(others)}")  # noqa: TRY301  # told below
        except (ValueError, RuntimeError) as error:
            raise RuntimeError(
                f"weights of {self.member.name} seed {self.seed} must fit the network, got "
                f"{' '.join(str(error).split())[:200]!r}; delete {self.path.name}"
            ) from error
        return network


def trainings(
    members: Iterable[NamedNetwork], results: pd.DataFrame, *, folder: Path, fingerprint: str
) -> list[Training]:
    """The finished trainings of each network, by member and seed; of equal ones the first."""
    ended = results[results["state"] == "COMPLETE"].drop_duplicates(["network", "seed"])
    return [
        Training(of_network[0], row, folder, fingerprint)
        for network, of_network in distinct(members).items()
        for row in rows_of(ended[ended["network"] == network].sort_values("seed"))
    ]
