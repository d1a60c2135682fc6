"""Files that are whole or not there."""

from pathlib import Path

from scaling_search.runtime.files import remove_file, replace_file


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
