"""The command line: options become values, and errors that a user can mend become one line."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from scaling_search.experiment.texts import as_text
from scaling_search.runtime.command_line import as_override, with_runs
from scaling_search.runtime.files import conf
from scaling_search.runtime.interruption import EXIT_CODE as INTERRUPTED
from scaling_search.runtime.output import surviving, usable_streams
from scaling_search.runtime.passwords import without_password
from scaling_search.runtime.visible_text import visible

if TYPE_CHECKING:
    from scaling_search.commands.run import Run
    from scaling_search.experiment.options import Options
    from scaling_search.experiment.trust import Trusted

COMMANDS = {
    "run": "from data to answer: plan, search, confirm, scale and report in one go",
    "plan": "which networks of the target's cost there are; trains nothing",
    "search": "train the networks of a plan; the same command again goes on where it stopped",
    "report": "tables, figures and report.html from a run's folder",
    "scale": "train whole families over phi, for accuracy over FLOPs",
    "confirm": "train the network anew with fresh seeds, then look at the test split, once",
    "fairness": "does the learning rate or the length of training favour some networks?",
    "transfer": "does the best split hold at four and eight times the cost?",
    "export": "weights, programs of PyTorch, ONNX and a model card of the networks, to take away",
    "compare": "several searches in one table and one triangle: compare runs/one runs/other",
    "audit": "a table of scaled networks, published or your own, beside what its rule gives",
}

HELP = f"""usage: scaling-search COMMAND [key=value ...]

How to spend k times the compute on a network: a search for the coefficients alpha, beta, gamma
of depth, width and resolution among networks of equal measured cost.

commands:
{os.linesep.join(f"  {name:10}{what}" for name, what in COMMANDS.items())}

first steps:
  scaling-search run experiment=default                 a few minutes on a CPU
  scaling-search run dataset=imagefolder dataset.path=photos hours=8   your own pictures

scaling-search COMMAND --help lists the options that are set most, --help-all lists all of them.
allow=my_package lets YAML files name parts of a package of your own.
Tab completion: eval "$(scaling-search -sc install=bash)"
"""

WIDTH = 110
"""Columns of tables where the output is no terminal."""

NOT_IN_NAMES = "hydra.job.config.override_dirname.exclude_keys"
"""Hydra's option for the keys that names of a sweep's folders leave out."""

ENDINGS = ("search", "scale", "confirm", "fairness", "transfer", "export")
"""Commands whose last lines are the answer; ``run`` and ``report`` say it too."""

HELP_ALL = "--help-all"
"""The flag for every option of a command."""

USAGE_ERROR = 2


class UsageError(Exception):
    """An error that the user can mend; its text is one or two lines."""


def main() -> None:
    """Runs the command of ``sys.argv`` and exits with its code.

    Exit codes: 0 done, 1 a bug, 2 an error that the user can mend, 130 interrupted.
    """
    # Hydra would print its errors itself, over several lines, and exit with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with usable_streams():
        code = _exit_code()
    sys.exit(code)


def _exit_code() -> int:
    code, said = 0, ""
    try:
        _main(sys.argv[1:])
    except UsageError as error:
        notes = [note for one in (error, error.__cause__) for note in getattr(one, "__notes__", [])]
        text = without_password("; ".join(filter(None, [str(error), *notes])))
        code, said = USAGE_ERROR, "scaling-search: " + visible(text, keep="\n")
    except KeyboardInterrupt:
        code, said = INTERRUPTED, "\nstopped; the same command goes on from here"
    except BrokenPipeError:
        pass  # the reader has left, as head does
    except OSError as error:
        code, said = USAGE_ERROR, f"scaling-search: {error}"
    if said:
        with surviving():
            print(said, file=sys.stderr)
    return code


def _main(argv: list[str]) -> None:
    if "-sc" in argv or "--shell-completion" in argv:
        _complete(argv)
    elif not argv or argv[0] in {"-h", "--help", HELP_ALL, "help"}:
        if argv[1:] and argv[1] in COMMANDS:  # help confirm
            _main([argv[1], "--help"])
        else:
            print(HELP, end="")
    elif argv[0] == "--version":
        from importlib.metadata import version

        print(f"scaling-search {version('scaling-search')}")
    else:
        command, *arguments = argv
        if command not in COMMANDS:
            from scaling_search.commands.messages import near

            remedy = near(command, COMMANDS)
            if Path(command).is_dir():
                remedy = f"; for a run's folder write report out={command}"
            raise UsageError(
                f"the command must be one of {', '.join(COMMANDS)}, got {command!r}{remedy}"
            )
        _hydra(command, _with_experiment(command, arguments))


def _with_experiment(command: str, arguments: list[str]) -> list[str]:
    """The arguments, with the experiment of a command that is for another one than the default."""
    given = {argument.partition("=")[0].lstrip("+") for argument in arguments}
    if "experiment" in given:
        return arguments
    if command == "run" and "hours" in given:
        return ["~experiment", *arguments]  # the default is a first look of few networks
    return ["experiment=paper_grid", *arguments] if command == "audit" else arguments


def _complete(argv: list[str]) -> None:
    """Completes with Hydra, which does not know the command in front."""
    line = os.environ.get("COMP_LINE", "")
    if any(a.startswith("query=") for a in argv):
        words = line.split()
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            print(" ".join(COMMANDS))
            return
        if words[1] == "compare":  # the shell itself completes folders
            print("" if line.endswith(" ") else "out=")
            return
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]]) + " " * line.endswith(" ")
    _hydra("", argv)


def _hydra(command: str, arguments: list[str]) -> None:
    """Composes the options and runs the command; raises `UsageError` for what the user can mend."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from scaling_search.commands.messages import explained, one_line

    try:
        _composed(command, arguments)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(explained(error)) from error
    except (ValueError, RuntimeError, OSError, YAMLError) as error:
        raise UsageError(one_line(error)) from error
    except (OverflowError, MemoryError) as error:
        raise UsageError(
            f"options must be numbers that fit in memory, got {one_line(error)!r}; use smaller ones"
        ) from error


def _composed(command: str, arguments: list[str]) -> None:
    """Has Hydra compose the options and run the command on them."""
    from hydra._internal.utils import get_args_parser

    from scaling_search.experiment.trust import allowed

    parser = get_args_parser()
    parser.error = _usage_error  # type: ignore[method-assign]  # argparse would print its usage
    program = Path(sys.argv[0]).name
    packages, arguments = allowed(arguments)
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
    trusted = _trusted(packages, parsed)
    sys.argv = [f"{program} {command}" if command else program, *parsed.overrides, *flags]
    if parsed.resolve:  # which Hydra does by itself, unchecked
        from scaling_search.experiment.composing import unresolved

        unresolved(*parsed.overrides, trusted=trusted)
    if parsed.help:
        plain = {"-h", "--help", "-m", "--multirun"}  # help is of one experiment
        sys.argv = [argument for argument in sys.argv if argument not in plain]
        _shown(partial(_help, command, trusted=trusted, is_whole=is_whole))
    elif parsed.cfg or parsed.info:
        _shown(partial(_run, command, trusted=trusted))
    elif not parsed.multirun:
        _hydra_main(partial(_run, command, trusted=trusted))
    else:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        given = OverridesParser.create().parse_overrides(parsed.overrides)
        # Hydra's sweeper always writes a multirun.yaml, here into a folder that is removed.
        with tempfile.TemporaryDirectory(prefix="scaling_search_") as folder:
            sys.argv[1:1] = [as_override("hydra.sweep.dir", folder), "hydra.sweep.subdir=."]
            if not any(o.get_key_element() == "out" and o.is_sweep_override() for o in given):
                sys.argv.insert(1, f"{NOT_IN_NAMES}=[out]")
            _hydra_main(partial(_run, command, trusted=trusted))


def _shown(job: Callable[[Any], None]) -> None:
    """Has Hydra compose the options for a job that only prints, and hides passwords in that."""
    shown = StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            _hydra_main(job)
    finally:
        with contextlib.suppress(BrokenPipeError):  # of head
            print(without_password(shown.getvalue()), end="")


def _help(command: str, config: Any, *, trusted: "Trusted", is_whole: bool) -> None:
    """Prints the options of a command."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from scaling_search.commands.help import Help
    from scaling_search.experiment.references import check_references

    check_references(OmegaConf.to_container(config, resolve=False))
    folders = [conf(), *([] if trusted.config_dir is None else [trusted.config_dir])]
    told = Help(config, HydraConfig.get().runtime.choices, folders)
    if is_whole:
        print(told.whole(command, COMMANDS[command]))
    else:
        chosen = [str(o).partition("=")[0] for o in HydraConfig.get().overrides.task]
        print(told.short(command, COMMANDS[command], chosen))


def _read(override: str, *, is_multirun: bool) -> str:
    """An option as Hydra will take it; says where it would not have by itself."""
    read = as_text(override, is_multirun=is_multirun)
    if read != override:
        key, _, text = without_password(override).partition("=")
        with surviving():
            print(f"scaling-search: {key} is taken as the text {text!r}", file=sys.stderr)
    return read


def _trusted(packages: tuple[str, ...], parsed: Any) -> "Trusted":
    """The code that options may name, after a check of the command line and its folder."""
    from scaling_search.experiment.trust import Trusted, check_folder, check_overrides

    for flag in ("config_path", "config_name", "experimental_rerun"):
        if (value := getattr(parsed, flag)) is not None:
            raise UsageError(
                f"--{flag.replace('_', '-')} is not an option, got {value!r}; --config-dir adds "
                "a folder of your own, and experiment=name takes an experiment from it"
            )
    own = [] if parsed.config_dir is None else [Path(parsed.config_dir).absolute()]
    if own and not own[0].is_dir():
        raise UsageError(
            f"--config-dir must be a folder, got {parsed.config_dir!r}, which was not found; give "
            "the folder of your own YAML files"
        )
    check_overrides(parsed.overrides, [conf(), *own])
    for folder in own:
        check_folder(folder)
    keys = {override.partition("=")[0].strip(" +") for override in parsed.overrides}
    return Trusted(
        packages,
        own[0] if own else None,
        has_storage="storage" in keys,
        has_address="executor.address" in keys,
    )


def _hydra_main(job: Callable[[Any], None]) -> None:
    """Has Hydra compose the options of ``sys.argv`` and calls a job with them."""
    import hydra

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


def _run(command: str, config: Any, *, trusted: "Trusted") -> None:
    """Builds the values that a command needs and calls it; the configuration ends here."""
    import pydantic
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    with _loading():
        from scaling_search.commands.folders import OWN_OPTIONS, takes_folder, with_folder
        from scaling_search.commands.messages import refused
        from scaling_search.commands.run import Run
        from scaling_search.display.progress import bars
        from scaling_search.display.terminal import Terminal, tell
        from scaling_search.experiment.composing import built, settled, without_passwords
        from scaling_search.experiment.references import check_references
        from scaling_search.record.storage_urls import storage_flag

    check_references(OmegaConf.to_container(config, resolve=False))
    overrides = [str(o) for o in HydraConfig.get().overrides.task]
    config = with_folder(command, config, overrides)
    note = ""
    if takes_folder(command, config, overrides):
        place = Path(config.out) / "config.yaml"
        note = f"options that are not given here are those of {place}"
    try:
        with _loading():
            plain = settled(config, trusted)
            options = built(plain, trusted)
    except Exception as error:
        error.add_note(note)
        cause = error if isinstance(error, pydantic.ValidationError) else error.__cause__
        if isinstance(cause, pydantic.ValidationError):
            raw = OmegaConf.to_container(config, resolve=False)
            raise UsageError(refused(str(error), cause, raw)) from error
        raise
    assert options.executor is not None  # conf/ names one
    console = Terminal(width=None if sys.stdout.isatty() else WIDTH, emoji=False)
    run = Run(
        options.experiment,
        options.out,
        options.executor,
        storage=options.storage,
        limits=options.limits,
        keep_weights=options.keep_weights,
        console=console,
        trusted=trusted,
        flags=trusted.flags + storage_flag(options.storage, overrides),
    )
    prints_only = command == "plan" or (command == "audit" and not options.audit.write)
    survives = contextlib.nullcontext() if prints_only or options.price_only else surviving()
    with bars(console), survives:
        if note and command not in OWN_OPTIONS:
            tell(console, f"{note[0].upper()}{note[1:]}; its limits are not kept.")
        if command in OWN_OPTIONS:
            try:
                run.check_config()
            except RuntimeError as error:
                error.add_note(note if options.storage else "")  # it may be the wrong one
                raise
        text = OmegaConf.to_yaml(OmegaConf.create(without_passwords(plain)))
        _call(command, run, options, text)


def _loading() -> contextlib.AbstractContextManager[object]:
    """A sign on a terminal while PyTorch is imported, which takes seconds."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return contextlib.nullcontext()
    from rich.console import Console

    return Console(stderr=True).status("loading PyTorch")


def _call(command: str, run: "Run", options: "Options", config: str) -> None:
    """Calls a command; each imports only what it needs: a search no figures, a plan no tables."""
    from scaling_search.commands.headline import say_headline

    if command == "report":
        with run.console.status("reading the record, fitting the surface, writing report.html"):
            asked = options.report
            run.report(most=asked.most, published=asked.published, to=asked.to)
        return
    if command == "run":
        from scaling_search.commands.stages import run_stages

        run_stages(
            run,
            options.run,
            hours=options.hours,
            config=config,
            scale=options.scale,
            confirm=options.confirm,
            report=options.report,
            timed=options.timed,
            price_only=options.price_only,
        )
        return
    function = getattr(importlib.import_module(f"scaling_search.commands.{command}"), command)
    if command == "plan":
        function(run, timed=options.timed, fairness=options.fairness)
    elif command == "search":
        run = function(
            run,
            config=config,
            price_only=options.price_only,
            timed=options.timed,
            fairness=options.fairness,
        )
    elif command == "audit":
        function(run, options.audit)
    elif command == "compare":
        given = {"allow": run.trusted.packages, "console": run.console}
        function(*options.compare.runs, out=options.out, **given).report()
    else:
        function(run, getattr(options, command), price_only=options.price_only)
    if command in ENDINGS and not options.price_only:
        say_headline(run)


def _usage_error(message: str) -> NoReturn:
    unknown = message.removeprefix("unrecognized arguments: ")
    if unknown == message:
        raise UsageError(f"{message}; scaling-search --help lists the commands")
    raise UsageError(
        f"an option must be key=value without dashes, got {unknown!r}; write "
        f"{unknown.split()[0].lstrip('-').partition('=')[0]}=VALUE, or see --help"
    )
