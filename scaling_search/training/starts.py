"""Weights that a network starts from in place of its seed's."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from scaling_search.core.network import Architecture


def load_start(network: nn.Module, path: str, digest: str = "") -> None:
    """Sets those tensors of a network that a file has by the same name and shape.

    Args:
        network: The network.
        path: The file's.
        digest: SHA-256 that its content must have; empty for any.

    Raises:
        RuntimeError: The file cannot be read, or has another content.
    """
    if digest and (found := start_digest(path)) != digest:
        raise RuntimeError(
            f"recipe.start must be the file that the search began with, SHA-256 {digest[:16]}, got "
            f"{found[:16]} in {path!r}; restore it"
        )
    network.load_state_dict(_fitting(read_start(path), network), strict=False)


def num_started(architecture: Architecture, start: Mapping[str, Tensor]) -> tuple[int, int]:
    """Number of a network's tensors that start from others of `read_start`, and of all."""
    with torch.random.fork_rng(devices=[]):
        network = architecture.build()
    return len(_fitting(start, network)), len(network.state_dict())


def read_start(path: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name.

    Raises:
        RuntimeError: It cannot be read.
    """
    from safetensors import SafetensorError  # noqa: PLC0415  # few trainings need it
    from safetensors.torch import load  # noqa: PLC0415  # as above

    try:
        return load(_content(path))
    except SafetensorError as error:
        raise RuntimeError(
            f"recipe.start must be a safetensors file, got {path!r}: {' '.join(str(error).split())}"
        ) from error


def start_digest(path: str) -> str:
    """The SHA-256 of a file's content.

    Raises:
        RuntimeError: It cannot be read.
    """
    return sha256(_content(path)).hexdigest()


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RuntimeError(
            f"recipe.start must be a file on each machine that trains, got {path!r}: "
            f"{error.strerror}; copy it there or correct the path"
        ) from error


def _fitting(start: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    own = network.state_dict()
    return {name: t for name, t in start.items() if name in own and own[name].shape == t.shape}
