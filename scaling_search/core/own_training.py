"""Trainings of the user's own, a function or a command, as values that travel and are compared."""

import inspect
import json
import os
import shlex
import shutil
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scaling_search.core.part import IMPORTED
from scaling_search.core.user_function import check_options, imported, name_and_options

KEY = "training.function"
"""The option that holds the function."""

GIVEN = ("network", "data", "seed", "device", "folder", "report")
"""Arguments that the function is called with, by name, besides its own options."""


@dataclass(frozen=True)
class OwnTraining:
    """A function that trains a network and returns its metrics.

    Attributes:
        name: As in package.module.function.
        options: JSON of its own keyword arguments.
        keep: True to keep the folder of a training that succeeded.
    """

    name: str = field(metadata={IMPORTED: True})
    options: str = "{}"
    keep: bool = False

    @classmethod
    def of(cls, function: Callable[..., object], *, keep: bool = False) -> "OwnTraining":
        """The name and options of a function, or of a partial of it.

        Raises:
            ValueError: It is no function of a module, does not take what it is called with, or its
                options are more than plain values.
        """
        name, text = name_and_options(function, KEY)
        training = cls(name, text, keep)
        training.check()
        return training

    def __str__(self) -> str:
        """The function with its options."""
        said = ", ".join(f"{key}={value!r}" for key, value in self.keywords.items())
        return f"{self.name}({said})"

    @property
    def keywords(self) -> dict[str, object]:
        """Its own keyword arguments."""
        keywords: dict[str, object] = json.loads(self.options)
        return keywords

    @property
    def function(self) -> Callable[..., object]:
        """The function itself, which an import finds."""
        return imported(self.name)

    def check(self) -> None:
        """Checks that the function takes what it is called with.

        Raises:
            ValueError: It does not, or cannot be imported.
        """
        check_options(self.keywords, GIVEN, KEY)
        try:
            function = self.function
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"{KEY}._target_ must be a function that can be imported, got {self.name!r} "
                f"({error}); put its package beside the folder of --config-dir or install it"
            ) from error
        signature = inspect.signature(function)
        try:
            signature.bind(**dict.fromkeys(GIVEN), **self.keywords)
        except TypeError as error:
            raise ValueError(
                f"{KEY} must take {', '.join((*GIVEN, *self.keywords))} by keyword, got "
                f"{self.name}{signature} ({error}); change its arguments or its options"
            ) from error


SAMPLES: dict[str, object] = {
    "depth": 1.0,
    "width": 1.0,
    "resolution": 8,
    "resolution_multiplier": 1.0,
    "seed": 0,
    "folder": "folder",
    "device": "cpu",
    "candidate": 0,
    "network": "base",
}
"""Values by the names that a command may have in braces, to try it with."""

NEEDED = ("depth", "width", "resolution", "seed")
"""Those that it must have: without one it would train other networks than are counted, or the same
seed again and again."""


@dataclass(frozen=True)
class OwnCommand:
    """A command line that trains a network and leaves its metrics.

    Attributes:
        command: The line, quoted as for a shell, with names of values in braces.
        prefix: What stands before it, as ``srun`` with its options.
        keep: True to keep the folder of a training that succeeded.
    """

    command: str
    prefix: str = ""
    keep: bool = False

    def __str__(self) -> str:
        """The line with its prefix."""
        return f"{self.prefix} {self.command}".strip()

    def words(self, values: Mapping[str, object]) -> list[str]:
        """The words that start it; no shell reads them, so that no value is more than a word.

        Args:
            values: What replaces ``{name}`` and ``{name:format}``.

        Raises:
            ValueError: It cannot be split, or has another name or format in braces.
        """
        found: list[str] = []
        for key, line in (("prefix", self.prefix), ("command", self.command)):
            try:
                found += [_Braces().vformat(word, (), values) for word in shlex.split(line)]
            except ValueError as error:
                raise ValueError(
                    f"training.{key} must be a command, got {line!r}: {error}"
                ) from None
        return found

    def check(self) -> None:
        """Checks that the command can be run here, and is told what it must be.

        Raises:
            ValueError: It cannot, or is not.
        """
        if os.name == "nt":
            raise ValueError(
                "training must be builtin or custom on Windows, got command; write a function "
                "that calls it"
            )
        words, names = self.words(SAMPLES), _names(self.command)
        if missing := [name for name in NEEDED if name not in names]:
            raise ValueError(
                f"training.command must hold {{{missing[0]}}}, got {self.command!r}; without it "
                f"all trainings would have the same {missing[0]}"
            )
        if shutil.which(words[0]) is None:
            raise ValueError(
                f"training.command must begin with a program that is here, got {words[0]!r}; give "
                "its path, or install it"
            )


class _Braces(string.Formatter):
    """Replaces ``{name}`` and ``{name:format}``, but neither attributes nor items of them."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The value of a name."""
        del args
        if field_name not in kwargs:
            raise ValueError(
                f"{{{field_name}}} is none of {', '.join(f'{{{name}}}' for name in kwargs)}; "
                "double braces {{ }} stand for themselves"
            )
        return kwargs[field_name], field_name


def _names(line: str) -> set[str]:
    """The names in braces of a command."""
    parsed = (string.Formatter().parse(word) for word in shlex.split(line))
    return {name for fields in parsed for _, name, _, _ in fields if name is not None}
