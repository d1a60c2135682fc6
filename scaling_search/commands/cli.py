"""The command line: its commands, its exit codes, and errors as one line."""

import os
import sys
from pathlib import Path

from scaling_search.runtime.command_line import HELP_ALL
from scaling_search.runtime.interruption import EXIT_CODE as INTERRUPTED
from scaling_search.runtime.output import surviving, usable_streams
from scaling_search.runtime.passwords import without_password
from scaling_search.runtime.visible_text import visible

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
    is_serious = command in {"plan", "search", "run"} and "recipe" in given
    if is_serious or (command == "run" and "hours" in given):
        return ["~experiment", *arguments]  # the default is a first look of one epoch
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
    """Calls a command with its options; raises `UsageError` for what the user can mend."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from scaling_search.commands.hydra_app import call_with_options
    from scaling_search.commands.messages import explained, one_line

    try:
        call_with_options(command, arguments, does=COMMANDS.get(command, ""))
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(explained(error)) from error
    except (ValueError, RuntimeError, OSError, YAMLError) as error:
        raise UsageError(one_line(error)) from error
    except (OverflowError, MemoryError) as error:
        raise UsageError(
            f"options must be numbers that fit in memory, got {one_line(error)!r}; use smaller ones"
        ) from error
