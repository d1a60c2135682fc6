"""The check of a search's recipe: its trainings, what is said of them, and what auto takes."""

import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

import scaling_search as ss
from scaling_search.base_networks import small_efficientnet
from scaling_search.candidates import Buildable
from scaling_search.commands.fairness import fairness
from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.experiment.options import Fairness
from scaling_search.record.tables import read_table
from tests.cli import TINY, Cli
from tests.in_process import Executing, printed
from tests.tiny import changed, ended, failed, tiny_recipe, tiny_run

Loss = Callable[[Trial], float]


@dataclass
class Told(Executing):
    """Trains nothing: each training has the loss that a function gives it, or fails for NaN."""

    loss: Loss = lambda _: 1.0

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """The finished future."""
        if len(self.submitted) + 1 == self.interrupt_at:
            raise KeyboardInterrupt
        self.submitted.append(trial)
        future: Future[TrialResult] = Future()
        loss = self.loss(trial)
        future.set_result(ended(trial, loss + 1, loss) if loss == loss else failed(trial))
        return future


def rate(trial: Trial) -> float:
    """The learning rate over the tiny recipe's."""
    return round(trial.recipe.rate / tiny_recipe().rate, 6)


def plain(trial: Trial) -> bool:
    return not trial.recipe.is_augmented


def by_number(trial: Trial) -> float:
    """A loss of each network that no setting changes, with a little luck of the seed."""
    return (
        1 + 0.1 * trial.candidate.number + 0.001 * ((7 * trial.candidate.number + trial.seed) % 3)
    )


def asking(
    out: Path, loss: Loss = by_number, *, recipe: ss.Recipe | None = None, **more: object
) -> Run:
    """A search among the base network and four others, whose recipe is checked."""
    options: dict[str, object] = {
        "recipe": recipe or tiny_recipe(check=True),
        "candidates": Buildable(tolerance=0.15, max_networks=5),
        "executor": Told(loss=loss),
    }
    return tiny_run(out, **options | more)


def submitted(run: Run) -> list[Trial]:
    assert isinstance(run.executor, Executing)
    return run.executor.submitted


def conclusions(run: Run) -> tuple[str, ...]:
    return run.conclusion.sentences


def test_five_networks_are_asked_before_the_search_and_none_is_trained_twice(
    tmp_path: Path,
) -> None:
    run = asking(tmp_path)
    said = printed(search, run)
    trials = submitted(run)
    asked = {trial.candidate.number for trial in trials[:-1]}
    num_asked = len(asked)
    assert num_asked == 5
    assert 0 in asked
    assert sorted({rate(t) for t in trials[: 3 * num_asked]}) == [0.5, 1, 2]
    assert all(plain(t) for t in trials[3 * num_asked : 4 * num_asked])
    assert not any(plain(t) for t in trials[: 3 * num_asked])
    assert len(trials) == 4 * num_asked + 1 == len({(t.key, t.recipe) for t in trials})
    assert {t.seed for t in trials} == {0}
    # The search's record has its own recipe alone, with when and by which version it was trained.
    assert set(run.results["learning_rate"]) == {0.1}
    assert run.results["candidate"].tolist() == [0, 1, 2, 3, 4, 5]
    assert run.results[["finished", "version"]].notna().all(axis=None)
    assert len(run.results_of("recipe")) == 3 * num_asked
    assert len(run.results_of("recipe-plain")) == num_asked
    # All is known before the long part.
    no_better = said.index("No other setting (rate 0.05, rate 0.2, rate 0.1 unaugmented) is better")
    assert said.index("5/5 ") < no_better < said.index("6/6 ")
    # Lines name what differs among the trainings at hand.
    at_rates = re.findall(r"^\d+/15  base network seed 0 rate (\S+)  loss", said, re.MULTILINE)
    assert "5 of the search's 6 trainings are done." in said
    assert sorted(at_rates) == ["0.05", "0.1", "0.2"]
    assert re.search(r"^6/6  .* seed 0  loss", said, re.MULTILINE)
    log = (tmp_path / "search.log").read_text("utf-8")
    assert log.count("all trainings are done") == 3


def test_without_the_check_only_the_search_is_trained_and_the_report_says_so(
    tmp_path: Path,
) -> None:
    run = asking(tmp_path, recipe=tiny_recipe())
    search(run)
    assert len(submitted(run)) == 6
    assert conclusions(run)[-1] == (
        "The recipe was not compared with other learning rates or no augmentation. A better recipe "
        "may give another answer."
    )
    # A search that began without it goes on so.
    search(asking(tmp_path, num_seeds=2))
    assert run.results_of("recipe").empty
    assert set(run.results["seed"]) == {0, 1}


def test_a_recipe_without_augmentation_has_none_to_leave_out(tmp_path: Path) -> None:
    run = asking(tmp_path, recipe=tiny_recipe(check=True, crop=0.0, flip=False))
    assert "unaugmented" not in printed(search, run)
    assert len(submitted(run)) == 3 * 5 + 1
    check = run.recipe_check
    assert check is not None
    assert check.is_done
    assert not [said for said in conclusions(run) if "recipe" in said]


@pytest.mark.parametrize(
    ("objective", "gain"), [("val_loss", "0.050"), ("val_accuracy", "0.5 points")]
)
def test_a_setting_that_is_better_is_said_before_the_search_and_first_in_its_report(
    tmp_path: Path, objective: str, gain: str
) -> None:
    def loss(trial: Trial) -> float:
        return by_number(trial) - 0.05 * (rate(trial) == 2) - 0.01 * plain(trial)

    run = asking(tmp_path, loss, objective=objective)
    said = printed(search, run)
    better = "Another recipe is better: rate 0.2 unaugmented is better than rate 0.1 for all 5"
    assert re.search(
        rf"{better} networks, by .* in the mean \(one seed\)\. To use it, search again with "
        r"recipe\.learning_rate=0\.2 recipe\.crop=0 recipe\.flip=false and another out=\.",
        " ".join(said.split()),
    )
    run = asking(tmp_path / "rate", lambda t: loss(t) + 0.02 * plain(t), objective=objective)
    search(run)
    first = conclusions(run)[0]
    better = "Another recipe is better: rate 0.2 is better than rate 0.1 for all 5 networks"
    assert first.startswith(f"{better}, by {gain} (")
    assert first.endswith(" in the mean (one seed). It may give another answer.")
    run.report()
    page = (tmp_path / "rate" / "report.html").read_text("utf-8")
    assert page.index(first) < page.index("There is no answer yet")
    table = pd.read_csv(tmp_path / "rate" / "recipe_check.csv")
    assert len(table) == 4 * 5
    own = table[table["is_own"]]
    assert set(own["learning_rate"]) == {0.1}
    assert table.groupby("learning_rate")[objective].size().to_dict() == {0.05: 5, 0.1: 5, 0.2: 10}
    assert set(table.loc[~table["augmented"], "learning_rate"]) == {0.2}
    shown = printed(Run.report, run)
    assert "Does the answer depend on the recipe?" in shown
    assert re.search(
        r"^network +rate 0\.05 +rate 0\.1 +rate 0\.2 +rate 0\.2 unaugmented$", shown, re.MULTILINE
    )


def test_a_setting_that_is_better_on_average_alone_is_better_too(tmp_path: Path) -> None:
    def loss(trial: Trial) -> float:
        gain = 0.05 if trial.candidate.number else -0.001
        return by_number(trial) - gain * (rate(trial) == 0.5) * (1 + trial.candidate.number / 100)

    run = asking(tmp_path, loss)
    search(run)
    assert "rate 0.05 is better than rate 0.1 by 0.0" in conclusions(run)[0]
    assert (
        "in the mean of 5 networks (one seed). It may give another answer." in conclusions(run)[0]
    )
    run = asking(tmp_path / "other", lambda t: loss(t) + 0.06 * (t.candidate.number == 0))
    search(run)
    again = asking(
        tmp_path / "noise",
        lambda t: by_number(t) - 0.05 * (rate(t) == 2) * (-1) ** t.candidate.number,
    )
    assert "No other setting" in printed(search, again)


def test_a_setting_at_which_a_training_fails_is_never_better(tmp_path: Path) -> None:
    def loss(trial: Trial) -> float:
        if rate(trial) == 2 and trial.candidate.number in {0, 1}:
            return float("nan")
        return by_number(trial) - 0.05 * (rate(trial) == 2)

    run = asking(tmp_path, loss)
    said = printed(search, run)
    assert "2 of 15 trainings failed, most often (2): RuntimeError: no luck" in said
    assert "No other setting" in said
    run.report()
    check = run.recipe_check
    assert check is not None
    assert check.rate_to_take == 0.1
    assert check.is_done
    shown = printed(Run.report, run)
    assert "2 trainings failed." in shown


def test_another_order_by_one_seed_is_said_with_its_numbers(tmp_path: Path) -> None:
    def loss(trial: Trial) -> float:
        turned = rate(trial) == 2
        return 2 + 0.1 * trial.candidate.number * (-1 if turned and trial.candidate.number else 1)

    run = asking(tmp_path, loss)
    search(run)
    said = next(one for one in conclusions(run) if "for this recipe only" in one)
    assert conclusions(run).index(said) <= 1
    names = re.fullmatch(
        r"The answer may hold for this recipe only: the order of the networks changes with it, as "
        r"far as single trainings show\. Noise alone can do this\. The best of 4 networks is "
        r"(.+) at rate 0\.1, \1 at rate 0\.05, (.+) at rate 0\.2, .+ at rate 0\.2 unaugmented\. "
        r"The rank correlations with the order at rate 0\.1 are 1\.00, -1\.00, .*\.",
        said,
    )
    assert names is not None
    assert names.group(1) != names.group(2)


@pytest.mark.parametrize(
    ("turn", "luck", "verdict"),
    [
        (0.3, 0.001, "The answer holds for this recipe only: the recipe favours some networks (F("),
        (0.0, 0.001, "No sign that the recipe favours some networks (F("),
        (0.0, 0.5, "These results cannot show whether the recipe favours some networks (F("),
    ],
)
def test_an_interaction_is_tested_with_the_noise_of_the_search(
    tmp_path: Path, turn: float, luck: float, verdict: str
) -> None:
    def loss(trial: Trial) -> float:
        number, shares = trial.candidate.number, trial.candidate.shares
        deep = 0.5 if shares is None else shares.depth
        key = 31 * number + 7 * trial.seed + round(10 * rate(trial)) + plain(trial)
        by_chance = luck * ((key * key * 37) % 101 / 101 - 0.5)
        return 1 + 0.4 * deep + turn * (rate(trial) == 2) * (number % 2) + by_chance

    wide: dict[str, Any] = {
        "base_network": small_efficientnet(),
        "candidates": Buildable(max_networks=12),
    }
    run = asking(tmp_path, loss, num_seeds=3, **wide)
    search(run)
    shown = " ".join(printed(Run.report, run).split())
    assert verdict in shown
    assert (verdict in " ".join(conclusions(run))) == (turn > 0)
    if not turn:
        assert (
            "more than the others from one setting to another, with the noise between seeds of the"
            in shown
        )


@pytest.mark.parametrize(
    ("best", "asked", "taken"),
    [
        (1, [0.2, 0.4, 0.8], 0.4),
        (2, [0.2, 0.4, 0.8, 1.6], 0.8),
        (0.25, [0.05, 0.1, 0.2, 0.4, 0.8], 0.1),
        (100, [0.2, 0.4, 0.8, 1.6, 3.2], 3.2),
    ],
)
def test_auto_takes_the_best_rate_and_everything_after_it_uses_the_number(
    tmp_path: Path, best: float, asked: list[float], taken: float
) -> None:
    def loss(trial: Trial) -> float:
        away = abs(trial.recipe.rate / 0.4 - best)
        return by_number(trial) + 0.01 * away

    run = asking(tmp_path, loss, recipe=tiny_recipe(check=True, learning_rate="auto"))
    settled = search(run)
    assert settled.experiment.recipe.learning_rate == taken
    assert f"recipe.learning_rate=auto takes {taken:g}." in printed(search, run)
    assert sorted(set(run.results_of("recipe")["learning_rate"])) == asked
    assert set(run.results["learning_rate"]) == {taken}
    trials = submitted(run)
    assert len(trials) == 5 * len(asked) + 5 + 1  # no more by the search again
    assert {t.recipe.rate for t in trials if plain(t)} == {taken}
    assert OmegaConf.load(tmp_path / "config.yaml").recipe.learning_rate == taken
    loaded = ss.load(tmp_path, executor=Told(loss=loss))
    assert loaded.experiment.recipe.learning_rate == taken
    page = loaded.report().read_text("utf-8")
    assert f"learning_rate {taken:g}" in page
    assert "Another recipe is better" not in page
    ss.fairness(loaded, ss.Fairness(learning_rate=True))
    rates = set(loaded.results_of("fairness")["learning_rate"])
    assert rates == {taken / 2, taken, taken * 2}
    with pytest.raises(ValueError, match=rf"learning_rate must be {taken:g} as in this folder's"):
        search(changed(run, recipe=tiny_recipe(check=True, learning_rate=0.3)))


def test_auto_takes_no_rate_for_its_mean_alone(tmp_path: Path) -> None:
    def loss(trial: Trial) -> float:
        return by_number(trial) - 0.05 * (trial.recipe.rate == 0.8 and trial.candidate.number == 3)

    run = asking(tmp_path, loss, recipe=tiny_recipe(check=True, learning_rate="auto"))
    assert search(run).experiment.recipe.learning_rate == ss.Recipe().learning_rate
    check = run.recipe_check
    assert check is not None
    assert check.best_rate == 0.8 != ss.Recipe().learning_rate


def test_fairness_takes_the_rates_that_the_check_has_trained(tmp_path: Path) -> None:
    def loss(trial: Trial) -> float:
        return by_number(trial) + 0.01 * abs(trial.recipe.rate / 0.4 - 2)  # best at 0.8

    run = asking(tmp_path, loss, recipe=tiny_recipe(check=True, learning_rate="auto"))
    price = printed(search, run, price_only=True, fairness=Fairness(learning_rate=True))
    # A fifth network stands for the one that is not found yet.
    assert re.search(r"Fairness of the learning rate: .*\. 17 trainings: about", price)
    run = search(run)
    num_searched = len(submitted(run))
    said = printed(fairness, run, Fairness(learning_rate=True))
    assert "Does the learning rate favour some networks?" in said
    trials = submitted(run)[num_searched:]
    assert [trial.seed for trial in trials] == [1] * 12  # four networks at three rates
    table = read_table(tmp_path / "fairness_learning_rate.csv")
    assert table["rate"].tolist() == [0.5, 1.0, 2.0] * 4  # the check has asked a quarter too
    assert (table["num_seeds"] == 2).all()


@pytest.mark.parametrize(
    ("learning_rate", "interrupt_at"),
    [(0.1, 1), (0.1, 8), (0.1, 18), (0.1, 21), ("auto", 8), ("auto", 21), ("auto", 28)],
)
def test_a_check_that_is_interrupted_goes_on_and_ends_as_if_nothing_had_been(
    tmp_path: Path, learning_rate: Any, interrupt_at: int
) -> None:
    recipe = tiny_recipe(check=True, learning_rate=learning_rate)
    whole = asking(tmp_path / "whole", recipe=recipe)
    search(whole)
    run = asking(
        tmp_path / "cut", recipe=recipe, executor=Told(loss=by_number, interrupt_at=interrupt_at)
    )
    with pytest.raises(KeyboardInterrupt):
        search(run)
    if interrupt_at <= 15:
        assert run.results.empty
        note = "The check of the recipe has not ended; the same search command continues it."
        assert (run.recipe_check is None) or not run.recipe_check.is_done
        assert note not in conclusions(run)  # nothing of the search is there yet
        if learning_rate == "auto":
            with pytest.raises(ValueError, match=r"recipe\.learning_rate must be a number after"):
                ss.scale(run, ss.Scale(coefficients=(1.2, 1.1, 1.15)))
    again = replace(run, executor=Told(loss=by_number))
    settled = search(again)
    # A training that had not ended is trained again.
    assert len(submitted(run)) + len(submitted(again)) == len(submitted(whole))
    volatile = ["finished", "commit"]
    for command in ("recipe", "recipe-plain"):
        tables = [one.results_of(command).drop(columns=volatile) for one in (whole, settled)]
        keys = ["candidate", "learning_rate"]
        first, second = (t.sort_values(keys, ignore_index=True) for t in tables)
        pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(
        whole.results.drop(columns=volatile), settled.results.drop(columns=volatile)
    )


def test_a_check_that_has_not_ended_is_said_so(tmp_path: Path) -> None:
    run = asking(tmp_path, executor=Told(loss=by_number, interrupt_at=18))
    with pytest.raises(KeyboardInterrupt):
        search(run)
    assert conclusions(run)[-1] == (
        "The check of the recipe has not ended; the same search command continues it."
    )


def test_limits_count_the_trainings_of_the_check(tmp_path: Path) -> None:
    run = asking(tmp_path)
    for number, told in ((4, True), (17, True), (20, False), (21, False)):
        limited = replace(run, limits=ss.Limits(trainings=number, failed_share=1.0))
        said = printed(search, limited)
        assert len(submitted(run)) == number
        reached = f"limits.trainings={number} is reached; the same command continues the check"
        assert (reached in said) == told
    hours = 21 * 12 / 3600
    last = asking(tmp_path, num_seeds=2)
    search(replace(last, limits=ss.Limits(gpu_hours=hours + 0.001)))
    assert len(submitted(last)) == 1
    search(replace(last, limits=ss.Limits(hours=1e-9)))
    assert len(submitted(last)) == 1


def test_weights_are_the_search_s_alone(tmp_path: Path) -> None:
    run = asking(tmp_path, keep_weights=True)
    search(run)
    kept = [t for t in submitted(run) if t.weights is not None]
    assert [(t.candidate.number, rate(t), plain(t)) for t in kept] == [
        (t.candidate.number, 1.0, False) for t in kept
    ]
    assert len(kept) == 6


def test_auto_needs_the_check() -> None:
    with pytest.raises(
        ValueError, match=r"recipe\.check must be true for recipe\.learning_rate=auto"
    ):
        ss.Recipe(learning_rate="auto", check=False)


ASKING = (
    *(o for o in TINY if "max_networks" not in o),
    "candidates.max_networks=3",
    "recipe.check=true",
    "recipe.crop=0.05",
)


def test_the_price_names_the_trainings_that_ask_the_recipe(cli: Cli) -> None:
    for command in ("plan", "search"):
        options = ("price_only=true",) if command == "search" else ()
        outcome = cli(command, *ASKING, *options)
        assert outcome.code == 0
        assert " trainings, of which 12 check the recipe; how long" in outcome.out
    none = cli("search", *TINY, "price_only=true")
    assert "check the recipe" not in none.out
    refused = cli("search", *TINY, "recipe.learning_rate=auto")
    assert refused.code == 2
    assert refused.err == (
        "scaling-search: recipe.check must be true for recipe.learning_rate=auto, which it "
        "chooses, got false; add recipe.check=true or give a number\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_the_command_line_asks_goes_on_and_reports(cli: Cli, tmp_path: Path, executor: str) -> None:
    options = ("out=mine", *ASKING, f"executor={executor}", "recipe.learning_rate=auto")
    cut = cli("search", *options, "limits.trainings=5")
    assert cut.code == 0
    assert "limits.trainings=5 is reached; the same command continues the check" in cut.out
    price = cli("search", *options, "price_only=true")
    left = re.search(r"(\d+) trainings.*, of which (\d+) check the recipe: about", price.out)
    assert left is not None
    assert 7 <= int(left.group(2)) < 12
    whole = cli("search", *options)
    assert (whole.code, whole.err) == (0, "")
    assert "recipe.learning_rate=auto takes 0." in whole.out
    again = cli("search", *options)
    assert (again.code, again.err) == (0, "")
    assert "check the recipe" not in cli("search", *options, "price_only=true").out
    reported = cli("report", "out=mine")
    assert "Does the answer depend on the recipe?" in reported.out
    assert len(pd.read_csv(tmp_path / "mine" / "recipe_check.csv")) >= 16
