"""The live view: epochs of running trainings, the time left, and lines where it is no terminal."""

import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from scaling_search.core.metric import VAL_LOSS
from scaling_search.display import progress
from scaling_search.display.progress import View
from scaling_search.executors.inline import Inline
from scaling_search.training.engine import train_trial
from tests.tiny import tiny_trial


def on_terminal() -> Console:
    return Console(file=StringIO(), force_terminal=True, width=80)


def shown(view: View) -> str:
    assert isinstance(view.console.file, StringIO)
    return view.console.file.getvalue()


def test_a_running_training_shows_its_epoch_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "EVIDENCE_SECONDS", 0.0)
    trial = tiny_trial()
    trial = replace(trial, recipe=replace(trial.recipe, epochs=4))
    with View(on_terminal(), VAL_LOSS) as view:
        view.begin([trial], [], slots=1)
        assert math.isnan(view.left())
        file = view.started(trial)
        assert file is not None
        for epochs in ("0.5", "1.25"):
            file.write_text(epochs)
            left = view.left()
        assert math.isfinite(left)
        file.write_text("")  # half written
        assert math.isfinite(view.left())
    assert "epoch 2/4" in shown(view)
    assert not file.parent.exists()


def test_a_training_tells_its_epochs_and_a_view_that_is_gone_changes_nothing(
    tmp_path: Path,
) -> None:
    trial = tiny_trial()
    curve = train_trial(trial, "cpu").curve
    told = train_trial(replace(trial, told=tmp_path / "epochs"), "cpu")
    assert 0 < float((tmp_path / "epochs").read_text()) <= trial.recipe.epochs
    gone = train_trial(replace(trial, told=tmp_path / "gone" / "epochs"), "cpu")
    assert told.curve == gone.curve == curve


def test_a_view_without_room_for_files_shows_no_epochs_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    trial = tiny_trial()
    with View(on_terminal(), VAL_LOSS) as view:
        view.begin([trial], [], slots=1)
        assert view.started(trial) is None
        view.ended(train_trial(trial, "cpu"))
    assert "1/1" in shown(view)


def test_the_base_network_is_shown_as_done_within_80_columns() -> None:
    base, other = tiny_trial(0), tiny_trial(1)
    with View(on_terminal(), VAL_LOSS) as view, Inline(device="cpu") as executor:
        view.begin([base, other], [], slots=1)
        for trial in (base, other):
            view.started(trial)
            view.ended(executor.submit(trial).result())
    last = shown(view)[-1500:]
    assert "base network" in last
    assert "best training" in last
    assert last.count("accuracy") >= 2
    assert "…" not in last


def test_elsewhere_it_is_a_plain_line_for_each_training() -> None:
    trial = tiny_trial()
    with View(Console(file=StringIO(), width=80), VAL_LOSS) as view:
        view.begin([trial], [], slots=1)
        assert view.started(trial) is None
        view.ended(train_trial(trial, "cpu"))
    (line,) = shown(view).splitlines()
    assert line.startswith("1/1  base network seed 0  loss 2.")
    assert line.isprintable()
