"""One network, one seed, one device: from a trial to its result."""

import contextlib
import math
import platform
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from scaling_search.batches import Loaded, augmented_batches, load
from scaling_search.candidates import Candidate
from scaling_search.protocols import Dataset, Split, part

VERSIONS = f"python {platform.python_version()}, torch {torch.__version__}"
Fraction = Annotated[float, Field(ge=0, lt=1)]


EVALUATED_AT_ONCE = 500
"""Images in a batch of evaluation: enough to fill a device, few enough for its memory."""


@part
class Recipe:
    """Training hyperparameters, equal for all networks of an experiment.

    Attributes:
        epochs: Passes over the training split; the last may be cut short.
        batch_size: Images in a step; the rest of an epoch that fills no batch is left out.
        learning_rate: The highest, reached after warm-up; a cosine then takes it to 0.
        warmup_epochs: Epochs of linear warm-up.
        momentum: Nesterov momentum of SGD.
        weight_decay: L2 penalty on weights, not on norms and biases.
        label_smoothing: Probability moved from the label to all classes, in training only.
        averaging: Decay per step of the average of weights that is evaluated; 0 for none.
        crop: Zero padding before a random crop, a fraction of the size.
        flip: Whether half of the images are mirrored.
        mixed_precision: bfloat16 autocast on CUDA; on a CPU it is slower and never used.
        channels_last: Memory format of images and weights.
        deterministic: Only deterministic kernels on CUDA; on a CPU results always repeat.
        equal: What networks of one target have in common: ``epochs``, or ``training_flops``, at
            which a network that costs more trains for less.
    """

    epochs: Annotated[float, Field(gt=0)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    momentum: Fraction
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Fraction
    averaging: Fraction
    crop: Annotated[float, Field(ge=0, le=0.5)]
    flip: bool
    mixed_precision: bool
    channels_last: bool
    deterministic: bool
    equal: Literal["epochs", "training_flops"]

    def stretched(self, factor: float) -> "Recipe":
        """The same schedule, its warm-up too, over so many times the epochs."""
        return replace(self, epochs=self.epochs * factor, warmup_epochs=self.warmup_epochs * factor)

    def num_steps(self, steps_per_epoch: int) -> int:
        """Steps of a whole training."""
        return max(1, round(self.epochs * steps_per_epoch))


Key = tuple[str, int, float, float]
"""What makes a training the same within an experiment: network, seed, epochs, learning rate."""


@dataclass(frozen=True)
class Trial:
    """One training of one candidate with one seed; small, whole, and able to travel.

    Attributes:
        on_test: Whether the trained network is evaluated on the test split too, once.
    """

    candidate: Candidate
    seed: int
    recipe: Recipe
    dataset: Dataset
    on_test: bool = False

    @property
    def key(self) -> Key:
        """What makes it the same as another."""
        return self.candidate.network, self.seed, self.recipe.epochs, self.recipe.learning_rate

    @property
    def order(self) -> tuple[int, int]:
        """Place in the canonical order: seed by seed, then by candidate."""
        return self.seed, self.candidate.number


@dataclass(frozen=True)
class Epoch:
    """One point of a training curve; losses are mean cross-entropies in nats.

    Attributes:
        train_loss: Over the epoch's steps, with label smoothing and augmentation.
        val_loss: On the validation split, without smoothing.
        val_accuracy: Top-1 on the validation split, a fraction.
    """

    train_loss: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class TestScores:
    """What a trained network gave on the test split.

    Attributes:
        loss: Mean cross-entropy in nats, without smoothing.
        accuracy: Top-1, a fraction.
        packed_losses: Each image's cross-entropy as float16, lowest byte first.
        packed_hits: Whether each image was recognised, eight to a byte.
    """

    loss: float
    accuracy: float
    packed_losses: bytes
    packed_hits: bytes

    @property
    def losses(self) -> NDArray[np.float64]:
        """Each image's cross-entropy, to three digits."""
        return np.frombuffer(self.packed_losses, "<f2").astype(np.float64)

    @property
    def hits(self) -> NDArray[np.float64]:
        """For each image 1 if it was recognised, else 0."""
        bits = np.frombuffer(self.packed_hits, np.uint8)
        return np.unpackbits(bits, count=len(self.packed_losses) // 2).astype(np.float64)


@dataclass(frozen=True)
class TrialResult:
    """What a trial gave. Metrics are those of the last epoch, None if it failed.

    Attributes:
        trial: The trial.
        state: COMPLETE or FAIL.
        reason: Why it failed, in one line, else empty.
        curve: One point for each epoch that ended.
        train_seconds: Wall time of the training steps.
        total_seconds: Wall time of all, data and evaluation included.
        images_per_second: Training images over `train_seconds`.
        device_share: Part of the device that it took, as its executor says.
        peak_memory_bytes: Most memory held: allocated on CUDA, else resident in the process.
        device: Where it ran, by the device's own name.
        host: Name of the machine.
        versions: Of Python and torch.
        traceback: For the log.
        test: Of the last epoch's network on the test split, where the trial asked for it.
    """

    trial: Trial
    state: Literal["COMPLETE", "FAIL"]
    reason: str = ""
    curve: tuple[Epoch, ...] = ()
    train_seconds: float = math.nan
    total_seconds: float = math.nan
    images_per_second: float = math.nan
    device_share: float = 1.0
    peak_memory_bytes: int = 0
    device: str = ""
    host: str = ""
    versions: str = ""
    traceback: str = ""
    test: TestScores | None = None


def train_trial(trial: Trial, device: str) -> TrialResult:
    """The result of a trial on a device (``cpu``, ``cuda:1``, ``mps``).

    The same trial gives the same bits on a CPU, in whatever process, and on one kind of CUDA
    device with ``recipe.deterministic``. What goes wrong is a result too.
    """
    started = time.perf_counter()
    try:
        with _settings(trial.recipe, device):
            curve, train_seconds, num_images, test = _train(trial, device)
    except Exception as error:  # noqa: BLE001 - a failed training is a row, never the end
        return TrialResult(
            trial,
            "FAIL",
            reason=f"{type(error).__name__}: {error}".splitlines()[0],
            traceback=traceback.format_exc(),
            total_seconds=time.perf_counter() - started,
            device=device_name(device),
            host=socket.gethostname(),
            versions=VERSIONS,
        )
    return TrialResult(
        trial,
        "COMPLETE",
        curve=curve,
        train_seconds=train_seconds,
        total_seconds=time.perf_counter() - started,
        images_per_second=num_images / train_seconds,
        peak_memory_bytes=_peak_memory_bytes(device),
        device=device_name(device),
        host=socket.gethostname(),
        versions=VERSIONS,
        test=test,
    )


@contextlib.contextmanager
def _settings(recipe: Recipe, device: str) -> Iterator[None]:
    """One thread on a CPU, where two give other bits; deterministic kernels where asked."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    if device == "cpu":
        torch.set_num_threads(1)
    elif device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        torch.use_deterministic_algorithms(recipe.deterministic)
        torch.backends.cudnn.benchmark = not recipe.deterministic
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def _train(trial: Trial, device: str) -> tuple[tuple[Epoch, ...], float, int, TestScores | None]:
    """The curve, the training steps' seconds, how many images they took, and the test if asked."""
    recipe = trial.recipe
    data = load(trial.dataset, trial.candidate.architecture.resolution, device)
    batch_size = min(recipe.batch_size, len(data.splits.train.labels))
    steps_per_epoch = len(data.splits.train.labels) // batch_size
    num_steps = recipe.num_steps(steps_per_epoch)
    # The stream of initialisation and dropout; what the network draws moves nothing else.
    torch.manual_seed(trial.seed)
    network = trial.candidate.architecture.build().to(device)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent in torch's stub
    optimizer = torch.optim.SGD(
        _parameter_groups(network, recipe.weight_decay),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=not device.startswith("mps"),
    )
    averaged = _averaged(network, recipe.averaging)
    curve: list[Epoch] = []
    train_seconds = 0.0
    for epoch, first in enumerate(range(0, num_steps, steps_per_epoch)):
        last = min(first + steps_per_epoch, num_steps)
        started = time.perf_counter()
        network.train()
        total = torch.zeros((), device=device)
        batches = augmented_batches(
            data, trial.seed, epoch, batch_size=batch_size, crop=recipe.crop, flip=recipe.flip
        )
        for step, (images, labels) in zip(range(first, last), batches, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, steps_per_epoch)
            inputs = images if recipe.channels_last else images.contiguous()
            with _autocast(recipe, device):
                loss = functional.cross_entropy(
                    network(inputs), labels, label_smoothing=recipe.label_smoothing
                )
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if averaged is not None:
                averaged.update_parameters(network)
            total += loss.detach()
        train_loss = total.item() / (last - first)  # the epoch's one wait for the device
        train_seconds += time.perf_counter() - started
        _check_finite("training", train_loss, epoch)
        val_loss, val_accuracy = evaluate(averaged or network, data, data.splits.val, trial, device)
        _check_finite("validation", val_loss, epoch)
        curve.append(Epoch(train_loss, val_loss, val_accuracy))
    test = None
    if trial.on_test:
        test = _test(averaged or network, data, trial, device)
        _check_finite("test", test.loss, len(curve) - 1)
    return tuple(curve), train_seconds, num_steps * batch_size, test


def _check_finite(split: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the {split} loss must be finite, got {loss} in epoch {epoch + 1}; "
            "a smaller recipe.learning_rate or a longer recipe.warmup_epochs help"
        )


def devices(device: str) -> list[str]:
    """The devices that a choice names: all of the best kind for ``auto``, all GPUs for ``cuda``.

    Raises:
        ValueError: This machine has no such device.
    """
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    if device == "auto":
        return cuda or mps or ["cpu"]
    named = cuda if device == "cuda" else [device]
    if not named or named[0] not in {*cuda, *mps, "cpu"}:
        there = ", ".join([*cuda, *mps, "cpu"])
        raise ValueError(
            f"executor.device must be on this machine, got {device!r}; there are: {there}"
        )
    return named


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of a step counted from 0: linear warm-up, then half a cosine that ends at 0."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    remaining = max(1.0, recipe.num_steps(steps_per_epoch) - warmup)
    return recipe.learning_rate * (1 + math.cos(math.pi * (step - warmup) / remaining)) / 2


def evaluate(
    network: nn.Module, data: Loaded, split: Split, trial: Trial, device: str
) -> tuple[float, float]:
    """Mean cross-entropy in nats, without smoothing, and top-1 accuracy on a split."""
    losses = torch.zeros((), device=device, dtype=torch.float64)
    hits = torch.zeros((), device=device, dtype=torch.int64)
    for logits, labels in _answers(network, data, split, trial, device):
        losses += functional.cross_entropy(logits.float(), labels, reduction="sum")
        hits += (logits.argmax(1) == labels).sum()
    return losses.item() / len(split.labels), hits.item() / len(split.labels)


def _test(network: nn.Module, data: Loaded, trial: Trial, device: str) -> TestScores:
    """What a trained network gives on each image of the test split."""
    losses, hits = [], []
    for logits, labels in _answers(network, data, data.splits.test, trial, device):
        losses.append(functional.cross_entropy(logits.float(), labels, reduction="none"))
        hits.append(logits.argmax(1) == labels)
    loss = torch.cat(losses).cpu().double()
    hit = torch.cat(hits).cpu()
    largest = torch.finfo(torch.float16).max
    return TestScores(
        loss=loss.mean().item(),
        accuracy=hit.double().mean().item(),
        packed_losses=loss.clamp(max=largest).numpy().astype("<f2").tobytes(),
        packed_hits=np.packbits(hit.numpy()).tobytes(),
    )


def _answers(
    network: nn.Module, data: Loaded, split: Split, trial: Trial, device: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """The logits of a split and its labels, batch by batch."""
    network.eval()
    for start in range(0, len(split.labels), EVALUATED_AT_ONCE):
        batch = slice(start, start + EVALUATED_AT_ONCE)
        labels = split.labels[batch]
        with torch.inference_mode():
            inputs = data.normalised(split.images[batch])
            if trial.recipe.channels_last:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            with _autocast(trial.recipe, device):
                logits = network(inputs)
        yield logits, labels


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights of more than one axis decay; norms and biases do not."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _averaged(network: nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel | None:
    if decay == 0:
        return None
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # as above
    return torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def _autocast(recipe: Recipe, device: str) -> torch.autocast:
    kind = device.partition(":")[0]
    enabled = recipe.mixed_precision and kind == "cuda"
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=enabled)


def _peak_memory_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if platform.system() == "Windows":
        return 0
    import resource  # absent on Windows  # noqa: PLC0415

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def device_name(device: str) -> str:
    """What a device calls itself: the GPU's model, else its kind."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
