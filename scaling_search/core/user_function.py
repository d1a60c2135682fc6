"""Functions of the user's own by their names, which travel, are compared and are imported."""

import functools
import importlib
import json
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any


def name_and_options(function: Callable[..., object], key: str) -> tuple[str, str]:
    """The name of a function, or of a partial of it, and JSON of the partial's arguments.

    Args:
        function: At the top of a module.
        key: The option that holds it.

    Raises:
        ValueError: It is no function of a module, or its options are more than plain values.
    """
    made: Any = function
    options: dict[str, object] = {}
    if isinstance(made, functools.partial):
        made, options = made.func, made.keywords
    module, name = (getattr(made, f"__{of}__", "") for of in ("module", "qualname"))
    if getattr(sys.modules.get(module), name, None) is not made:
        raise ValueError(
            f"{key}._target_ must be a function at the top of a module, got {made!r}; "
            "a worker imports it by its name"
        )
    try:
        text = json.dumps(options, sort_keys=True)
    except (TypeError, ValueError):
        text = "null"
    if json.loads(text) != options:
        raise ValueError(
            f"{key} must have plain options, got {options!r}; write numbers, text, lists and "
            "mappings with text as keys"
        )
    return f"{module}.{name}", text


def check_options(options: Iterable[str], given: Collection[str], key: str) -> None:
    """Checks that options are none of the arguments that a function is called with.

    Raises:
        ValueError: One is.
    """
    if taken := [option for option in options if option in given]:
        raise ValueError(
            f"{key}.{taken[0]} is not an option: the function is called with it; remove it"
        )


def imported(name: str) -> Callable[..., object]:
    """The function of a name, as in package.module.function."""
    module, _, attribute = name.rpartition(".")
    found: Callable[..., object] = getattr(importlib.import_module(module), attribute)
    return found
