"""The options of a search that differ from the defaults, as they are typed."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from scaling_search.experiment.composing import unresolved
from scaling_search.experiment.experiment import CHOICES
from scaling_search.experiment.trust import Trusted
from scaling_search.runtime.command_line import as_override
from scaling_search.runtime.files import conf


def changed_options(options: Mapping[str, Any]) -> list[str] | None:
    """Overrides that compose a search's choices from the defaults.

    Args:
        options: Those of the search's ``config.yaml``.

    Returns:
        None where a part is none of ``conf/``, as in a search from Python.
    """
    wanted = {key: options[key] for key in CHOICES if key in options}
    overrides = []
    for key, default in _defaults().items():
        if key in wanted:
            if (name := _name_of(key, wanted[key])) is None:
                return None
            overrides += [] if name == default else [f"{key}={name}"]
    # An option that follows another one is compared once that one is set.
    for resolve in (False, True):
        config = unresolved(*overrides, trusted=Trusted())
        have: Any = OmegaConf.to_container(config, resolve=resolve)
        overrides += _differences(wanted, have, with_open=resolve)
    return overrides


def _differences(wanted: Mapping[str, Any], have: Any, *, with_open: bool) -> Iterator[str]:
    """Overrides of the options that differ; those that are references if they are compared too."""
    known = dict(_leaves(have))
    for key, value in _leaves(wanted):
        is_unused = value is None and any(name.startswith(f"{key}.") for name in known)
        is_open = not with_open and "${" in str(known.get(key))
        if not is_unused and not is_open and (key not in known or known[key] != value):
            yield ("" if key in known else "+") + _typed(key, value)


def _defaults() -> dict[str, str]:
    """The default part of each folder of ``conf/`` that an experiment takes one from."""
    config: Any = OmegaConf.to_container(OmegaConf.load(conf() / "config.yaml"), resolve=False)
    parts = [one for one in config["defaults"] if isinstance(one, dict)]
    return {key: name for one in parts for key, name in one.items() if key in CHOICES}


def _name_of(key: str, part: Any) -> str | None:
    """The name of the YAML of a part's kind with the fewest other options; None of no such kind."""
    if not isinstance(part, Mapping):
        return None
    found = {}
    for path in sorted((conf() / key).glob("*.yaml")):
        default: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        if default["_target_"] == part.get("_target_"):
            found[path.stem] = sum(part.get(name) != value for name, value in default.items())
    return min(found, key=lambda name: found[name]) if found else None


def _leaves(options: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _typed(key: str, value: Any) -> str:
    return as_override(key, value) if isinstance(value, str) else f"{key}={json.dumps(value)}"
