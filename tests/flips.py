"""Files with one bit flipped: in their first bytes, their last, and anywhere."""

import random
from collections.abc import Iterator
from pathlib import Path

EDGE = 200
"""Bytes at either end in which half of the flips lie."""


def flipped(path: Path, count: int = 100, *, seed: int = 0) -> Iterator[str]:
    """Flip a bit of a file for each item, which names it; the file is whole again behind each."""
    stream, content = random.Random(f"{seed} {path.name}"), path.read_bytes()
    for number in range(count):
        edge = min(EDGE, len(content))
        place = (
            stream.randrange(edge),
            len(content) - 1 - stream.randrange(edge),
            *(stream.randrange(len(content)) for _ in range(2)),
        )[number % 4]
        bit = stream.randrange(8)
        yield from flipped_at(path, [(place, bit)])


def flipped_at(path: Path, bits: list[tuple[int, int]]) -> Iterator[str]:
    """The same for chosen bits, by byte and number."""
    content = path.read_bytes()
    for place, bit in bits:
        other = bytearray(content)
        other[place] ^= 1 << bit
        path.write_bytes(other)
        yield f"bit {bit} of byte {place} of {len(content)} of {path.name}"
    path.write_bytes(content)
