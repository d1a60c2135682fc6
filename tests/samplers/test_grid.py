"""Every candidate in turn, seed by seed."""

from scaling_search.samplers.grid import Grid
from tests.tiny import ended, tiny_trial


def test_the_grid_goes_from_candidate_to_candidate_and_then_to_the_next_seed() -> None:
    trials = [tiny_trial(number, seed=seed) for seed in range(2) for number in range(4)]
    order = []
    while trials:
        trial = Grid().choose(trials, [], [])
        trials.remove(trial)
        order.append(trial.order)
    assert order == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]


def test_results_do_not_change_the_way() -> None:
    trials = [tiny_trial(number) for number in (1, 2, 3)]
    results = [ended(tiny_trial(0), 5.0)]
    assert Grid().choose(trials, trials[:0], results) == Grid().choose(trials, [], []) == trials[0]
