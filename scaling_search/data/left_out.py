"""Files, folders and links that are not read, counted for the description."""

import os
from collections import Counter
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
    _examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def file(self, name: str) -> None:
        """Counts a file by its ending."""
        kind = repr(ending(name))[1:-1]
        about = ", which Pillow does not read here" if kind in UNREAD else ""
        self._count("file", f" {kind}{about}" if kind else " without an ending", repr(name))

    def hidden(self, noun: str, name: str) -> None:
        """Counts a picture or folder whose name begins with a dot."""
        self._count(f"hidden {noun}", "", repr(name))

    def stray(self, where: str, name: str) -> None:
        """Counts a picture that lies in no folder of a class."""
        self._count("picture", f" directly in {where!r}, in no folder of a class", repr(name))

    def link(self, told: str) -> None:
        """Counts a link that is not followed, with what is told of it as an example."""
        self._count("link", "", told)

    def _count(self, noun: str, about: str, example: str) -> None:
        self._counts[noun, about] += 1
        examples = self._examples.setdefault((noun, about), [])
        if len(examples) < NUM_EXAMPLES:
            examples.append(example)

    def told(self) -> tuple[str, ...]:
        """All of it, each a short phrase with its number."""
        kinds = sorted(self._counts, key=lambda kind: (-self._counts[kind], kind))
        rare = [kind for kind in kinds if kind[1].startswith(" .") and "," not in kind[1]]
        rare = rare[NUM_KINDS:]
        told = []
        for noun, about in (kind for kind in kinds if kind not in rare):
            number, examples = self._counts[noun, about], self._examples[noun, about]
            more = ", ..." if number > len(examples) else ""
            told.append(f"{counted(number, noun)}{about} ({', '.join(examples)}{more})")
        if rare:
            total = sum(self._counts[kind] for kind in rare)
            endings = ", ".join(about.strip() for _, about in rare[:3])
            told.append(f"{total:,} files of {len(rare)} other endings ({endings})")
        return (*self.phrases, *told)
