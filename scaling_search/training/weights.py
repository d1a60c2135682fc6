"""Files of trained weights, with facts about their training."""

import hashlib
import logging
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from scaling_search.core.network import Architecture
from scaling_search.core.trial import Epoch, Trial
from scaling_search.runtime.files import replace_file
from scaling_search.training import tensor_files
from scaling_search.training.batches import Loaded

log = logging.getLogger(__name__)

LONGEST = 120
"""Most characters of a network's name in a file name."""


@dataclass(frozen=True)
class Facts:
    """Facts in a file of weights.

    Attributes:
        network: Name of the network, as in the record.
        seed: Seed of the training.
        epochs: Epochs of the training.
        learning_rate: Its highest learning rate.
        fingerprint: Fingerprint of the data.
        val_accuracy: Accuracy of these weights on the validation split.
        val_loss: Their loss on it.
        mean: Mean of the training images at the network's resolution, per channel, of 0 to 255.
        std: Their standard deviation; images are normalised by both.
        images: Number of images in each split.
        left_out: Further names of weights in the file, or of parts of them.
    """

    network: str
    seed: int
    epochs: float
    learning_rate: float
    fingerprint: str
    val_accuracy: float
    val_loss: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: dict[str, int]
    left_out: list[str] = field(default_factory=list)


def file_name(network: str, seed: int) -> str:
    """The name of a file of weights."""
    safe = re.sub(r"[^A-Za-z0-9.-]", "_", network)
    if len(safe) > LONGEST:
        safe = f"{safe[:LONGEST]}-{hashlib.sha256(network.encode()).hexdigest()[:16]}"
    return f"{safe}-seed{seed}.safetensors"


def lacks_weights(trial: Trial) -> bool:
    """True if a trial's weights are to be kept and their file is missing."""
    name = file_name(trial.candidate.network, trial.seed)
    return trial.weights is not None and not (trial.weights / name).is_file()


def keep_weights(trial: Trial, network: nn.Module, data: Loaded, last: Epoch) -> None:
    """Writes the weights of an evaluated network if the trial has a folder; errors are logged."""
    if trial.weights is None:
        return
    assert trial.dataset is not None
    splits = data.splits
    tensors, left_out = distinct(network)
    facts = Facts(
        network=trial.candidate.network,
        seed=trial.seed,
        epochs=trial.recipe.epochs,
        learning_rate=trial.recipe.rate,
        fingerprint=trial.fingerprint or trial.dataset.fingerprint(),
        val_accuracy=last.val_accuracy,
        val_loss=last.val_loss,
        mean=tuple(data.mean.flatten().tolist()),
        std=tuple(data.std.flatten().tolist()),
        images={name: len(split.labels) for name, split in vars(splits).items()},
        left_out=left_out,
    )
    path = trial.weights / file_name(facts.network, facts.seed)
    try:
        replace_file(path, tensor_files.content_of(tensors, asdict(facts)))
    except RuntimeError as error:
        log.warning("no weights: %s", error)


def distinct(network: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Copies of a network's weights in main memory, and the names that are left out.

    A tensor with several names or inside another tensor is copied once, as for safetensors'
    ``load_model``.
    """
    state = network.state_dict()
    whole: dict[int, str] = {}  # by where it lies
    for name, tensor in sorted(state.items()):
        storage = tensor.untyped_storage()
        if tensor.numel() and tensor.numel() * tensor.element_size() == storage.nbytes():
            whole.setdefault(storage.data_ptr(), name)
    left_out = [
        name for name, t in state.items() if whole.get(t.untyped_storage().data_ptr(), name) != name
    ]
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
        if name not in left_out
    }
    return copies, left_out


def check_keepable(architecture: Architecture) -> None:
    """Checks that the weights of a network can be written and loaded.

    Raises:
        ValueError: They cannot, for instance since they are sparse.
    """
    from safetensors.torch import load, save  # noqa: PLC0415  # as in tensor files

    with torch.random.fork_rng(devices=[]):
        network = architecture.build()
    try:
        tensors, left_out = distinct(network)
        shared = {name: network.state_dict()[name] for name in left_out}
        network.load_state_dict(shared | load(save(tensors)))
    except Exception as error:
        why = next(iter(str(error).split("\n\t")[-1:]), "") or type(error).__name__
        raise ValueError(
            f"keep_weights must be false for this network, got true ({' '.join(why.split())})"
        ) from error


def read_weights(path: Path) -> tuple[Facts, dict[str, Tensor]] | None:
    """The facts and tensors of a file of weights; None if it is missing.

    Raises:
        RuntimeError: It is damaged.
    """
    try:
        facts, tensors = tensor_files.read(path)
        return Facts(**facts | {name: tuple(facts[name]) for name in ("mean", "std")}), tensors
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeError(
            f"{path} must hold weights as they were written, got {str(error)!r}; delete it, and "
            "export.train=true trains it again"
        ) from error
