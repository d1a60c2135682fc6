"""Standard output that fails: what is only shown ends no work and changes no exit code."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO
from unittest import mock

import pytest

import scaling_search as ss
from scaling_search.commands.cli import main
from tests.cli import TINY, Cli
from tests.tiny import tiny_experiment


def code_of(*arguments: str, out: TextIO | None) -> object:
    """The exit code of a command with another standard output."""
    with (
        mock.patch.object(sys, "argv", ["scaling-search", *arguments]),
        contextlib.redirect_stdout(out),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return ended.value.code


def left_as_it_is(out: TextIO) -> Iterator[TextIO]:
    """A stream whose last text may stay unwritten."""
    try:
        yield out
    finally:
        with contextlib.suppress(OSError):
            out.close()


@contextlib.contextmanager
def full_disk() -> Iterator[TextIO]:
    out = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115  # closed there
    yield from left_as_it_is(out)


@contextlib.contextmanager
def closed_pipe() -> Iterator[TextIO]:
    """A pipe whose reader has left."""
    reads, writes = os.pipe()
    os.close(reads)
    yield from left_as_it_is(os.fdopen(writes, "w", encoding="utf-8"))


BROKEN: dict[str, Callable[[], AbstractContextManager[TextIO | None]]] = {
    "full disk": full_disk,
    "closed pipe": closed_pipe,
    "closed": contextlib.nullcontext,
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_search_from_python_needs_no_output(broken: str, tmp_path: Path) -> None:
    with BROKEN[broken]() as out, contextlib.redirect_stdout(out):
        run = ss.search(tiny_experiment(), tmp_path, executor=ss.executors.Inline())
    assert set(run.results["state"]) == {"COMPLETE"}


def test_a_search_of_the_command_line_needs_no_output(cli: Cli) -> None:
    with full_disk() as out:
        assert code_of("search", *TINY, "out=run", out=out) == 0
    again = cli("search", *TINY, "out=run")
    assert "all trainings are done; its page and tables: scaling-search report" in again.out


def test_a_command_that_only_prints_says_that_it_cannot(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    del cli  # its folder
    with full_disk() as out:
        assert code_of("audit", out=out) == 2
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("audit",), ("plan", *TINY), ("search", *TINY, "price_only=true"), ("--help",)],
    ids=["audit", "plan", "price", "help"],
)
def test_a_command_whose_reader_has_left_ends_well(
    arguments: tuple[str, ...], cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    del cli  # its folder
    with closed_pipe() as out:
        assert code_of(*arguments, out=out) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_without_a_character_gets_another(encoding: str, cli: Cli) -> None:
    del cli  # its folder
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    assert code_of("plan", *TINY, out=out) == 0
    out.flush()
    said = out.buffer.getvalue().decode(encoding)
    assert ("2 +/- 0.1" if encoding == "ascii" else "2 ± 0.1") in said


@pytest.mark.slow
@pytest.mark.parametrize("shell", [">&-", ">/dev/full 2>/dev/full", "<&- >&- 2>&-", "| head -1"])
def test_redirections_of_a_shell_end_no_search_and_no_report(shell: str, tmp_path: Path) -> None:
    program = f"{sys.executable} -m scaling_search"
    commands = (f"search {' '.join(TINY)} out=run", "report out=run")
    ended = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(f"{program} {c} {shell}" for c in commands)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "run" / "report.html").is_file()
    log = (tmp_path / "run" / "search.log").read_text(encoding="utf-8")
    assert log.rstrip().endswith("ended: all trainings are done")
