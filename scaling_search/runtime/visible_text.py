"""Texts of others in one line, without characters that a terminal or a browser obeys."""

import re

_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029"  # controls and ends of lines
    "\u202a-\u202e\u2066-\u2069"  # those that turn the direction of what follows
    "\ud800-\udfff]"  # halves of characters, which no file can hold
)


def visible(text: str, *, keep: str = "") -> str:
    """A text with control characters but those of ``keep`` as Python's ``repr`` writes them."""
    return _INVISIBLE.sub(lambda found: _written(found.group(), keep), text)


def _written(sign: str, keep: str) -> str:
    return sign if sign in keep else sign.encode("unicode_escape").decode()
