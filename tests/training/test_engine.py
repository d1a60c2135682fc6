"""One training: the same bits, the recipe as it is written, and what goes wrong as a result."""

import copy
import math
import os
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from scaling_search.base_networks.efficientnets import Network
from scaling_search.core.recipe import Recipe, learning_rate
from scaling_search.core.trial import Trial
from scaling_search.runtime.threads import threads
from scaling_search.training.batches import augmented_batches, load
from scaling_search.training.engine import devices, kernels, train_trial
from scaling_search.training.evaluation import Evaluation
from tests.composed import part
from tests.faults import Faulty, Hungry, HungryNetwork
from tests.tiny import tiny_recipe, tiny_trial, with_network

always_the_same = settings(derandomize=True, deadline=None)


@dataclass(frozen=True)
class Seen:
    """What was there before each step of a training, and how many threads."""

    images: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)


@contextmanager
def watched() -> Iterator[Seen]:
    """Looks at networks that are trained."""
    seen = Seen()

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, Network | HungryNetwork) and module.training:
            seen.images.append(inputs[0].clone())
            seen.weights.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
            seen.threads.append(torch.get_num_threads())

    hook = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield seen
    finally:
        hook.remove()


# The same bits.


def draw_from_every_generator() -> None:
    torch.rand(3)
    np.random.rand(3)  # noqa: NPY002 - the legacy generator is the one that could be shared
    random.random()


def train_another() -> None:
    train_trial(tiny_trial(1, seed=4), "cpu")


@pytest.mark.parametrize("before", [draw_from_every_generator, train_another])
def test_the_same_trial_gives_the_same_bits(before: Callable[[], object]) -> None:
    first = train_trial(tiny_trial(seed=3), "cpu")
    before()
    with threads(2):
        second = train_trial(tiny_trial(seed=3), "cpu")
    assert first.state == second.state == "COMPLETE"
    assert first.curve == second.curve


@pytest.mark.parametrize("trial", [tiny_trial(), replace(tiny_trial(), dataset=Faulty("raise"))])
def test_the_number_of_threads_is_put_back(trial: Trial) -> None:
    with threads(2):
        train_trial(trial, "cpu")
        assert torch.get_num_threads() == 2


def test_a_training_has_one_thread() -> None:
    with threads(2), watched() as seen:
        train_trial(tiny_trial(), "cpu")
    assert set(seen.threads) == {1}


def test_seeds_give_different_trainings() -> None:
    curves = {train_trial(tiny_trial(seed=seed), "cpu").curve for seed in range(3)}
    assert len(curves) == 3


def test_initialisation_and_dropout_do_not_change_which_images_are_seen() -> None:
    images = []
    for changes in ({}, {"dropout": 0.6}, {"stochastic_depth": 0.0}, {"channels": (8, 12)}):
        with watched() as seen:
            result = train_trial(with_network(tiny_trial(), **changes), "cpu")
        images.append(torch.stack(seen.images))
        assert result.state == "COMPLETE"
    assert len(images[0]) == 10  # two epochs of five steps
    assert all(torch.equal(batches, images[0]) for batches in images)


def test_the_images_seen_are_the_augmented_batches_of_seed_and_epoch() -> None:
    trial = tiny_trial(seed=7)
    with watched() as seen:
        train_trial(trial, "cpu")
    expected = [
        images
        for epoch in range(2)
        for images, _ in augmented_batches(load(trial.dataset, 8, "cpu"), 7, epoch, trial.recipe)
    ]
    assert torch.equal(torch.stack(seen.images), torch.stack(expected))


def test_initialisation_is_that_of_the_seed_alone() -> None:
    weights: dict[int, list[Tensor]] = {}
    for seed in (5, 6):
        for before in (draw_from_every_generator, train_another):
            before()
            with watched() as seen:
                train_trial(tiny_trial(seed=seed), "cpu")
            weights.setdefault(seed, []).append(seen.weights[0])
    assert torch.equal(*weights[5])
    assert torch.equal(*weights[6])
    assert not torch.equal(weights[5][0], weights[6][0])


def test_mixed_precision_is_not_used_on_a_cpu() -> None:
    curves = [
        train_trial(tiny_trial(mixed_precision=mixed), "cpu").curve for mixed in (False, True)
    ]
    assert curves[0] == curves[1]


def test_the_memory_format_changes_nothing_but_the_last_digits() -> None:
    one, other = (
        train_trial(tiny_trial(channels_last=channels_last), "cpu").curve[-1]
        for channels_last in (False, True)
    )
    assert one.val_loss == pytest.approx(other.val_loss, rel=1e-4)
    assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)


# The recipe.


def reference(trial: Trial, *, decayed: tuple[type[nn.Module], ...]) -> list[tuple[float, ...]]:
    """The curve of a training without dropout, by a plain loop of its own.

    Args:
        trial: What to train.
        decayed: Kinds of modules whose weights decay.
    """
    recipe = trial.recipe
    data = load(trial.dataset, trial.candidate.architecture.resolution, "cpu")
    val = data.splits.val
    torch.manual_seed(trial.seed)
    network = trial.candidate.architecture.build()
    decays = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, decayed) and isinstance(module.weight, Tensor)
    }
    parameters = list(network.parameters())
    velocities = [torch.zeros_like(p) for p in parameters]
    averages: dict[str, Tensor] = {}
    curve: list[tuple[float, ...]] = []
    for epoch in range(int(recipe.epochs)):
        network.train()
        losses = []
        batches = augmented_batches(data, trial.seed, epoch, recipe)
        for step, (images, labels) in enumerate(batches, start=epoch * 5):
            logs = network(images).log_softmax(1)
            hits = logs[torch.arange(len(labels)), labels]
            smooth = recipe.label_smoothing
            loss = -((1 - smooth) * hits + smooth * logs.mean(1)).mean()
            losses.append(loss.item())
            rate = learning_rate(recipe, step, 5)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for p, velocity, plain in zip(parameters, velocities, gradients, strict=True):
                    gradient = plain + (recipe.weight_decay * p if id(p) in decays else 0)
                    velocity.mul_(recipe.momentum).add_(gradient)
                    # Nesterov's look ahead. Source: Sutskever et al. 2013, as torch writes it.
                    p.sub_(rate * (gradient + recipe.momentum * velocity))
            for name, value in network.state_dict().items():
                old = averages.get(name, value)
                is_number = value.is_floating_point()
                new = (
                    recipe.averaging * old + (1 - recipe.averaging) * value if is_number else value
                )
                averages[name] = new.clone()
        evaluated = copy.deepcopy(network).eval()
        evaluated.load_state_dict(averages)
        with torch.no_grad():
            logs = evaluated(data.normalised(val.images)).double().log_softmax(1)
        val_loss = -logs[torch.arange(50), val.labels].mean().item()
        accuracy = (logs.argmax(1) == val.labels).double().mean().item()
        curve.append((sum(losses) / len(losses), val_loss, accuracy))
    return curve


@pytest.mark.parametrize("averaging", [0.0, 0.7])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_training_does_what_its_recipe_says(averaging: float, momentum: float) -> None:
    trial = with_network(
        tiny_trial(
            averaging=averaging, momentum=momentum, weight_decay=0.3, label_smoothing=0.2, epochs=3
        ),
        dropout=0.0,
        stochastic_depth=0.0,
    )
    weights_alone = reference(trial, decayed=(nn.Conv2d, nn.Linear))
    norms_too = reference(trial, decayed=(nn.Conv2d, nn.Linear, nn.BatchNorm2d))
    curve = train_trial(trial, "cpu").curve
    assert len(curve) == 3
    for epoch, expected in zip(curve, weights_alone, strict=True):
        # Floats have seven digits, of which fifteen steps in another order lose one or two.
        assert (epoch.train_loss, epoch.val_loss) == pytest.approx(expected[:2], rel=1e-5)
        assert epoch.val_accuracy == expected[2]
    assert curve[-1].train_loss != pytest.approx(norms_too[-1][0], rel=1e-4)


def test_averaging_does_not_change_the_training() -> None:
    plain = train_trial(tiny_trial(), "cpu").curve
    averaged = train_trial(tiny_trial(averaging=0.9), "cpu").curve
    assert [e.train_loss for e in plain] == [e.train_loss for e in averaged]
    assert [e.val_loss for e in plain] != [e.val_loss for e in averaged]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.5])
def test_validation_is_without_smoothing(label_smoothing: float) -> None:
    trial = tiny_trial(label_smoothing=label_smoothing)
    data = load(trial.dataset, 8, "cpu")
    torch.manual_seed(0)
    network = trial.candidate.architecture.build()
    loss, accuracy = Evaluation(network, data, trial.recipe).scores(data.splits.val)
    with torch.inference_mode():
        logits = network(data.normalised(data.splits.val.images)).double().numpy()
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = data.splits.val.labels.numpy()
    assert loss == pytest.approx(-np.log(chances[np.arange(50), labels]).mean(), rel=1e-6)
    assert accuracy == (chances.argmax(axis=1) == labels).mean()


recipes = st.builds(
    tiny_recipe,
    epochs=st.integers(2, 30),
    warmup_epochs=st.floats(0, 1),
    learning_rate=st.floats(1e-4, 10),
)


@always_the_same
@given(recipes, st.integers(1, 60))
def test_the_learning_rate_begins_above_zero_reaches_its_highest_and_ends_at_zero(
    recipe: Recipe, steps_per_epoch: int
) -> None:
    num_steps = recipe.num_steps(steps_per_epoch)
    rates = [learning_rate(recipe, step, steps_per_epoch) for step in range(num_steps + 1)]
    assert all(0 < rate <= recipe.rate for rate in rates[:-1])
    assert rates[-1] == pytest.approx(0, abs=1e-12 * recipe.rate)
    if recipe.warmup_epochs == 0:
        assert rates[0] == recipe.rate
    whole = replace(recipe, warmup_epochs=1.0)
    assert learning_rate(whole, steps_per_epoch, steps_per_epoch) == recipe.rate


@always_the_same
@given(recipes, st.integers(1, 60))
def test_the_learning_rate_rises_then_falls_without_a_jump(
    recipe: Recipe, steps_per_epoch: int
) -> None:
    warmup = recipe.warmup_epochs * steps_per_epoch
    num_steps = recipe.num_steps(steps_per_epoch)
    rates = [learning_rate(recipe, step, steps_per_epoch) for step in range(num_steps + 1)]
    differences = np.diff(rates) / recipe.rate
    # The slope of the line, and the steepest of half a cosine; between them both.
    steepest = 1 / (warmup + 1) + math.pi / 2 / (num_steps - warmup)
    assert abs(differences).max() <= steepest + 1e-9
    num_rising = math.ceil(warmup) - 1
    assert (differences[: max(0, num_rising)] > 0).all()
    assert (differences[num_rising + 1 :] < 0).all()


def test_the_learning_rate_is_half_a_cosine() -> None:
    recipe = tiny_recipe(epochs=5, warmup_epochs=1.0, learning_rate=2.0)
    # By hand, ten steps an epoch: 1/11 of the height at once, then a quarter, half, three quarters.
    expected = {
        0: 2 / 11,
        9: 20 / 11,
        10: 2.0,
        20: 1 + 0.5**0.5,
        30: 1.0,
        40: 1 - 0.5**0.5,
        50: 0.0,
    }
    for step, rate in expected.items():
        assert learning_rate(recipe, step, 10) == pytest.approx(rate)


# Results.


def test_a_result_tells_what_was_trained_where_and_how_fast() -> None:
    trial = tiny_trial(batch_size=30)
    result = train_trial(trial, "cpu")
    assert result.trial == trial
    assert (result.state, result.reason, result.traceback) == ("COMPLETE", "", "")
    assert len(result.curve) == 2
    assert 0 < result.train_seconds < result.total_seconds
    # Two epochs of three whole batches; ten images fill none.
    assert result.images_per_second * result.train_seconds == pytest.approx(2 * 3 * 30)
    assert result.peak_memory_bytes > 10_000_000
    assert result.device == "cpu"
    assert torch.__version__ in result.versions
    assert result.versions.endswith(torch.backends.cpu.get_cpu_capability())
    assert result.host


def test_a_batch_larger_than_the_split_is_the_split() -> None:
    whole, larger = (
        train_trial(tiny_trial(batch_size=batch_size), "cpu") for batch_size in (100, 5000)
    )
    assert whole.state == "COMPLETE"
    assert whole.curve == larger.curve


@pytest.mark.parametrize(
    ("changes", "split"),
    [
        ({"learning_rate": 1e30, "warmup_epochs": 0.0}, "training"),
        # One step: its own loss is still that of the first weights.
        ({"learning_rate": 1e38, "batch_size": 100, "warmup_epochs": 0.0}, "validation"),
    ],
)
def test_a_training_that_diverges_has_failed(changes: dict[str, Any], split: str) -> None:
    result = train_trial(tiny_trial(epochs=1, **changes), "cpu")
    assert result.state == "FAIL"
    assert result.curve == ()
    rule = f"FloatingPointError: the {split} loss must be finite, got "
    assert result.reason.startswith(rule)
    assert "in epoch 1; a smaller recipe.learning_rate" in result.reason
    assert "Traceback" in result.traceback


def test_a_training_whose_data_raise_has_failed() -> None:
    result = train_trial(replace(tiny_trial(), dataset=Faulty("raise")), "cpu")
    assert result.state == "FAIL"
    assert result.reason.startswith("RuntimeError: loaded by process ")
    assert len(result.reason.splitlines()) == 1
    assert "in load" in result.traceback
    assert "and a second line" in result.traceback
    assert math.isnan(result.train_seconds)
    assert result.total_seconds > 0
    assert (result.device, result.peak_memory_bytes) == ("cpu", 0)


def test_the_test_split_is_never_looked_at() -> None:
    result = train_trial(replace(tiny_trial(), dataset=Faulty("bad test split")), "cpu")
    assert result.state == "COMPLETE"
    assert result.curve == train_trial(tiny_trial(), "cpu").curve


def test_a_trial_is_small_and_travels() -> None:
    trial = tiny_trial(2, seed=1)
    assert pickle.loads(pickle.dumps(trial)) == trial
    assert len(pickle.dumps(trial)) < 3000


# Memory.


def hungry_trial(most: int, **options: Any) -> Trial:
    """A training in batches of 20 where so many images fit."""
    trial = tiny_trial()
    architecture = Hungry(most, **options)
    return replace(trial, candidate=replace(trial.candidate, architecture=architecture))


@pytest.mark.parametrize(("most", "micro_batches"), [(19, 2), (9, 4), (1, 20)])
def test_a_batch_that_does_not_fit_is_trained_in_parts(most: int, micro_batches: int) -> None:
    whole = train_trial(hungry_trial(20), "cpu")
    parts = train_trial(hungry_trial(most), "cpu")
    assert (whole.state, parts.state) == ("COMPLETE", "COMPLETE")
    assert (whole.micro_batches, parts.micro_batches) == (1, micro_batches)
    for one, other in zip(whole.curve, parts.curve, strict=True):
        # Floats have seven digits, of which ten steps of sums in another order lose one or two.
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-5)
    assert parts.images_per_second * parts.train_seconds == pytest.approx(200)


def test_parts_of_batches_hold_the_same_images_in_the_same_order() -> None:
    with watched() as whole:
        train_trial(hungry_trial(20), "cpu")
    with watched() as parts:
        train_trial(hungry_trial(6), "cpu")
    # It began with 20 images, then with 10; of the third beginning all are left.
    sizes = [len(images) for images in parts.images]
    assert sizes == [20, 10] + [5] * 40
    assert torch.equal(torch.cat(parts.images[2:]), torch.cat(whole.images))
    assert all(torch.equal(weights, whole.weights[0]) for weights in parts.weights[:3])


def test_evaluation_is_done_in_smaller_batches_too() -> None:
    # 500 images at a time over 16 parts are 32, over 20 parts 25.
    result = train_trial(hungry_trial(20, most_evaluated=30), "cpu")
    assert (result.state, result.micro_batches) == ("COMPLETE", 20)


@pytest.mark.parametrize(
    ("is_masked", "reason"),
    [
        (False, "OutOfMemoryError: no memory for 1 images"),
        # Not in parts: the process has lost the memory that was to be recorded in.
        (True, "CaptureError: recording was interrupted"),
    ],
)
def test_where_memory_is_short_whatever_is_tried_the_training_has_failed(
    reason: str, *, is_masked: bool
) -> None:
    result = train_trial(hungry_trial(0, is_masked=is_masked), "cpu")
    assert (result.state, result.reason) == ("FAIL", reason)
    assert "OutOfMemoryError" in result.traceback
    assert result.needs_new_process == is_masked


# Kernels.


@pytest.mark.parametrize("is_deterministic", [False, True])
@pytest.mark.parametrize("was_tried", [False, True])
def test_kernels_are_not_tried_and_memory_is_not_filled(
    monkeypatch: pytest.MonkeyPatch, *, is_deterministic: bool, was_tried: bool
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", was_tried)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", was_tried)
    with kernels(is_deterministic=is_deterministic):
        assert torch.are_deterministic_algorithms_enabled() == is_deterministic
        assert not torch.backends.cudnn.benchmark
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark == was_tried
    assert torch.utils.deterministic.fill_uninitialized_memory == was_tried  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("version", "is_deterministic", "expected"),
    [
        ("2.9.1+cu128", True, ":4096:8"),
        ("2.9.1+cu128", False, ":4096:8"),
        ("2.10.0", True, None),
        ("2.13.0+cpu", True, None),
    ],
)
def test_older_torch_has_its_matrix_products_repeat_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, version: str, expected: str | None, *, is_deterministic: bool
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "as it was")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with kernels(is_deterministic=is_deterministic):
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == expected


@pytest.mark.parametrize(
    "says",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_memory_that_a_library_of_cuda_lacks_is_short_too(says: str) -> None:
    result = train_trial(hungry_trial(10, says=says), "cpu")
    assert (result.state, result.micro_batches) == ("COMPLETE", 2)
    assert not result.needs_new_process


# Errors of the device.


def test_after_an_error_of_the_device_nothing_is_tried_in_the_same_process() -> None:
    says = "CUDA error: an illegal memory access was encountered\nand a second line"
    with watched() as seen:
        result = train_trial(hungry_trial(10, says=says), "cpu")
    assert len(seen.images) == 1
    assert result.needs_new_process
    assert (result.state, result.reason) == ("FAIL", f"RuntimeError: {says.splitlines()[0]}")
    assert "and a second line" in result.traceback
    assert pickle.loads(pickle.dumps(result)).needs_new_process


@pytest.mark.parametrize("trial", [tiny_trial(), hungry_trial(0)])
def test_after_anything_else_a_process_goes_on(trial: Trial) -> None:
    assert not train_trial(trial, "cpu").needs_new_process


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_device_that_cannot_take_its_memory_back_needs_a_new_process(
    monkeypatch: pytest.MonkeyPatch, *, is_broken: bool
) -> None:
    emptied = []

    def named(device: str) -> str:
        raise ValueError(device)

    def empty_cache() -> None:
        emptied.append(1)
        if is_broken:
            raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "get_device_name", named)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    result = train_trial(tiny_trial(), "cuda:0")
    assert (result.state, result.reason, emptied) == ("FAIL", "ValueError: cuda:0", [1])
    assert result.needs_new_process is is_broken


# Devices.


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "", "CPU"])
def test_a_device_that_is_not_there_is_named_beside_those_that_are(device: str) -> None:
    with pytest.raises(
        ValueError, match=rf"must be on this machine, got {device!r}; there are: .*"
    ):
        devices(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_cuda_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"got 'cuda'; there are: .*cpu"):
        devices("cuda")


def test_a_cpu_is_always_there() -> None:
    assert devices("cpu") == ["cpu"]
    assert devices("auto")


NETWORKS = ("efficientnet_small", "mobilenet_v1_small", "mobilenet_v2_small", "resnet_small")


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*NETWORKS, "convnext_small", "vit_small"])
def test_deterministic_trainings_on_a_gpu_give_the_same_bits(name: str) -> None:
    trial = tiny_trial(deterministic=True, averaging=0.5)
    trial = replace(
        trial,
        on_test=True,
        candidate=replace(trial.candidate, architecture=part("base_network", name)),
    )
    first, second = (train_trial(trial, "cuda:0") for _ in range(2))
    assert first.state == "COMPLETE", first.traceback
    assert first.curve == second.curve
    assert first.test == second.test


@pytest.mark.gpu
def test_a_batch_that_a_gpu_does_not_hold_is_trained_in_parts() -> None:
    trial = tiny_trial(batch_size=100, epochs=6)
    large = part("base_network", "efficientnet_small")
    trial = replace(trial, candidate=replace(trial.candidate, architecture=large))
    whole = train_trial(trial, "cuda:0")
    assert (whole.state, whole.micro_batches) == ("COMPLETE", 1), whole.traceback
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(0.6 * whole.peak_memory_bytes / total)
    try:
        parts = train_trial(trial, "cuda:0")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert parts.state == "COMPLETE", parts.traceback
    assert parts.micro_batches > 1
    assert not parts.needs_new_process


@pytest.mark.gpu
def test_a_gpu_learns_what_a_cpu_learns() -> None:
    trial = with_network(
        tiny_trial(epochs=4, mixed_precision=False), dropout=0.0, stochastic_depth=0.0
    )
    on_cpu, on_gpu = (train_trial(trial, device).curve for device in ("cpu", "cuda:0"))
    for one, other in zip(on_cpu, on_gpu, strict=True):
        # Convolutions round to TF32, which has three digits; twenty steps lose one.
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-2)
        assert one.val_loss == pytest.approx(other.val_loss, rel=3e-2)
