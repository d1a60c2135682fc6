"""Fairness: which trainings are asked for, and what their numbers let the sections say."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaling_search.answer.conclusions import conclude
from scaling_search.answer.fit import is_singular
from scaling_search.base_networks import small_efficientnet
from scaling_search.candidates import Buildable
from scaling_search.core.candidate import Candidate
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.scaling import REFERENCES
from scaling_search.core.space_filling import as_points, scheffe
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.fairness import (
    about_order,
    about_rates,
    about_shift,
    about_trend,
    fairness_sections,
)
from scaling_search.display.report_section import ReportSection
from scaling_search.experiment.experiment import Experiment
from scaling_search.experiment.options import Fairness
from scaling_search.follow_ups.fairness import (
    fairness_checks,
    learning_rate_trials,
    length_trials,
    trials,
)
from scaling_search.follow_ups.interactions import RankCorrelation, fit_cells, fit_trend
from scaling_search.planning.candidates import Plan
from scaling_search.record.record import Record
from scaling_search.record.results import curves_table, results_table
from scaling_search.training.engine import train_trial
from tests.surfaces import Luck, around, fitted, flat, spread_points
from tests.tiny import ended, failed, tiny_experiment, tiny_recipe

Loss = Callable[[Trial], float]
FACTORS = (0.5, 1.0, 2.0)


@pytest.fixture(scope="module")
def proxy() -> Experiment:
    """A search among 32 networks of the small proxy, two seeds."""
    return tiny_experiment(
        base_network=small_efficientnet(),
        candidates=Buildable(),
        num_seeds=2,
    )


@pytest.fixture(scope="module")
def plan(proxy: Experiment) -> Plan:
    return proxy.plan()


def rows(
    folder: Path, results: Iterable[TrialResult], experiment: Experiment
) -> list[dict[str, object]]:
    """What a record holds of these results."""
    folder.mkdir(exist_ok=True)
    record = Record(str(folder / "study.log"), "tiny", experiment.metric)
    for result in results:
        record.add(result)
    return record.rows()


def told(
    asked: Iterable[Trial],
    loss: Loss,
    *,
    folder: Path,
    experiment: Experiment,
    searched: Iterable[Trial] = (),
    lost: Callable[[Trial], bool] = lambda _: False,
) -> list[ReportSection]:
    """The sections after all trainings that are asked for, some of them failed.

    With trainings of a search the sections know its surface.
    """
    results = [failed(t) if lost(t) else ended(t, loss(t)) for t in asked]
    held = rows(folder, results, experiment)
    before = rows(folder / "search", [ended(t, loss(t)) for t in searched], experiment)
    answer = conclude(
        results_table(before),
        curves_table(before),
        objective=experiment.metric,
        target=2.0,
        delta=None,
        num_classes=1000,  # losses over 2.3 are no chance
    ).answer
    return fairness_sections(fairness_checks(before, held, experiment=experiment, answer=answer))


def luck(trial: Trial, sd: float = 0.002) -> float:
    """Always the same for the same training."""
    key = (trial.candidate.number, trial.seed, round(1000 * trial.recipe.epochs))
    return float(np.random.default_rng((*key, round(1e4 * trial.recipe.rate))).normal(0, sd))


def gained(sentence: str) -> float:
    """What width is said to gain."""
    found = re.search(r"At twice the rate width \(2\) gains most: ([\d.]+)", sentence)
    assert found is not None
    return float(found.group(1))


def rate(trial: Trial) -> float:
    return trial.recipe.rate / tiny_recipe().rate


def length(trial: Trial) -> float:
    return trial.recipe.epochs / tiny_recipe().epochs


def share(candidate: Candidate, dimension: str) -> float:
    assert candidate.shares is not None
    return float(getattr(candidate.shares, dimension))


def test_corners_thirds_and_the_found_are_trained_at_three_rates(
    proxy: Experiment, plan: Plan
) -> None:
    found = plan.candidates[20]
    asked = learning_rate_trials(proxy, plan, found)
    networks = {trial.candidate.number: trial.candidate for trial in asked}
    assert len(asked) == len(networks) * 3 * 2 == 30
    assert found.number in networks
    for name in ("depth", "width", "resolution", "thirds"):
        away = [c.shares.distance(REFERENCES[name]) for c in plan.candidates if c.shares]
        assert plan.candidates[int(np.argmin(away))].number in networks
    assert {rate(trial) for trial in asked} == set(FACTORS)
    assert {trial.seed for trial in asked} == {0, 1}
    assert {trial.recipe.epochs for trial in asked} == {2}


def test_without_a_found_network_as_many_are_priced(proxy: Experiment, plan: Plan) -> None:
    assert len(learning_rate_trials(proxy, plan, None)) == 30
    corner = learning_rate_trials(proxy, plan, None)[0].candidate
    assert len(learning_rate_trials(proxy, plan, corner)) == 24  # it is one of the corners


def test_ten_spread_networks_and_the_base_have_schedules_of_their_own(
    proxy: Experiment, plan: Plan
) -> None:
    asked = length_trials(proxy, plan)
    networks = {trial.candidate.number: trial.candidate for trial in asked}
    assert len(networks) == 11
    assert len(asked) == 11 * 3 * 2
    shares = as_points([c.shares for c in networks.values() if c.shares])
    assert not is_singular(scheffe(shares))
    assert {(t.recipe.epochs, t.recipe.warmup_epochs) for t in asked} == {
        (1.0, 0.25),
        (2.0, 0.5),
        (4.0, 1.0),
    }
    assert {rate(trial) for trial in asked} == {1.0}


def test_ten_networks_of_any_order_span_a_quadratic(proxy: Experiment, plan: Plan) -> None:
    turned = replace(plan, candidates=plan.candidates[::-1])
    networks = {t.candidate.number: t.candidate for t in length_trials(proxy, turned)}
    shares = as_points([c.shares for c in networks.values() if c.shares])
    assert not is_singular(scheffe(shares))


@pytest.mark.parametrize(
    ("learning_rate", "longer", "number"),
    [(False, False, 0), (True, False, 30), (False, True, 66), (True, True, 88)],
)
def test_only_what_is_asked_is_trained_and_once(
    proxy: Experiment, plan: Plan, *, learning_rate: bool, longer: bool, number: int
) -> None:
    asked = Fairness(learning_rate=learning_rate, length=longer, num_seeds=2)
    found = trials(proxy, plan, plan.candidates[20], asked)
    assert len({trial.key for trial in found}) == len(found) == number
    of_the_search = {trial.key for trial in proxy.trials(plan)}
    assert (
        sum(trial.key in of_the_search for trial in found) == {0: 0, 30: 10, 66: 22, 88: 24}[number]
    )


def test_a_favoured_network_is_named_with_what_it_gains(
    proxy: Experiment, plan: Plan, tmp_path: Path
) -> None:
    def loss(trial: Trial) -> float:
        favoured = share(trial.candidate, "width") > 0.9
        gain = 0.5 * math.log2(rate(trial)) if favoured else 0
        return 2 + 0.1 * trial.candidate.number - gain + luck(trial)

    found = plan.candidates[20]
    asked = learning_rate_trials(proxy, plan, found)
    (section,) = told(asked, loss, folder=tmp_path, experiment=proxy)
    first, order, together = section.sentences
    assert section.name == "fairness_learning_rate"
    assert first.startswith("The learning rate favours some networks (F(8, 12) = ")
    # It gains 0.5 from twice the rate and the other four nothing: 0.4 more than the mean.
    assert gained(first) == pytest.approx(0.4, abs=0.01)
    assert order.startswith("From best to worst at half the rate: depth (1)")
    assert "at twice the rate: width (2), depth (1), resolution (3), thirds (4), 21" in order
    assert together == "The mean of all 5 networks is best at twice the rate."
    header, *lines = section.lines
    assert header[2:] == ["rate × 0.5", "rate × 1", "rate × 2"]
    assert [line[0] for line in lines][-1] == "21"
    assert len(section.table) == 15
    assert set(section.table["num_seeds"]) == {2}


def test_a_rate_that_is_better_for_all_favours_none(
    proxy: Experiment, plan: Plan, tmp_path: Path
) -> None:
    def loss(trial: Trial) -> float:
        own = 0.5 * share(trial.candidate, "depth") if trial.candidate.shares else 0.5
        return 2 + own + 0.3 * rate(trial) + luck(trial)

    asked = learning_rate_trials(proxy, plan, plan.candidates[20])
    (section,) = told(asked, loss, folder=tmp_path, experiment=proxy, searched=proxy.trials(plan))
    first, second, last = section.sentences
    assert first.startswith("No sign that the learning rate favours some networks (F(8, 12) = ")
    seen, span = seen_and_range(second, "one of the 5 networks gains")
    assert seen < span == pytest.approx(0.5, abs=0.02)
    assert last == "The mean of all 5 networks is best at half the rate."


@pytest.mark.parametrize("height", [0.0, 0.002, None])
def test_a_shift_too_small_to_be_seen_cannot_be_told(
    proxy: Experiment, plan: Plan, tmp_path: Path, height: float | None
) -> None:
    def loss(trial: Trial) -> float:
        deep = share(trial.candidate, "depth") if trial.candidate.shares else 0.5
        return 2 + (height or 0) * deep + luck(trial, 0.02 if height == 0 else 0.002)

    asked = [*learning_rate_trials(proxy, plan, None), *length_trials(proxy, plan)]
    searched = [] if height is None else proxy.trials(plan)
    checked = told(asked, loss, folder=tmp_path, experiment=proxy, searched=searched)
    what = {"learning_rate": "favours some networks", "length of": "favours some splits"}
    for (setting, end), section in zip(what.items(), checked, strict=True):
        first, second = section.sentences[:2]
        unknown = f"These results cannot show whether the {setting.replace('_', ' ')}"
        assert first.startswith(unknown)
        assert end in first
        if height is None:
            assert second.endswith("How much the fit differs between splits is not known.")
        else:
            seen, span = seen_and_range(second, "(?:networks gains|doubling is)")
            assert seen > span


def seen_and_range(sentence: str, effect: str) -> tuple[float, float]:
    """The difference that a test finds and the surface's range, as they are said."""
    found = re.search(
        rf"{effect} ([\d.]+) (?:more|higher) .* differs by ([\d.]+) between", sentence
    )
    assert found is not None, sentence
    return float(found.group(1)), float(found.group(2))


def cells_of(means: list[list[float]]) -> list[str]:
    """What is said of networks a, b, ... with these means and a little luck."""
    network, setting, seed = (
        axis.ravel()
        for axis in np.meshgrid(np.arange(len(means)), np.arange(3), np.arange(2), indexing="ij")
    )
    noise = np.random.default_rng(0).normal(0, 0.001, len(network))
    loss = np.array(means)[network, setting] + noise
    cells = fit_cells(network, setting, seed, loss)
    return about_rates(cells, "abc"[: len(means)], VAL_LOSS, span=None)


def test_an_order_that_stays_is_said_so() -> None:
    first, order, _ = cells_of([[1.0, 1.0, 0.5], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    assert first.endswith("more than the mean of all 3.")
    assert order == "The order of the networks is the same at all three rates."
    first, order, together = cells_of([[1.0, 1.0, 2.3], [0.2, 2.0, 2.2], [3.0, 3.0, 3.2]])
    assert "At half the rate b gains most: " in first
    assert order == (
        "From best to worst at half the rate: b, a, c; at the search's own rate: a, b, c; "
        "at twice the rate: b, a, c."
    )
    assert together == "The mean of all 3 networks is best at half the rate."
    assert "at the search's own rate." in cells_of([[2.0, 1.0, 4.0], [2.5, 2.0, 3.0]])[-1]


def test_accuracies_are_better_when_they_are_larger(plan: Plan, tmp_path: Path) -> None:
    experiment = tiny_experiment(
        base_network=small_efficientnet(),
        candidates=Buildable(),
        objective="val_accuracy",
    )

    def loss(trial: Trial) -> float:  # the accuracy is 1 - loss / 10
        gain = 0.5 * math.log2(rate(trial)) if share(trial.candidate, "width") > 0.9 else 0
        return 2 + 0.1 * trial.candidate.number - gain + luck(trial)

    asked = learning_rate_trials(experiment, plan, None)
    (section,) = told(asked, loss, folder=tmp_path, experiment=experiment)
    assert gained(section.sentences[0]) == pytest.approx(4, abs=0.1)  # points
    assert " points more than the mean of all 5" in section.sentences[0]
    assert section.lines[2][4].endswith(" % (1)")


def test_failures_are_counted_and_a_network_without_a_rate_is_left_out(
    proxy: Experiment, plan: Plan, tmp_path: Path
) -> None:
    def lost(trial: Trial) -> bool:
        gone = trial.candidate.number == 3 and rate(trial) == 2
        return gone or (trial.candidate.number, trial.seed, rate(trial)) == (1, 1, 0.5)

    asked = learning_rate_trials(proxy, plan, plan.candidates[20])
    (section,) = told(asked, lambda t: 2 + luck(t), folder=tmp_path, experiment=proxy, lost=lost)
    said = " ".join(section.sentences)
    assert "F(6, 8) = " in said
    assert "3 of 30 trainings failed and are left out." in said
    assert "Not in the test, for lack of a finished training at each rate: resolution (3)." in said
    assert section.lines[3][2:] == ["–", "–", "–"]
    assert section.table["val_loss_mean"].isna().sum() == 3
    whole = told(asked, lambda t: 2 + luck(t), folder=tmp_path / "other", experiment=proxy)
    assert "failed" not in " ".join(whole[0].sentences)


def test_what_cannot_be_tested_is_said(proxy: Experiment, plan: Plan, tmp_path: Path) -> None:
    asked = learning_rate_trials(proxy, plan, None)
    (section,) = told(asked, luck, folder=tmp_path, experiment=proxy, lost=lambda t: t.seed == 1)
    assert section.sentences[0].startswith("These results cannot show whether the learning rate")
    short = [t for t in length_trials(proxy, plan) if t.candidate.number < 6]
    (section,) = told(short, luck, folder=tmp_path / "other", experiment=proxy)
    assert section.sentences[0].endswith(
        "seven networks of different splits, each trained at all three lengths, got 5."
    )
    assert (
        "There is no fit at half the length: the surface must have networks with a finished "
        "training in 7 places or more, got 5; " in section.sentences[2]
    )


def test_a_length_that_favours_a_dimension_is_found(
    proxy: Experiment, plan: Plan, tmp_path: Path
) -> None:
    def loss(trial: Trial) -> float:
        gained = 0.5 * share(trial.candidate, "width") if trial.candidate.shares else 0
        return 2 - (0.2 + gained) * math.log2(length(trial)) + luck(trial)

    (section,) = told(length_trials(proxy, plan), loss, folder=tmp_path, experiment=proxy)
    assert section.name == "fairness_length"
    assert "The length of training favours some splits (F(5, 4) = " in section.sentences[0]
    assert "Each doubling gains most near network width (2), 0.5" in section.sentences[0]
    assert "Rank correlation of the means" in section.sentences[1]
    assert section.lines[0][-1] == "gain / doubling"
    gains = section.table.drop_duplicates("name").set_index("candidate")["gain_per_doubling"]
    assert gains[2] == pytest.approx(0.7, abs=0.05)
    assert "The rule, the best split by the fit, is depth" in section.sentences[2]


def test_a_length_that_is_alike_for_all_favours_none(
    proxy: Experiment, plan: Plan, tmp_path: Path
) -> None:
    def loss(trial: Trial) -> float:
        own = 0.5 * share(trial.candidate, "depth") if trial.candidate.shares else 0.5
        return 2 + own - 0.2 * math.log2(length(trial)) + luck(trial)

    asked, searched = length_trials(proxy, plan), proxy.trials(plan)
    (section,) = told(asked, loss, folder=tmp_path, experiment=proxy, searched=searched)
    first, second = section.sentences[:2]
    assert first.startswith("No sign that the length of training favours some splits (F(5, 4) = ")
    seen, span = seen_and_range(second, "the gain with each doubling is")
    assert seen < span == pytest.approx(0.5, abs=0.02)
    assert "for one dimension alone than without it, with these 10 networks. The fit" in second


def test_a_trend_is_told_both_ways() -> None:
    shares, weights = spread_points(10), np.ones(10)
    noise = np.random.default_rng(1).normal(0, 0.01, 10)
    names = [str(i) for i in range(10)]
    trend = fit_trend(shares, shares[:, 0] + noise, weights)
    (some,) = about_trend(trend, names, VAL_LOSS, span=None)
    deepest, least = int(shares[:, 0].argmax()), int(shares[:, 0].argmin())
    assert f"gains most near network {deepest}, " in some
    assert least != deepest
    level = fit_trend(shares, noise, weights)
    assert about_trend(level, names, VAL_LOSS, span=1.0)[0].startswith("No sign")
    assert "lengths, got 10." in about_trend(None, names, VAL_LOSS, span=1.0)[0]


def order(half: float, twice: float, spread: float = 1.0) -> str:
    first, last = (RankCorrelation(value, expected=0.6, low=0.2) for value in (half, twice))
    return about_order(first, last, spread)


def test_an_order_that_changes_more_than_seeds_allow_is_said() -> None:
    assert order(0.1, 0.5).endswith("The order changes at half the length.")
    assert order(0.1, -0.5).endswith("The order changes at half and twice the length.")
    assert "0.30 at half, 0.50 at twice the length" in order(0.3, 0.5)
    assert order(0.3, 0.5).endswith("No sign that the order changes.")
    assert order(0.1, 0.1, spread=0.0).endswith("so they have no order.")


def test_whether_the_best_split_moves_is_told_by_the_regions() -> None:
    sharp, blunt = Luck(seed_sd=0.0005), Luck(seed_sd=0.01)
    here, there = fitted(around(0.1, 0.1), sharp), fitted(around(0.7, 0.2), sharp)
    assert about_shift(here, there).endswith("95 % regions do not overlap: the rule changes.")
    assert about_shift(here, fitted(around(0.1, 0.1), sharp, seed=1)).endswith("may be the same.")
    level = fitted(flat, blunt, seed=3)
    unknown = "with the length: noise alone could explain the differences at twice the length (F"
    assert unknown in about_shift(here, level)
    assert " and at twice the length (F" in about_shift(level, level)


def test_sections_come_of_what_is_stored_alone(
    proxy: Experiment, plan: Plan, tmp_path: Path
) -> None:
    searched = rows(tmp_path, [ended(t, 2 + luck(t)) for t in proxy.trials(plan)], proxy)
    assert fairness_sections(fairness_checks(searched, [], experiment=proxy, answer=None)) == []
    asked = [*learning_rate_trials(proxy, plan, None), *length_trials(proxy, plan)]
    known = {trial.key for trial in proxy.trials(plan)}
    others = [ended(t, 2 + luck(t)) for t in asked if t.key not in known]
    trained = rows(tmp_path / "more", others, proxy)
    both = fairness_sections(fairness_checks(searched, trained, experiment=proxy, answer=None))
    assert [section.name for section in both] == ["fairness_learning_rate", "fairness_length"]
    # What both studies hold counts once.
    twice = fairness_checks(searched, [*trained, *searched], experiment=proxy, answer=None)
    again = fairness_sections(twice)
    assert [section.sentences for section in again] == [section.sentences for section in both]


def test_equal_training_flops_are_equal_within_a_step(tmp_path: Path) -> None:
    experiment = tiny_experiment(recipe=tiny_recipe(equal="training_flops"))
    plan = experiment.plan()
    results = [train_trial(experiment.trial(c, 0), "cpu") for c in plan.candidates]
    of_one = 2 * plan.base.flops
    wanted = experiment.recipe.epochs * 100 * of_one
    for result in results:
        trained = result.images_per_second * result.train_seconds  # images
        step = experiment.recipe.batch_size * result.trial.candidate.flops
        assert abs(trained * result.trial.candidate.flops - wanted) <= step
    held = rows(tmp_path, results, experiment)
    assert len({row["epochs"] for row in held}) == len(plan.candidates) > 1
    assert all(row["epochs"] != experiment.recipe.epochs for row in held)


def test_lengths_are_known_at_equal_training_flops_too(plan: Plan, tmp_path: Path) -> None:
    experiment = tiny_experiment(
        base_network=small_efficientnet(),
        candidates=Buildable(),
        recipe=tiny_recipe(equal="training_flops"),
    )
    asked = length_trials(experiment, plan)
    assert len({trial.recipe.epochs for trial in asked if trial.candidate.number}) > 20
    (section,) = told(asked, lambda t: 2 + luck(t), folder=tmp_path, experiment=experiment)
    assert sorted(section.table["length"].unique()) == list(FACTORS)
    assert (section.table["num_seeds"] == 2).all()


def test_a_network_far_from_every_reference_has_its_number_alone(
    proxy: Experiment, plan: Plan, tmp_path: Path
) -> None:
    asked = learning_rate_trials(proxy, replace(plan, candidates=plan.candidates[:1]), None)
    (section,) = told(asked, luck, folder=tmp_path, experiment=proxy)
    assert [line[0] for line in section.lines[1:]] == ["depth (1)"]
