"""Commands and options as text that can be pasted into a shell."""

import re
import shlex
from collections.abc import Iterable, Sequence

HELP_ALL = "--help-all"
"""The flag for every option of a command."""

_PLAIN = re.compile(r"[./]*[A-Za-z_][A-Za-z0-9_./-]*")
_VALUES = {"null", "true", "false", "inf", "nan"}


def as_override(key: str, text: str) -> str:
    """``key=text`` for Hydra, in quotes where it would otherwise read the text as something else.

    A ``${`` in the text stays a reference to another option.
    """
    return f"{key}={_quoted(text)}"


def as_list(key: str, texts: Iterable[str]) -> str:
    """``key=[text,...]`` for Hydra, each text quoted as `as_override` does."""
    return f"{key}=[{','.join(map(_quoted, texts))}]"


def with_runs(arguments: Sequence[str], *, is_multirun: bool) -> list[str]:
    """Options of ``compare``, with folders, which need no key, as one of them.

    Raises:
        ValueError: Folders are given both ways, or as a sweep.
    """
    options = [a for a in arguments if a.startswith(("out=", "compare.runs="))]
    folders = [a for a in arguments if a not in options]
    has_both = bool(folders) and any(a.startswith("compare.runs=") for a in options)
    if is_multirun or has_both:
        raise ValueError(
            f"compare must be given folders once and no sweep, got {list(arguments)!r}; write "
            "scaling-search compare runs/one runs/other"
        )
    default = [] if any(a.startswith("out=") for a in options) else ["out=runs/compared"]
    return [*default, *options, *([as_list("compare.runs", folders)] if folders else [])]


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _VALUES:
        return text
    quote = "'" if '"' in text and "'" not in text else '"'
    # A backslash is one, except in front of a quote, where it needs another.
    escaped = re.sub(rf"(\\*){quote}", rf"\1\1\\{quote}", text)
    escaped = re.sub(r"(\\+)\Z", r"\1\1", escaped)
    return f"{quote}{escaped}{quote}"


def shell_command(*words: str) -> str:
    """Return a command of this program with each word quoted for the shell."""
    return shlex.join(["scaling-search", *words])
