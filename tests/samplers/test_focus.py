"""Where a training narrows the answer down the most for its time."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from scaling_search.answer.design import Design
from scaling_search.answer.region import GRID
from scaling_search.base_networks import small_efficientnet
from scaling_search.candidates import Buildable
from scaling_search.core.candidate import Candidate
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.protocols import Sampler
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import as_points, scheffe
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.costs.flops import Flops
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.samplers.focus import Focus
from scaling_search.samplers.grid import Grid
from tests.surfaces import Luck, Truth, around, flat
from tests.tiny import candidate_of, ended, failed, tiny_dataset, tiny_recipe

FOCUS = Focus()
LUCK = Luck(seed_sd=0.0065)
INSIDE = around(0.3, 0.35)
Seconds = Callable[[Candidate], float]


@functools.cache
def plan() -> Plan:
    return Buildable(max_networks=15).plan(Budget(small_efficientnet(), Flops()))


def trial(number: int, seed: int = 0) -> Trial:
    return Trial(candidate_of(plan(), number), seed, tiny_recipe(), tiny_dataset())


def trials(num_seeds: int) -> list[Trial]:
    return [trial(n, seed) for seed in range(num_seeds) for n in range(len(plan().candidates) + 1)]


def shares_of(number: int) -> Shares:
    shares = trial(number).candidate.shares
    assert shares is not None
    return shares


def by_flops(candidate: Candidate) -> float:
    return candidate.flops / 1e6


def trained(
    chosen: Iterable[Trial],
    truth: Truth,
    luck: Luck = LUCK,
    *,
    draw: int = 0,
    seconds: Seconds = by_flops,
) -> list[TrialResult]:
    """What trainings give, each always the same; the base is worth a slope of 0.03."""
    results = []
    for each in sorted(chosen, key=lambda t: t.order):
        seed, number = each.order
        offset = np.random.default_rng((draw, seed)).normal(0, luck.seed_sd * luck.shared**0.5)
        own = np.random.default_rng((draw, seed, number, 1)).normal(0, 1)
        place = each.candidate.shares or Shares(1 / 3, 1 / 3, 1 / 3)
        loss = float(truth(as_points([place]))[0]) - 0.03 * np.log(each.candidate.cost_ratio / 2)
        loss += offset + own * luck.seed_sd * (1 - luck.shared) ** 0.5
        result = replace(ended(each, float(loss)), total_seconds=seconds(each.candidate))
        results.append(result)
    return results


def drive(
    sampler: Sampler,
    truth: Truth,
    *,
    num_seeds: int = 3,
    budget: float = np.inf,
    draw: int = 0,
    seconds: Seconds = by_flops,
    num_slots: int = 1,
) -> list[Trial]:
    """What a sampler chooses, in its order, until the seconds are spent or nothing remains."""
    chosen: list[Trial] = []
    while spent(chosen, seconds) < budget and len(chosen) < len(trials(num_seeds)):
        running = sorted(chosen[len(chosen) + 1 - num_slots :], key=lambda t: t.order)
        finished = trained(chosen[: len(chosen) - len(running)], truth, draw=draw, seconds=seconds)
        remaining = [t for t in trials(num_seeds) if t not in chosen]
        each = sampler.choose(remaining, running, finished, VAL_LOSS)
        assert each is not None
        chosen.append(each)
    return chosen


def spent(chosen: Sequence[Trial], seconds: Seconds) -> float:
    return sum(seconds(t.candidate) for t in chosen)


def variance(chosen: Sequence[Trial], truth: Truth) -> float:
    """Mean variance of f(best) - f(x) at the true best and over what is hardly worse than it."""
    scaled = [t for t in chosen if t.candidate.shares]
    numbers = sorted({t.candidate.number for t in scaled})
    design = Design(
        shares=as_points([shares_of(n) for n in numbers]),
        network=np.array([numbers.index(t.candidate.number) for t in scaled]),
        seed=np.array([t.seed for t in scaled]),
        variance_ratio=0.0,
    )
    losses = truth(GRID)
    near = GRID[losses < losses.min() + 0.005]
    differences = scheffe(near) - scheffe(GRID[[losses.argmin()]])
    covariance = design.covariance[:6, :6]
    return float(np.einsum("ij,jk,ik->i", differences, covariance, differences).mean())


@pytest.mark.slow
def test_it_trains_all_once_seed_0_by_the_plan_then_each_network_s_seeds_after_its_base() -> None:
    chosen = drive(FOCUS, INSIDE, num_slots=2)
    order = [t.order for t in chosen]
    num_networks = len(plan().candidates) + 1
    assert order[:num_networks] == [(0, number) for number in range(num_networks)]
    assert sorted(order) == [t.order for t in trials(3)]
    for seed in range(3):
        assert next(number for s, number in order if s == seed) == 0
    for number in range(num_networks):
        assert [s for s, n in order if n == number] == [0, 1, 2]
    # Not seed by seed: some networks are worth more than others.
    assert [s for s, _ in order] != sorted(s for s, _ in order)


def after_seed_0(*more: Trial) -> list[Trial]:
    return [*trials(1), *more]


def choice(
    remaining: Iterable[Trial],
    done: Iterable[Trial],
    truth: Truth = INSIDE,
    *,
    running: Sequence[Trial] = (),
    seconds: Seconds = by_flops,
) -> tuple[int, int]:
    """The number and the seed of what is chosen."""
    finished = trained(done, truth, seconds=seconds)
    chosen = FOCUS.choose(sorted(remaining, key=lambda t: t.order), running, finished, VAL_LOSS)
    return chosen.candidate.number, chosen.seed


@pytest.mark.parametrize("slow", [9, 16])
def test_of_two_networks_with_equal_shares_the_one_twice_as_slow_comes_later(slow: int) -> None:
    first = trial(9, 1)
    other = replace(first.candidate, number=16, architecture=trial(8).candidate.architecture)
    twin = replace(first, candidate=other)
    done = after_seed_0(trial(0, 1), trial(12, 1), replace(twin, seed=0))

    def seconds(candidate: Candidate) -> float:
        return 2.0 if candidate.number == slow else 1.0

    assert choice([first, twin], done, seconds=seconds) == (25 - slow, 1)
    # With equal speed the first in the plan.
    assert choice([first, twin], done, seconds=lambda _: 1.0) == (9, 1)


def test_where_nothing_is_decided_a_far_network_comes_before_the_third_seed_of_a_middle_one() -> (
    None
):
    middle = min(range(1, 16), key=lambda n: shares_of(n).distance(Shares(1 / 3, 1 / 3, 1 / 3)))
    far = max(range(1, 16), key=lambda n: shares_of(n).depth)
    others = [trial(n, s) for s in (1, 2) for n in range(16) if n not in (middle, far)]
    done = after_seed_0(trial(middle, 1), *others)
    assert choice([trial(middle, 2), trial(far, 1)], done, flat) == (far, 1)


def test_the_base_network_opens_every_seed_that_another_is_chosen_for() -> None:
    remaining = [t for t in trials(3) if t.seed > 0]
    assert choice(remaining, after_seed_0()) == (0, 1)
    without_base = [t for t in remaining if t.order != (1, 0)]
    number, seed = choice(without_base, after_seed_0(trial(0, 1)))
    assert (number > 0, seed) == (True, 1)


def test_what_is_in_flight_counts_as_done() -> None:
    remaining = [t for t in trials(3) if t.seed > 0 and t.order != (1, 0)]
    done = after_seed_0(trial(0, 1))
    first = trial(*choice(remaining, done))
    others = [t for t in remaining if t != first]
    second = choice(others, done, running=[first])
    # Its partner in the new seed, not its own third training, whether or not its loss is known.
    assert second == choice(others, [*done, first])
    assert second[0] != first.candidate.number
    assert second[1] == 1


def test_without_a_surface_it_goes_seed_by_seed() -> None:
    remaining = [t for t in trials(3) if t.seed > 0]
    few = [trial(n) for n in range(6)]
    assert choice(remaining, few) == (0, 1)
    assert choice([t for t in remaining if t.candidate.number], few) == (1, 1)
    lost = [failed(t) for t in trials(1)]
    assert FOCUS.choose(remaining, [], lost, VAL_LOSS).order == (1, 0)
    everything = trials(1)
    constant = [ended(t, 0.4) for t in everything]
    assert FOCUS.choose(remaining, [], constant, VAL_LOSS).order == (1, 0)


def test_a_network_that_only_failed_comes_last() -> None:
    finished = [failed(r.trial) if r.trial.order == (0, 9) else r for r in trained(trials(1), flat)]
    assert FOCUS.choose([trial(9, 1), trial(12, 2)], [], finished, VAL_LOSS).order == (2, 12)
    assert FOCUS.choose([trial(9, 1)], [], finished, VAL_LOSS).order == (1, 9)


@pytest.mark.slow
@pytest.mark.parametrize("truth", [INSIDE, around(0.0, 0.5)], ids=["inside", "on an edge"])
def test_on_half_the_seconds_it_knows_the_best_better_than_the_grid(truth: Truth) -> None:
    budget = spent(trials(3), by_flops) / 2
    by_grid = variance(drive(Grid(), truth, budget=budget), truth)
    by_focus = [variance(drive(FOCUS, truth, budget=budget, draw=d), truth) for d in range(2)]
    assert np.mean(by_focus) < 0.9 * by_grid
