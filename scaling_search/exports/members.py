"""The networks of a run to take away, by name, with their trainings."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from scaling_search.core.candidate import Candidate
from scaling_search.core.scaling import phi_of
from scaling_search.training.weights import Facts, facts_of, file_name

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
        """The network's name in the record, which another member may share."""
        return self.candidate.network

    def build(self) -> nn.Module:
        """The network, freshly initialised with seed 0.

        Raises:
            RuntimeError: It has not the parameters of the record.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.candidate.architecture.build()
        params, recorded = sum(p.numel() for p in network.parameters()), self.candidate.params
        if params != recorded:
            raise RuntimeError(
                f"{self.name} must have {recorded:,} parameters as in the record, got {params:,}; "
                "take the version that searched"
            )
        return network


def named(members: Mapping[str, Candidate], target: float) -> list[NamedNetwork]:
    """Members by their names, each with its phi.

    Args:
        members: As `Run.members` gives them.
        target: Cost of the found network over the base network's.
    """
    phis = {"base": 0.0, "found": phi_of(target)}
    return [
        NamedNetwork(
            name, phis[name] if name in phis else float(name.rpartition("-")[2]), candidate
        )
        for name, candidate in members.items()
    ]


def distinct(members: Iterable[NamedNetwork]) -> dict[str, list[NamedNetwork]]:
    """The members by their network, in order."""
    by_network: dict[str, list[NamedNetwork]] = {}
    for member in members:
        by_network.setdefault(member.network, []).append(member)
    return by_network


def rows_of(table: pd.DataFrame) -> Iterator[Row]:
    """The rows of a table by column."""
    for row in table.to_dict("records"):
        yield {str(column): value for column, value in row.items()}


@dataclass(frozen=True, eq=False)
class Training:
    """A training of a member that ended, and its file of weights.

    Attributes:
        member: The first of the names of its network.
        row: Of the record.
        folder: Where weights are kept.
        fingerprint: Of the data.
    """

    member: NamedNetwork
    row: Row
    folder: Path
    fingerprint: str

    @property
    def seed(self) -> int:
        """The seed that it started from."""
        return int(str(self.row["seed"]))

    @property
    def path(self) -> Path:
        """The file of its weights, there or not."""
        return self.folder / file_name(self.member.network, self.seed)

    def facts(self) -> Facts | None:
        """The facts that its file holds; None where there is none of this very training."""
        facts = facts_of(self.path)
        if facts is None:
            return None
        mine = (facts.network, facts.seed, facts.epochs, facts.learning_rate, facts.fingerprint)
        row = self.row
        wanted = (self.member.network, self.seed, row["epochs"], row["learning_rate"])
        return facts if mine == (*wanted, self.fingerprint) else None

    def network(self, facts: Facts) -> nn.Module:
        """The trained network.

        Raises:
            RuntimeError: The weights do not fit it.
        """
        network = self.member.build()
        try:
            tensors = safetensors.torch.load_file(self.path)
            missing, others = network.load_state_dict(tensors, strict=False)
            if others := {*missing, *others} - {*facts.left_out}:
                raise ValueError(f"no or unknown {min(others)}")  # noqa: TRY301  # told below
        except (ValueError, RuntimeError, OSError, SafetensorError) as error:
            raise RuntimeError(
                f"weights of {self.member.name} seed {self.seed} must fit the network, got "
                f"{' '.join(str(error).split())[:200]!r}; delete {self.path.name}"
            ) from error
        return network


def trainings(
    members: Iterable[NamedNetwork], results: pd.DataFrame, *, folder: Path, fingerprint: str
) -> list[Training]:
    """The trainings that ended of each network, by member and seed.

    Args:
        members: Of a network's names the first counts.
        results: All trainings; of equal ones the first counts.
        folder: Where weights are kept.
        fingerprint: Of the data.
    """
    ended = results[results["state"] == "COMPLETE"].drop_duplicates(["network", "seed"])
    return [
        Training(of_network[0], row, folder, fingerprint)
        for network, of_network in distinct(members).items()
        for row in rows_of(ended[ended["network"] == network].sort_values("seed"))
    ]
