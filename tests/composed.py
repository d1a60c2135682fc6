"""The configurations of conf/, composed by Hydra and built, without the command line."""

import copy
import functools
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from scaling_search.experiment.composing import built, part_of, settled
from scaling_search.experiment.options import Options
from scaling_search.experiment.trust import Trusted

CONF = Path(__file__).parent.parent / "conf"
PARTS = sorted(
    (path.parent.name, path.stem)
    for path in CONF.glob("*/*.yaml")
    if path.parent.name != "experiment"
)
"""Every part as (group, name)."""
OWN = {
    "base_network=custom": "base_network.network._target_=tests.base_networks.own.build",
    "training=custom": "training.function._target_=tests.training.own.train",
    "training=command": "training.command=train",
}
"""Options that parts of the user's own need."""
TRUSTED = Trusted(("tests",), commands=("training.command",))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(*overrides: str) -> dict[str, Any]:
    """What Hydra composes, interpolations resolved and null options settled.

    ``custom`` makes the network or does the training of tests. What needs own data stays null.
    """
    return copy.deepcopy(_composed(overrides))


@functools.cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    overrides = (*overrides, *(OWN[one] for one in overrides if one in OWN))
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        container = OmegaConf.to_container(compose("config", overrides=list(overrides)))
    config: Any = OmegaConf.create(container)
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    if resolved["dataset"] is None or "path" not in resolved["dataset"]:
        return settled(config, TRUSTED)
    return {str(key): value for key, value in resolved.items()}


def options(*overrides: str) -> Options:
    """The values that the same options make."""
    return built(composed(*overrides), TRUSTED)


def part(group: str, name: str) -> Any:
    """A part with the values of its YAML."""
    return part_of(group, composed("~experiment", f"{group}={name}")[group])
