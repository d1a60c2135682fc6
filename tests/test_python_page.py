"""The code of docs/python.md, run in order in a folder of its own, and its list of names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import scaling_search as ss

PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text(encoding="utf-8")


def test_every_public_name_is_listed_once() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE.partition("## All names\n")[2], re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == ss.__all__


@pytest.mark.slow
def test_the_code_runs_in_order(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```\n", PAGE, re.DOTALL)
    (module,) = (block for block in blocks if "class Random" in block)
    (tmp_path / "my_parts.py").write_text(module, encoding="utf-8")
    code = "".join(block for block in blocks if block is not module)
    # Without a file, as in a notebook.
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "out must be a folder that a search has made, got 'runs/nothing'" in done.stdout
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
    assert (tmp_path / "runs" / "mine" / "export" / "family.json").is_file()
    assert len(ss.load(tmp_path / "runs" / "mine").results) == 20
