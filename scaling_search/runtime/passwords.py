"""Passwords in URLs, and texts without them."""

import re
from collections.abc import Sequence

HIDDEN = "***"
"""The text that replaces a password."""

_BEFORE_HOST = re.compile(r"(://[^\s:/@?#'\"]*:)[^\s'\"]+@")
_IN_QUERY = re.compile(r"([?&;]\w*(?:password|passwd|pwd)=)[^&\s'\"]+", re.IGNORECASE)


def without_password(text: str) -> str:
    """A text with `HIDDEN` in place of every password in a URL.

    A password that holds an ``@``, which a URL should not, is hidden whole too.
    """
    return _IN_QUERY.sub(rf"\1{HIDDEN}", _BEFORE_HOST.sub(rf"\1{HIDDEN}@", text))


def is_hidden(url: str) -> bool:
    """True if `without_password` has hidden a password in a URL."""
    return f":{HIDDEN}@" in url or f"={HIDDEN}" in url


def storage_flag(storage: str | None, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    """The option that a further command needs to find storage whose password is not kept.

    Args:
        storage: URL or path; None for the run's own file.
        overrides: As they were typed; one without its password, such as a variable, is repeated.
    """
    if not isinstance(storage, str) or without_password(storage) == storage:
        return ()
    typed = [o for o in overrides if o.startswith("storage=") and without_password(o) == o]
    return (typed[-1] if typed else f"storage={HIDDEN}",)
