"""The networks of a run to take away: by name, built anew from the record, with their trainings."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from scaling_search.protocols import Architecture
from scaling_search.scaling import Coefficients, Multipliers
from scaling_search.training.weights import Facts, facts_of, file_name

COEFFICIENTS = ("alpha", "beta", "gamma")

Row = Mapping[str, object]


@dataclass(frozen=True)
class NamedNetwork:
    """A network under one of its names.

    Attributes:
        name: ``base``, ``found``, or a family and its phi as in ``compound-2``.
        phi: The cost is 2**phi times the base network's.
        row: The network as columns of a table.
        architecture: Builds it.
    """

    name: str
    phi: float
    row: Row
    architecture: Architecture

    @property
    def network(self) -> str:
        """The network's name in the record, which another member may share."""
        return str(self.row["network"])

    def number(self, column: str) -> float:
        """A column that is a number."""
        return float(str(self.row[column]))

    def build(self) -> nn.Module:
        """The network, freshly initialised with seed 0.

        Raises:
            RuntimeError: It has not the parameters of the record.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.architecture.build()
        params, recorded = sum(p.numel() for p in network.parameters()), int(self.number("params"))
        if params != recorded:
            raise RuntimeError(
                f"{self.name} must have {recorded:,} parameters as in the record, got {params:,}; "
                "take the version that searched"
            )
        return network


def members(
    base_network: Architecture,
    candidates: pd.DataFrame,
    families: pd.DataFrame | None,
    results: pd.DataFrame,
    *,
    found: int,
    phi: float,
) -> list[NamedNetwork]:
    """Base network, found network, and each member of each family that was trained.

    Args:
        base_network: Of the configuration.
        candidates: The planned networks.
        families: The members of families, None where there are none.
        results: All trainings, whose coefficients have more digits than a table's.
        found: Number of the candidate to go on with.
        phi: Of the search.

    Raises:
        ValueError: A network of the record cannot be scaled from this base network.
    """
    by_number = {row["candidate"]: row for row in rows_of(candidates)}
    wanted = [("base", 0.0, by_number[0]), ("found", phi, by_number[found])]
    if families is not None:
        scaled = families[families["phi"] != 0]
        order = {family: place for place, family in enumerate(families["family"].unique())}
        scaled = scaled.sort_values("phi", kind="stable")
        scaled = scaled.sort_values("family", kind="stable", key=lambda names: names.map(order))
        columns = [column for column in candidates if column in scaled]  # a report adds others
        names = zip(scaled["family"], scaled["phi"], rows_of(scaled[columns]), strict=True)
        wanted += [(f"{family}-{phi:g}", float(phi), row) for family, phi, row in names]
    exact = {str(row["network"]): row for row in rows_of(results.iloc[::-1])}  # the first counts
    return [
        NamedNetwork(name, phi, row, _architecture(base_network, row, phi, exact))
        for name, phi, row in wanted
    ]


def distinct(named: Iterable[NamedNetwork]) -> dict[str, list[NamedNetwork]]:
    """The members by their network, in order."""
    by_network: dict[str, list[NamedNetwork]] = {}
    for member in named:
        by_network.setdefault(member.network, []).append(member)
    return by_network


def rows_of(table: pd.DataFrame) -> Iterator[Row]:
    """The rows of a table by column."""
    for row in table.to_dict("records"):
        yield {str(column): value for column, value in row.items()}


def _architecture(
    base_network: Architecture, row: Row, phi: float, exact: Mapping[str, Row]
) -> Architecture:
    """The network that a row names, by whichever of its coefficients round to it."""
    network = str(row["network"])
    multipliers = [Multipliers(1.0, 1.0, 1.0)]
    if row["candidate"] != 0:
        ends = [[float(str(row[f"{n}_{end}"])) for n in COEFFICIENTS] for end in ("low", "high")]
        middle = [(low + high) / 2 for low, high in zip(*ends, strict=True)]
        given = [
            [float(str(one[name])) for name in COEFFICIENTS]
            for one in (exact.get(network, row), row)
        ]
        multipliers = [Coefficients(*triple).multipliers(phi) for triple in (*given, middle)]
    scaled = [base_network.scaled(one) for one in multipliers]
    if right := [architecture for architecture in scaled if architecture.name == network]:
        return right[0]
    raise ValueError(
        f"base_network must be the one that was searched with, got one that scales to "
        f"{scaled[-1].name} instead of {network}; put back the run's config.yaml"
    )


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
        """What the file says of itself; None where there is none of this very training."""
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
    named: Iterable[NamedNetwork], results: pd.DataFrame, *, folder: Path, fingerprint: str
) -> list[Training]:
    """The trainings that ended of each network, by member and seed.

    Args:
        named: The members; of a network's names the first counts.
        results: All trainings; of equal ones the first counts.
        folder: Where weights are kept.
        fingerprint: Of the data.
    """
    ended = results[results["state"] == "COMPLETE"].drop_duplicates(["network", "seed"])
    return [
        Training(of_network[0], row, folder, fingerprint)
        for network, of_network in distinct(named).items()
        for row in rows_of(ended[ended["network"] == network].sort_values("seed"))
    ]
