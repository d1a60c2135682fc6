"""Hydra: it composes the options of a command line, of a sweep for each of its jobs."""

import contextlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from scaling_search.commands.help import Help
from scaling_search.experiment.references import check_references
from scaling_search.experiment.texts import COMMANDS, as_text
from scaling_search.experiment.trust import Trusted, allowed, check_folder, check_overrides
from scaling_search.runtime.command_line import HELP_ALL, as_override, with_runs
from scaling_search.runtime.files import conf
from scaling_search.runtime.output import surviving
from scaling_search.runtime.passwords import without_password
from scaling_search.runtime.progress import waiting

NOT_IN_NAMES = "hydra.job.config.override_dirname.exclude_keys"
"""Hydra's option for the keys that names of a sweep's folders leave out."""


def call_with_options(command: str, arguments: list[str], *, does: str) -> None:
    """Calls a command with the options that Hydra composes, or prints what these are.

    Args:
        command: Its name; empty to complete a command line.
        arguments: Options of the command line, and flags.
        does: What the command does, for its help.

    Raises:
        ValueError: An option or flag is wrong; the command can raise more.
        hydra.errors.HydraException: Options cannot be composed.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # argparse would print its usage
    program = Path(sys.argv[0]).name
    trusted, arguments = allowed(arguments)
    is_whole = HELP_ALL in arguments
    arguments = ["--help" if argument == HELP_ALL else argument for argument in arguments]
    parsed = parser.parse_intermixed_args(arguments)
    # Hydra parses once more, and would take no option that stands behind options and a flag.
    flags = list(arguments)
    for override in parsed.overrides:
        flags.remove(override)
    if command == "compare":
        parsed.overrides = with_runs(parsed.overrides, is_multirun=parsed.multirun)
    parsed.overrides = [_read(o, is_multirun=parsed.multirun) for o in parsed.overrides]
    trusted = _trusted(trusted, parsed)
    sys.argv = [f"{program} {command}" if command else program, *parsed.overrides, *flags]
    if parsed.resolve:  # which Hydra does by itself, unchecked
        from scaling_search.experiment.composing import unresolved  # noqa: PLC0415  # takes torch

        unresolved(*parsed.overrides, trusted=trusted)
    call = partial(_call, command, trusted=trusted)
    if parsed.help:
        plain = {"-h", "--help", "-m", "--multirun"}  # help is of one experiment
        sys.argv = [argument for argument in sys.argv if argument not in plain]
        _shown(partial(_help, command, does, trusted=trusted, is_whole=is_whole))
    elif parsed.cfg or parsed.info:
        _shown(call)
    elif parsed.multirun:
        _sweep(call, parsed.overrides)
    else:
        _hydra_main(call)


def _call(command: str, config: Any, *, trusted: Trusted) -> None:
    with waiting("loading PyTorch"):
        from scaling_search.commands.calling import call  # noqa: PLC0415  # not for help
    call(command, config, trusted)


def _sweep(job: Callable[[Any], None], overrides: list[str]) -> None:
    """Has Hydra call a job for each combination of the values of options."""
    given = OverridesParser.create().parse_overrides(overrides)
    # Hydra's sweeper always writes a multirun.yaml, here into a folder that is removed.
    with tempfile.TemporaryDirectory(prefix="scaling_search_") as folder:
        sys.argv[1:1] = [as_override("hydra.sweep.dir", folder), "hydra.sweep.subdir=."]
        if not any(o.get_key_element() == "out" and o.is_sweep_override() for o in given):
            sys.argv.insert(1, f"{NOT_IN_NAMES}=[out]")
        _hydra_main(job)


def _shown(job: Callable[[Any], None]) -> None:
    """Has Hydra compose the options for a job that only prints, and hides passwords in that."""
    shown = StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            _hydra_main(job)
    finally:
        with contextlib.suppress(BrokenPipeError):  # of head
            print(without_password(shown.getvalue()), end="")


def _help(command: str, does: str, config: Any, *, trusted: Trusted, is_whole: bool) -> None:
    """Prints the options of a command."""
    check_references(OmegaConf.to_container(config, resolve=False))
    folders = [conf(), *([] if trusted.config_dir is None else [trusted.config_dir])]
    told = Help(config, HydraConfig.get().runtime.choices, folders)
    if is_whole:
        print(told.whole(command, does))
    else:
        chosen = [str(o).partition("=")[0] for o in HydraConfig.get().overrides.task]
        print(told.short(command, does, chosen))


def _read(override: str, *, is_multirun: bool) -> str:
    """An option as Hydra will take it; says where it would not have by itself."""
    if override == "dataset=null":  # of a group Hydra knows only the parts
        return "~dataset"
    read = as_text(override, is_multirun=is_multirun)
    key, _, text = without_password(override).partition("=")
    if read != override and key not in COMMANDS:  # whose braces are meant as they are
        with surviving():
            print(f"scaling-search: {key} is taken as the text {text!r}", file=sys.stderr)
    return read


def _trusted(trusted: Trusted, parsed: Any) -> Trusted:
    """The code that options may name, after a check of the command line and its folder."""
    for flag in ("config_path", "config_name", "experimental_rerun"):
        if (value := getattr(parsed, flag)) is not None:
            raise ValueError(
                f"--{flag.replace('_', '-')} is not an option, got {value!r}; --config-dir adds "
                "a folder of your own, and experiment=name takes an experiment from it"
            )
    own = [] if parsed.config_dir is None else [Path(parsed.config_dir).absolute()]
    if own and not own[0].is_dir():
        raise ValueError(
            f"--config-dir must be a folder, got {parsed.config_dir!r}, which was not found; give "
            "the folder of your own YAML files"
        )
    check_overrides(parsed.overrides, [conf(), *own])
    for folder in own:
        check_folder(folder)
    keys = {override.partition("=")[0].strip(" +") for override in parsed.overrides}
    return replace(
        trusted,
        config_dir=own[0] if own else None,
        commands=trusted.commands or tuple(key for key in COMMANDS if key in keys),
        has_storage="storage" in keys,
        has_address="executor.address" in keys,
    )


def _hydra_main(job: Callable[[Any], None]) -> None:
    """Has Hydra compose the options of ``sys.argv`` and calls a job with them."""
    failures: list[Exception] = []

    def run(config: Any) -> None:
        # Hydra would add a line of its own to what leaves a job.
        try:
            if not failures:
                job(config)
        except Exception as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    hydra.main(version_base="1.3", config_path=str(conf()), config_name="config")(run)()
    if failures:
        raise failures[0]


def _refuse(message: str) -> NoReturn:
    unknown = message.removeprefix("unrecognized arguments: ")
    if unknown == message:
        raise ValueError(f"{message}; scaling-search --help lists the commands")
    raise ValueError(
        f"an option must be key=value without dashes, got {unknown!r}; write "
        f"{unknown.split()[0].lstrip('-').partition('=')[0]}=VALUE, or see --help"
    )
