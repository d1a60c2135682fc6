"""Options whose value is text: taken as typed, and checked before anything is written."""

import shlex
import unicodedata
from collections.abc import Iterator
from typing import Any

from scaling_search.runtime.command_line import as_override
from scaling_search.runtime.passwords import without_password

PATHS = ("out", "report.to", "audit.table", "dataset.path", "dataset.root")
"""Options that name a file or folder."""

COMMANDS = ("training.command", "training.prefix")
"""Options that are command lines."""

TEXTS = (
    *("name", "storage", *PATHS, "dataset.config", "dataset.revision"),
    *("dataset.image", "dataset.label", "cost.device", "executor.address", "executor.device"),
    *COMMANDS,
)
"""Options whose value is text, which needs no quotes of Hydra's: `as_text`."""


def as_text(override: str, *, is_multirun: bool) -> str:
    """An option of `TEXTS` with its value quoted where Hydra would not take it for that text.

    Raises:
        ValueError: It is another option that Hydra cannot read, or spaces would be lost.
    """
    from hydra.core.override_parser.overrides_parser import (  # noqa: PLC0415  # takes a while
        OverridesParser,
    )
    from hydra.errors import HydraException  # noqa: PLC0415  # as above

    key, equals, value = override.partition("=")
    if not equals:
        return override
    quoted = as_override(key, value)
    is_text = key.lstrip("+") in TEXTS
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_override(override)
    except HydraException as error:
        if is_text:
            return quoted
        try:
            parser.parse_override(quoted)
        except HydraException:
            return override  # it is the key, as Hydra will say
        is_list = value.startswith("[")
        meant = "if text is meant, write "
        remedy = "write a list without spaces, as [1,2]" if is_list else meant + shlex.quote(quoted)
        raise ValueError(
            f"{key} must be a value that Hydra can read, got {override!r}; {remedy}"
        ) from error
    if not is_text or (parsed.is_sweep_override() and is_multirun):
        return override
    read = parsed.value()
    if read is None or (isinstance(read, str) and value == value.strip(" \t")):
        return override
    if isinstance(read, str):
        raise ValueError(  # noqa: TRY004  # of a value, not of a type
            f"{key} must not begin or end with a space, got {value!r}; if it does, write "
            f"{shlex.quote(quoted)}"
        )
    return quoted


def check_texts(options: Any) -> None:
    """Checks the characters of texts, and all but the storage's for passwords.

    Raises:
        ValueError: A text cannot be a file's name or cannot be kept in a run's config.yaml.
    """
    for key, value in options_of(options):
        if not isinstance(value, str):
            continue
        bad = {"Cs", "Cc"} if key in TEXTS else {"Cs"}  # half characters, control characters
        signs = value.split() if key in COMMANDS else value  # whose words may stand in lines
        if any(unicodedata.category(sign) in bad for sign in "".join(signs)):
            raise ValueError(
                f"{key} must be text of whole, visible characters, got {value!r}; rename it"
            )
        if key != "storage" and without_password(value) != value:
            raise ValueError(
                f"{key} must not look like a password in a URL, which is not kept, got "
                f"{without_password(value)!r}; rename it"
            )


def options_of(options: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every option by its full key, groups of options too, with its value."""
    for key, value in options.items():
        if key == "_target_":
            continue
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from options_of(value, f"{prefix}{key}.")
