"""Searches replayed from the recorded trainings of fashion_mnist_small, nothing trained."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scaling_search as ss
from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import observations, of_results
from scaling_search.answer.region import Hull, best_point
from scaling_search.core.candidate import Candidate
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.space_filling import as_points
from scaling_search.core.trial import Epoch, Trial, TrialResult
from scaling_search.record.tables import read_table
from scaling_search.samplers.focus import Focus
from tests.tiny import tiny_dataset, tiny_recipe

RECORD = Path(__file__).parent.parent / "experiments" / "fashion_mnist_small" / "results.csv"


def recorded() -> pd.DataFrame:
    results = read_table(RECORD)
    assert (results["state"] == "COMPLETE").all()
    return results


def networks() -> list[Candidate]:
    """The networks of the record, the base network first."""
    return ss.load(RECORD.parent).networks


def results_with_permuted_seeds(
    plan: list[Candidate], run: int
) -> dict[tuple[int, int], TrialResult]:
    """All recorded trainings by their order, the labels of each network's seeds dealt anew."""
    stream = np.random.default_rng(run)
    results = {}
    by_network = recorded_by_network()
    for candidate in plan:
        rows = by_network[candidate.number]
        for seed, row in enumerate(stream.permutation(rows)):
            loss, accuracy, seconds = row
            results[seed, candidate.number] = TrialResult(
                Trial(candidate, seed, tiny_recipe(), tiny_dataset()),
                "COMPLETE",
                curve=(Epoch(loss, loss, accuracy),),
                total_seconds=seconds,
            )
    return results


def recorded_by_network() -> dict[int, np.ndarray]:
    columns = ["val_loss", "val_accuracy", "total_seconds"]
    results = recorded()
    numbers = results["candidate"].unique().tolist()
    return {n: results.loc[results["candidate"] == n, columns].to_numpy() for n in numbers}


def focused(results: dict[tuple[int, int], TrialResult], seconds: float) -> list[TrialResult]:
    """What `focus` trains, one at a time, until the seconds are used up."""
    sampler = Focus()
    finished: list[TrialResult] = []
    while sum(result.total_seconds for result in finished) < seconds:
        done = {result.trial.order for result in finished}
        remaining = [r.trial for order, r in sorted(results.items()) if order not in done]
        finished.append(results[sampler.choose(remaining, [], finished, VAL_LOSS).order])
        finished.sort(key=lambda result: result.trial.order)
    return finished


@pytest.mark.slow
def test_focus_on_half_the_seconds_finds_a_split_nearly_as_good_as_the_full_record_does() -> None:
    plan = networks()
    full = fit_surface(observations(recorded(), response=VAL_LOSS, target=2.0))
    loss = full.loss(Hull.of(full.searched).rivals)
    half = recorded()["total_seconds"].sum() / 2
    regrets = []
    for run in range(20):
        finished = focused(results_with_permuted_seeds(plan, run), half)
        surface = fit_surface(of_results(finished, response=VAL_LOSS, target=2.0))
        regrets.append(full.loss(as_points([best_point(surface)]))[0] - loss.min())
    assert np.quantile(regrets, 0.9) < np.ptp(loss) / 3
