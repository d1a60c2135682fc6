"""The winner's new trainings, on real trainings of a fraction of a second each."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from scaling_search.answer.fit import fit_surface
from scaling_search.answer.observations import observations
from scaling_search.answer.stopping import Limits
from scaling_search.candidates import Buildable
from scaling_search.commands.confirm import confirm
from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.core.metric import VAL_LOSS
from scaling_search.core.scaling import REFERENCES
from scaling_search.display.confirmation import confirmation_section
from scaling_search.experiment.experiment import Decide
from scaling_search.experiment.options import Confirm
from scaling_search.follow_ups.confirmation import Confirmation
from scaling_search.record.record import Record
from scaling_search.training.engine import train_trial
from tests.cli import TINY, Cli
from tests.in_process import Executing, printed
from tests.tiny import changed, tiny_run

TWO = Confirm(num_seeds=2)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search among three networks with one seed."""
    folder = tmp_path_factory.mktemp("searched")
    printed(search, tiny_run(folder))
    return folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Run:
    """The same search in a folder of its own."""
    shutil.copytree(searched, tmp_path / "run")
    return tiny_run(tmp_path / "run")


@pytest.fixture(scope="module")
def whole(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What an uninterrupted look says."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(searched, folder)
    printed(confirm, tiny_run(folder), TWO)
    return said(tiny_run(folder))


def said(run: Run) -> pd.DataFrame:
    return pd.read_csv(run.folder / "confirm.csv")


def record(run: Run) -> Record:
    return run.studies.begun("confirm")


def seeds(run: Run) -> list[object]:
    return [row["seed"] for row in record(run).rows()]


def test_all_arms_are_trained_anew_and_tested_by_seeds_that_were_not_used(
    run: Run,
) -> None:
    executor = Executing()
    out = printed(confirm, replace(run, executor=executor), TWO)
    look = record(run).final_tests[0]
    assert look.seeds == [1, 2]
    assert look.arms["base"] == 0
    assert look.when >= look.began
    assert {trial.order for trial in executor.submitted} == {
        (seed, number) for number in look.arms.values() for seed in (1, 2)
    }
    assert all(trial.on_test for trial in executor.submitted)
    table = said(run)
    assert set(table["split"]) == {"test", "validation"}
    assert (table["pairs"] == 2).all()
    best = f"network {look.arms['found']} (lowest mean loss, without an answer)"
    assert f"Confirmation with seeds 1 to 2: {best} against " in out
    assert f"network {look.arms['found']} is better by" in out
    assert "test images" in out


def test_with_an_answer_its_network_is_trained_beside_the_papers_nearest_and_the_base(
    answered: Run,
) -> None:
    answer = answered.answer
    assert answer is not None
    assert answer.network != answer.nearest  # its lead is its own, not its split's
    out = printed(confirm, answered, TWO)
    (look,) = record(answered).final_tests
    away = {c.number: c.shares.distance(REFERENCES["paper"]) for c in answered.networks if c.shares}
    assert look.arms == {
        "found": answer.network,
        "paper": min(away, key=away.__getitem__),
        "base": 0,
    }
    assert len(set(look.arms.values())) == 3
    assert look.delta == answer.delta
    assert (
        f"Confirmation with seeds 2 to 3: network {answer.network} (best expected at this size) "
        "against network " in out
    )
    assert {row["candidate"] for row in record(answered).rows()} == set(look.arms.values())


def test_the_answer_holds_the_fresh_seeds_as_trainings_of_the_search(answered: Run) -> None:
    before = answered.answer
    printed(confirm, answered, TWO)
    after = answered.answer
    assert before is not None
    assert after is not None
    together = pd.concat([answered.results, answered.results_of("confirm")], ignore_index=True)
    data = observations(together, response=VAL_LOSS, target=2.0)
    assert (len(data.loss), len(data.base_loss)) == (
        len(before.surface.observations.loss) + 4,
        len(before.surface.observations.base_loss) + 2,
    )
    held = after.surface.observations
    for name in ("network", "seed", "loss", "base_seed", "base_loss"):
        assert sorted(getattr(held, name)) == pytest.approx(sorted(getattr(data, name)))
    assert after.surface.coefficients == pytest.approx(fit_surface(data).coefficients, rel=1e-9)
    assert len(answered.results) == len(before.surface.observations.loss) + 2  # the search's own


def test_a_network_that_is_the_papers_own_network_is_trained_once(tmp_path: Path) -> None:
    only = tiny_run(tmp_path, candidates=Buildable(tolerance=0.1, max_networks=1))
    printed(search, only)
    out = printed(confirm, only, TWO)
    assert record(only).final_tests[0].arms == {"found": 1, "paper": 1, "base": 0}
    assert len(seeds(only)) == 4
    assert "against the base network; it is also the nearest to the paper's split." in out
    assert "so these two are not compared." in out


def test_what_is_printed_is_what_the_record_says_later(run: Run) -> None:
    out = printed(confirm, run, TWO)
    tested = Confirmation.last(record(run))
    assert tested is not None
    section = confirmation_section(tested, run.experiment.metric)
    assert all(sentence in out for sentence in section.sentences)
    assert len(section.table) == len(said(run))


def test_the_price_comes_first_and_alone_begins_nothing(run: Run) -> None:
    out = printed(confirm, run, TWO, price_only=True)
    assert "trainings: about" in out
    assert "tiny-confirm" not in run.studies.names
    whole_out = printed(confirm, run, TWO)
    assert whole_out.startswith(out)


@pytest.mark.parametrize("interrupt_at", [1, 4, 6])
def test_an_interrupted_look_goes_on_and_ends_as_if_nothing_had_been(
    run: Run, whole: pd.DataFrame, interrupt_at: int
) -> None:
    first, second = Executing(interrupt_at), Executing()
    with pytest.raises(KeyboardInterrupt):
        printed(confirm, replace(run, executor=first), TWO)
    out = printed(confirm, replace(run, executor=second), TWO)
    assert ", as begun on 20" in out
    trained = [trial.order for trial in (*first.submitted, *second.submitted)]
    assert len(set(trained)) == len(trained) == len(seeds(run))
    pd.testing.assert_frame_equal(said(run), whole)


def test_arms_and_seeds_stay_while_the_search_goes_on(run: Run, whole: pd.DataFrame) -> None:
    with pytest.raises(KeyboardInterrupt):
        printed(confirm, replace(run, executor=Executing(3)), TWO)
    begun = record(run).final_tests[0]
    # Now the search trains with the look's own seeds; the look does not take their results.
    printed(search, changed(run, num_seeds=4))
    printed(confirm, changed(run, num_seeds=4), Confirm(num_seeds=3))
    (look,) = record(run).final_tests
    assert replace(look, when="") == begun
    pd.testing.assert_frame_equal(said(run), whole)


def test_nothing_of_the_test_split_is_told_before_the_end(run: Run) -> None:
    limits = replace(run.limits, trainings=5)
    out = printed(confirm, replace(run, limits=limits), TWO)
    assert "limits.trainings=5 is reached" in out
    # The record knows, and nobody else.
    assert all("test_loss" in row for row in record(run).rows())
    values = [f"{row['test_loss']:.4f}" for row in record(run).rows()]
    assert "test" not in out.replace(run.out, "")
    assert not [value for value in values if value in out]
    assert Confirmation.last(record(run)) is None
    folder = run.folder
    assert not (folder / "confirm.csv").exists()
    log = (folder / "search.log").read_text(encoding="utf-8")
    assert "test" not in log.replace(str(folder), "")
    assert "test images" in printed(confirm, run, TWO)


def test_a_second_look_is_refused_and_trains_nothing(run: Run) -> None:
    printed(confirm, run, TWO)
    executor = Executing()
    with pytest.raises(ValueError, match=r"confirm\.force must be true .* on 20\d\d-\d\d-\d\d; "):
        printed(confirm, replace(run, executor=executor), TWO)
    assert executor.submitted == []
    assert len(record(run).final_tests) == 1


def test_a_forced_look_takes_new_seeds_and_is_counted(run: Run) -> None:
    printed(confirm, run, TWO)
    printed(confirm, run, Confirm(num_seeds=3, force=True))
    first, second = record(run).final_tests
    assert (first.seeds, second.seeds) == ([1, 2], [3, 4, 5])
    tested = Confirmation.last(record(run))
    assert tested is not None
    section = confirmation_section(tested, run.experiment.metric)
    assert all("(evaluation 2 on the test split)" in sentence for sentence in section.sentences)
    assert set(said(run)["look"]) == {2}
    assert (said(run)["pairs"] == 3).all()


def test_force_does_not_leave_a_look_that_has_begun(run: Run, whole: pd.DataFrame) -> None:
    with pytest.raises(KeyboardInterrupt):
        printed(confirm, replace(run, executor=Executing(2)), TWO)
    printed(confirm, run, Confirm(num_seeds=2, force=True))
    assert len(record(run).final_tests) == 1
    pd.testing.assert_frame_equal(said(run), whole)


def test_seeds_of_every_study_of_the_run_are_used_ones(run: Run) -> None:
    other = run.studies.begun("transfer")
    trial = run.experiment.trial(run.networks[0], 11)
    other.add(train_trial(trial, "cpu"))
    printed(confirm, run, TWO)
    assert record(run).final_tests[0].seeds == [12, 13]


def test_seeds_that_the_search_has_yet_to_train_are_not_taken(run: Run) -> None:
    printed(confirm, changed(run, num_seeds=5), TWO)
    assert record(run).final_tests[0].seeds == [5, 6]


def test_a_lost_training_is_left_out_with_its_pair(run: Run) -> None:
    out = printed(confirm, replace(run, executor=Executing(lost=((2, 0),))), TWO)
    found = record(run).final_tests[0].arms["found"]
    assert f"Network {found} cannot be compared with the base network: an interval" in out
    assert "1 of 6 trainings failed" in out or "1 of 4 trainings failed" in out
    assert "base" not in set(said(run)["against"])


def test_some_failures_are_said_with_the_commonest_reason(run: Run) -> None:
    out = printed(confirm, replace(run, executor=Executing(lost=((1, 0),))), TWO)
    assert re.search(
        r"\n1 of \d trainings failed, most often \(1\): worker lost: .*tracebacks\n", out
    )
    assert "both networks, and 1 of 2 are." in out


def test_a_look_of_failures_alone_ends_in_words(run: Run) -> None:
    lost = tuple((seed, number) for number in range(4) for seed in (1, 2))
    said = r"[68] of [68] trainings failed, most often \([68]\): .*; nothing to report"
    for _ in range(2):  # the second has nothing left to train
        with pytest.raises(RuntimeError, match=said):
            printed(confirm, replace(run, executor=Executing(lost=lost)), TWO)
    assert not record(run).final_tests[-1].when  # the test split was not looked at


@pytest.mark.parametrize(
    ("decide", "said"),
    [
        (Decide(), r"decide\.delta must be given .*got null"),
        (Decide(delta=0.01), r"confirm\.num_seeds must be given .*got null"),
    ],
)
def test_what_the_number_of_seeds_needs_is_asked_for(run: Run, decide: Decide, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        printed(confirm, changed(run, decide=decide))
    assert "tiny-confirm" not in run.studies.names


def test_the_number_of_seeds_follows_from_the_difference_that_matters(
    run: Run,
) -> None:
    asking = changed(run, decide=Decide(delta=0.01, seed_sd=0.0065))
    out = printed(confirm, asking, price_only=True)
    assert "8 seeds a network show a difference of 0.010 in 80 of 100 cases" in out
    assert "seeds 1 to 8: " in out


def test_the_noise_of_seeds_is_what_the_search_has_measured(run: Run) -> None:
    two = changed(run, num_seeds=2)
    printed(search, two)
    out = printed(confirm, changed(two, decide=Decide(delta=1.0)), price_only=True)
    assert "2 seeds a network show a difference of 1.000 in 80 of 100" in out


def test_without_a_trained_network_there_is_no_winner(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, limits=Limits(trainings=1))
    printed(search, run)
    with pytest.raises(ValueError, match="out must hold a finished training of a scaled network"):
        printed(confirm, run, TWO)


@pytest.mark.slow
def test_the_command_line_refuses_a_second_look_in_one_line(cli: Cli) -> None:
    cli("search", "out=run", *TINY)
    looked = cli("confirm", "out=run", "confirm.num_seeds=2")
    assert looked.code == 0
    assert "test images" in looked.out
    again = cli("confirm", "out=run", "confirm.num_seeds=2")
    assert (again.code, again.out) == (2, "")
    assert again.err.startswith("scaling-search: confirm.force must be true")
    assert again.err.count("\n") == 1
