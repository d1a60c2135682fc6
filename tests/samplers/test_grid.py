"""Every candidate, seed by seed, the longest of a seed first."""

from dataclasses import replace
from typing import Any

from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.trial import Trial
from scaling_search.samplers.grid import Grid
from tests.tiny import ended, tiny_trial


def in_turn(trials: list[Trial]) -> list[tuple[int, int]]:
    """The orders of trainings as a grid takes them."""
    order = []
    while trials:
        trial = Grid().choose(trials, [], [], VAL_LOSS)
        trials.remove(trial)
        order.append(trial.order)
    return order


def costing(flops: int, number: int, *, seed: int = 1, **changes: Any) -> Trial:
    trial = tiny_trial(number, seed=seed, **changes)
    return replace(trial, candidate=replace(trial.candidate, flops=flops))


def test_the_grid_goes_seed_by_seed_and_after_the_first_training_the_base_network_is_last() -> None:
    trials = [tiny_trial(number, seed=seed) for seed in range(2) for number in range(4)]
    assert in_turn(trials) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (1, 0)]


def test_the_longest_come_first_and_about_equal_ones_in_their_order() -> None:
    trials = [costing(100, 0), costing(400, 1), costing(390, 2), costing(800, 3)]
    assert in_turn(trials) == [(1, 3), (1, 1), (1, 2), (1, 0)]
    trials = [costing(100, 0), costing(395, 1), costing(400, 2)]
    assert in_turn(trials) == [(1, 1), (1, 2), (1, 0)]


def test_epochs_count_as_much_as_cost() -> None:
    assert in_turn([costing(100, 1, epochs=2), costing(50, 2, epochs=8)]) == [(1, 2), (1, 1)]


def test_results_do_not_change_the_way() -> None:
    trials = [tiny_trial(number) for number in (1, 2, 3)]
    results = [ended(tiny_trial(0), 5.0)]
    chosen = [Grid().choose(trials, [], ended, VAL_LOSS) for ended in (results, [])]
    assert chosen[0] == chosen[1]
