"""The run's folder on the command line: its place, and the options that it keeps."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from scaling_search.experiment.composing import saved
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

FOR_ONE_COMMAND = ("limits", "price_only", "keep_weights")
"""Options of a search that other commands do not take from its config.yaml."""

MOST_BYTES = 255
"""Longest name of a folder on most file systems."""


def with_folder(command: str, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration with the run's folder, and for most commands with the options kept there.

    A job of a sweep has a folder of its own below ``out``; ``~`` is expanded.

    Raises:
        ValueError: An option is not the command's own, or no search has made the folder.
    """
    settings = HydraConfig.get()
    name = settings.job.override_dirname
    is_below = "out" in settings.job.config.override_dirname.exclude_keys  # a sweep of others
    if any(o.startswith("out=") for o in overrides) and command in OWN_OPTIONS:
        is_below = False  # the folder of a search that was made before
    if settings.mode == RunMode.MULTIRUN and is_below and name:
        config.out = f"{config.out}/{_folder_name(name)}"
    for key in ("out", "storage"):
        if str(config[key]).startswith("~/"):  # some shells pass it on
            config[key] = str(Path(config[key]).expanduser())
    if command in OWN_OPTIONS:
        config = _from_folder(command, config, overrides)
    return config


def _folder_name(text: str) -> str:
    """The name of a folder for options, without a slash or a password, within `MOST_BYTES`."""
    name = without_password(text).replace("/", "_").replace("\\", "_")
    if len(name.encode()) <= MOST_BYTES and name == text:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    cut = name.encode()[: MOST_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{cut}-{digest}"


def _from_folder(command: str, config: Any, overrides: Sequence[str]) -> Any:
    """The configuration of a run's folder with the command's own options from the command line."""
    own_keys = OWN_OPTIONS[command]
    kept: Any = saved(Path(config.out))
    # The options of an executor depend on its kind; a folder may be older than an option.
    merged = {k: config[k] for k in {k.partition(".")[0] for k in own_keys} - {"executor"}}
    merged |= {k: config[k] for k in config if k not in kept}
    kept = OmegaConf.merge(merged, kept, {key: config[key] for key in FOR_ONE_COMMAND})
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element()
        if key == "out":
            kept.out = config.out
        elif not any(key == own or key.startswith(f"{own}.") for own in own_keys):
            raise ValueError(
                f"{command} takes its choices from {Path(config.out) / 'config.yaml'}, got "
                f"{override.input_line!r}; only {', '.join(('out', *own_keys))} can be set"
            )
        elif key == "executor":
            kept.executor = config.executor
        else:
            OmegaConf.update(kept, key, override.value())
    return kept
