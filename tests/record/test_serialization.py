"""Architectures survive JSON exactly, and nothing else is let through."""

import functools
import json
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from scaling_search.base_networks.custom_network import custom
from scaling_search.core.scaling import Multipliers
from scaling_search.record.serialization import from_json, to_json
from tests.base_networks import own
from tests.composed import PARTS, part
from tests.tiny import tiny_network

BASE_NETWORKS = [name for group, name in PARTS if group == "base_network"]


def base_network(name: str) -> Any:
    """A base network of conf/, or a user's function with options."""
    if name != "custom":
        return part("base_network", name)
    return custom(
        functools.partial(own.build, blocks=[1, 2, 2]),
        step=0.05,
        resolution=12,
        resolution_divisor=2,
        in_channels=1,
        num_classes=10,
    )


@pytest.mark.parametrize("name", BASE_NETWORKS)
def test_base_and_scaled_networks_come_back_equal_and_are_equal_exactly_when_their_json_is(
    name: str,
) -> None:
    base = base_network(name)
    sizes = product((1.0, 1.02, 1.5), (1.0, 1.02, 1.4), (1.0, 1.001, 1.3))
    networks = [base, *(base.scaled(Multipliers(*size)) for size in sizes)]
    texts = [json.dumps(to_json(network), sort_keys=True, allow_nan=False) for network in networks]
    for network, text in zip(networks, texts, strict=True):
        again = from_json(json.loads(text), allowed=("tests",))
        assert type(again) is type(network)
        assert again == network
        assert hash(again) == hash(network)
        assert again.name == network.name
    assert len(networks) > len(set(networks)) == len(set(texts)) > 1
    for (one, text), (other, others) in product(zip(networks, texts, strict=True), repeat=2):
        assert (one == other) == (text == others)


def test_other_options_or_another_function_are_another_json() -> None:
    network = base_network("custom")
    function = network.function
    others = [
        replace(network, num_classes=11),
        replace(network, function=replace(function, options='{"blocks": [1, 2, 3]}')),
        replace(network, function=replace(function, name="tests.base_networks.own.other")),
    ]
    assert all(to_json(other) != to_json(network) for other in others)
    assert to_json(network)["function"] == {
        "class": "scaling_search.base_networks.user_function.Function",
        "name": "tests.base_networks.own.build",
        "options": '{"blocks": [1, 2, 2]}',
    }


@dataclass(frozen=True)
class Mine:
    """An architecture of another package, as far as JSON is concerned."""

    option: object


def test_a_class_of_another_package_must_be_allowed() -> None:
    mine: Any = Mine((1, Mine("a")))
    data = to_json(mine)
    # Names of test modules differ with how pytest imports them.
    package = __name__.partition(".")[0]
    assert from_json(data, allowed=(package,)) == mine
    with pytest.raises(ValueError, match=rf"of scaling_search, got {__name__}\.Mine; allow"):
        from_json(data)


@pytest.mark.parametrize("value", [[1], {"class": 1}, {1}, float("nan"), object(), Path()])
def test_values_that_json_would_change_are_refused_by_their_field(value: object) -> None:
    with pytest.raises(ValueError, match=r"Mine\.option.* must be text, a finite number, "):
        to_json(Mine(value))


def test_what_is_no_architecture_is_refused_by_name() -> None:
    @dataclass(frozen=True)
    class Local:
        """A class that no other process finds."""

    with pytest.raises(ValueError, match=r"can be imported, got .*<locals>\.Local; put it at the"):
        to_json(Local())
    with pytest.raises(ValueError, match=r"must be of a dataclass, got pathlib\.\w+; "):
        to_json(Path())
    with pytest.raises(ValueError, match=r"of scaling_search, got os\.system; allow os if"):
        from_json({"class": "os.system", "command": "true"})
    with pytest.raises(
        ValueError, match=r"must be of a dataclass, got scaling_search\.commands\.cli\.main"
    ):
        from_json({"class": "scaling_search.commands.cli.main"})
    with pytest.raises(ValueError, match=r"can be imported, got scaling_search\.gone\.Net"):
        from_json({"class": "scaling_search.gone.Net"})
    for network in (tiny_network(), part("base_network", "resnet_small")):  # also a pydantic one
        data = to_json(network)
        with pytest.raises(ValueError, match=r"architecture must have the fields of .*Net, "):
            from_json(data | {"unknown": 1})


@pytest.mark.parametrize(
    "name", ["torch.hub.load", "scaling_search.commands.cli.main", "os.system"]
)
def test_a_function_that_is_not_of_an_allowed_package_is_never_named(name: str) -> None:
    data: Any = to_json(base_network("custom"))
    data["function"]["name"] = name
    with pytest.raises(ValueError, match=rf"function of an allowed package, got '{name}'; allow"):
        from_json(data, allowed=("tests",))
    with pytest.raises(ValueError, match="function of an allowed package"):
        from_json(to_json(base_network("custom")))


def test_a_class_is_named_where_it_is_defined() -> None:
    for name in (
        "scaling_search.record.networks.Candidate",
        "scaling_search.commands.run.pd.DataFrame",
    ):
        with pytest.raises(ValueError, match="architecture must be of a dataclass"):
            from_json({"class": name})
