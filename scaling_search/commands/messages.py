"""Errors of Hydra, OmegaConf and pydantic as one line each: the key, the rule, the value."""

import difflib
import errno
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf
from pydantic import ValidationError

from scaling_search.experiment.texts import options_of
from scaling_search.runtime.files import conf


def explained(error: Exception) -> str:
    """The message for an error of Hydra or OmegaConf."""
    cause = error.__cause__
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(cause, (ValueError, RuntimeError, OSError)):
        return one_line(cause)
    text = f"{error}\n{cause}"  # Hydra's own words first, then OmegaConf's
    if match := re.search(r"Could not find '([\w/-]+)/([^/']*)'", text):
        group, name = match.groups()
        options = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
        return f"{group} must be one of {', '.join(options)}, got {name!r}" + near(name, options)
    if match := re.match("Error merging override (.*)", str(error)):
        return (
            f"an option must be key=value with ${{name}} for another's value alone, got "
            f"{match.group(1)} ({one_line(cause or error)})"
        )
    key = re.search(r"Could not (?:override|append|add) '?([^'\s]+)'?", text)
    key = key or re.search(r"full_key: (\S+)", text)
    if key is not None and ("not in struct" in text or "No match in the defaults" in text):
        return _unknown(key.group(1).partition("@")[0])
    if key is not None and (other := re.search(r"trying to access ([\w.]+)", text)):
        return (
            f"{key.group(1)} must be given without {other.group(1)}, got nothing; add "
            f"{key.group(1)}=... to the command"
        )
    if "mandatory value" in text.lower():
        name = key.group(1) if key else text
        return f"{name} must be given, got ???; add {name}=... to the command"
    return one_line(error)


def refused(text: str, error: ValidationError, options: Any) -> str:
    """The message for the first option that pydantic refuses, by the key that a user would set.

    Args:
        text: Error of Hydra, which names the part.
        error: Error of pydantic.
        options: Composed options, not resolved.
    """
    first: Any = error.errors()[0]
    part = re.search(r"full_key: (\S+)", text)
    path = [*(part.group(1).split(".") if part else []), *(str(p) for p in first["loc"][:1])]
    key, value = ".".join(path), options
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str) and (source := re.fullmatch(r"\$\{([\w.]+)\}", value)):
        key = source.group(1)
    message, kind, given = str(first["msg"]), first["type"], first["input"]
    if message.startswith("Value error, "):
        return message.removeprefix("Value error, ")
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{key} is not an option" + near(key, _names(options))
    if kind.startswith("missing") and len(first["loc"]) > 1:  # a list is too short
        return f"{key} must have more values, got {list(given)}; --help-all shows them"
    if kind.startswith("missing"):
        return f"{key} must be given, got nothing; --help-all lists the options"
    if kind == "too_long":
        most = first["ctx"]["max_length"]
        return f"{key} must have at most {most} values, got {list(given)}; leave some out"
    rule = " or ".join(
        re.sub(r"^\w+ should (be|have|match)", r"\1", one["msg"]).replace("valid tuple", "list")
        for one in error.errors()
        if one["loc"][:1] == first["loc"][:1]
        and repr(one["input"]) == repr(given)  # NaN is not NaN
    )
    is_percent = isinstance(given, str) and re.fullmatch(r"[\d.]+ ?%", given)
    remedy = "write 5 % as 0.05" if is_percent else "--help-all says what it is"
    return f"{key} must {rule}, got {given!r}; {remedy}"


def _unknown(name: str) -> str:
    """The message for an option that there is not, or not of the part that was chosen."""
    if of := _parts_with(name):
        group, _, option = name.partition(".")
        others = f", or {', '.join(of[1:])}, which have {option} too" if of[1:] else ""
        return f"{name} is not an option of the chosen {group}; add {group}={of[0]}{others}"
    with initialize_config_dir(config_dir=str(conf()), version_base="1.3"):
        options = _names(OmegaConf.to_container(compose("config"), resolve=False))
    return f"{name} is not an option" + near(name, options)


def _unreadable(override: str) -> str:
    """The message for an argument that is no option."""
    key, equals, value = (part.strip() for part in override.partition("="))
    if equals and key:
        remedy = f"write {shlex.quote(f'{key}={value}')}"
    elif Path(override).is_dir():
        remedy = f"for a folder write out={shlex.quote(override)}"
    elif override.replace(".", "").replace("_", "").isalnum():
        remedy = f"write {override}=VALUE"
    else:
        remedy = "quote what the shell or YAML would read otherwise"
    return f"an option must be key=value without spaces, got {override!r}; {remedy}"


def _parts_with(name: str) -> list[str]:
    """The parts of an option's group that have it; empty if it is no option of any."""
    group, _, option = name.partition(".")
    files = sorted(conf().glob(f"{group}/*.yaml")) if group.isidentifier() else []
    line = re.compile(rf"^{re.escape(option)}:", re.MULTILINE)
    return [path.stem for path in files if option and line.search(path.read_text("utf-8"))]


def _names(options: Any) -> list[str]:
    """The full keys of these options and the names of all groups."""
    groups = [folder.name for folder in conf().iterdir() if folder.is_dir()]
    return [*groups, *(key for key, _ in options_of(options))]


def near(name: str, options: Iterable[str]) -> str:
    """The end of a message on an unknown name: options with a similar one, if any."""
    close = difflib.get_close_matches(name, {*options} - {name}, n=3)
    return (
        f"; did you mean {' or '.join(close)}?" if close else "; --help-all lists those there are"
    )


def one_line(error: BaseException) -> str:
    """The text of an error without line breaks."""
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return (
            f"open files must stay below the system's limit, got {error.strerror!r}; raise it "
            "(ulimit -n 4096) or use fewer executor.workers_per_device"
        )
    if isinstance(error, FileNotFoundError) and error.filename is None:  # of no path at all
        return "the current folder must be there, got one that was removed; cd to another"
    return " ".join(str(error).split()) or type(error).__name__
