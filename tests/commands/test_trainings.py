"""Trainings of commands: their provenance and their log."""

import os
from pathlib import Path

import pytest

from scaling_search.commands.run import Run
from scaling_search.commands.search import search
from scaling_search.commands.trainings import provenance
from tests.in_process import printed


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"])
def test_the_commit_is_this_work_tree_s_whatever_git_s_variables_say(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = provenance()
    monkeypatch.setenv(variable, str(tmp_path))
    assert provenance() == before
    assert before["commit"] or not (Path(__file__).parents[2] / ".git").exists()


def test_a_search_needs_no_git(mine: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(mine.folder))
    printed(search, mine)
    assert set(mine.results["state"]) == {"COMPLETE"}
    assert set(mine.results["commit"]) == {""}


def test_a_log_that_is_a_link_is_not_followed_and_ends_no_search(mine: Run) -> None:
    victim, log = mine.folder / "victim", mine.folder / "search.log"
    log.symlink_to(victim)
    for content in (None, "mine"):
        if content is not None:
            victim.write_text(content, encoding="utf-8")
        assert "search.log is incomplete: " in printed(search, mine)
    assert victim.read_text(encoding="utf-8") == "mine"
    assert set(mine.results["state"]) == {"COMPLETE"}


def test_a_log_that_is_a_pipe_is_not_waited_for(mine: Run) -> None:
    os.mkfifo(mine.folder / "search.log")
    assert "search.log is incomplete: " in printed(search, mine)
    assert set(mine.results["state"]) == {"COMPLETE"}
