"""Command lines that run in this process."""

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

from scaling_search.commands.cli import main

TINY = (
    "dataset.num_train=100",
    "dataset.num_val=50",
    "recipe.epochs=1",
    "recipe.batch_size=20",
    "recipe.learning_rate=0.2",
    "candidates.max_networks=2",
    "executor=inline",
    "timed=false",
)
"""A whole search on a hundred real images."""


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


def ran(*arguments: str) -> Outcome:
    """Run a command line in this process, in its current folder."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["scaling-search", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())
