"""Steps: the gradient of the whole batch, in parts or recorded, and nothing that waits."""

import contextlib
import gc
import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scaling_search.core.dataset import Split, Splits
from scaling_search.training.augmentation import probabilities
from scaling_search.training.batches import Loaded, augmented_batches, load
from scaling_search.training.cuda_graphs import NUM_WARM_UP
from scaling_search.training.engine import kernels, train_trial
from scaling_search.training.steps import Steps, class_weights
from tests.faults import Hungry
from tests.tiny import tiny_dataset, tiny_network, tiny_recipe, tiny_trial, with_network

gpu = pytest.mark.gpu


def steps_of(
    network: nn.Module, *, device: str = "cpu", micro_batches: int = 1, **changes: Any
) -> Steps:
    """Steps of a network in training mode, with the tiny images."""
    return Steps(
        network.to(device).train(),
        load(tiny_dataset(), 8, device),
        tiny_recipe(**changes),
        seed=0,
        micro_batches=micro_batches,
    )


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def without_norm() -> nn.Module:
    torch.manual_seed(1)
    return Hungry(most=1000).build()


def with_norm(**changes: Any) -> nn.Module:
    torch.manual_seed(1)
    options = {"dropout": 0.0, "stochastic_depth": 0.0}
    return tiny_network(**options | changes).build()


STRONG: dict[str, Any] = {
    "optimizer": "adamw",
    "clip_norm": 0.5,
    "class_weights": "balanced",
    "crop": 0.0,
    "resized_crop": (0.3, 1.0),
    "color_jitter": 0.4,
    "rand_augment": (2, 9),
    "erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
    "label_smoothing": 0.1,
}
"""A recipe with all that there is."""


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"clip_norm": 0.1},
        {"class_weights": tuple(0.5 * number for number in range(10)), "label_smoothing": 0.1},
        {"mixup": 0.8, "cutmix": 1.0, "class_weights": "balanced"},
    ],
    ids=str,
)
@pytest.mark.parametrize("micro_batches", [2, 3, 7, 20])
def test_the_gradient_of_parts_is_that_of_the_whole_batch(
    micro_batches: int, recipe: dict[str, Any]
) -> None:
    # One step of plain descent at rate 1: the weights move by the gradient.
    options: dict[str, Any] = {
        "learning_rate": 1.0,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        **recipe,
    }
    moved = []
    for number in (1, micro_batches):
        network = without_norm()
        before = weights(network)
        steps_of(network, micro_batches=number, **options).advance()
        moved.append(before - weights(network))
    assert moved[0].abs().max() > 0.01
    # Sums of 20 images in another order: seven digits of the largest, less one.
    assert torch.allclose(moved[0], moved[1], rtol=0, atol=1e-6 * moved[0].abs().max().item())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_weigh_each_image_s_loss(smoothing: float) -> None:
    wanted = [0.0, 1.0, 2.0, 3.0, 4.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    network = without_norm()
    options: dict[str, Any] = {"crop": 0.0, "flip": False, "label_smoothing": smoothing}
    data = load(tiny_dataset(), 8, "cpu")
    images, labels = next(augmented_batches(data, 0, 0, tiny_recipe(**options)))
    # By hand: with smoothing each class has its own weight, as torch has it.
    logs = network(images).log_softmax(1)
    targets = (1 - smoothing) * probabilities(labels, 10) + smoothing / 10
    expected = -(targets * logs * torch.tensor(wanted)).sum(1).mean().item()
    steps = steps_of(network, class_weights=tuple(wanted), **options)
    steps.advance()
    assert steps.state()["losses"].item() == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_are_those_of_numbers_of_images() -> None:
    data = load(tiny_dataset(), 8, "cpu")
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    split = Split(data.train.images, labels)
    few = Loaded(Splits(split, split, split), data.mean, data.std, num_classes=4)
    found = class_weights(tiny_recipe(class_weights="balanced"), few)
    assert found is not None
    # 100 images, four classes of which one has none: 100 / (4 · number).
    assert found.tolist() == pytest.approx([100 / 280, 100 / 80, 100 / 40, 25])
    assert (found[labels].mean() * 4).item() == pytest.approx(3)  # 1 if every class has images
    assert class_weights(tiny_recipe(), few) is None


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_batch_norm_has_the_statistics_of_a_part(micro_batches: int) -> None:
    network = with_norm()
    steps_of(network, micro_batches=micro_batches).advance()
    counts = {
        int(module.num_batches_tracked)
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module.num_batches_tracked is not None
    }
    assert counts == {micro_batches}


def test_an_epoch_takes_the_steps_that_are_left_of_it() -> None:
    steps = steps_of(without_norm(), epochs=1.6)
    assert (steps.batch_size, steps.per_epoch, steps.total) == (20, 5, 8)
    steps.advance()
    taken = []
    while steps.taken < steps.total:
        steps.epoch()
        taken.append(steps.taken)
    assert taken == [5, 8]


def test_one_step_at_a_time_is_the_same_as_epochs() -> None:
    one, other = without_norm(), without_norm()
    by_step, by_epoch = steps_of(one), steps_of(other)
    for _ in range(10):
        by_step.advance()
    by_epoch.epoch()
    by_epoch.epoch()
    assert torch.equal(weights(one), weights(other))


class Asked(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Remembers the operations that torch is asked for.

    Attributes:
        operations: Names and shapes, in order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.operations: list[tuple[str, object]] = []

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> object:
        assert types is not None
        shapes = [tuple(x.shape) for x in tree_leaves(args) if isinstance(x, Tensor)]
        self.operations.append((func.name(), shapes))
        return func(*args, **(kwargs or {}))


HOST = {
    *("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal"),
    *("aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::randperm"),
}
"""Operations whose outcome the host waits for, or that it does itself."""


@pytest.mark.parametrize(
    "recipe", [{}, {"averaging": 0.7}, STRONG], ids=["plain", "mean", "strong"]
)
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_each_step_asks_for_the_same_operations_and_for_none_of_the_host(
    recipe: dict[str, Any], micro_batches: int
) -> None:
    # What is recorded once is every step to come; the first makes momentum and average.
    changes: dict[str, Any] = {"epochs": 3, "crop": 0.25} | recipe
    network = with_norm(dropout=0.2, stochastic_depth=0.2)
    steps = steps_of(network, micro_batches=micro_batches, **changes)
    steps.advance()
    asked = []
    for _ in range(4):  # to the epoch's end
        with Asked() as mode:
            steps.advance()
        asked.append(mode.operations)
    assert len(asked[0]) > 100
    assert all(operations == asked[0] for operations in asked)
    assert HOST.isdisjoint({name for name, _ in asked[0]})


def test_nothing_that_a_step_changes_is_apart_from_its_device() -> None:
    steps = steps_of(with_norm(), averaging=0.7)
    steps.epoch()
    held = {name: tensor for name, tensor in steps.state().items() if name != "random"}
    assert not [name for name in held if "n_averaged" in name]
    names = set(steps.network.state_dict())
    assert {name for name in held if name.startswith("averaged")} == {
        f"averaged.{name}" for name in names
    }


@pytest.mark.parametrize("steps_before", [0, 3, 5, 6])
@pytest.mark.parametrize("recipe", [{"crop": 0.25}, STRONG], ids=["plain", "strong"])
def test_fetched_images_are_trained_on_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any], steps_before: int
) -> None:
    options: dict[str, Any] = {"epochs": 3, "averaging": 0.5} | recipe
    held = steps_of(with_norm(dropout=0.2), **options)
    for _ in range(steps_before):
        held.advance()
    state = held.state()
    while held.taken < held.total:
        held.epoch()
    monkeypatch.setattr(Loaded, "holds", lambda *_: False)
    fetched = steps_of(with_norm(dropout=0.2), **options)
    with contextlib.closing(fetched):
        fetched.restore(state, steps_before)
        while fetched.taken < fetched.total:
            fetched.epoch()
    assert torch.equal(weights(held.network), weights(fetched.network))
    assert torch.equal(weights(held.evaluated), weights(fetched.evaluated))


def test_a_training_that_has_ended_holds_no_memory() -> None:
    steps = steps_of(with_norm(), averaging=0.5)
    steps.epoch()
    held: tuple[object, ...] = (steps.network, steps.evaluated, steps.optimizer)
    gone = list(map(weakref.ref, held))
    del held
    gc.disable()  # a cycle would keep a device's memory until the host's collector comes
    try:
        del steps
        assert [reference() for reference in gone] == [None, None, None]
    finally:
        gc.enable()


def test_nothing_is_recorded_on_a_cpu() -> None:
    steps = steps_of(without_norm(), cuda_graph=True)
    steps.epoch()
    assert steps.num_captures == 0
    curves = [train_trial(tiny_trial(cuda_graph=graph), "cpu").curve for graph in (False, True)]
    assert curves[0] == curves[1]


@pytest.mark.slow  # half a minute of compilation
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiled_network_is_trained_the_same() -> None:
    plain, compiled = (
        train_trial(
            with_network(tiny_trial(compile=is_compiled), dropout=0.0, stochastic_depth=0.0), "cpu"
        )
        for is_compiled in (False, True)
    )
    assert compiled.state == "COMPLETE", compiled.traceback
    for one, other in zip(plain.curve, compiled.curve, strict=True):
        # Fused kernels round differently; ten steps make that a few of seven digits.
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-4)


# On CUDA.


def losses(steps: Steps) -> list[float]:
    """The sum of losses of each epoch."""
    sums = []
    while steps.taken < steps.total:
        sums.append(steps.epoch().item())
    return sums


@gpu
@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("averaging", [0.0, 0.7])
def test_recorded_steps_give_what_steps_give(averaging: float, micro_batches: int) -> None:
    results = []
    for cuda_graph in (False, True):
        network = with_norm()
        steps = steps_of(
            network,
            device="cuda",
            micro_batches=micro_batches,
            cuda_graph=cuda_graph,
            averaging=averaging,
            epochs=4,
            mixed_precision=False,
        )
        sums = losses(steps)
        assert steps.num_captures == int(cuda_graph)
        results.append((sums, weights(steps.evaluated)))
    # Kernels that add in any order round differently; twenty steps make that a few digits.
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-3)
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-2, atol=1e-3)


@gpu
def test_recorded_steps_follow_a_cpu() -> None:
    on_cpu = losses(steps_of(with_norm(), epochs=3, crop=0.25))
    on_cuda = losses(
        steps_of(with_norm(), device="cuda", epochs=3, crop=0.25, mixed_precision=False)
    )
    # The same images, moved the same way, at the same rates; convolutions round to TF32.
    assert on_cpu == pytest.approx(on_cuda, rel=1e-2)


@gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_the_host_waits_for_nothing_within_an_epoch(
    micro_batches: int, *, cuda_graph: bool
) -> None:
    steps = steps_of(
        with_norm(dropout=0.2, stochastic_depth=0.2),
        device="cuda",
        micro_batches=micro_batches,
        cuda_graph=cuda_graph,
        averaging=0.9,
        epochs=3,
    )
    steps.epoch()
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps.epoch()
        sums = steps.epoch()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(sums.item())
    assert steps.num_captures == int(cuda_graph)


@gpu
@pytest.mark.parametrize("steps_before", [0, 2, 7])
def test_images_fetched_to_a_gpu_are_trained_on_as_those_that_lie_there(steps_before: int) -> None:
    options: dict[str, Any] = {"epochs": 4, "crop": 0.25, "averaging": 0.5, "batch_size": 10}
    held = load(tiny_dataset(), 8, "cuda:0")
    host = load(tiny_dataset(), 8, "cpu")
    train = Split(host.train.images, held.train.labels)
    apart = Loaded(held.splits, held.mean, held.std, native=train)
    found = []
    with kernels(is_deterministic=True):
        for data in (held, apart):
            network = with_norm(dropout=0.2).to("cuda:0").train()
            steps = Steps(network, data, tiny_recipe(**options), seed=0)
            with contextlib.closing(steps):
                for _ in range(steps_before):
                    steps.advance()
                sums = losses(steps)
            assert steps.num_captures == 1
            found.append((sums, weights(steps.evaluated)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


@gpu
def test_a_short_training_ends_before_a_step_is_recorded() -> None:
    steps = steps_of(with_norm(), device="cuda", epochs=NUM_WARM_UP / 5)
    assert all(map(math.isfinite, losses(steps)))
    assert steps.num_captures == 0


@gpu
def test_dropout_is_drawn_anew_in_every_recorded_step() -> None:
    # The whole split is a batch and the weights stand still: only dropout makes losses differ.
    options: dict[str, Any] = {
        "batch_size": 100,
        "learning_rate": 1e-12,
        "crop": 0.0,
        "flip": False,
        "epochs": 8,
    }
    steps = steps_of(with_norm(dropout=0.8), device="cuda", **options)
    recorded = losses(steps)[NUM_WARM_UP:]
    assert steps.num_captures == 1
    assert len({round(loss, 4) for loss in recorded}) == len(recorded)


@gpu
def test_the_same_seed_draws_the_same_dropout_in_recorded_steps() -> None:
    sums = [
        losses(steps_of(with_norm(dropout=0.5), device="cuda", epochs=3, mixed_precision=False))
        for _ in range(2)
    ]
    assert sums[0] == pytest.approx(sums[1], rel=1e-3)


@gpu
def test_a_training_on_cuda_completes_with_and_without_recording() -> None:
    for cuda_graph in (False, True):
        result = train_trial(tiny_trial(cuda_graph=cuda_graph, averaging=0.5), "cuda:0")
        assert result.state == "COMPLETE", result.traceback
        assert result.micro_batches == 1
