"""Networks at half, once and twice a setting of the search: a table, its cells, their names."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling_search.answer.verdicts import FARTHEST
from scaling_search.core.formatting import count, difference, level
from scaling_search.core.scaling import DIMENSIONS, REFERENCES
from scaling_search.core.space_filling import Points, as_points, distances
from scaling_search.follow_ups.interactions import Cells, fit_cells

FACTORS = (0.5, 1.0, 2.0)
"""What the search's own setting is multiplied by."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Trainings of some networks at the three factors of one setting.

    Attributes:
        setting: ``rate`` or ``length``.
        objective: The metric.
        rows: Their trainings, with the setting's factor and the loss as columns.
        networks: A row for each scaled network, by number.
        names: Of these networks, for people.
        is_complete: Which of them have a finished training at each factor.
        cells: Of those that have; None where none has.
    """

    setting: str
    objective: str
    rows: pd.DataFrame
    networks: pd.DataFrame
    names: list[str]
    is_complete: "pd.Series[bool]"
    cells: Cells | None

    @property
    def complete(self) -> list[str]:
        """The names of the networks of the cells."""
        return [name for name, there in zip(self.names, self.is_complete, strict=True) if there]

    @property
    def shares(self) -> Points:
        """Shares of the networks of the cells."""
        return _shares(self.networks[self.is_complete])

    def size(self, value: float) -> str:
        """A difference of losses for people."""
        return difference(value, self.objective)

    def level(self, loss: float) -> str:
        """A loss for people, as the metric that it stands for."""
        return level(_sign(self.objective) * loss, self.objective)

    def counted(self) -> list[str]:
        """What failed and what is left out, in words."""
        said = []
        failed = int(self.rows["loss"].isna().sum())
        if failed:
            are = "is" if failed == 1 else "are"
            said.append(
                f"{failed} of {count(len(self.rows), 'training')} failed and {are} left out."
            )
        missing = [name for name in self.names if name not in self.complete]
        if missing:
            said.append(
                f"Without a finished training at each {self.setting}, and so not in the test: "
                f"{', '.join(missing)}."
            )
        return said

    def table(self) -> pd.DataFrame:
        """A row for each network at each factor; those that are not in the cells have no mean."""
        means, errors = (np.full((len(self.networks), len(FACTORS)), np.nan) for _ in range(2))
        if self.cells is not None:
            means[self.is_complete] = self.cells.means
            errors[self.is_complete] = self.cells.errors
        lines = []
        for i, (_, network) in enumerate(self.networks.iterrows()):
            own = self.rows[self.rows["candidate"] == network["candidate"]]
            for j, factor in enumerate(FACTORS):
                at = own[own[self.setting] == factor]
                line = {key: network[key] for key in ("candidate", "network")}
                line |= {f"{d}_share": network[f"{d}_share"] for d in DIMENSIONS}
                line |= {"name": self.names[i], self.setting: factor}
                line |= {key: at[key].mean() for key in ("epochs", "learning_rate")}
                line |= {"num_seeds": int(at["loss"].notna().sum())}
                line |= {"num_failed": int(at["loss"].isna().sum())}
                line |= {f"{self.objective}_mean": _sign(self.objective) * means[i, j]}
                lines.append(line | {f"{self.objective}_se": errors[i, j]})
        table = pd.DataFrame(lines)
        ranks = table.assign(loss=means.ravel()).groupby(self.setting)["loss"]
        return table.assign(place=ranks.rank(method="first").astype("Int64"))

    def lines(self) -> list[list[str]]:
        """The same for people: a header and a line for each network, places in brackets."""
        table = self.table()
        found = [["network", "shares d / w / r", *(f"{self.setting} × {f:g}" for f in FACTORS)]]
        for name, own in table.groupby("name", sort=False):
            shares = " / ".join(f"{own[f'{d}_share'].iloc[0]:.2f}" for d in DIMENSIONS)
            means = zip(own[f"{self.objective}_mean"], own["place"], strict=True)
            levels = [
                "–" if pd.isna(place) else f"{level(mean, self.objective)} ({place})"
                for mean, place in means
            ]
            found.append([str(name), shares, *levels])
        return found


def layout(
    rows: pd.DataFrame,
    setting: str,
    objective: str,
    *,
    references: Iterable[str],
    found: int | None,
) -> Layout:
    """The layout of the networks that were trained at another factor than 1 too.

    Args:
        rows: Trainings with the factor in the setting's column and with what should be small in
            the column ``loss``, which is empty for those that failed.
        setting: ``rate`` or ``length``.
        objective: The metric.
        references: After which the nearest network is named.
        found: Number of the network that the search found, if it is known.
    """
    changed = rows.loc[rows[setting] != 1, "candidate"].unique()
    mine = rows[rows["candidate"].isin(changed)]
    scaled = mine[mine["candidate"] != 0]
    networks = scaled.drop_duplicates("candidate").sort_values("candidate", ignore_index=True)
    ended = scaled[scaled["loss"].notna()]
    num_factors = ended.groupby("candidate")[setting].nunique()
    is_complete = networks["candidate"].map(num_factors).fillna(0) == len(FACTORS)
    numbers = networks.loc[is_complete, "candidate"].to_numpy(dtype=np.int64)
    used = ended[ended["candidate"].isin(numbers)]
    cells = None
    if len(used):
        cells = fit_cells(
            np.searchsorted(numbers, used["candidate"].to_numpy(dtype=np.int64)),
            np.searchsorted(FACTORS, used[setting].to_numpy(dtype=np.float64)),
            used["seed"].to_numpy(dtype=np.int64),
            used["loss"].to_numpy(dtype=np.float64),
        )
    names = _names(networks, references, found)
    return Layout(setting, objective, mine, networks, names, is_complete, cells)


def _names(networks: pd.DataFrame, references: Iterable[str], found: int | None) -> list[str]:
    """Numbers, behind the references to which a network is the nearest and not far."""
    numbers = [int(number) for number in networks["candidate"]]
    titles: dict[int, list[str]] = {number: [] for number in numbers}
    if numbers:
        for name in references:
            away = distances(_shares(networks), as_points([REFERENCES[name]]))[:, 0]
            if away.min() <= FARTHEST:
                titles[numbers[int(away.argmin())]].append(name)
    if found in titles:
        titles[found].append("found")
    return [f"{'/'.join(of)} ({number})" if of else f"{number}" for number, of in titles.items()]


def _shares(networks: pd.DataFrame) -> Points:
    return networks[[f"{d}_share" for d in DIMENSIONS]].to_numpy(dtype=np.float64)


def _sign(objective: str) -> float:
    """What a loss is multiplied by to be the metric again."""
    return -1.0 if objective == "val_accuracy" else 1.0
