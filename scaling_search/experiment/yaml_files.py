"""YAML files, measured before aliases in them are written out, and the first line of some."""

import re
from pathlib import Path

import yaml

MOST_BYTES = 1_000_000
MOST_VALUES = 10_000
MOST_DEPTH = 50
"""Limits of a file; a run's ``config.yaml`` has 3,000 bytes, 300 keys and values, 3 levels."""

HEADER = "# @package _global_"
"""First line of an experiment's file, by which its options are those of the command line."""


def checked_text(path: Path) -> str:
    """The text of a YAML file that takes moments to read; one that is no YAML passes.

    Raises:
        ValueError: It is no file, or holds too much once each alias is replaced by its values.
    """
    if not path.is_file():  # a pipe would have no end
        raise ValueError(f"{path} must be a file, got none or another kind; remove it")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    text = content.decode(errors="replace")
    if len(content) > MOST_BYTES or not _is_small(text):
        raise ValueError(
            f"{path} must be at most {MOST_BYTES:,} bytes and {MOST_VALUES:,} values, aliases "
            f"replaced, at most {MOST_DEPTH} deep, got more; remove values or aliases (*name)"
        )
    return text


def without_header(folder: Path | None) -> str:
    """The message for options below ``experiment``: the first file that lacks `HEADER`.

    Args:
        folder: Of ``--config-dir``, if there is one.
    """
    for path in [] if folder is None else sorted(folder.glob("experiment/**/*.yaml")):
        text = checked_text(path)
        if not re.search(r"^#\s*@package\s+_global_\s*$", text, re.MULTILINE):
            first = text.partition("\n")[0]
            return f"{path} must have {HEADER!r} on its first line, got {first!r}; write it there"
    return "experiment must be the name of an experiment, got options; write them without it"


def _is_small(text: str) -> bool:
    """True if a text is no YAML or within the limits."""
    sizes: dict[str | None, int] = {}
    nested: list[tuple[str | None, int]] = [(None, 0)]  # anchor and size of what is open
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            size = 0
            if isinstance(event, yaml.CollectionStartEvent):
                nested.append((event.anchor, 1))
                sizes[event.anchor] = MOST_VALUES  # an alias within itself would have no end
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, size = nested.pop()
                sizes[anchor] = size
            elif isinstance(event, yaml.ScalarEvent):
                size = sizes[event.anchor] = 1
            elif isinstance(event, yaml.AliasEvent):
                size = sizes.get(event.anchor, 0)
            anchor, before = nested[-1]
            nested[-1] = anchor, before + size
            if before + size > MOST_VALUES or len(nested) > MOST_DEPTH:
                return False
    except yaml.YAMLError:
        pass
    return True
