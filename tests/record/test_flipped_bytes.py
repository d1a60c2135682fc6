"""A report of a folder with one changed byte: the same tables, or a line that names the file."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaling_search.commands.data_sheet import FILE, SHEET
from tests.cli import TINY, ran

SEARCH = ("search", "out=mine", "num_seeds=2", *TINY)
STORAGES = {
    "study.db": ("confirm", "out=mine", "decide.delta=0.01", "confirm.num_seeds=2"),
    "study.log": ("scale", "out=mine", "scale.phis=[0,1]", "scale.families=[depth]"),
}
"""The file of each storage, and a command that trains beyond the search."""

READ = {"config.yaml": 20, FILE: 6, SHEET: 3, "study.db": 60, "study.log": 60}
"""Files that a report reads, and the number of copies in which a byte of them is changed."""

NEVER_READ = "search.log"
NUM_OTHERS = {"study.db": 2, "study.log": 1}
"""Copies for each other file, by the storage beside it."""


def changes(name: str, content: bytes, number: int) -> Iterator[tuple[str, bytes]]:
    """Copies of a file with a bit flipped, a byte replaced or a byte cut out, in turn."""
    stream = random.Random(name)
    for count in range(number):
        place = stream.randrange(len(content))
        kind = ("flip", "zero", "cut")[count % 3]
        new = {
            "flip": bytes([content[place] ^ 1 << stream.randrange(8)]),
            "zero": b"\0" if content[place] else b"\1",
            "cut": b"",
        }[kind]
        yield f"{kind} at {place}", content[:place] + new + content[place + 1 :]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder that a report writes, by their names."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    return {name: content for name, content in files.items() if name not in {*READ, NEVER_READ}}


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
def test_no_changed_byte_is_believed(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_run = (f"storage=mine/{storage}",) if storage == "study.log" else ()
    for command in ((*SEARCH, *of_run), STORAGES[storage], ("report", "out=mine")):
        ended = ran(*command)
        assert (ended.code, ended.err) == (0, "")
    whole = contents(Path("mine"))
    Path("mine").rename("whole")
    names = sorted(p.relative_to("whole").as_posix() for p in Path("whole").rglob("*.*"))
    told = []
    for name in names:
        before = (Path("whole") / name).read_bytes()
        for change, after in changes(name, before, READ.get(name, NUM_OTHERS[storage])):
            shutil.rmtree("mine", ignore_errors=True)
            shutil.copytree("whole", "mine")
            (Path("mine") / name).write_bytes(after)
            ended = ran("report", "out=mine")
            what = f"{name}, {change}: {ended.err}"
            told.append((name, ended.code))
            if ended.code == 0:
                assert contents(Path("mine")) == whole, what
            else:
                assert ended.code == 2, what
                assert ended.err.count("\n") == 1, what
                assert name in ended.err, what
    assert len(told) >= 100
    assert {name for name, code in told if code} == {*READ} & {*names}
