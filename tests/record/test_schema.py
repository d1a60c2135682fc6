"""Records of every released version: they are read, reported and resumed."""

import shutil
from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import scaling_search as ss
from scaling_search.base_networks import small_efficientnet
from scaling_search.commands.plan import make_plan
from scaling_search.commands.search import search
from scaling_search.core.metric import VAL_LOSS
from scaling_search.costs import Memory
from scaling_search.costs.latency import Latency
from scaling_search.record.record import Record
from scaling_search.record.schema import (
    ADDED,
    ANY,
    BEFORE,
    CROP_KEY,
    DROPPED,
    VERSION,
    check_choices,
    current,
    current_costs,
)
from scaling_search.record.serialization import completed, from_json, to_json
from tests.cli import ran
from tests.in_process import Executing, printed
from tests.tiny import changed, tiny_run

RUNS = Path(__file__).parent / "released"
CHOICES = {
    "recipe": {"epochs": 4, "flip": True},
    "base_network": {"class": "Small", "channels": [4, 8], "stages": [{"layers": 1}]},
    "cost": None,
    "dataset": "abcdef",
}


@pytest.fixture(params=[1, 2, 3])
def schema(request: pytest.FixtureRequest) -> int:
    """The version of a record that was released."""
    return int(request.param)


@pytest.fixture
def earlier(schema: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder that the version left: a search, its follow-ups and its tables."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(RUNS / f"schema_{schema}", Path("runs/old")))


def test_an_earlier_run_is_reported_to_the_byte(earlier: Path, schema: int) -> None:
    ended = ran("report", f"out={earlier}")
    assert (ended.code, ended.err) == (0, "")
    tables = sorted((RUNS / f"schema_{schema}").glob("*.csv"))
    assert len(tables) >= 7
    for table in tables:
        assert (earlier / table.name).read_bytes() == table.read_bytes(), table.name


def test_networks_of_an_earlier_run_are_those_that_were_trained(earlier: Path) -> None:
    run = ss.load(earlier)
    results = run.results
    assert [network.network for network in run.networks] == run.candidates["network"].tolist()
    assert set(results["network"]) == set(run.candidates["network"])
    # They were selected by another rule, and stay.
    anew = run.experiment.plan().candidates
    assert {one.network for one in anew} != {one.network for one in run.networks[1:]}
    _, planned = make_plan(run, run.record.costs)
    assert list(planned) == run.networks
    families = run.families
    assert families is not None
    for family in ("compound", "depth"):
        names = families.loc[families["family"] == family, "network"].tolist()
        assert names == [run.network(name).name for name in ("base", f"{family}-1")]


def test_an_earlier_run_goes_on_and_is_brought_up_to_date(earlier: Path, schema: int) -> None:
    run = ss.load(earlier, executor=(executor := Executing()))
    assert run.record.schema == schema
    before = run.results
    other = changed(run, recipe=replace(run.experiment.recipe, momentum=0.5))
    with pytest.raises(ValueError, match=r"recipe\.momentum must be 0\.9 as in .*, got 0\.5"):
        printed(search, other)
    further = ss.search(
        replace(run.experiment, num_seeds=3),
        earlier,
        storage=run.storage,
        executor=executor,
        limits=ss.Limits(trainings=len(before) + 2),
    )
    assert len(executor.submitted) == 2
    assert further.record.schema == VERSION
    assert [network.network for network in further.networks] == further.candidates[
        "network"
    ].tolist()
    pd.testing.assert_frame_equal(
        further.results[further.results["seed"] < 2].reset_index(drop=True), before
    )


@pytest.mark.parametrize("schema", [1], indirect=True)
@pytest.mark.parametrize("name", ["families.csv", "transfer.csv"])
def test_networks_of_version_1_that_were_cut_or_changed_are_refused(
    name: str, earlier: Path
) -> None:
    path = earlier / name
    whole = path.read_bytes()
    header, *lines = whole.splitlines(keepends=True)
    cuts = [b"", header, whole[: -len(lines[-1]) // 2]]
    if name == "transfer.csv":  # all of the families were trained by the search
        cuts.append(b"".join([header, *lines[:-1]]))
    changed = whole.replace(b"alpha", b"alphb", 1)
    with_nul = b"".join([header, *lines[:-1], lines[-1].replace(b"-", b"\0", 1)])
    for content in (*cuts, changed, with_nul):
        path.write_bytes(content)
        refused = ran("report", f"out={earlier}")
        assert (refused.code, refused.err.count("\n")) == (2, 1), (content, refused.err)
        assert f"{path} must" in refused.err


def test_a_newer_record_is_refused(tmp_path: Path) -> None:
    storage = f"{tmp_path}/study.log"
    Record(storage, "tiny", VAL_LOSS).study.set_user_attr("schema", VERSION + 1)
    with pytest.raises(RuntimeError, match=f"record of version {VERSION} or older, got version"):
        Record(storage, "tiny", VAL_LOSS)


def test_an_option_that_is_added_has_the_value_of_before(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, executor=Executing())
    printed(search, run)
    kept: dict[str, Any] = run.record.choices
    for key in ("recipe", "candidates"):
        without = {k: v for k, v in kept[key].items() if k not in ("label_smoothing", "beta")}
        run.record.claim({**kept, key: without})
        run.check_choices()
    for name, options in ADDED.items():
        assert current({"_target_": name}) == {"_target_": name, **options}
        assert current({"class": name, "aspect": "stretch"})["aspect"] == "stretch"


DROPPED_OPTIONS = [(name, key) for name, options in DROPPED.items() for key in options]


@pytest.mark.parametrize(("name", "option"), DROPPED_OPTIONS)
def test_an_option_that_was_dropped_is_read_with_the_value_of_the_code(
    name: str, option: str
) -> None:
    module, _, attribute = name.rpartition(".")
    assert option not in signature(getattr(import_module(module), attribute)).parameters
    value = DROPPED[name][option]
    for key in ("_target_", "class"):
        older = {key: name, option: "whatever" if value is ANY else value}
        assert current([older]) == [{key: name}]
    if value is not ANY:
        with pytest.raises(ValueError, match=rf"{option} of {attribute} must be .* got 'other'; "):
            current({"_target_": name, option: "other"})


def test_an_unused_way_to_measure_a_cap_is_not_read() -> None:
    name = "scaling_search.costs.latency.Latency"
    caps = {"latency_ms": None, "latency": {"_target_": name, "threads": 4}}
    assert current(caps) == {"latency_ms": None, "latency": None}
    with pytest.raises(ValueError, match="threads of Latency must be 1"):
        current({**caps, "latency_ms": 3.0})


def test_measured_costs_of_before_are_those_of_todays_measure(tmp_path: Path) -> None:
    record = Record(f"{tmp_path}/study.log", "tiny", VAL_LOSS)
    cost = Latency(device="cpu", batch_size=16, repeats=5)
    before = f"{str(cost)[:-1]}, warm_up=5, threads=1)"
    record.study.set_user_attr("costs", {before: {"samples": {}, "weights": {}}})
    assert set(record.costs) == {str(cost)}


def test_networks_of_a_record_with_options_of_before_are_those_of_today() -> None:
    network = small_efficientnet()
    older = to_json(network) | {"norm_epsilon": 0.001, "se_ratio": 0.25}
    assert from_json(current(older)) == network
    assert completed(current(older)) == to_json(network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": {"epochs": 5, "flip": True}}, "recipe.epochs must be 4 as in .* got 5; use"),
        ({"cost": 1}, "cost must be None as in this folder's record, got 1; use another out="),
        ({"recipe": {"epochs": 4}}, "recipe.flip must be True as .*, got 'nothing'"),
        (
            {"base_network": CHOICES["base_network"] | {"channels": [4]}},  # type: ignore[operator]  # a dict
            r"base_network.channels must be \[4, 8\] as .*got \[4\]",
        ),
        (
            {"base_network": CHOICES["base_network"] | {"stages": [{"layers": 2}]}},  # type: ignore[operator]  # a dict
            "base_network.stages.0.layers must be 1 as .*got 2",
        ),
        ({"dataset": "x"}, "^dataset must be 'abcdef'"),
        ({CROP_KEY: "another"}, f"must be '{BEFORE[CROP_KEY]}' as"),
    ],
)
def test_other_choices_are_refused_by_the_name_of_the_option(
    changes: dict[str, object], message: str
) -> None:
    check_choices(CHOICES, dict(reversed(CHOICES.items())))
    with pytest.raises(ValueError, match=message):
        check_choices(CHOICES | changes, CHOICES)


def test_measured_memory_of_an_earlier_run_was_that_of_sgd() -> None:
    today, earlier = repr(Memory()), "Memory(device='auto', batch_size=64)"
    assert earlier != today == "Memory(device='auto', batch_size=64, optimizer='sgd')"
    for key in (f"1 {earlier} a", f"1 {today} a"):
        assert current_costs({key: 5}) == {f"1 {today} a": 5}
