"""The networks of a run to take away: by name, built anew from the record, with their trainings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from scaling_search.protocols import Architecture
from scaling_search.scaling import Coefficients, Multipliers
from scaling_search.training.weights import Facts, facts_of, file_name

COEFFICIENTS = ("alpha", "beta", "gamma")

Row = Mapping[str, object]


@dataclass(frozen=True)
class Member:
    """A network under one of its names.

    Attributes:
        name: ``base``, ``found``, or a family and its phi as in ``compound-2``.
        phi: The cost is 2**phi times the base network's.
        row: The network as columns of a table.
        architecture: What is built.
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


def members(
    base_network: Architecture,
    candidates: pd.DataFrame,
    families: pd.DataFrame | None,
    rows: Sequence[Row],
    *,
    found: int,
    phi: float,
) -> list[Member]:
    """Base network, found network, and each member of each family that was trained.

    Args:
        base_network: Of the configuration.
        candidates: The planned networks.
        families: The members of families, None where there are none.
        rows: Of all trainings, whose coefficients have more digits than a table's.
        found: Number of the candidate to go on with.
        phi: Of the search.

    Raises:
        ValueError: A network of the record cannot be scaled from this base network.
    """
    wanted = [("base", 0.0, _row(candidates, 0)), ("found", phi, _row(candidates, found))]
    if families is not None:
        scaled = families[families["phi"] != 0]
        order = {family: place for place, family in enumerate(families["family"].unique())}
        scaled = scaled.sort_values("phi", kind="stable")
        scaled = scaled.sort_values("family", kind="stable", key=lambda names: names.map(order))
        columns = [column for column in candidates if column in scaled]  # a report adds others
        names = zip(scaled["family"], scaled["phi"], _rows(scaled[columns]), strict=True)
        wanted += [(f"{family}-{phi:g}", float(phi), row) for family, phi, row in names]
    return [
        Member(name, phi, row, _built(base_network, row, phi, rows)) for name, phi, row in wanted
    ]


def example(found: Sequence[Member]) -> str:
    """The name of a member to show: the largest compound one, else the found one."""
    compound = [member.name for member in found if member.name.startswith("compound-")]
    return compound[-1] if compound else found[1].name


def _rows(table: pd.DataFrame) -> Iterator[Row]:
    for row in table.to_dict("records"):
        yield {str(column): value for column, value in row.items()}


def _row(candidates: pd.DataFrame, number: int) -> Row:
    return next(_rows(candidates[candidates["candidate"] == number]))


def _built(base_network: Architecture, row: Row, phi: float, rows: Iterable[Row]) -> Architecture:
    """The network that a row names, by whichever of its coefficients round to it."""
    network = str(row["network"])
    if row["candidate"] == 0:
        multipliers = [Multipliers(1.0, 1.0, 1.0)]
    else:
        exact = [one for one in rows if one["network"] == network]
        triples = [[float(str(one[name])) for name in COEFFICIENTS] for one in (*exact[:1], row)]
        ends = [[float(str(row[f"{n}_{end}"])) for n in COEFFICIENTS] for end in ("low", "high")]
        triples.append([(low + high) / 2 for low, high in zip(*ends, strict=True)])
        multipliers = [Coefficients(*triple).multipliers(phi) for triple in triples]
    for one in multipliers:
        architecture = base_network.scaled(one)
        if architecture.name == network:
            return architecture
    raise ValueError(
        f"base_network must be the one that was searched with, got one that scales to "
        f"{architecture.name} instead of {network}; put back the run's config.yaml"
    )


@dataclass(frozen=True, eq=False)
class Training:
    """A training of a member that ended, and what it left.

    Attributes:
        member: The first of the names of its network.
        row: Of the record.
        folder: Where weights are kept.
        fingerprint: Of the data.
    """

    member: Member
    row: Row
    folder: Path
    fingerprint: str

    @property
    def seed(self) -> int:
        """Of the training."""
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


def trainings(
    found: Sequence[Member], rows: Iterable[Row], *, folder: Path, fingerprint: str
) -> list[Training]:
    """The trainings that ended of each network, by member and seed.

    Args:
        found: The members; of a network's names the first counts.
        rows: Of all trainings; of equal ones the first counts.
        folder: Where weights are kept.
        fingerprint: Of the data.
    """
    by_training: dict[tuple[str, int], Row] = {}
    for row in rows:
        if row["state"] == "COMPLETE":
            by_training.setdefault((str(row["network"]), int(str(row["seed"]))), row)
    in_order = sorted(by_training.items())
    return [
        Training(member, row, folder, fingerprint)
        for member in distinct(found)
        for (network, _), row in in_order
        if network == member.network
    ]


def distinct(found: Iterable[Member]) -> list[Member]:
    """The members without those that are another's network."""
    first: dict[str, Member] = {}
    for member in found:
        first.setdefault(member.network, member)
    return list(first.values())
