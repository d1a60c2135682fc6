"""Every base network of conf/, with other options where a test needs them."""

import functools
import math
import warnings
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from scaling_search.core.network import Architecture
from scaling_search.core.scaling import DIMENSIONS, Multipliers
from scaling_search.experiment.composing import part_of
from tests.composed import PARTS, composed

NAMES = [name for group, name in PARTS if group == "base_network"]
SMALL = [name for name in NAMES if name.endswith("_small")]
STAGED = [name for name in NAMES if name != "custom"]
"""Those that round depth and width by rules of this package."""


def family(name: str, **options: Any) -> Any:
    """The base network of a YAML; without data of its own, it is one for colour images.

    A network of one's own has no rules for the rounding of depth and width.
    """
    if name not in STAGED:
        options = {k: v for k, v in options.items() if k not in {"width_divisor", "depth_rounding"}}
    return part_of("base_network", _options(name) | {"in_channels": 3} | options)


@functools.cache
def _options(name: str) -> dict[str, Any]:
    options: dict[str, Any] = composed(f"base_network={name}")["base_network"]
    return options


def only(dimension: str, multiplier: float) -> Multipliers:
    return Multipliers(**(dict.fromkeys(DIMENSIONS, 1.0) | {dimension: multiplier}))


def num_flops(architecture: Architecture) -> int:
    return sum(layer.flops for layer in architecture.layers())


def fvcore_flops(architecture: Architecture) -> int:
    """fvcore's count of convolutions and linear layers, with nothing of the package's own."""
    size = architecture.resolution
    with torch.random.fork_rng(devices=[]):
        network = architecture.build().eval()
    images = torch.zeros(1, architecture.in_channels, size, size)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer's
        counts = FlopCountAnalysis(network, images).by_operator()
    return int(counts["conv"] + counts["linear"])


def written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as two products of matrices, which fvcore sees."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    gathered: Tensor = scores.softmax(-1) @ value
    return gathered


def num_params(architecture: Architecture) -> int:
    return sum(layer.params for layer in architecture.layers())


def drawn_state(network: nn.Module) -> dict[str, Tensor]:
    """Every tensor of the network drawn anew, norms well away from 0 and 1."""
    torch.manual_seed(0)
    state = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = tensor
        elif name.endswith("running_mean"):
            state[name] = torch.randn_like(tensor) * 0.5
        elif name.endswith("running_var"):
            state[name] = torch.rand_like(tensor) * 1.5 + 0.5
        elif name.endswith("bias"):
            state[name] = torch.randn_like(tensor) * 0.3
        elif tensor.ndim == 1:
            state[name] = torch.rand_like(tensor) + 0.5
        else:
            state[name] = torch.randn_like(tensor) / math.sqrt(tensor[0].numel())
    return state
