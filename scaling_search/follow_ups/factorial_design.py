"""Networks at half, once and twice a setting of the search: a factorial design."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling_search.answer.verdicts import FARTHEST
from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS, REFERENCES
from scaling_search.core.space_filling import Points, as_points, distances
from scaling_search.follow_ups.interactions import CellMeans, fit_cells

FACTORS = (0.5, 1.0, 2.0)
"""Multiples of the search's own setting."""

SHARES = [f"{dimension}_share" for dimension in DIMENSIONS]


@dataclass(frozen=True, eq=False)
class FactorialDesign:
    """Trainings of some networks at the three factors of one setting.

    Attributes:
        setting: ``rate`` or ``length``.
        objective: The metric.
        rows: The trainings, with the setting's factor and the loss as columns.
        networks: A row for each scaled network, by number.
        names: Names of these networks: nearest references and number.
        is_complete: True for those with a finished training at each factor.
        cells: Cells of the complete networks; None without any.
    """

    setting: str
    objective: Metric
    rows: pd.DataFrame
    networks: pd.DataFrame
    names: list[str]
    is_complete: "pd.Series[bool]"
    cells: CellMeans | None

    @property
    def complete(self) -> list[str]:
        """Names of the complete networks."""
        return [name for name, there in zip(self.names, self.is_complete, strict=True) if there]

    @property
    def shares(self) -> Points:
        """Shares of the complete networks, (networks, 3)."""
        return self.networks.loc[self.is_complete, SHARES].to_numpy(dtype=np.float64)

    def table(self) -> pd.DataFrame:
        """A row for each network at each factor; incomplete networks have no mean."""
        means, errors = (np.full((len(self.networks), len(FACTORS)), np.nan) for _ in range(2))
        if self.cells is not None:
            means[self.is_complete] = self.cells.means
            errors[self.is_complete] = self.cells.errors
        lines = []
        for i, (_, network) in enumerate(self.networks.iterrows()):
            own = self.rows[self.rows["candidate"] == network["candidate"]]
            for j, factor in enumerate(FACTORS):
                at = own[own[self.setting] == factor]
                line = {key: network[key] for key in ("candidate", "network", *SHARES)}
                line |= {"name": self.names[i], self.setting: factor}
                line |= {key: at[key].mean() for key in ("epochs", "learning_rate")}
                line |= {"num_seeds": int(at["loss"].notna().sum())}
                line |= {"num_failed": int(at["loss"].isna().sum())}
                line |= {f"{self.objective}_mean": self.objective.sign * means[i, j]}
                lines.append(line | {f"{self.objective}_se": errors[i, j]})
        table = pd.DataFrame(lines)
        ranks = table.assign(loss=means.ravel()).groupby(self.setting)["loss"]
        return table.assign(place=ranks.rank(method="first").astype("Int64"))


def factorial_design(
    rows: pd.DataFrame,
    setting: str,
    objective: Metric,
    *,
    references: Iterable[str],
    found: int | None,
) -> FactorialDesign:
    """Returns the design of all networks that were trained at another factor than 1 too.

    Args:
        rows: Trainings with the factor in the setting's column and the loss in ``loss``, which is
            empty for those that failed.
        setting: ``rate`` or ``length``.
        objective: The metric.
        references: Names for the network nearest to each.
        found: Number of the network that the search found; None if unknown.
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
    names = network_names(networks, references, found)
    return FactorialDesign(setting, objective, mine, networks, names, is_complete, cells)


def network_names(
    networks: pd.DataFrame, references: Iterable[str], found: int | None = None
) -> list[str]:
    """Numbers, after the references to which a network is the nearest and not far."""
    titles: dict[int, list[str]] = {int(number): [] for number in networks["candidate"]}
    numbers, shares = list(titles), networks[SHARES].to_numpy(dtype=np.float64)
    for name in references if numbers else ():
        away = distances(shares, as_points([REFERENCES[name]]))[:, 0]
        if away.min() <= FARTHEST:
            titles[numbers[int(away.argmin())]].append(name)
    if found in titles:
        titles[found].append("found")
    return [f"{'/'.join(of)} ({number})" if of else f"{number}" for number, of in titles.items()]
