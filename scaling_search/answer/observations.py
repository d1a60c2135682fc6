"""The part of a results table that the fit takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scaling_search.core.metric import Metric
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.core.space_filling import Points, places
from scaling_search.core.trial import TrialResult

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Observations:
    """Trainings of networks of one cost, and those of the base network.

    Attributes:
        response: The metric.
        target: Cost that the networks should have, over the base network's.
        candidates: Number of each network in the plan, (networks,).
        shares: As built, (networks, 3).
        cost_ratio: Measured cost over the base network's, (networks,).
        network: Network of each training, an index into `candidates`, (trainings,).
        seed: Seed of each training, (trainings,).
        loss: Loss of each training, (trainings,); a metric to maximise comes with a minus sign.
        base_seed: Seed of each training of the base network.
        base_loss: Loss of each training of the base network.
        num_failed: Failed trainings, which are in none of these.
    """

    response: Metric
    target: float
    candidates: Indices
    shares: Points
    cost_ratio: Values
    network: Indices
    seed: Indices
    loss: Values
    base_seed: Indices
    base_loss: Values
    num_failed: int

    @property
    def sign(self) -> float:
        """Factor that makes a loss the response again."""
        return self.response.sign

    @cached_property
    def place(self) -> Indices:
        """Place of each network, (networks,); the networks of one are one unit of the fit."""
        return places(self.shares)

    @property
    def num_places(self) -> int:
        """Number of places with a finished training."""
        return int(self.place.max(initial=-1)) + 1

    @property
    def counts(self) -> Indices:
        """Trainings of each network, (networks,)."""
        return np.bincount(self.network, minlength=len(self.candidates))

    def corrected(self, slope: float) -> Values:
        """Losses corrected to exactly the target's cost, (trainings,).

        Args:
            slope: Decrease of the loss when the cost grows e-fold.
        """
        corrected: Values = self.loss + slope * np.log(self.cost_ratio / self.target)[self.network]
        return corrected


def of_results(finished: Iterable[TrialResult], *, response: Metric, target: float) -> Observations:
    """Returns the observations of a search that goes on."""
    rows = [
        result.trial.candidate.row()
        | {"seed": result.trial.seed, "state": result.state}
        | {response.name: result.scores.get(response.name)}
        for result in finished
    ]
    return observations(pd.DataFrame(rows), response=response, target=target)


def observations(results: pd.DataFrame, *, response: Metric, target: float) -> Observations:
    """Returns the finished trainings of a results table."""
    if results.empty:
        ended = results.reindex(columns=["candidate", "seed", response.name, "cost_ratio"])
    else:
        ended = results[(results["state"] == "COMPLETE") & results[response.name].notna()]
    is_base = (ended["candidate"] == 0).to_numpy()
    scaled, base = ended[~is_base], ended[is_base]
    networks = scaled.drop_duplicates("candidate").sort_values("candidate")
    candidates = networks["candidate"].to_numpy(dtype=np.int64)
    shares = networks.reindex(columns=[f"{d}_share" for d in DIMENSIONS])
    sign = response.sign
    return Observations(
        response=response,
        target=target,
        candidates=candidates,
        shares=shares.to_numpy(dtype=np.float64),
        cost_ratio=networks["cost_ratio"].to_numpy(dtype=np.float64),
        network=np.searchsorted(candidates, scaled["candidate"].to_numpy(dtype=np.int64)),
        seed=scaled["seed"].to_numpy(dtype=np.int64),
        loss=sign * scaled[response.name].to_numpy(dtype=np.float64),
        base_seed=base["seed"].to_numpy(dtype=np.int64),
        base_loss=sign * base[response.name].to_numpy(dtype=np.float64),
        num_failed=len(results) - len(ended),
    )
