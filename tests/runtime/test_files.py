"""Files that are whole or not there."""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaling_search.runtime.files import (
    TEMPORARY,
    open_unlinked,
    remove_file,
    remove_temporary,
    replace_file,
)


def test_a_file_goes_with_what_killed_writers_left(tmp_path: Path) -> None:
    mine, other = tmp_path / "a[1].safetensors", tmp_path / "a1.safetensors"
    replace_file(mine, b"whole")
    replace_file(other, b"whole")
    (tmp_path / ".a[1].safetensors.123").write_bytes(b"torn")
    (tmp_path / ".a1.safetensors.123").write_bytes(b"torn")
    remove_file(mine)
    assert {path.name for path in tmp_path.iterdir()} == {other.name, ".a1.safetensors.123"}
    remove_file(mine)  # a second time nothing is there


def test_nothing_is_removed_where_there_is_no_folder(tmp_path: Path) -> None:
    remove_file(tmp_path / "absent" / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_opened_through_no_link_has_the_mode_of_any_other(tmp_path: Path) -> None:
    open_unlinked(tmp_path / "one", "ab").close()
    (tmp_path / "other").open("ab").close()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_no_link_is_followed_when_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, file = tmp_path / "victim", tmp_path / "config.yaml"
    victim.write_bytes(b"mine")
    file.symlink_to(victim)
    replace_file(file, b"whole")
    assert (file.read_bytes(), file.is_symlink()) == (b"whole", False)
    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    planted = tmp_path / f".config.yaml.guessed{TEMPORARY}"
    for target in (victim, tmp_path / "absent"):
        planted.symlink_to(target)
        with pytest.raises(RuntimeError, match=r"config\.yaml must be writable"):
            replace_file(file, b"again")
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "absent").exists()
    assert file.read_bytes() == b"whole"


def test_a_folder_that_is_a_link_of_its_owner_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    replace_file(tmp_path / "run" / "figures" / "a.svg", b"whole")
    assert (tmp_path / "disk" / "figures" / "a.svg").read_bytes() == b"whole"


def test_a_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "file", b"whole")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


WRITER = """
import os, sys, time
from pathlib import Path
from scaling_search.runtime.files import replace_file
def fsync(_):
    print("written", flush=True)
    time.sleep(600)
os.fsync = fsync
replace_file(Path(sys.argv[1]), b"whole")
"""


def test_temporary_files_of_killed_writers_are_removed_and_those_of_living_ones_stay(
    tmp_path: Path,
) -> None:
    file = tmp_path / "weights" / "a.safetensors"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        (left,) = file.parent.iterdir()
        remove_temporary(tmp_path)
        assert left.is_file()
    finally:
        writer.kill()
        writer.communicate()
    remove_temporary(tmp_path)
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_an_empty_temporary_file_stays_while_its_writer_may_be_about_to_lock_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    now = time.time() + 3600 * hours
    monkeypatch.setattr(time, "time", lambda: now)  # of the machine, not of its file server
    empty = tmp_path / f".a.1{TEMPORARY}"
    empty.touch()
    remove_temporary(tmp_path)
    assert empty.is_file()
    os.utime(empty, (0, 0))
    remove_temporary(tmp_path)
    assert not empty.exists()
