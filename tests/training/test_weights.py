"""Weights are kept whatever names and layouts a network's tensors have, and load back."""

import contextlib
import dataclasses
import json
import math
import re
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file
from torch import Tensor, nn

from scaling_search.core.dataset import Splits
from scaling_search.core.network import Layer
from scaling_search.core.scaling import Multipliers
from scaling_search.core.trial import Trial
from scaling_search.data import cache as data_cache
from scaling_search.data.cache import NotCheckedError
from scaling_search.training.batches import load
from scaling_search.training.engine import train_trial
from scaling_search.training.evaluation import Evaluation
from scaling_search.training.steps import Steps
from scaling_search.training.weights import Facts, check_keepable, file_name, read_weights
from tests.flips import flipped, flipped_at
from tests.tiny import tiny_dataset, tiny_trial

KINDS = ("module", "weight", "views")


class Shared(nn.Module):
    """A network for grey images in which tensors share memory.

    Args:
        kind: A module or a weight of two names, or a transposed and a part of a parameter.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stem = nn.Conv2d(1, 6, 3, 2, 1)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.also = nn.Conv2d(6, 6, 3, 1, 1)
        self.mixing = nn.Parameter(0.1 * torch.randn(6, 6))
        self.head = nn.Linear(6, 10)
        if kind == "module":
            self.again = self.block
        elif kind == "weight":
            self.also.weight = self.block[0].weight  # type: ignore[assignment]  # a parameter
        else:
            self.turned = nn.Parameter(self.mixing.data.t())
            self.register_buffer("rows", self.mixing.data[:2])

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = self.also(self.block(self.stem(images)))
        if self.kind == "module":
            x = self.again(x)
        x = x.mean((2, 3))
        x = x + x @ self.mixing
        if self.kind == "views":
            x = x + x @ self.turned
        logits: Tensor = self.head(x)
        return logits


@dataclass(frozen=True)
class Sharing:
    """The same as an architecture of fixed size."""

    kind: str
    name: str = "sharing"
    resolution: int = 8
    in_channels: int = 1
    num_classes: int = 10
    num_layers: tuple[int, ...] = (1,)
    channels: tuple[int, ...] = (6,)

    def scaled(self, multipliers: Multipliers) -> Self:
        assert multipliers is not None
        return self

    def layers(self) -> tuple[Layer, ...]:
        return ()

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        assert dimension
        return [low, high]

    def build(self) -> Shared:
        return Shared(self.kind)


def trial_of(kind: str, folder: Path, **recipe: Any) -> Trial:
    trial = tiny_trial(0, **recipe)
    candidate = dataclasses.replace(trial.candidate, architecture=Sharing(kind))
    return dataclasses.replace(trial, candidate=candidate, weights=folder)


def kept(trial: Trial) -> tuple[Path, Facts]:
    assert trial.weights is not None
    path = trial.weights / file_name(trial.candidate.network, trial.seed)
    found = read_weights(path)
    assert found is not None
    return path, found[0]


@dataclass(frozen=True)
class Unseen:
    """The tiny images, whose files this process has not read, as on another host."""

    num_classes: int = 10
    in_channels: int = 1
    resolution: int = 28

    def check(self) -> None:
        raise AssertionError

    def fingerprint(self) -> str:
        raise NotCheckedError

    def load(self, resolution: int, device: str) -> Splits:
        raise AssertionError((resolution, device))


def test_weights_and_checkpoints_of_a_host_without_the_files(tmp_path: Path) -> None:
    trial = replace(
        tiny_trial(0, checkpoint_minutes=1e-9),
        dataset=Unseen(),
        fingerprint="as recorded",
        weights=tmp_path,
        checkpoints=tmp_path,
    )
    with contextlib.ExitStack() as stack:
        for size in {trial.candidate.architecture.resolution, 28}:
            splits = tiny_dataset().load(size, "cpu")
            stack.enter_context(data_cache.given(Unseen(), size, splits))
        result = train_trial(trial, "cpu")
    assert (result.state, result.reason) == ("COMPLETE", "")
    assert kept(trial)[1].fingerprint == "as recorded"


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_kept_weights_load_back_to_the_same_answers(
    tmp_path: Path, kind: str, channels_last: bool, averaging: float
) -> None:
    trial = trial_of(kind, tmp_path, channels_last=channels_last, averaging=averaging)
    result = train_trial(trial, "cpu")
    assert result.state == "COMPLETE", result.traceback
    path, facts = kept(trial)
    assert facts.val_loss == result.curve[-1].val_loss
    network = trial.candidate.architecture.build().eval()
    missing, unexpected = network.load_state_dict(load_file(path), strict=False)
    assert unexpected == []
    assert set(missing) <= set(facts.left_out)
    assert set(network.state_dict()) == {*load_file(path), *facts.left_out}
    data = load(trial.dataset, trial.candidate.architecture.resolution, "cpu", "")
    loss, accuracy = Evaluation(network, data, trial.recipe).scores(data.splits.val)
    assert (loss, accuracy) == pytest.approx((facts.val_loss, facts.val_accuracy), rel=1e-6)


@pytest.mark.parametrize("channels_last", [True, False])
def test_safetensors_own_function_loads_a_weight_of_two_names(
    tmp_path: Path, channels_last: bool
) -> None:
    trial = trial_of("weight", tmp_path, channels_last=channels_last)
    train_trial(trial, "cpu")
    path, facts = kept(trial)
    assert facts.left_out == ["block.0.weight"]
    missing, unexpected = load_model(trial.candidate.architecture.build(), path)
    assert not missing
    assert not unexpected


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_training_leaves_the_same_bytes(tmp_path: Path, kind: str) -> None:
    left = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        train_trial(trial_of(kind, folder, epochs=1), "cpu")
        left.append(kept(trial_of(kind, folder, epochs=1))[0].read_bytes())
    assert left[0] == left[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_goes_on_with_tensors_that_share_memory(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_trial(trial_of(kind, tmp_path), "cpu")
    trial = trial_of(kind, tmp_path, checkpoint_minutes=1e-9)
    trial = dataclasses.replace(trial, checkpoints=tmp_path / "checkpoints")
    advance = Steps.advance

    def advance_thrice(self: Steps) -> None:
        if self.taken == 3:
            raise KeyboardInterrupt
        advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "advance", advance_thrice)
        with pytest.raises(KeyboardInterrupt):
            train_trial(trial, "cpu")
    assert trial.checkpoint is not None
    assert trial.checkpoint.is_file()
    assert train_trial(trial, "cpu").curve == whole.curve


@dataclass(frozen=True)
class Odd(Sharing):
    """A network with a buffer that a file cannot hold, or that cannot be loaded into."""

    def build(self) -> Shared:
        network = super().build()
        odd = torch.eye(3).to_sparse() if self.kind == "weight" else torch.ones(1).expand(6)
        network.register_buffer("odd", odd)
        return network


def test_what_cannot_be_kept_or_loaded_is_refused_with_the_cause() -> None:
    before = torch.get_rng_state()
    for kind in KINDS:
        check_keepable(Sharing(kind=kind))
    for kind, cause in (("weight", "[Ss]parse"), ("module", "single memory location")):
        with pytest.raises(ValueError, match=rf"keep_weights must be false .*\(.*{cause}"):
            check_keepable(Odd(kind=kind))
    assert torch.equal(torch.get_rng_state(), before)


def test_keeping_weights_changes_no_bit(tmp_path: Path) -> None:
    trial = tiny_trial(1, seed=3, averaging=0.5)
    result = train_trial(dataclasses.replace(trial, weights=tmp_path / "weights"), "cpu")
    assert result.curve == train_trial(trial, "cpu").curve
    (path,) = (tmp_path / "weights").iterdir()
    assert path.name == file_name(trial.candidate.network, 3)
    found = read_weights(path)
    assert found is not None
    facts, _ = found
    assert (facts.val_loss, facts.val_accuracy) == (
        result.curve[-1].val_loss,
        result.curve[-1].val_accuracy,
    )
    assert facts.images == {"train": 100, "val": 50, "test": 5000}


def test_every_flipped_bit_of_a_file_of_weights_is_noticed(tmp_path: Path) -> None:
    trial = dataclasses.replace(tiny_trial(1), weights=tmp_path)
    train_trial(trial, "cpu")
    path, _ = kept(trial)
    content = path.read_bytes()
    names = [content.index(name) for name in (b'"__metadata__"', b'"facts"', b'"sha256"')]
    in_names = [(start + at, bit) for start in names for at in range(-3, 20) for bit in range(8)]
    said = rf"^{re.escape(str(path))} must hold weights as they were written, got .*; delete it"
    for flip in chain(flipped(path, 200), flipped_at(path, in_names)):
        with pytest.raises(RuntimeError, match=said):
            pytest.fail(f"{flip} was not noticed: {read_weights(path)}")
    assert kept(trial)


def test_weights_of_older_versions_have_no_digest_and_are_read_unless_they_are_nan(
    tmp_path: Path,
) -> None:
    trial = dataclasses.replace(tiny_trial(1), weights=tmp_path)
    train_trial(trial, "cpu")
    path, facts = kept(trial)
    tensors = load_file(path)
    save_file(tensors, path, {"facts": json.dumps(dataclasses.asdict(facts))})
    assert kept(trial)[1] == facts
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name][0] = math.nan
    save_file(tensors, path, {"facts": json.dumps(dataclasses.asdict(facts))})
    with pytest.raises(RuntimeError, match=rf"{path.name} must hold .* got .nan in '{name}'"):
        read_weights(path)


def test_weights_that_cannot_be_written_do_not_end_a_training(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file")
    result = train_trial(dataclasses.replace(tiny_trial(1), weights=tmp_path / "weights"), "cpu")
    assert result.state == "COMPLETE"


def test_a_training_that_fails_leaves_no_weights(tmp_path: Path) -> None:
    trial = dataclasses.replace(tiny_trial(1, learning_rate=1e30), weights=tmp_path / "weights")
    assert train_trial(trial, "cpu").state == "FAIL"
    assert not (tmp_path / "weights").exists()


def test_names_of_files_hold_no_path_and_have_an_end() -> None:
    assert file_name("2-3/8-8/20", 1) == "2-3_8-8_20-seed1.safetensors"
    long = file_name("1-" * 200, 0)
    assert len(long) < 160
    assert long != file_name("1-" * 200 + "2", 0)
    assert "/" not in file_name("../../a b", 0)
