"""A search from its plan to its follow-ups: seeds of a part of the networks, and odd sizes."""

from pathlib import Path

import scaling_search as ss
from scaling_search.candidates import Buildable
from scaling_search.commands.confirm import confirm
from scaling_search.commands.export import card_data, export
from scaling_search.commands.plan import plan
from scaling_search.commands.scale import scale
from scaling_search.commands.search import search
from scaling_search.experiment.experiment import Decide
from scaling_search.experiment.options import Confirm, Export, Scale
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
