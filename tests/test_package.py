import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


WINDOWS = """
import enum, signal, sys
names = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}
for one in signal.Signals:
    if one.name not in names:
        delattr(signal, one.name)
signal.Signals = enum.IntEnum("Signals", {n.name: n for n in signal.Signals if n.name in names})
sys.modules["fcntl"] = sys.modules["resource"] = None
import scaling_search.commands.cli, scaling_search.commands.search, scaling_search.executors
print(scaling_search.executors.Processes().retries)
"""


def test_the_package_is_imported_where_signals_and_locks_of_posix_are_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.slow
def test_the_wheel_works_in_another_folder(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"scaling_search/py.typed", "scaling_search/conf/config.yaml"} <= names
    assert not any(name.startswith(("tests/", "conf/", "experiments/")) for name in names)
    site = tmp_path / "site"
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = (
        "import sys, scaling_search.commands.cli as cli\n"
        f"assert cli.__file__.startswith({str(site)!r}), cli.__file__\n"
        "sys.argv[0] = 'scaling-search'\n"
        "cli.main()\n"
    )
    options = ("dataset.num_train=100", "dataset.num_val=50", "recipe.epochs=1")
    done = subprocess.run(
        [sys.executable, "-c", script, "search", "candidates.max_networks=1", *options],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "all trainings are done" in done.stdout
    assert (elsewhere / "runs" / "default" / "study.db").is_file()
