"""Commands and options as text that can be pasted into a shell."""

import re
import shlex

_PLAIN = re.compile(r"[./]*[A-Za-z_][A-Za-z0-9_./-]*")
_VALUES = {"null", "true", "false", "inf", "nan"}


def as_override(key: str, text: str) -> str:
    """``key=text`` for Hydra, in quotes where it would otherwise read the text as something else.

    A ``${`` in the text stays a reference to another option.
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _VALUES:
        return f"{key}={text}"
    quote = "'" if '"' in text and "'" not in text else '"'
    # A backslash is one, except in front of a quote, where it needs another.
    escaped = re.sub(rf"(\\*){quote}", rf"\1\1\\{quote}", text)
    escaped = re.sub(r"(\\+)\Z", r"\1\1", escaped)
    return f"{key}={quote}{escaped}{quote}"


def shell_command(*words: str) -> str:
    """Return a command of this program with each word quoted for the shell."""
    return shlex.join(["scaling-search", *words])
