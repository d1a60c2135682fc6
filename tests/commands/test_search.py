"""A search from its plan to its follow-ups: seeds of some networks, odd sizes, a killed start."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import scaling_search as ss
from scaling_search.candidates import Buildable
from scaling_search.commands.confirm import confirm
from scaling_search.commands.export import card_data, export
from scaling_search.commands.plan import plan
from scaling_search.commands.scale import scale
from scaling_search.commands.search import search
from scaling_search.experiment.experiment import Decide
from scaling_search.experiment.options import Confirm, Export, Scale
from tests.cli import TINY, Cli
from tests.in_process import printed
from tests.tiny import changed, tiny_network, tiny_run


def test_a_quarter_of_the_networks_has_second_seeds_and_a_later_command_gives_more(
    tmp_path: Path,
) -> None:
    run = tiny_run(tmp_path, num_seeds=1.25, decide=Decide(seed_sd=0.01))
    planned = printed(plan, run, timed=False)
    assert "6 trainings; how long" in planned
    assert "no answer. An answer needs 12 places (got 3); for more places set" in " ".join(
        planned.split()
    )
    assert "6/6" in printed(search, run)
    assert run.results.groupby("candidate").size().tolist() == [2, 2, 1, 1]
    assert "all trainings are done" in printed(search, ss.load(tmp_path, executor=run.executor))
    other = changed(run, candidates=Buildable(tolerance=0.1, max_networks=2))
    assert "2 networks are selected" in printed(plan, other, timed=False)
    assert card_data(run, Export()).planned == 6
    asked = Scale(families=("width",), phis=(0, 1), tolerance=0.2)
    assert "1 training (3 more are done)" in printed(scale, run, asked, price_only=True)
    fresh = printed(confirm, run, Confirm(num_seeds=2), price_only=True)
    assert fresh.startswith("Confirmation with seeds 2 to 3: ")
    printed(search, changed(run, num_seeds=2))
    assert run.results.groupby("candidate").size().tolist() == [2, 2, 2, 2]
    assert ss.load(tmp_path).experiment.num_seeds == 2


def test_one_seed_alone_gives_no_verdict_and_the_plan_says_so(tmp_path: Path) -> None:
    said = " ".join(printed(plan, tiny_run(tmp_path), timed=False).split())
    assert "a second seed of some networks (got none)" in said
    assert "for second seeds set num_seeds=1.25." in said


def test_networks_of_odd_sizes_are_counted_trained_and_exported(tmp_path: Path) -> None:
    base = tiny_network(
        channels=(5, 7),
        stem_channels=5,
        head_channels=17,
        resolution=9,
        width_divisor=1,
        resolution_divisor=1,
    )
    candidates = Buildable(tolerance=0.1, max_networks=4)
    run = tiny_run(tmp_path, base_network=base, candidates=candidates, keep_weights=True)
    printed(plan, run, timed=False)  # each is built, and its count must equal the closed form
    printed(search, run)
    assert set(run.results["state"]) == {"COMPLETE"}
    odd = [one for one in run.networks if any(width % 2 for width in one.architecture.channels)]
    sizes = {one.architecture.resolution for one in run.networks}
    assert len(odd) >= 4
    assert any(size % 2 for size in sizes)
    printed(export, run)  # what would differ from the trained network is an error
    assert (tmp_path / "export" / "family.json").is_file()


def test_a_search_that_ends_before_its_contact_sheet_has_its_options_and_goes_on(cli: Cli) -> None:
    command = ("search", "out=mine", *TINY)
    Path("mine").mkdir()
    Path("mine", "figures").touch()  # where a folder should be
    assert cli(*command).code == 2
    text = Path("mine", "config.yaml").read_text(encoding="utf-8")
    for other in ((*command, "recipe.epochs=2"), ("search", "out=mine", "recipe.epochs=2")):
        refused = cli(*other)
        assert refused.code == 2
        assert "recipe.epochs must be 1.0 as in this folder's record" in refused.err
    assert Path("mine", "config.yaml").read_text(encoding="utf-8") == text
    Path("mine", "figures").unlink()
    whole = cli("search", "out=mine")
    assert whole.code == 0, whole.err
    assert "all trainings are done" in whole.out
    Path("mine", "config.yaml").unlink()
    assert cli(*command).code == 0
    assert Path("mine", "config.yaml").read_text(encoding="utf-8") == text


def test_a_search_that_is_refused_for_its_storage_leaves_the_options_of_another(cli: Cli) -> None:
    assert cli("search", "out=mine", *TINY, "limits.trainings=1").code == 0
    text = Path("mine", "config.yaml").read_text(encoding="utf-8")
    other = cli("search", "out=mine", "recipe.epochs=2", "storage=sqlite:////proc/none/x.db")
    assert other.code == 2
    assert Path("mine", "config.yaml").read_text(encoding="utf-8") == text
    assert cli("report", "out=mine").code == 0


@pytest.mark.slow
def test_a_run_with_hours_that_ends_before_its_contact_sheet_keeps_its_size(cli: Cli) -> None:
    data = ("dataset.num_train=100", "dataset.num_val=50", "recipe.epochs=1", "executor=inline")
    command = ("run", "out=mine", "hours=0.5", "run.stages=[search]", "limits.trainings=1", *data)
    Path("mine").mkdir()
    Path("mine", "figures").touch()
    assert cli(*command).code == 2
    chosen = ss.load("mine").experiment
    Path("mine", "figures").unlink()
    again = cli(*command)
    assert again.code == 0, again.err
    kept = ss.load("mine").experiment
    assert (kept.num_seeds, kept.candidates) == (chosen.num_seeds, chosen.candidates)


@pytest.mark.slow
@pytest.mark.alone
def test_a_search_that_is_killed_once_its_record_is_there_goes_on(tmp_path: Path, cli: Cli) -> None:
    program = Path(sys.executable).with_name("scaling-search")
    begun = subprocess.Popen(
        [program, "search", "out=mine", *TINY], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    record = tmp_path / "mine" / "study.db"
    while not (record.is_file() and record.stat().st_size) and begun.poll() is None:
        time.sleep(0.001)
    begun.kill()
    assert begun.wait() < 0
    assert (tmp_path / "mine" / "config.yaml").is_file()
    again = cli("search", "out=mine")
    assert again.code == 0, again.err
    assert "all trainings are done" in again.out
