"""Whole searches of a flat truth: luck alone hardly ever ends them."""

import functools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scaling_search.answer.stopping import Limits, Stopping
from scaling_search.base_networks import small_efficientnet
from scaling_search.candidates import Buildable
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.protocols import Sampler
from scaling_search.core.trial import TrialResult
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.record.record import Record
from scaling_search.samplers.focus import Focus
from scaling_search.samplers.grid import Grid
from tests.searches import trial_of
from tests.tiny import ended

NUM_SEEDS, SEED_SD, SLOPE = 2, 0.0065, 0.03


@functools.cache
def plan() -> Plan:
    """The 30 networks that the small proxy's plan keeps."""
    return Buildable(max_networks=30).plan(Budget(small_efficientnet(), Flops()))


def outcomes(draw: int) -> list[TrialResult]:
    """All trainings of one search; half of the seeds' variance is shared by all networks."""
    stream = np.random.default_rng(draw)
    shared = stream.normal(0, SEED_SD * 0.5**0.5, NUM_SEEDS)
    results = [
        ended(
            trial_of(candidate, seed),
            0.4
            - SLOPE * np.log(candidate.cost_ratio / 2)
            + shared[seed]
            + stream.normal(0, SEED_SD * 0.5**0.5),
        )
        for candidate in (plan().base, *plan().candidates)
        for seed in range(NUM_SEEDS)
    ]
    return sorted(results, key=lambda result: result.trial.order)


def interim_analyses(folder: Path, sampler: Sampler, draw: int) -> tuple[list[int], bool]:
    """Trainings at each interim analysis of a search, and True if the last one ended it."""
    record = Record(str(folder / f"{draw}.log"), "search", VAL_LOSS)
    limits = Limits(trainings=None, hours=None, gpu_hours=None, region=0.15, failed_share=1.0)
    stopping = Stopping(limits, record, 2.0)
    by_key = {result.trial.key: result for result in outcomes(draw)}
    remaining = [result.trial for result in by_key.values()]
    finished: list[TrialResult] = []
    while remaining and not stopping.reached(finished, 0, Counter()):
        trial = sampler.choose(remaining, [], finished, VAL_LOSS)
        assert trial is not None
        remaining.remove(trial)
        finished = sorted([*finished, by_key[trial.key]], key=lambda r: r.trial.order)
    return [look.trainings for look in record.interim_analyses], bool(remaining)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "num_draws", "most"),
    # By benchmarks/simulate_samplers.py about 0.04 of such searches end, of three seeds each.
    [(Grid(), 20, 2), (Focus(), 5, 1)],
)
def test_a_flat_truth_hardly_ever_ends_a_search(
    tmp_path: Path, sampler: Sampler, num_draws: int, most: int
) -> None:
    schedule = [20, 25, 32, 40, 50]
    num_ended = 0
    for draw in range(num_draws):
        numbers, is_ended = interim_analyses(tmp_path, sampler, draw)
        assert numbers == schedule[: len(numbers)]
        assert is_ended or len(numbers) == len(schedule)
        num_ended += is_ended
    assert num_ended <= most
