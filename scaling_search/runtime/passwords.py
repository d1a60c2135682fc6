"""Passwords in URLs, and texts without them."""

import re

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
