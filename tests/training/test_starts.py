"""Weights to start from: what is taken of a file, and what is refused before a training."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from scaling_search.training.engine import train_trial
from scaling_search.training.seeds import seeded_network
from scaling_search.training.starts import num_started, read_start, start_digest
from tests.cli import TINY, Cli
from tests.tiny import tiny_network, tiny_trial


def kept(path: Path, *, seed: int = 9) -> dict[str, Tensor]:
    """The weights of a tiny network with ten classes, but a head for three."""
    torch.manual_seed(seed)
    state = {name: t.clone() for name, t in tiny_network().build().state_dict().items()}
    head = next(name for name in reversed(state) if name.endswith("weight"))
    state[head] = state[head][:3].clone()
    save_file(state | {"other": torch.zeros(3)}, path)
    return state


def test_tensors_of_the_same_name_and_shape_are_taken_and_the_rest_is_the_seed_s(
    tmp_path: Path,
) -> None:
    path = tmp_path / "w.safetensors"
    state = kept(path)
    trial = tiny_trial(0, seed=3, start=str(path))
    started = seeded_network(trial, "cpu").state_dict()
    after = torch.rand(1)
    plain = seeded_network(tiny_trial(0, seed=3), "cpu").state_dict()
    assert torch.equal(after, torch.rand(1))  # dropout draws the same
    taken = [name for name in started if torch.equal(started[name], state[name])]
    own = {name for name in started if started[name].shape != state[name].shape}
    assert len(own) == 1
    assert set(started) == {*taken, *own}
    assert all(torch.equal(started[name], plain[name]) for name in own)
    architecture = trial.candidate.architecture
    assert num_started(architecture, read_start(str(path))) == (len(started) - 1, len(started))


def test_a_training_starts_from_them_and_says_which_file_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    kept(path)
    plain, started = (train_trial(tiny_trial(0, start=start), "cpu") for start in (None, str(path)))
    assert started.state == "COMPLETE"
    assert started.curve != plain.curve
    path.unlink()
    failed = train_trial(tiny_trial(0, start=str(path)), "cpu")
    assert failed.reason == (
        f"RuntimeError: recipe.start must be a file on each machine that trains, got '{path}': "
        "No such file or directory; copy it there or correct the path"
    )


def test_a_file_that_changed_since_the_search_began_fails_the_training(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    kept(path)
    trial = replace(tiny_trial(0, start=str(path)), start=start_digest(str(path)))
    assert train_trial(trial, "cpu").state == "COMPLETE"
    kept(path, seed=8)
    failed = train_trial(trial, "cpu")
    assert failed.state == "FAIL"
    assert failed.reason.startswith("RuntimeError: recipe.start must be the file that the search")


SEARCH = (*TINY, "num_seeds=1", "recipe.start=w.safetensors", "out=o")


def base_weights(cli: Cli) -> dict[str, Tensor]:
    """The weights of the default base network."""
    del cli  # it changes into an empty folder
    from scaling_search.base_networks import small_efficientnet  # noqa: PLC0415  # its defaults

    state = small_efficientnet(resolution=20).build().state_dict()
    return {name: t.clone() for name, t in state.items()}


def test_a_search_says_what_starts_and_goes_on_with_the_same_content_alone(cli: Cli) -> None:
    state = base_weights(cli)
    save_file(state, "w.safetensors")
    first = cli("search", *SEARCH, "limits.trainings=1")
    said = " ".join(first.out.split())
    number = len(state)
    assert f"Of the base network's {number} tensors {number} start from w.safetensors, and" in said
    Path("w.safetensors").rename("moved.safetensors")
    moved = cli("search", *SEARCH[:-2], "recipe.start=moved.safetensors", "out=o")
    assert moved.code == 0, moved.err
    save_file({name: t + 1 for name, t in state.items()}, "moved.safetensors")
    other = cli("search", *SEARCH[:-2], "recipe.start=moved.safetensors", "out=o")
    assert other.code == 2
    assert other.err.startswith("scaling-search: the SHA-256 of recipe.start must be '")
    Path("moved.safetensors").unlink()
    assert cli("report", "out=o").code == 0  # which trains nothing


def test_a_file_that_fits_nothing_or_is_none_is_refused_before_a_folder_is_made(cli: Cli) -> None:
    save_file({"encoder": torch.zeros(3)}, "w.safetensors")
    foreign = cli("search", *SEARCH)
    assert foreign.code == 2
    assert "must have tensors of the base network, by name and shape" in foreign.err
    assert "its first is encoder, the network's" in foreign.err
    Path("w.safetensors").write_text("no tensors", encoding="utf-8")
    broken = cli("search", *SEARCH)
    assert broken.err.startswith("scaling-search: recipe.start must be a safetensors file, got")
    Path("w.safetensors").unlink()
    missing = cli("search", *SEARCH)
    assert missing.err.startswith("scaling-search: recipe.start must be a file on each machine")
    assert all(len(one.err.splitlines()) == 1 for one in (foreign, broken, missing))
    assert not Path("o").exists()
