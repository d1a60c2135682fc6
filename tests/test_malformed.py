"""Configurations with faults: each plans, or ends with a line that says what to mend."""

import contextlib
import math
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cli import Outcome, ran
from tests.composed import composed


def flat(options: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")


MEMORY_BYTES = 12 << 30
"""What a plan may take."""

SMALL = {"candidates.max_networks": 2, "timed": False}
"""What makes a valid plan quick."""
GIVEN = dict(flat(composed()))
"""Every option's own value, by its full key."""
KEYS = sorted(set(GIVEN) - set(SMALL))
ODD = "'\"${}[]:,=#@&*!|>%\\\n\t\0éß漢🙂\u202e \x1b"

numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([-(10**30), 10**6, 10**9, 10**30, 2**63, 10**400]),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 5e-324, -1e-9, 0.5, 2.5]),
)
texts = st.one_of(
    st.text(st.sampled_from(ODD + "abz019./-_"), max_size=12),
    st.sampled_from(["null", "???", "nan", "auto", "${name}", "${nowhere}", "${${name}}"]),
    st.sampled_from(["${oc.env:HOME}", "_target_", "../..", "x" * 5000, "os.system"]),
)
scalars = st.one_of(numbers, texts, st.none(), st.booleans(), st.dates())
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.integers(), inner),
    max_leaves=5,
)
unknown = st.one_of(st.sampled_from(["hydra", "allow", "_partial_", "_args_", "colour"]), texts)


def like(value: object) -> st.SearchStrategy[Any]:
    """Values of the same kind, which may be out of every range."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, (int, float)):
        return numbers
    if isinstance(value, list):
        return st.lists(st.sampled_from(value) | numbers, max_size=len(value) + 1)
    if isinstance(value, dict):
        return st.sampled_from([{}, value])
    return scalars


@st.composite
def faulty(draw: st.DrawFn) -> dict[str, Any]:
    """One to three options and their values, at any place of the schema."""
    options = {}
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        key = draw(st.sampled_from(KEYS))
        if draw(st.integers(0, 4)) == 0:
            key = f"{key}.{draw(unknown)}"
        kind = draw(st.integers(0, 2))
        options[key] = draw(values if kind == 0 else like(GIVEN.get(key)))
    return options


def nested(options: dict[str, Any]) -> dict[str, Any]:
    """The same as YAML has it."""
    tree: dict[str, Any] = {}
    for key, value in options.items():
        *places, last = key.split(".")
        node = tree
        for place in places:
            child = node.get(place)
            if not isinstance(child, dict):
                child = node[place] = {}
            node = child
        node[last] = value
    return tree


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """A number that no memory can hold is refused here, not by the end of the machine's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def planned(*arguments: str) -> Outcome:
    """A plan of two networks."""
    with little_memory():
        return ran("plan", *arguments, *(f"{key}={value}" for key, value in SMALL.items()))


def assert_plans_or_says_why(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.out + outcome.err
    if outcome.code == 0:
        # A plan needs no device, so that text may stand for one.
        assert re.fullmatch(r"(scaling-search: \S+ is taken as the text '.*'\n)?", outcome.err)
    else:
        assert outcome.code == 2
        assert outcome.err.startswith("scaling-search: ")
        assert 1 <= len(outcome.err.splitlines()) <= 2
        assert outcome.out == ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder to be in."""
    place = tmp_path_factory.mktemp("malformed")
    with contextlib.chdir(place), mock.patch.dict(os.environ):
        os.environ.pop("COMP_LINE", None)
        yield place


@pytest.mark.slow
@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(options=faulty())
def test_a_file_with_faults_plans_or_is_refused_in_a_line(
    folder: Path, options: dict[str, Any]
) -> None:
    mine = folder / "conf" / "experiment" / "mine.yaml"
    mine.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(nested(options), allow_unicode=True)
    mine.write_text(f"# @package _global_\n{text}", encoding="utf-8")
    assert_plans_or_says_why(planned("--config-dir", "conf", "experiment=mine"))


@pytest.mark.slow
@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    key=st.sampled_from(KEYS),
    sign=st.sampled_from(["", "", "+", "++", "~"]),
    value=texts | numbers.map(str),
)
@example(key="hydra.callbacks", sign="+", value="{}")
def test_a_command_line_with_faults_plans_or_is_refused_in_a_line(
    folder: Path, key: str, sign: str, value: str
) -> None:
    assert folder == Path.cwd()
    assert_plans_or_says_why(planned(f"{sign}{key}={value}"))
