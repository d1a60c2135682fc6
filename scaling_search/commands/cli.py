"""The command line; only this file and `texts` know Hydra."""

import contextlib
import difflib
import hashlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from scaling_search.experiment.texts import as_text, options_of
from scaling_search.runtime.command_line import as_override
from scaling_search.runtime.files import conf
from scaling_search.runtime.interruption import EXIT_CODE as INTERRUPTED
from scaling_search.runtime.passwords import storage_flag, without_password

if TYPE_CHECKING:
    from scaling_search.commands.run import Run
    from scaling_search.experiment.options import Options
    from scaling_search.experiment.trust import Trusted

COMMANDS = {
    "plan": "which networks of the target's cost there are; trains nothing",
    "search": "train them; the same command again goes on where it stopped",
    "report": "tables, figures and report.html from a run's folder",
    "scale": "train whole families over phi, for accuracy over FLOPs",
    "confirm": "train the winner anew with fresh seeds, then look at the test split, once",
    "fairness": "does the learning rate or the length of training favour some networks?",
    "transfer": "does the best split hold at four and eight times the cost?",
    "export": "weights, programs of PyTorch, ONNX and a model card of the networks, to take away",
    "audit": "a table of scaled networks, published or your own, beside what its rule gives",
}

HELP = f"""usage: scaling-search COMMAND [key=value ...]

How to spend k times the compute on a network: a search for the coefficients alpha, beta, gamma
of depth, width and resolution among networks of equal measured cost.

commands:
{os.linesep.join(f"  {name:10}{what}" for name, what in COMMANDS.items())}

first steps:
  scaling-search plan                                   what would be trained
  scaling-search search experiment=default              a few minutes on a CPU
  scaling-search report out=runs/default                the table, the plots, the report
  scaling-search search experiment=fashion_mnist_small  under an hour, three seeds

scaling-search COMMAND --help lists every option, --cfg job shows them composed.
allow=my_package lets YAML files name parts of a package of your own.
Tab completion: eval "$(scaling-search -sc install=bash)"
"""

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
"""What the commands that read a run's config.yaml still take from the command line, with out=."""

FOR_ONE_COMMAND = ("limits", "price_only", "keep_weights")
"""Of these a run's config.yaml says what its search was given, which was for that alone."""


MOST_BYTES = 255
"""Longest name of a folder, on most file systems."""

WIDTH = 110
"""Columns of tables where there is no terminal to ask."""

NOT_IN_NAMES = "hydra.job.config.override_dirname.exclude_keys"
"""Hydra's option for what the names of a sweep's folders leave out."""

USAGE_ERROR = 2


class UsageError(Exception):
    """Something that the user can mend; its text is one or two lines."""


def main() -> None:
    """Runs the command of ``sys.argv`` and exits with its code.

    Exit codes: 0 done, 1 a bug, 2 something that the user can mend, 130 interrupted.
    """
    # Hydra would print its errors itself, over several lines, and exit with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        sys.exit(_main(sys.argv[1:]))
    except UsageError as error:
        print(f"scaling-search: {without_password(str(error))}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has left, as head does; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _main(argv: list[str]) -> int:
    if "-sc" in argv or "--shell-completion" in argv:
        return _complete(argv)
    if not argv or argv[0] in {"-h", "--help", "help"}:
        print(HELP, end="")
        return 0
    if argv[0] == "--version":
        from importlib.metadata import version

        print(f"scaling-search {version('scaling-search')}")
        return 0
    command, *arguments = argv
    if command not in COMMANDS:
        raise UsageError(
            f"the command must be one of {', '.join(COMMANDS)}, got {command!r}"
            + _near(command, COMMANDS)
        )
    if command == "audit" and not any(a.startswith("experiment=") for a in arguments):
        arguments = ["experiment=paper_grid", *arguments]
    _hydra(command, arguments)
    return 0


def _complete(argv: list[str]) -> int:
    """Hydra's completion, with the command in front taken off the line."""
    line = os.environ.get("COMP_LINE", "")
    if any(a.startswith("query=") for a in argv):
        words = line.split()
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            print(" ".join(COMMANDS))
            return 0
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]]) + " " * line.endswith(" ")
    _hydra("", argv)
    return 0


def _hydra(command: str, arguments: list[str]) -> None:
    """Composes the configuration and runs the command on it; raises what the user can mend."""
    from hydra._internal.utils import get_args_parser
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from scaling_search.experiment.trust import allowed

    parser = get_args_parser()
    parser.error = _usage_error  # type: ignore[method-assign]  # argparse would print its usage
    program = Path(sys.argv[0]).name
    try:
        packages, arguments = allowed(arguments)
        parsed = parser.parse_intermixed_args(arguments)
        # Hydra parses once more, and would take no option that stands behind options and a flag.
        flags = list(arguments)
        for override in parsed.overrides:
            flags.remove(override)
        parsed.overrides = [_read(o, is_multirun=parsed.multirun) for o in parsed.overrides]
        arguments = [*parsed.overrides, *flags]
        trusted = _trusted(packages, parsed)
        sys.argv = [f"{program} {command}" if command else program, *arguments]
        if parsed.help or parsed.cfg or parsed.info:
            _shown_without_passwords(command, trusted)
        elif not parsed.multirun:
            _hydra_main(command, trusted)
        else:
            # Hydra's sweeper always writes a multirun.yaml; it goes where nobody looks.
            with tempfile.TemporaryDirectory(prefix="scaling_search_") as folder:
                sys.argv[1:1] = [as_override("hydra.sweep.dir", folder), "hydra.sweep.subdir=."]
                if not _is_swept("out", parsed.overrides):
                    sys.argv.insert(1, f"{NOT_IN_NAMES}=[out]")
                _hydra_main(command, trusted)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(_explained(error)) from error
    except (ValueError, RuntimeError, OSError, YAMLError) as error:
        raise UsageError(_one_line(error)) from error
    except (OverflowError, MemoryError) as error:
        raise UsageError(
            f"options must be numbers that memory can hold, got {_one_line(error)!r}; take smaller "
            "ones"
        ) from error


def _read(override: str, *, is_multirun: bool) -> str:
    """An option as Hydra will take it; says where it would not have by itself."""
    read = as_text(override, is_multirun=is_multirun)
    if read != override:
        key, _, text = without_password(override).partition("=")
        print(f"scaling-search: {key} is taken as the text {text!r}", file=sys.stderr)
    return read


def _is_swept(key: str, overrides: Sequence[str]) -> bool:
    """True if several values are given for an option."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return any(one.get_key_element() == key and one.is_sweep_override() for one in parsed)


def _trusted(packages: tuple[str, ...], parsed: Any) -> "Trusted":
    """Whose code may be named, after a look at what the command line brings in."""
    from scaling_search.experiment.trust import Trusted, check_folder, check_overrides

    for flag in ("config_path", "config_name", "experimental_rerun"):
        if (value := getattr(parsed, flag)) is not None:
            raise UsageError(
                f"--{flag.replace('_', '-')} is not an option, got {value!r}; --config-dir adds "
                "a folder of your own, and experiment=name takes an experiment from it"
            )
    own = [] if parsed.config_dir is None else [Path(parsed.config_dir).absolute()]
    check_overrides(parsed.overrides, [conf(), *own])
    for folder in own:
        check_folder(folder)
    return Trusted(packages, own[0] if own else None)


def _shown_without_passwords(command: str, trusted: "Trusted") -> None:
    """Prints what Hydra shows of the options."""
    shown = StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            _hydra_main(command, trusted)
    finally:
        print(without_password(shown.getvalue()), end="")


def _hydra_main(command: str, trusted: "Trusted") -> None:
    import hydra

    failures: list[Exception] = []

    def run(config: Any) -> None:
        # Hydra would add a line of its own to what leaves a job.
        try:
            if not failures:
                _run(command, config, trusted)
        except Exception as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    hydra.main(version_base="1.3", config_path=str(conf()), config_name="config")(run)()
    if failures:
        raise failures[0]


def _run(command: str, config: Any, trusted: "Trusted") -> None:
    """Builds what a command needs and calls it; the configuration ends here."""
    import pydantic
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import InstantiationException
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from rich.console import Console

    from scaling_search.commands.run import Run
    from scaling_search.experiment.composing import built, settled, without_passwords

    settings = HydraConfig.get()
    overrides = [str(o) for o in settings.overrides.task]
    name = settings.job.override_dirname
    is_below = "out" in settings.job.config.override_dirname.exclude_keys  # a sweep of others
    if any(o.startswith("out=") for o in overrides) and command in OWN_OPTIONS:
        is_below = False  # the folder of a search that was made before
    if settings.mode == RunMode.MULTIRUN and is_below and name:
        config.out = f"{config.out}/{_folder_name(name)}"
    for key in ("out", "storage"):
        if str(config[key]).startswith("~/"):  # not every shell knows what that is
            config[key] = str(Path(config[key]).expanduser())
    if command in OWN_OPTIONS:
        config = _from_folder(command, config, overrides)
    try:
        plain = settled(config, trusted)
        options = built(plain, trusted)
    except (InstantiationException, pydantic.ValidationError) as error:
        cause = error if isinstance(error, pydantic.ValidationError) else error.__cause__
        if isinstance(cause, pydantic.ValidationError):
            raw = OmegaConf.to_container(config, resolve=False)
            raise UsageError(_refused(str(error), cause, raw)) from error
        raise
    assert options.executor is not None  # conf/ names one
    run = Run(
        options.experiment,
        options.out,
        options.executor,
        storage=options.storage,
        limits=options.limits,
        keep_weights=options.keep_weights,
        console=Console(width=None if sys.stdout.isatty() else WIDTH, emoji=False),
        trusted=trusted,
        flags=trusted.flags + storage_flag(options.storage, overrides),
    )
    text = OmegaConf.to_yaml(OmegaConf.create(without_passwords(plain)))
    _call(command, run, options, text)


def _call(command: str, run: "Run", options: "Options", config: str) -> None:
    """Calls a command; each brings only what it needs: a search no figures, a plan no tables."""
    if command == "report":
        run.report(most=options.report.most, published=options.report.published)
        return
    function = getattr(importlib.import_module(f"scaling_search.commands.{command}"), command)
    if command == "plan":
        function(run, timed=options.timed, fairness=options.fairness)
    elif command == "search":
        function(
            run,
            config=config,
            price_only=options.price_only,
            timed=options.timed,
            fairness=options.fairness,
        )
    elif command == "audit":
        function(run, options.audit)
    else:
        function(run, getattr(options, command), price_only=options.price_only)


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
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from scaling_search.experiment.composing import saved

    kept: Any = saved(Path(config.out))
    path = Path(config.out) / "config.yaml"
    own_keys = OWN_OPTIONS[command]
    fresh = {key: config[key] for key in FOR_ONE_COMMAND}
    # What an executor's options are depends on which it is; a folder may be older than an option.
    merged = {k: config[k] for k in {k.partition(".")[0] for k in own_keys} - {"executor"}}
    merged |= {k: config[k] for k in config if k not in kept}
    kept = OmegaConf.merge(merged, kept, fresh)
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element()
        if key == "out":
            kept.out = config.out
        elif not any(key == own or key.startswith(f"{own}.") for own in own_keys):
            own = ", ".join(("out", *own_keys))
            raise UsageError(
                f"{command} takes its choices from {path}, got {override.input_line!r}; "
                f"only {own} can be set"
            )
        elif key == "executor":
            kept.executor = config.executor
        else:
            OmegaConf.update(kept, key, override.value())
    return kept


def _usage_error(message: str) -> NoReturn:
    raise UsageError(f"{message}; scaling-search --help lists the commands")


def _explained(error: Exception) -> str:
    """An error of Hydra or OmegaConf in one line: the key, the rule, the value, what to do."""
    from hydra.errors import OverrideParseException

    cause = error.__cause__
    if isinstance(error, OverrideParseException):
        return (
            f"an option must be key=value, got {error.override!r}; quote what YAML would not read"
        )
    if isinstance(cause, (ValueError, RuntimeError, OSError)):
        return _one_line(cause)
    text = f"{error}\n{cause}"  # Hydra's own words first, then OmegaConf's
    if match := re.search(r"Could not find '([\w/-]+)/([^/']*)'", text):
        group, name = match.groups()
        options = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
        return f"{group} must be one of {', '.join(options)}, got {name!r}" + _near(name, options)
    if match := re.match("Error merging override (.*)", str(error)):
        return (
            f"an option must be key=value with ${{name}} for another's value alone, got "
            f"{match.group(1)} ({_one_line(cause or error)})"
        )
    key = re.search(r"Could not (?:override|append|add) '?([^'\s]+)'?", text)
    key = key or re.search(r"full_key: (\S+)", text)
    if key is not None and ("not in struct" in text or "No match in the defaults" in text):
        name = key.group(1).partition("@")[0]
        return f"{name} is not an option" + _near(name, _all_options())
    if key is not None and (other := re.search(r"trying to access ([\w.]+)", text)):
        return (
            f"{key.group(1)} must be given without {other.group(1)}, got nothing; add "
            f"{key.group(1)}=... to the command"
        )
    if "Missing mandatory value" in text or "mandatory value" in text.lower():
        name = key.group(1) if key else text
        return f"{name} must be given, got ???; add {name}=... to the command"
    return _one_line(error)


def _refused(text: str, error: Any, options: Any) -> str:
    """A refused option: the first complaint of pydantic, by the key that a user would set."""
    composed = options
    first = error.errors()[0]
    place = re.search(r"full_key: (\S+)", text)
    path = [*(place.group(1).split(".") if place else []), *(str(p) for p in first["loc"][:1])]
    key = ".".join(path)
    for name in path:
        options = options.get(name) if isinstance(options, dict) else None
    if isinstance(options, str) and (source := re.fullmatch(r"\$\{([\w.]+)\}", options)):
        key = source.group(1)
    message = str(first["msg"])
    if message.startswith("Value error, "):
        return message.removeprefix("Value error, ")
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{key} is not an option" + _near(key, _names(composed))
    if first["type"].startswith("missing"):
        if len(first["loc"]) > 1:  # of a list: what comes behind its end
            return f"{key} must have more values, got {list(first['input'])}; --help shows them"
        return f"{key} must be given, got nothing; --help lists the options and their values"
    if first["type"] == "too_long":
        most = first["ctx"]["max_length"]
        return f"{key} must have at most {most} values, got {list(first['input'])}; leave some out"
    rule = message.replace("Input should be", "be").replace("Input should have", "have")
    return f"{key} must {rule}, got {first['input']!r}; --help lists the options"


def _all_options() -> list[str]:
    """The full key of every option and group, for near misses."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(config_dir=str(conf()), version_base="1.3"):
        options = OmegaConf.to_container(compose("config"), resolve=False)
    return _names(options)


def _names(options: Any) -> list[str]:
    """The full keys of these options and the names of all groups."""
    groups = [folder.name for folder in conf().iterdir() if folder.is_dir()]
    return [*groups, *(key for key, _ in options_of(options))]


def _near(name: str, options: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, {*options} - {name}, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; --help lists those there are"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
