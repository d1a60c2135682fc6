"""Commands and options as text that can be pasted into a shell."""

import re
import shlex

_PLAIN = re.compile(r"[./]*[A-Za-z_][A-Za-z0-9_./-]*")
_VALUES = {"null", "true", "false", "inf", "nan"}


def as_override(key: str, text: str) -> str:
    """``key=text`` as Hydra reads it, in quotes where it would take the text for something else.

    A ``${`` in the text stays a reference to another option.
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _VALUES:
        return f"{key}={text}"
    quote = "'" if '"' in text and "'" not in text else '"'
    # Backslashes count as such but in front of a quote, where each needs another.
    escaped = re.sub(rf"(\\*){quote}", rf"\1\1\\{quote}", text)
    escaped = re.sub(r"(\\+)\Z", r"\1\1", escaped)
    return f"{key}={quote}{escaped}{quote}"


def pasted(*words: str) -> str:
    """A command of this program with these words, each quoted for the shell."""
    return shlex.join(["scaling-search", *words])
