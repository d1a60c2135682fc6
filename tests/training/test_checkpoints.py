"""A training that goes on from a checkpoint ends in the bits of one that was never interrupted."""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from scaling_search.core.trial import Trial, TrialResult
from scaling_search.training import tensor_files
from scaling_search.training.engine import train_trial
from scaling_search.training.steps import Steps
from tests.composed import part
from tests.faults import Hungry
from tests.flips import flipped
from tests.tiny import tiny_trial

ALWAYS = 1e-9
"""Minutes between checkpoints: one after every step."""


class PowerIsLost(BaseException):
    """Nothing catches it."""


def kept(folder: Path, **recipe: Any) -> Trial:
    """A training of two epochs of five steps with dropout, kept after each step."""
    trial = tiny_trial(1, seed=3, **{"checkpoint_minutes": ALWAYS} | recipe)
    return dataclasses.replace(trial, checkpoints=folder / "checkpoints")


def interrupted(
    trial: Trial, steps: int, monkeypatch: pytest.MonkeyPatch, device: str = "cpu"
) -> int:
    """Trains until power is lost after so many steps; the steps that were taken."""
    advance, taken = Steps.advance, 0

    def advance_or_die(self: Steps) -> None:
        nonlocal taken
        if taken == steps:
            raise PowerIsLost
        taken += 1
        advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "advance", advance_or_die)
        with contextlib.suppress(PowerIsLost):
            train_trial(trial, device)
    return taken


def bits(result: TrialResult) -> object:
    assert result.state == "COMPLETE", result.traceback
    return result.curve, result.test, result.micro_batches


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"averaging": 0.9},
        {"momentum": 0.0},
        {"epochs": 1.5, "channels_last": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("steps", [1, 5, 7])
def test_it_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any], steps: int
) -> None:
    trial = kept(tmp_path, **recipe)
    expected = train_trial(dataclasses.replace(trial, checkpoints=None), "cpu")
    assert interrupted(trial, steps, monkeypatch) == steps
    assert [file.suffix for file in (tmp_path / "checkpoints").iterdir()] == [".safetensors"]
    total = round(5 * trial.recipe.epochs)
    left = interrupted(trial, 1000, monkeypatch)
    assert left == total - steps  # nothing is done twice
    # From the last checkpoint again: what it left is the same.
    assert bits(train_trial(trial, "cpu")) == bits(expected)


@pytest.mark.parametrize("name", ["short", "sgd", "adamw", "imagenet"])
def test_every_recipe_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    small: dict[str, Any] = {"epochs": 2.0, "batch_size": 20, "warmup_epochs": 0.5}
    recipe = dataclasses.replace(
        part("recipe", name), checkpoint_minutes=ALWAYS, averaging=0.9, **small
    )
    trial = dataclasses.replace(kept(tmp_path), recipe=recipe)
    expected = train_trial(dataclasses.replace(trial, checkpoints=None), "cpu")
    interrupted(trial, 7, monkeypatch)
    assert interrupted(trial, 1000, monkeypatch) == 3
    assert bits(train_trial(trial, "cpu")) == bits(expected)


def test_it_can_be_interrupted_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = dataclasses.replace(kept(tmp_path), on_test=True)
    expected = train_trial(dataclasses.replace(trial, checkpoints=None), "cpu")
    for _ in range(9):
        assert interrupted(trial, 1, monkeypatch) == 1
    assert bits(train_trial(trial, "cpu")) == bits(expected)


@pytest.mark.slow
def test_parts_of_a_batch_stay_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = kept(tmp_path)
    hungry = dataclasses.replace(trial.candidate, architecture=Hungry(5))
    trial = dataclasses.replace(trial, candidate=hungry)
    expected = train_trial(dataclasses.replace(trial, checkpoints=None), "cpu")
    assert expected.micro_batches == 4
    interrupted(trial, 7, monkeypatch)
    assert bits(train_trial(trial, "cpu")) == bits(expected)


def test_seconds_of_earlier_attempts_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = kept(tmp_path)
    interrupted(trial, 7, monkeypatch)
    (path,) = (tmp_path / "checkpoints").iterdir()
    with_hours(path, 3600.0)
    result = train_trial(trial, "cpu")
    assert 3600 < result.train_seconds < 3660
    assert 7200 < result.total_seconds < 7260


def with_hours(path: Path, seconds: float) -> None:
    """Lets a checkpoint's training have taken so long, and twice as long in all."""

    def change(facts: dict[str, Any]) -> None:
        facts |= {"train_seconds": seconds, "seconds": 2 * seconds}

    changed(path, change)


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tensors = load_file(path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["facts"])
    change(facts)
    save_file(tensors, path, {"facts": json.dumps(facts)})


def test_none_is_kept_unless_it_is_due(tmp_path: Path) -> None:
    train_trial(kept(tmp_path, checkpoint_minutes=60.0), "cpu")
    train_trial(kept(tmp_path, checkpoint_minutes=None), "cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b"nothing"),
        lambda path: path.write_bytes(b""),
        lambda path: save_file(load_file(path), path),  # says nothing of its training
        lambda path: changed(path, lambda facts: facts.update(identity="another")),
        lambda path: changed(
            path, lambda facts: facts.update(identity=facts["identity"].replace("SGD", "Adam"))
        ),
    ],
    ids=["cut short", "nonsense", "empty", "without facts", "of another", "of another optimizer"],
)
def test_what_cannot_be_used_is_as_if_it_were_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    trial = kept(tmp_path)
    interrupted(trial, 6, monkeypatch)
    (path,) = (tmp_path / "checkpoints").iterdir()
    change(path)
    assert interrupted(trial, 1000, monkeypatch) == 10


def test_every_flipped_bit_of_a_checkpoint_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(kept(tmp_path), 6, monkeypatch)
    (path,) = (tmp_path / "checkpoints").iterdir()
    for flip in flipped(path, 200):
        with pytest.raises(ValueError, match=r"."):
            pytest.fail(f"{flip} was not noticed: {tensor_files.read(path)[0]}")
    tensor_files.read(path)


def test_a_training_begins_anew_instead_of_going_on_from_a_flipped_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trial = kept(tmp_path)
    expected = train_trial(dataclasses.replace(trial, checkpoints=None), "cpu")
    interrupted(trial, 6, monkeypatch)
    (path,) = (tmp_path / "checkpoints").iterdir()
    content = bytearray(path.read_bytes())
    content[-30] ^= 64
    path.write_bytes(content)
    assert bits(train_trial(trial, "cpu")) == bits(expected)
    assert (
        f"{path.name} cannot be read, the training starts again: "
        "its SHA-256 is not the one that was written"
    ) in caplog.messages


def test_each_training_has_its_own(tmp_path: Path) -> None:
    trial = kept(tmp_path)
    others = [
        dataclasses.replace(trial, seed=4),
        dataclasses.replace(trial, on_test=True),
        dataclasses.replace(trial, recipe=dataclasses.replace(trial.recipe, learning_rate=0.2)),
        dataclasses.replace(trial, candidate=dataclasses.replace(trial.candidate, number=0)),
    ]
    assert len({one.checkpoint for one in (trial, *others[:-1])}) == 4
    assert others[-1].checkpoint == trial.checkpoint  # the network counts, not its number


def test_a_folder_that_cannot_be_written_does_not_end_a_training(tmp_path: Path) -> None:
    trial = kept(tmp_path)
    (tmp_path / "checkpoints").write_text("a file")
    assert bits(train_trial(trial, "cpu")) == bits(
        train_trial(dataclasses.replace(trial, checkpoints=None), "cpu")
    )


@pytest.mark.gpu
@pytest.mark.parametrize("steps", [1, 4, 6])
def test_a_recorded_step_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    trial = kept(tmp_path, deterministic=True)
    expected = train_trial(dataclasses.replace(trial, checkpoints=None), "cuda:0")
    interrupted(trial, steps, monkeypatch, device="cuda:0")
    assert bits(train_trial(trial, "cuda:0")) == bits(expected)
