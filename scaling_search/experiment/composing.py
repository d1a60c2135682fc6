"""Experiments composed from ``conf/`` and overrides, or read from a run's ``config.yaml``."""

import contextlib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from scaling_search.core.protocols import Executor
from scaling_search.data.gathering import Described
from scaling_search.experiment.experiment import CHOICES, FREE, Experiment
from scaling_search.experiment.options import Options
from scaling_search.experiment.references import check_references
from scaling_search.experiment.texts import PATHS, check_texts, options_of
from scaling_search.experiment.trust import (
    Trusted,
    allowed,
    check_file,
    check_folder,
    check_overrides,
)
from scaling_search.experiment.yaml_files import checked_text, without_header
from scaling_search.planning.room import fitted_resolution
from scaling_search.record.schema import CROP_KEY, START_KEY, current, nested
from scaling_search.record.serialization import from_json, to_json
from scaling_search.runtime.command_line import as_override, shell_command
from scaling_search.runtime.files import conf
from scaling_search.runtime.passwords import is_hidden, without_password
from scaling_search.training import batches
from scaling_search.training.starts import start_digest


def compose(
    *overrides: str, config_dir: str | Path | None = None, allow: Sequence[str] = ()
) -> Experiment:
    """An experiment from ``conf/`` and overrides, which are written as on the command line.

    Options of a command, such as ``executor`` or ``limits``, are arguments of `search` and the
    other functions.

    Args:
        overrides: For instance ``experiment=default`` or ``recipe.epochs=5``.
        config_dir: A folder of YAML files of your own.
        allow: Packages of your own whose classes these may name.

    Raises:
        ValueError: An override is not an experiment's, or has a value that it must not have.
        RuntimeError: The data cannot be read.
    """
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key.partition(".")[0].partition("@")[0] not in (*CHOICES, "experiment"):
            raise ValueError(
                f"overrides must set an experiment's choices, {', '.join(CHOICES)}, got "
                f"{override!r}; give it to the function that trains"
            )
    own = None if config_dir is None else Path(config_dir).absolute()
    trusted = trusted_packages(allow, own)
    try:
        return built(composed(*overrides, trusted=trusted), trusted).experiment
    except HydraException as error:
        raise ValueError(" ".join(str(error.__cause__ or error).split())) from error


def trusted_packages(allow: Sequence[str], config_dir: Path | None = None) -> Trusted:
    """The packages of the user's own that configurations may name, as ``allow=`` checks them.

    Raises:
        ValueError: They are no list of packages.
    """
    if isinstance(allow, str):
        raise ValueError(  # noqa: TRY004  # as of an option
            f"allow must be a list of packages, got {allow!r}; write [{allow!r}]"
        )
    trusted = allowed([f"allow={','.join(allow)}"] if allow else [])[0]
    return replace(trusted, config_dir=config_dir)


def composed(*overrides: str, trusted: Trusted | None = None) -> dict[str, Any]:
    """The plain options of all parts and commands; raises as `compose`."""
    trusted = trusted or Trusted()
    try:
        return settled(unresolved(*overrides, trusted=trusted), trusted)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"overrides must compose, got {' '.join(str(error).split())}") from error


def unresolved(*overrides: str, trusted: Trusted) -> DictConfig:
    """The options of all parts and commands with references, which take moments to replace.

    Raises:
        ValueError: They would not.
        hydra.errors.HydraException: They cannot be composed.
    """
    from hydra import compose as composed_by_hydra  # noqa: PLC0415  # takes a while
    from hydra import initialize_config_dir  # noqa: PLC0415  # as above
    from hydra.core.global_hydra import GlobalHydra  # noqa: PLC0415  # as above
    from hydra.core.singleton import Singleton  # noqa: PLC0415  # as above

    own = trusted.config_dir
    check_overrides(overrides, [conf(), *([] if own is None else [own])])
    searched = []
    if own is not None:
        check_folder(own)
        searched.append(f"hydra.searchpath=[file://{own}]")
    before = Singleton.get_state()  # the caller may be a Hydra application
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf()), version_base="1.3"):
            config = composed_by_hydra("config", overrides=[*searched, *overrides])
    finally:
        Singleton.set_state(before)
    check_references(OmegaConf.to_container(config, resolve=False))
    return config


def settled(config: DictConfig, trusted: Trusted) -> dict[str, Any]:
    """Plain options of a composed configuration, with values for null ones.

    Null options of the dataset are read from its data; a base network without a size of its own
    gets the resolution that leaves room for the target.

    Raises:
        ValueError: An option is not what the data say, names code that is not trusted, or has no
            value; or an experiment's file lacks its first line.
        RuntimeError: The data cannot be read.
    """
    if "experiment" in config:  # where Hydra puts the options of a file without its header
        raise ValueError(without_header(trusted.config_dir))
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    trusted.check(plain)
    check_texts(plain)
    for key, value in _left_open(plain).items():
        OmegaConf.update(config, key, value)
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    return {str(key): value for key, value in plain.items()}


def _left_open(options: Mapping[str, Any]) -> dict[str, int]:
    """Values, by full key, of options that are null: the data's and the base network's size."""
    dataset = part_of("dataset", options["dataset"])
    found = {f"dataset.{key}": value for key, value in numbers(dataset).items()}
    native = found.get("dataset.resolution", getattr(dataset, "resolution", None))
    base = options["base_network"]
    is_open = "_target_" in base and base.get("resolution", 0) is None
    if is_open and not _has_own_size(base["_target_"]):
        candidates = part_of("candidates", options["candidates"])
        divisor = base.get("resolution_divisor", 1)
        limits: list[int | None] = [native, getattr(candidates, "max_resolution", None)]
        found["base_network.resolution"] = fitted_resolution(
            min((limit for limit in limits if limit is not None), default=None),
            target=candidates.target,
            tolerance=candidates.tolerance,
            # A wrong one is refused when the base network is built.
            divisor=divisor if isinstance(divisor, int) and divisor > 0 else 1,
        )
    return found


def numbers(dataset: object) -> dict[str, int]:
    """Classes, channels and size of a dataset of the user's own, null options read from the data.

    Raises:
        ValueError: An option is not what the data say.
        RuntimeError: The data cannot be read.
    """
    return dict(dataset.numbers()) if isinstance(dataset, Described) else {}


def _has_own_size(target: str) -> bool:
    """True if the base network's function accepts None as resolution, as published ones do."""
    module, _, name = target.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    resolution = inspect.signature(function).parameters["resolution"]
    return type(None) in get_args(resolution.annotation)


def part_of(key: str, options: Any) -> Any:
    """The part of a key, built from its plain options."""
    from hydra.utils import instantiate  # noqa: PLC0415  # takes a while

    whole = OmegaConf.create({key: options})  # Hydra names a part by its key where one errs
    return instantiate(whole, _convert_="all")[key]


def built(options: Mapping[str, Any], trusted: Trusted) -> Options:
    """The values of plain options.

    Raises:
        ValueError: A password is missing.
        hydra.errors.InstantiationException: An option of a part has a wrong value.
        pydantic.ValidationError: Another option has one.
    """
    from hydra.utils import instantiate  # noqa: PLC0415  # takes a while

    values = {key: value for key, value in options.items() if key != "_target_"}
    groups = {key: value for key, value in values.items() if _has_target(value)}
    if is_hidden(str(values.get("storage"))):
        raise ValueError(
            f"storage must be given with its password, got {values['storage']!r}; passwords are "
            "not kept, so add storage=... to the command"
        )
    values |= instantiate(OmegaConf.create(groups), _convert_="all")
    if isinstance(base := values["base_network"], dict):
        # The architecture's fields, as a search from Python keeps it.
        values["base_network"] = from_json(base, allowed=trusted.packages)
    if isinstance(training := values.get("training"), dict):
        values["training"] = from_json(training, allowed=trusted.packages)
    experiment = Experiment(**{key: values.pop(key) for key in CHOICES if key in values})
    return Options(experiment=experiment, **values)


def _has_target(value: object) -> bool:
    return isinstance(value, dict) and "_target_" in value


def saved(folder: Path) -> DictConfig:
    """The options of a run's ``config.yaml``, brought up to date.

    Raises:
        ValueError: There is none, or it is damaged or too large.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise ValueError(
            f"out must be a folder that a search has made, got {str(folder)!r} without a "
            f"config.yaml; {shell_command('search', as_override('out', str(folder)))} makes one"
        )
    text = checked_text(path)
    try:
        read: Any = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} must be YAML, got {' '.join(str(error).split())[:200]}; the same search "
            "writes it again"
        ) from error
    if not isinstance(read, DictConfig) or not {"base_network", "dataset"} <= set(read):
        raise ValueError(
            f"{path} must hold the options of a search by their keys; the same search writes it "
            "again"
        )
    check_file(path, read)
    if "${" in text:  # a search writes none, and a few lines of them can take hours
        raise ValueError(f"{path} must hold values, got ${{...}}; the same search writes it again")
    return DictConfig(current(OmegaConf.to_container(read)))


def decisive(config: DictConfig | ListConfig) -> dict[str, Any]:
    """The options of a ``config.yaml`` that decide results; where the data lie does not."""
    options: Any = OmegaConf.to_container(config)
    chosen = {key: options[key] for key in CHOICES if key in options}
    if isinstance(dataset := chosen.get("dataset"), dict):
        chosen["dataset"] = {k: v for k, v in dataset.items() if f"dataset.{k}" not in PATHS}
    return chosen


def choices(
    experiment: Experiment, fingerprint: str, *, start: str | None = None
) -> dict[str, object]:
    """The choices that decide outcomes as plain values.

    Args:
        experiment: Its parts and options.
        fingerprint: The dataset's.
        start: Digest of the file ``recipe.start``; None to read it.

    Raises:
        RuntimeError: That file cannot be read.
    """
    decide = [key for key in CHOICES if key not in (*FREE, "dataset")]
    chosen = {key: _plain(getattr(experiment, key)) for key in decide} | {"dataset": fingerprint}
    if experiment.training is not None:
        del chosen["recipe"]  # the function has its own
    elif experiment.recipe.crop:
        chosen[CROP_KEY] = batches.CROPS_ARE_OF
    if experiment.recipe.start is not None:
        chosen[START_KEY] = start_digest(experiment.recipe.start) if start is None else start
    return chosen


def earlier_choices(held: Mapping[str, object], trusted: Trusted) -> dict[str, Any]:
    """The choices of a record of version 1, which are composed options, in today's form."""
    options: dict[str, Any] = current(
        nested({key: value for key, value in held.items() if key != CROP_KEY})
    )
    trusted.check(options)
    parts = {key: to_json(part_of(key, one)) for key, one in options.items() if _has_target(one)}
    return options | parts | {key: held[key] for key in (CROP_KEY,) if key in held}


def as_config(experiment: Experiment, executor: Executor, **others: object) -> str:
    """An experiment and options beside it as the text of a run's ``config.yaml``.

    An executor that is no dataclass of plain values is left out.

    Raises:
        ValueError: A part is no dataclass of plain values, or `check_texts` refuses a text.
    """
    choices = {key: getattr(experiment, key) for key in CHOICES}
    kept = {key: _as_target(_plain(value)) for key, value in (choices | others).items()}
    with contextlib.suppress(ValueError):  # another one may train what remains
        kept["executor"] = _as_target(_plain(executor))
    check_texts(kept)
    for key, value in options_of(kept):
        if isinstance(value, str) and ("${" in value or value == "???"):
            raise ValueError(f"{key} must be plain text, got {value!r}; write it without ${{")
    # Its class may take no lists for tuples, as options are.
    kept["base_network"] = to_json(experiment.base_network)
    if experiment.training is not None:
        kept["training"] = to_json(experiment.training)
    return OmegaConf.to_yaml(OmegaConf.create(without_passwords(kept)))


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str) else to_json(value)


def _as_target(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {"_target_" if k == "class" else k: _as_target(v) for k, v in value.items()}


def without_passwords(options: Any) -> Any:
    """Plain options with every password hidden."""
    if isinstance(options, dict):
        return {key: without_passwords(value) for key, value in options.items()}
    if isinstance(options, list):
        return [without_passwords(value) for value in options]
    return without_password(options) if isinstance(options, str) else options
