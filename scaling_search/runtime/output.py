"""Standard output and error that fail: a full disk, a closed pipe, characters that they lack."""

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

PLAIN = {"±": "+/-", "–": "-", "…": "...", "²": "^2", "·": "*", "×": "x"}
"""Replacements of the characters of this package that ASCII lacks."""

ERRORS = "scaling_search.plain"
"""Python's name of the way in which characters are replaced."""


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    return "".join(PLAIN.get(one, "?") for one in missing), error.end


codecs.register_error(ERRORS, _replaced)


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Opens standard streams that are closed, and replaces characters that standard output lacks.

    What could not be written in the end is dropped; Python would try again and change the exit
    code.
    """
    with contextlib.ExitStack() as stack:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # else the next file would get its number
                null = stack.enter_context(Path(os.devnull).open(mode, encoding="utf-8"))
                os.set_inheritable(null.fileno(), True)  # noqa: FBT003  # the same for workers
                stack.callback(setattr, sys, name, None)
                setattr(sys, name, null)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors=ERRORS)
        yield
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def surviving() -> Iterator[None]:
    """Drops output that cannot be written while it is entered: what is only shown ends no work."""
    with contextlib.ExitStack() as stack:
        if sys.stdout is not None:
            stack.enter_context(contextlib.redirect_stdout(_Surviving(sys.stdout)))
        if sys.stderr is not None:
            stack.enter_context(contextlib.redirect_stderr(_Surviving(sys.stderr)))
        yield


class _Surviving:
    """A stream for text whose failures are dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text, if that is possible."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is left, if that is possible."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
