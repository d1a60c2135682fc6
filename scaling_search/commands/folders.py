"""The run's folder on the command line: its place, and the options that it keeps."""

import hashlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from scaling_search.runtime.command_line import as_override
from scaling_search.runtime.passwords import without_password

LIMITS = tuple(f"limits.{name}" for name in ("trainings", "hours", "gpu_hours", "failed_share"))
TRAINING = ("executor", *LIMITS, "price_only")
OWN_OPTIONS = {
    "report": ("report", "decide.delta", "storage"),
    "scale": ("scale", "storage", "keep_weights", *TRAINING),
    "confirm": ("confirm", "decide", "storage", "keep_weights", *TRAINING),
    "fairness": ("fairness", "storage", *TRAINING),
    "transfer": ("transfer", "storage", *TRAINING),
    "export": ("export", "decide.delta", "storage", "executor", "price_only"),
}
"""Options, besides out=, of the commands that read all others from a run's config.yaml."""

GOING_ON = ("plan", "search", "run")
"""Commands that take a folder's options and any change of them, where out= names one."""

FOR_ONE_COMMAND = ("limits", "price_only", "hours")
"""Options that no command takes from a folder's config.yaml."""

CHOSEN = ("num_seeds", "candidates.max_networks")
"""Options that a run with hours chooses."""

RECIPE = ("recipe", "recipe.learning_rate", "recipe.check")
"""Options of which none is given where a run with hours asks the learning rate."""

MOST_BYTES = 255
"""Longest name of a folder on most file systems."""


def takes_folder(command: str, config: Any, overrides: Sequence[str]) -> bool:
    """True if options that are not given are those of the run's ``config.yaml``.

    A search, its plan and its stages take them where ``out=`` names a folder that has one and no
    ``experiment=`` says all anew.

    Args:
        command: The command.
        config: Has ``out``.
        overrides: Options of the command line.
    """
    if command in OWN_OPTIONS:
        return True
    keys = {override.partition("=")[0] for override in overrides}
    is_named = "out" in keys and "experiment" not in keys
    return command in GOING_ON and is_named and (Path(config.out) / "config.yaml").is_file()


def with_folder(command: str, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration with the run's folder, and with the options that are kept there.

    A job of a sweep has a folder of its own below ``out``; ``~`` is expanded.

    Raises:
        ValueError: An option is not the command's own, no search has made the folder, or a sweep
            would not take the options of the folder that it names.
    """
    _expand(config)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        _take_below(command, config, overrides)
    elif command == "run":
        _name_after_data(config, overrides)
    is_taken = takes_folder(command, config, overrides)
    if is_taken:
        config = _from_folder(command, config, overrides)
    if command == "run" and config.hours is not None:
        _ask_rate(config, overrides, is_taken=is_taken)
    return config


def _take_below(command: str, config: Any, overrides: Sequence[str]) -> None:
    """Gives a job of a sweep its folder below ``out``, unless the sweep is over ``out`` itself.

    Raises:
        ValueError: The folder above holds options that a job would not take.
    """
    job = HydraConfig.get().job
    is_below = "out" in job.config.override_dirname.exclude_keys
    if any(o.startswith("out=") for o in overrides) and command in OWN_OPTIONS:
        is_below = False  # the folder of a search that was made before
    if not is_below or not job.override_dirname:
        return
    above, has_options = config.out, takes_folder(command, config, overrides)
    config.out = f"{above}/{_folder_name(job.override_dirname)}"
    if has_options and not takes_folder(command, config, overrides):
        other = shlex.quote(as_override("out", f"{above.rstrip('/')}_sweep"))
        raise ValueError(
            f"out must be a folder without a run for --multirun, got {above!r}, whose options a "
            f"sweep does not take; write {other} with every option that is not the default"
        )


def _expand(config: Any) -> None:
    """Expands ``~`` in paths, which some shells pass on."""
    for key in ("out", "storage", "report.to"):
        if str(path := OmegaConf.select(config, key)).startswith("~/"):
            OmegaConf.update(config, key, str(Path(path).expanduser()))


def _ask_rate(config: Any, overrides: Sequence[str], *, is_taken: bool) -> None:
    """Has a run with hours ask its learning rate, unless its recipe is given or in its folder.

    Raises:
        ValueError: An option is given that hours choose.
    """
    keys = {override.partition("=")[0].lstrip("+") for override in overrides}
    if chosen := [key for key in CHOSEN if key in keys]:
        raise ValueError(
            f"hours must be left out where {chosen[0]} is given, which they choose, got both; "
            "remove one of them"
        )
    if not is_taken and not keys & {*RECIPE, "experiment"}:
        config.recipe.learning_rate = "auto"


def _name_after_data(config: Any, overrides: Sequence[str]) -> None:
    """Names an experiment after the folder of its data where the command line names it not."""
    keys = {override.partition("=")[0] for override in overrides}
    if "dataset.path" in keys and not keys & {"name", "out", "experiment"}:
        name = re.sub(r"[^\w.-]+", "_", Path(str(config.dataset.path)).resolve().name).strip("_.-")
        if name:
            config.name = name


def _folder_name(text: str) -> str:
    """The name of a folder for options, without a slash or a password, within `MOST_BYTES`."""
    name = without_password(text).replace("/", "_").replace("\\", "_")
    if len(name.encode()) <= MOST_BYTES and name == text:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    cut = name.encode()[: MOST_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{cut}-{digest}"


def _from_folder(command: str, config: Any, overrides: Sequence[str]) -> Any:
    """The configuration of a run's folder with the command line's changes of it."""
    from scaling_search.experiment.composing import saved  # noqa: PLC0415  # takes torch

    own_keys = OWN_OPTIONS.get(command)
    kept: Any = saved(Path(config.out))
    fallback = {key: config[key] for key in config if key not in kept}  # it may be older
    if own_keys is not None:
        groups = {key.partition(".")[0] for key in own_keys} - {"executor"}
        fallback |= {key: config[key] for key in groups}
    # The options of an executor depend on its kind.
    own = FOR_ONE_COMMAND if own_keys is None else (*FOR_ONE_COMMAND, "keep_weights")
    kept = OmegaConf.merge(fallback, kept, {key: config[key] for key in own})
    kept.report.to = config.report.to  # no folder says where else to write
    kept.confirm.force = config.confirm.force  # nor that the test split is used again
    _change(kept, command, config, overrides)
    return kept


def _change(kept: Any, command: str, config: Any, overrides: Sequence[str]) -> None:
    """Changes a folder's options to those of the command line."""
    own_keys = OWN_OPTIONS.get(command)
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element().rpartition("@")[2].lstrip("~")
        if override.is_delete() and key == "experiment":  # whose options are in the folder
            continue
        if override.is_delete() and key != "dataset":  # which alone may be without a part
            raise ValueError(
                f"an option of {Path(config.out) / 'config.yaml'} must be changed by key=value, "
                f"got {override.input_line!r}; write {key}=null if it may be null"
            )
        if key == "out":
            kept.out = config.out
        elif own_keys is not None and not _is_one_of(key, own_keys):
            raise ValueError(
                f"{command} takes its choices from {Path(config.out) / 'config.yaml'}, got "
                f"{override.input_line!r}; only {', '.join(('out', *own_keys))} can be set"
            )
        elif key in config and OmegaConf.is_config(config[key]):  # a part, by its name
            kept[key] = config[key]
        else:
            OmegaConf.update(kept, key, OmegaConf.select(config, key))


def _is_one_of(key: str, own_keys: Sequence[str]) -> bool:
    return any(key == own or key.startswith(f"{own}.") for own in own_keys)
