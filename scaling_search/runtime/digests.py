"""SHA-256 digests that lie in a file itself or beside it, so that a changed byte is noticed."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaling_search.runtime.progress import slow_progress

KEY = "sha256"

BLANK = "0" * 64
"""Value of the digest while the bytes around it are hashed."""

SUMS = "SHA256SUMS"
"""File of the digests of a folder, as ``sha256sum --check`` reads it."""

CHUNK_BYTES = 1_000_000

PLACE = re.compile(rb'"%s": ?"([0-9a-f]{64})"' % KEY.encode())
"""The digest in JSON, also in the header of a safetensors file; quotes within text are escaped."""

_checked: dict[Path, list[object]] = {}


def sealed(content: bytes) -> bytes:
    """Bytes that hold a blank digest, with their own in its place."""
    start, end = _place(content)
    return b"".join((content[:start], _of_blank(content, start, end).encode(), content[end:]))


def check_sealed(content: bytes) -> None:
    """Checks that sealed bytes are as they were written.

    Raises:
        ValueError: They are not.
    """
    start, end = _place(content)
    if _of_blank(content, start, end).encode() != content[start:end]:
        raise ValueError("its SHA-256 is not the one that was written")


def sealed_json(values: Mapping[str, Any]) -> bytes:
    """Values as JSON with a digest."""
    return sealed(json.dumps({**values, KEY: BLANK}, indent=1).encode())


def unsealed_json(content: bytes) -> dict[str, Any]:
    """The values of such JSON.

    Raises:
        ValueError: A byte has changed, or there is no digest.
    """
    check_sealed(content)
    values: dict[str, Any] = json.loads(content)
    del values[KEY]
    return values


def sums_of(folder: Path) -> bytes:
    """The content of ``SHA256SUMS`` for the arrays in a folder."""
    return b"".join(map(_line, _arrays(folder)))


def check_folder(folder: Path) -> None:
    """Compares the arrays in a folder with its ``SHA256SUMS``.

    Once in a process, and again where a file's size, times or number on the disk differ. What
    another process found is not relied on: a fault of a disk changes none of these.

    Raises:
        OSError: A file cannot be read.
        ValueError: One differs or is missing.
    """
    paths = [*_arrays(folder), folder / SUMS]
    if not paths[-1].is_file():
        raise ValueError(f"there is no {SUMS}, as in maps of older versions")
    states: list[object] = [_state(path) for path in paths]
    if _checked.get(folder) == states:
        return
    written = set((folder / SUMS).read_bytes().splitlines(keepends=True))
    found = {_line(path): path.name for path in paths[:-1]}
    if written != found.keys():
        names = [name for line, name in found.items() if line not in written]
        raise ValueError(f"{', '.join(names) or 'the files'} and {SUMS} differ")
    _checked[folder] = states


def _place(content: bytes) -> tuple[int, int]:
    found = PLACE.search(content)
    if found is None:
        raise ValueError("there is no SHA-256 in it")
    return found.span(1)


def _of_blank(content: bytes, start: int, end: int) -> str:
    digest = hashlib.sha256(memoryview(content)[:start])
    digest.update(BLANK.encode())
    digest.update(memoryview(content)[end:])
    return digest.hexdigest()


def _arrays(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


def _line(path: Path) -> bytes:
    digest, total = hashlib.sha256(), -(-path.stat().st_size // CHUNK_BYTES)
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
        for chunk in slow_progress(chunks, "comparing digests of prepared images (MB)", total):
            digest.update(chunk)
    return f"{digest.hexdigest()}  {path.name}\n".encode()


def _state(path: Path) -> object:
    about = path.stat()
    return path.name, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino
