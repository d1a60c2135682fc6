"""Whole commands that hold or cap each cost, on real images."""

import re
from pathlib import Path

import pandas as pd
import pytest

from scaling_search.costs.latency import Latency
from tests.cli import TINY, Cli
from tests.composed import composed

MORE = (*TINY, "dataset.num_train=200", "candidates.max_networks=8")
QUICKLY_TIMED = ("cost.batch_size=4", "cost.repeats=9")


def numbers(folder: Path, table: str = "candidates.csv") -> pd.DataFrame:
    return pd.read_csv(folder / "runs" / "default" / table)


@pytest.mark.slow
@pytest.mark.parametrize("cost", ["activations", "train_flops"])
def test_a_whole_search_holds_a_cost_that_is_counted(cost: str, cli: Cli, tmp_path: Path) -> None:
    found = cli("search", *MORE, f"cost={cost}")
    assert found.code == 0, found.err
    candidates = numbers(tmp_path)
    assert len(candidates) == 9
    assert (candidates["cost_ratio"].iloc[1:] - 2).abs().max() <= 0.1
    if cost in candidates:
        assert (candidates["cost"] == candidates[cost]).all()
    reported = cli("report", "out=runs/default")
    assert reported.code == 0, reported.err
    assert cost in (tmp_path / "runs" / "default" / "report.html").read_text()


@pytest.mark.slow
def test_a_whole_search_holds_the_latency_and_measures_it_once(cli: Cli, tmp_path: Path) -> None:
    options = (*MORE, "cost=latency", *QUICKLY_TIMED)
    first = cli("search", *options, "limits.trainings=2")
    assert first.code == 0, first.err
    candidates = numbers(tmp_path)
    assert (candidates["cost"] > 0).all()
    ratios, spreads = candidates["cost_ratio"].iloc[1:], candidates["cost_spread"].iloc[1:]
    assert ((ratios - 2).abs() <= (spreads * 2 / ratios).clip(lower=0.1) + 1e-9).all()
    second = cli("search", *options)  # on the networks of the first
    assert second.code == 0, second.err
    assert numbers(tmp_path).equals(candidates)
    assert f"{len(candidates)}/{len(candidates)}" in second.out
    planned = cli("plan", *options)
    assert all(f"{ratio:.3f}" in planned.out for ratio in candidates["cost_ratio"])
    reported = cli("report", "out=runs/default")
    assert reported.code == 0, reported.err
    more = cli(
        "scale", "out=runs/default", "scale.phis=[0,1]", "scale.tolerance=0.9",
        "price_only=true",
    )  # fmt: skip
    assert more.code == 0, more.err


@pytest.mark.slow
def test_a_whole_search_below_caps(cli: Cli, tmp_path: Path) -> None:
    caps = ("caps.params=5e4", "caps.latency_ms=1e3", "caps.latency.batch_size=2")
    found = cli("search", *MORE, *caps, "caps.latency.repeats=5")
    assert found.code == 0, found.err
    candidates = numbers(tmp_path)
    assert candidates["params"].max() <= 5e4
    again = cli("search", *MORE, *caps, "caps.latency.repeats=5")
    assert again.code == 0, again.err
    assert numbers(tmp_path).equals(candidates)
    other = cli("search", *MORE)
    assert other.code == 2
    assert "caps." in other.err
    assert "as in this folder's record" in other.err


@pytest.mark.slow
def test_a_whole_search_among_smaller_networks(cli: Cli, tmp_path: Path) -> None:
    options = (*MORE, "candidates.target=0.5")
    found = cli("search", *options)
    assert found.code == 0, found.err
    assert (numbers(tmp_path)["flops_ratio"].iloc[1:] - 0.5).abs().max() <= 0.025
    reported = cli("report", "out=runs/default")
    assert reported.code == 0, reported.err
    spoken = re.sub(r"\s+", " ", reported.out)
    assert "There is no answer yet: an answer needs" in spoken


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("cost=params", "cost must grow with each dimension, got params, which resolution"),
        ("cost=time", "cost must be one of activations, flops, latency, memory, params, train_"),
        ("caps.params=0", "caps.params must be"),
        ("caps.params=few", "caps.params must be"),
        ("caps.flops=nan", "caps.flops must be"),
        ("caps.colour=1", "caps.colour is not an option"),
        ("caps.params=10", "caps and candidates.tolerance must leave a network, got none of"),
        ("caps.memory_bytes=1e9", "must be measured on a CUDA device, got 'cpu'"),
        ("caps.latency=1", "caps.latency must be"),
        ("candidates.target=1e30", "candidates.target must be from 1/256 to 256"),
    ],
)
def test_bad_options_are_told_in_a_line(option: str, line: str, cli: Cli, tmp_path: Path) -> None:
    outcome = cli("plan", "timed=false", option)
    assert outcome.code == 2, outcome.err
    assert line in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert outcome.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("cost.device=cuda:99", "cost.device must be on this machine, got 'cuda:99'"),
        ("cost.batch_size=0", "cost.batch_size must be"),
        ("cost.repeats=1", "cost.repeats must be"),
    ],
)
def test_a_latency_that_cannot_be_measured_is_refused(option: str, line: str, cli: Cli) -> None:
    outcome = cli("plan", "timed=false", "cost=latency", option)
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1), outcome.err
    assert line in outcome.err


def test_the_caps_measure_as_the_costs_do() -> None:
    options = composed()
    assert options["caps"]["latency"] == composed("cost=latency")["cost"]
    assert options["caps"]["latency"].pop("_target_").endswith(Latency.__name__)
