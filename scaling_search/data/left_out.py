"""Files, folders and links that are not read, counted for people."""

import os
from dataclasses import dataclass, field

from scaling_search.data.split_names import counted

NUM_EXAMPLES = 3

NUM_KINDS = 6
"""Endings that are told one by one."""

UNREAD = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jxr", ".svg", ".dng", ".cr2", ".cr3"}
    | {".nef", ".arw", ".orf", ".raw", ".psd", ".tga", ".ico", ".icns", ".pcx", ".exr", ".hdr"}
    | {".dcm", ".eps", ".xcf", ".sgi", ".mpo", ".apng"}
)
"""Endings of pictures that may not be among `pictures.SUFFIXES`."""


def ending(name: str) -> str:
    """The suffix of a file's name, in lower case."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # for a million names


@dataclass
class LeftOut:
    """Counts what is not read while it is found.

    Attributes:
        phrases: About single things, as they are to be shown.
    """

    phrases: list[str] = field(default_factory=list)
    _examples: dict[str, list[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def file(self, name: str) -> None:
        """Counts a file by its ending."""
        self._count(repr(ending(name))[1:-1], repr(name))

    def hidden(self, name: str) -> None:
        """Counts a picture or folder whose name begins with a dot."""
        self._count("hidden", repr(name))

    def stray(self, where: str, name: str) -> None:
        """Counts a picture that lies in no folder of a class."""
        self._count(f"/{where}", repr(name))

    def link(self, told: str) -> None:
        """Counts a link that is not followed, with what is told of it as an example."""
        self._count("link", told)

    def _count(self, key: str, example: str) -> None:
        self._counts[key] = self._counts.get(key, 0) + 1
        examples = self._examples.setdefault(key, [])
        if len(examples) < NUM_EXAMPLES:
            examples.append(example)

    def told(self) -> tuple[str, ...]:
        """All of it, each a short phrase with its number."""
        told = []
        kinds = sorted(self._counts, key=lambda key: (-self._counts[key], key))
        rare = [key for key in kinds if key and key[0] == "." and key not in UNREAD][NUM_KINDS:]
        for key in (key for key in kinds if key not in rare):
            count, examples = self._counts[key], self._examples[key]
            more = ", ..." if count > len(examples) else ""
            told.append(f"{_phrase(key, count)} ({', '.join(examples)}{more})")
        if rare:
            total = sum(self._counts[key] for key in rare)
            told.append(f"{total:,} files of {len(rare)} other endings ({', '.join(rare[:3])})")
        return (*self.phrases, *told)


def _phrase(key: str, count: int) -> str:
    if key == "link":
        return counted(count, "link")
    if key == "hidden":
        return f"{count:,} hidden {'picture or folder' if count == 1 else 'pictures or folders'}"
    if key.startswith("/"):
        return f"{counted(count, 'picture')} directly in {key[1:]!r}, in no folder of a class"
    files = counted(count, "file")
    if key in UNREAD:
        return f"{files} {key}, which Pillow does not read here"
    return f"{files} {key}" if key else f"{files} without an ending"
