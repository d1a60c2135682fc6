"""From data to an answer in one command, and the folder's own options."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import scaling_search as ss
from scaling_search.answer.detectable import FEWEST_PLACES
from scaling_search.commands.run import Run
from scaling_search.commands.sizing import FEWEST_SEEDS, MOST_SEEDS, STEP, Sizing, seconds_of
from scaling_search.commands.stages import run_stages
from scaling_search.core.trial import Trial
from scaling_search.experiment.options import Confirm, Scale, Stages
from scaling_search.training.timing import Timing
from tests.cli import TINY, Cli
from tests.in_process import printed
from tests.simulated import Simulating, simulated_run

STARTS = ("Use ", "How sure: ", "Next: ")
"""Of the last three lines of every command that ends with an answer."""


def last_three(output: str) -> list[str]:
    """The answer, after a check that it is one."""
    lines = output.strip().splitlines()[-3:]
    assert [line.startswith(start) for line, start in zip(lines, STARTS, strict=True)] == [True] * 3
    return lines


def timed(run: Run, seconds: float) -> list[Timing]:
    """Timings of steps that take so long for each million multiply-adds."""
    return [
        Timing(
            trial,
            start_seconds=1.0,
            step_seconds=seconds * trial.candidate.flops / 1e6,
            evaluation_seconds=0.1,
            steps_per_epoch=50,
            images_per_second=1000.0,
            device="cpu",
        )
        for trial in run.experiment.trials(run.experiment.plan())[:6]
    ]


def test_a_run_goes_from_data_to_a_report_and_the_same_command_goes_on(cli: Cli) -> None:
    command = ("run", "out=mine", "run.stages=[plan,search,report]", "num_seeds=1", *TINY)
    cut = cli(*command, "limits.trainings=1")
    assert cut.code == 0
    assert "The search has 1 of 3 trainings; the same command goes on." in cut.out
    assert "scaling-search search out=mine" in last_three(cut.out)[2]
    whole = cli(*command)
    assert whole.code == 0, whole.err
    assert "images " in whole.out  # the data's table
    assert Path("mine", "report.html").is_file()
    use, how_sure, _ = last_three(whole.out)
    assert "for now" in use
    assert "12 places" in how_sure
    again = cli(*command)
    assert again.code == 0
    assert last_three(again.out) == last_three(whole.out)


def test_stages_are_run_in_one_order_and_left_out_where_not_named(cli: Cli) -> None:
    wrong = cli("run", "run.stages=[plan,train]", *TINY)
    assert wrong.code == 2
    assert "run.stages" in wrong.err
    ran = cli("run", "out=mine", "run.stages=[search]", *TINY)
    assert ran.code == 0
    assert not Path("mine", "report.html").exists()


def test_a_search_goes_on_by_its_folder_alone(cli: Cli) -> None:
    assert cli("search", "out=mine", "name=other", "limits.trainings=1", *TINY).code == 0
    more = cli("search", "out=mine", "num_seeds=2")
    assert more.code == 0, more.err
    assert f"are those of {Path('mine', 'config.yaml')}" in more.out
    assert len(ss.load("mine").results) == 6
    other = cli("search", "out=mine", "recipe.epochs=2")
    assert other.code == 2
    assert "recipe.epochs must be 1.0 as in this folder's record, got 2.0" in other.err
    planned = cli("plan", "out=mine", "num_seeds=3")
    assert planned.code == 0
    assert "3 trainings" in planned.out


def test_a_run_on_pictures_is_named_after_their_folder(cli: Cli) -> None:
    said = cli("run", "dataset=imagefolder", "dataset.path=my photos/", "hours=1")
    assert said.code == 2
    assert "my photos" in said.err  # nothing is there
    composed = cli("run", "dataset=imagefolder", "dataset.path=a", "hours=1", "--cfg", "job")
    assert "max_networks: null" in composed.out  # not the first look's nine
    both = cli("run", "hours=1", "num_seeds=3")
    assert both.code == 2
    assert "hours must be left out where num_seeds is given" in both.err


@pytest.mark.slow
def test_hours_choose_sizes_and_ask_the_rate_and_the_same_command_keeps_both(cli: Cli) -> None:
    data = ("dataset.num_train=100", "dataset.num_val=50")
    tiny = (*data, "recipe.epochs=1", "recipe.batch_size=20", "executor=inline")
    command = ("run", "out=mine", "hours=0.5", "run.stages=[search]", "limits.trainings=1", *tiny)
    for is_lost in (False, False, True):
        if is_lost:
            Path("mine/config.yaml").unlink()
        outcome = cli(*command)
        assert outcome.code == 0, outcome.err
        kept = OmegaConf.load("mine/config.yaml")
        assert kept.recipe.learning_rate == "auto"  # until its check is done
        assert kept.num_seeds >= FEWEST_SEEDS
        networks = pd.read_csv("mine/candidates.csv")
        assert len(networks) > FEWEST_PLACES
    assert "would find" not in outcome.out
    more = cli("run", "out=mine", "num_seeds=3", "price_only=true")
    assert more.code == 0, more.err
    assert "hours" not in more.out.partition("Plan")[0]


@pytest.fixture(scope="module")
def sizing(tmp_path_factory: pytest.TempPathFactory) -> Sizing:
    """Every place of the default base network, not begun; an epoch takes about a second."""
    experiment = replace(ss.Experiment(), recipe=ss.Recipe(check=False))
    run = Run(experiment, str(tmp_path_factory.mktemp("planned") / "run"), Simulating())
    return Sizing(run, list(experiment.plan()), timed(run, 0.01))


def trials_of(sizing: Sizing, number: int, num_seeds: float) -> list[Trial]:
    """All trainings of a search of so many networks and seeds."""
    experiment = replace(sizing.run.experiment, num_seeds=num_seeds)
    return experiment.trials(sizing.networks[: number + 1])


@settings(max_examples=30, deadline=None)
@given(number=st.integers(12, 53), seconds=st.floats(10, 1e5))
def test_the_most_seeds_within_a_time_fit_and_one_step_more_does_not(
    sizing: Sizing, number: int, seconds: float
) -> None:
    trials = partial(trials_of, sizing, number)
    num_seeds = sizing.seeds_within(number, seconds)
    if num_seeds is None:
        assert seconds_of(sizing.run, trials(FEWEST_SEEDS), sizing.timings) > seconds
        return
    assert seconds_of(sizing.run, trials(num_seeds), sizing.timings) <= seconds
    if num_seeds < MOST_SEEDS:
        assert seconds_of(sizing.run, trials(num_seeds + STEP), sizing.timings) > seconds


def test_more_hours_find_smaller_differences_in_twelve_places_or_more(sizing: Sizing) -> None:
    few, many = (sizing.fitting(hours, can_shrink=True) for hours in (0.06, 0.12))
    assert few is not None
    assert many is not None
    assert FEWEST_PLACES <= few.num_places <= many.num_places
    assert many.smallest < few.smallest
    assert sizing.fitting(sizing.least_hours(can_shrink=True) * 0.99, can_shrink=True) is None


@pytest.mark.slow
def test_hours_that_hold_no_answer_are_refused_with_those_that_do(tmp_path: Path) -> None:
    run = simulated_run(tmp_path / "run")
    with pytest.raises(ValueError, match=r"hours must be at least 0\.\d+ here for 12 places") as e:
        run_stages(run, hours=1e-6)
    least = float(str(e.value).partition("add hours=")[2].partition(",")[0])
    assert "would find" in printed(run_stages, run, hours=least, price_only=True)


@pytest.mark.slow
def test_a_whole_run_confirms_scales_and_reports_and_does_nothing_twice(tmp_path: Path) -> None:
    run = simulated_run(tmp_path / "run")
    sizes = {"confirm": Confirm(num_seeds=2), "scale": Scale(phis=(0, 1), num_seeds=1)}
    first = printed(run_stages, run, **sizes)
    use, how_sure, after = last_three(first)
    assert "test loss" in use
    assert "better than the base network (loss" in use
    assert "is better than" in how_sure
    assert "scaling-search transfer" in after
    trained = {name: len(run.results_of(name)) for name in ("confirm", "scale")}
    assert all(trained.values())
    second = printed(run_stages, run, **sizes)
    assert last_three(second) == last_three(first)
    assert "was trained again and tested on" in second
    assert {name: len(run.results_of(name)) for name in trained} == trained


@pytest.mark.slow
def test_spare_hours_take_more_seeds_at_the_rate_that_was_asked(tmp_path: Path) -> None:
    run = simulated_run(tmp_path / "run")
    asked = replace(run.experiment.recipe, learning_rate="auto", check=True)
    run = replace(run, experiment=replace(run.experiment, recipe=asked, num_seeds=1.25))
    run_stages(run, Stages(("search",)))
    num_before = len(run.results)
    said = printed(run_stages, run, Stages(("search",)), hours=3.0)
    assert "of the search's time are left and take num_seeds=" in said
    loaded = ss.load(run.folder)
    assert isinstance(loaded.experiment.recipe.learning_rate, float)
    assert loaded.experiment.num_seeds > 1.25
    assert len(loaded.results) > num_before


def test_python_runs_the_same_stages(mine: Run) -> None:
    run = ss.run(
        mine.experiment,
        mine.out,
        executor=mine.executor,
        stages=("search", "report"),
        console=mine.console,
    )
    assert (run.folder / "report.html").is_file()
    assert Stages().stages == ("plan", "search", "confirm", "scale", "report")
