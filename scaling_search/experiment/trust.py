"""Checks that configurations from others are data: they name no code but that of trusted packages.

Hydra has a list of its own, of functions that run what they are given; it holds beneath this.
"""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scaling_search.experiment.references import check_references, together
from scaling_search.experiment.texts import COMMANDS
from scaling_search.experiment.yaml_files import checked_text
from scaling_search.record.storage_urls import check_plain

PACKAGE = "scaling_search"
HYDRA_OWN = ("hydra.sweep.dir", "hydra.sweep.subdir", "hydra.run.dir", "hydra.mode")
"""Options of Hydra itself that the command line, and no file, may set."""

CALLING = ("_args_", "_partial_", "_recursive_", "_convert_")
"""Keys that change how Hydra builds a part; no part needs them."""

OWN_FUNCTIONS = {"base_network.network": "returns the network", "training.function": "trains it"}
"""The places whose ``_target_`` is handed on and not called, by ``_partial_: true``, and what such
a function of an allowed package does."""

_NAME = r"\w[\w.-]*(?:/\w[\w.-]*)*"
_DEFAULT_GROUP = re.compile(rf"(?:(?:optional|override) +)*/?{_NAME}(?:@[\w.:]+)?")
_DEFAULT_OPTION = re.compile(rf"\?\?\?|{_NAME}")


@dataclass(frozen=True)
class Trusted:
    """The packages whose code a configuration may name.

    Attributes:
        packages: Packages of ``allow=``, which add to this one.
        config_dir: The absolute path of ``--config-dir``; packages may lie beside it.
        commands: Options that hold commands, each trusted: those that are typed, or both by
            ``allow=training.command``.
        has_storage: True if the command line or the caller gives the storage, so that no file does.
        has_address: The same of ``executor.address``.
    """

    packages: tuple[str, ...] = ()
    config_dir: Path | None = None
    commands: tuple[str, ...] = ()
    has_storage: bool = False
    has_address: bool = True

    @property
    def flags(self) -> tuple[str, ...]:
        """Options by which another command trusts and finds the same code."""
        if not self.allow:
            return ()
        folder = () if self.config_dir is None else (f"--config-dir={self.config_dir}",)
        return (f"allow={','.join(self.allow)}", *folder)

    @property
    def allow(self) -> tuple[str, ...]:
        """Names for ``allow=``, by which another command trusts the same."""
        return (*self.packages, *([COMMANDS[0]] if self.commands else []))

    def check(self, options: Any) -> None:
        """Checks every ``_target_`` of plain, resolved options and all else that calls code.

        Raises:
            ValueError: A target is no part of a trusted package, or a file gives a storage that
                could load code.
        """
        if not self.has_storage and isinstance(storage := options.get("storage"), str):
            check_plain(storage)
        place = str(self.config_dir.parent if self.config_dir else Path.cwd())
        if self.packages and place not in sys.path:
            sys.path.append(place)  # behind all else: it takes the place of no module
        self._check_command(options.get("training"))
        for key, value, holder in _values(options):
            last = key.rpartition(".")[2]
            if (
                last == "_partial_"
                and value is True
                and key.removesuffix("._partial_") in OWN_FUNCTIONS
            ):
                self._check_function(key.removesuffix("._partial_"), holder.get("_target_"))
            elif last in CALLING:
                raise ValueError(
                    f"{key} is not an option, got {value!r}; a part is built from its options alone"
                )
            elif last == "_target_":
                self._check_target(key, value)
            elif isinstance(value, str) and "${" in value:
                raise ValueError(
                    f"{key} must be plain text once composed, got {value!r}; write it without ${{"
                )

    def _check_command(self, training: Any) -> None:
        """Checks that a command, which could do anything, was typed or is allowed."""
        options = training if isinstance(training, dict) else {}
        for key in COMMANDS:
            value = options.get(key.rpartition(".")[2])
            if value and key not in self.commands:
                raise ValueError(
                    f"{key} must be typed or allowed, got {value!r} from a file; add "
                    f"allow={COMMANDS[0]} if you trust it"
                )

    def _check_function(self, place: str, target: object) -> None:
        """Checks that the target of one of `OWN_FUNCTIONS` is a function of an allowed package."""
        key = f"{place}._target_"
        found = self._check_target(key, target)
        if not inspect.isfunction(found) or _lies_in(found.__module__, PACKAGE):
            raise ValueError(
                f"{key} must be a function of a package of your own, got {target!r}; write one "
                f"that {OWN_FUNCTIONS[place]}"
            )

    def _check_target(self, key: str, target: object) -> object:
        """Return the object that a target names, once it is known to be trusted."""
        packages = (PACKAGE, *self.packages)
        if not isinstance(target, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", target):
            raise ValueError(f"{key} must be package.module.Name, got {target!r}; name a part")
        if not any(_lies_in(target, package) for package in packages):
            raise ValueError(
                f"{key} must lie in {' or '.join(packages)}, got {target!r}; add allow=PACKAGE to "
                "the command if you trust its code"
            )
        found = _located(key, target)
        home = str(getattr(found, "__module__", None))
        if not callable(found) or not any(_lies_in(home, package) for package in packages):
            raise ValueError(
                f"{key} must be defined in {' or '.join(packages)}, got {target!r} of {home}; "
                "name the module that defines it"
            )
        if _lies_in(home, PACKAGE) and not _is_part(found):
            raise ValueError(
                f"{key} must be a part, got {target!r}; conf/ names those that there are"
            )
        return found


def allowed(arguments: Sequence[str]) -> tuple[Trusted, list[str]]:
    """Return what ``allow=`` trusts and the other arguments.

    Raises:
        ValueError: One is no package's name or is Python's own.
    """
    given = [a.removeprefix("allow=") for a in arguments if a.startswith("allow=")]
    named = tuple(name for names in given for name in names.split(","))
    packages = tuple(name for name in named if name != COMMANDS[0])
    for name in packages:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"allow must be packages, got {name!r}; write allow=my_package,other")
        if name.partition(".")[0] in sys.stdlib_module_names:
            raise ValueError(
                f"allow must be packages with parts, got {name!r} of Python itself; write a part "
                "of your own around it"
            )
    trusted = Trusted(packages, commands=COMMANDS if packages != named else ())
    return trusted, [a for a in arguments if not a.startswith("allow=")]


def check_overrides(overrides: Sequence[str], groups: Sequence[Path]) -> None:
    """Checks that options of the command line leave Hydra alone and stay in the known folders.

    Args:
        overrides: Options as they were typed.
        groups: Folders whose subfolders hold parts and experiments.

    Raises:
        ValueError: An option does not.
    """
    for override in overrides:
        key, _, value = override.partition("=")
        key = key.strip().lstrip("+~").strip()
        if "hydra" in re.split(r"[\s./@:]+", key) and key not in HYDRA_OWN:
            raise ValueError(
                f"{key} is not an option; of Hydra itself only {', '.join(HYDRA_OWN)} can be set"
            )
        group = key.partition("@")[0]
        is_group = any((folder / group).is_dir() for folder in groups) if group else False
        if ".." in group or (is_group and ".." in value):
            raise ValueError(
                f"{group} must be in conf or --config-dir, got {value!r}; give its folder by "
                "--config-dir"
            )


def check_folder(folder: Path) -> None:
    """Checks that no YAML file of a folder is too large, sets up Hydra or calls a resolver.

    References are followed through all files at once: Hydra replaces some while it composes them.

    Raises:
        ValueError: A file does; the text names it, or the option that is too large.
    """
    every: Any = {}
    for path in _yaml_files(folder):
        place = path.relative_to(folder)
        if "hydra" in (*place.parts[:-1], path.stem):
            raise ValueError(_no_hydra(path, str(place)))
        text = checked_text(path)
        if header := re.search(r"#\s*@package\s.*hydra.*", text):
            raise ValueError(_no_hydra(path, header.group()))
        # Whatever is refused below has one of these in its text; a backslash can hide letters.
        if not any(sign in text for sign in ("hydra", "${", "\\", "defaults")):
            continue
        try:
            config = OmegaConf.load(path)
        except (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError):
            continue  # Hydra cannot compose it
        if isinstance(config, DictConfig):
            check_file(path, config)
            found = re.search(r"^#\s*@package\s+(\S+)", text, re.MULTILINE)
            package = found[1] if found else "_group_"
            keys = [*place.parts[:-1]] if package == "_group_" else package.split(".")
            keys = [] if package == "_global_" else keys
            every = together(every, reduce(_within, reversed(keys), OmegaConf.to_container(config)))
    check_references(every, may_circle=True)


def _within(options: object, key: str) -> dict[str, object]:
    return {key: options}


def check_file(path: Path, config: DictConfig) -> None:
    """Checks the same for one file, which has been read.

    Raises:
        ValueError: The file sets up Hydra, or has more than plain values and references to them.
    """
    options: Any = OmegaConf.to_container(config, resolve=False)
    for key in options:
        if "hydra" in str(key):
            raise ValueError(_no_hydra(path, str(key)))
    defaults = options.pop("defaults", [])
    for entry in defaults if isinstance(defaults, list) else []:
        _check_default(path, entry)
    for key, value, _ in _values(options):
        if isinstance(value, str) and _calls_resolver(value):
            raise ValueError(
                f"{key} must be a value or refer to one as in ${{name}}, got {value!r} in "
                f"{str(path)!r}; set {key}= on the command line, where anything can be written"
            )


def _check_default(path: Path, entry: object) -> None:
    for group, chosen in entry.items() if isinstance(entry, dict) else [(entry, None)]:
        names = chosen if isinstance(chosen, list) else [] if chosen is None else [chosen]
        if "hydra" in f"{group} {names}":
            raise ValueError(_no_hydra(path, str(entry)))
        if (
            not _DEFAULT_GROUP.fullmatch(str(group))
            or not all(_DEFAULT_OPTION.fullmatch(str(name)) for name in names)
            or ".." in f"{group} {chosen}"
        ):
            raise ValueError(
                f"defaults must name parts as in sampler: grid, got {entry!r} in {str(path)!r}; "
                "name files of conf and --config-dir"
            )


def _no_hydra(path: Path, what: str) -> str:
    return (
        f"hydra is not an option of a file, got {what!r} in {str(path)!r}; remove it: what "
        "Hydra itself does is set by this package"
    )


def _yaml_files(folder: Path) -> Iterator[Path]:
    """Every file that Hydra could load, also behind symbolic links."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place) / name for name in sorted(files) if name.endswith(".yaml"))


def _values(options: Any, key: str = "") -> Iterator[tuple[str, object, dict[Any, Any]]]:
    """Every value, also dicts and lists, with its full key and the dict that holds it."""
    if isinstance(options, list):
        options = dict(enumerate(options))
    for name, value in options.items() if isinstance(options, dict) else ():
        place = f"{key}.{name}".lstrip(".")
        yield place, value, options
        yield from _values(value, place)


def _calls_resolver(text: str) -> bool:
    """True if an interpolation has a colon, which a reference to a key cannot have."""
    depth = 0
    for sign in re.findall(r"\$\{|[}:]", text):
        if sign == ":" and depth:
            return True
        depth = max(depth + {"${": 1, "}": -1}.get(sign, 0), 0)
    return False


def _lies_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _located(key: str, target: str) -> object:
    """The object that a target names: an attribute of a module, found in no other way."""
    module, _, name = target.rpartition(".")
    try:
        found = vars(importlib.import_module(module)).get(name)
    except ImportError as error:
        raise ValueError(
            f"{key} must name what can be imported, got {target!r} ({error}); {_WHERE}"
        ) from error
    if found is None or isinstance(found, ModuleType):
        raise ValueError(
            f"{key} must name a class or function of a module, got {target!r}; {_WHERE}"
        )
    return found


_WHERE = "put the package beside the folder of --config-dir or install it"


def _is_part(found: object) -> bool:
    """True if options are checked, by `part` or by pydantic's ``validate_call``."""
    is_dataclass = isinstance(found, type) and "__pydantic_fields__" in vars(found)
    return is_dataclass or hasattr(found, "raw_function")
