"""The optimizer of a training, and its state by name."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from scaling_search.core.recipe import Recipe


def make_optimizer(network: nn.Module, recipe: Recipe, rate: Tensor) -> Optimizer:
    """The recipe's optimizer of a network's weights.

    Args:
        network: A network on its device.
        recipe: Names the optimizer and its options.
        rate: The learning rate, a tensor on the device that each step reads.
    """
    undecayed = _without_decay(network, recipe)
    named = list(network.named_parameters())
    groups: list[dict[str, Any]] = [
        {
            "params": [p for name, p in named if name not in undecayed],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for name, p in named if name in undecayed], "weight_decay": 0.0},
    ]
    is_fused = rate.device.type != "mps"
    optimizer: Optimizer
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(
            groups,
            lr=rate,
            betas=recipe.betas,
            eps=recipe.eps,
            fused=is_fused,
            capturable=rate.is_cuda,
        )
    else:
        optimizer = torch.optim.SGD(
            groups,
            lr=rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov and recipe.momentum > 0,
            fused=is_fused,
        )
    for group in optimizer.param_groups:
        group["lr"] = rate  # the optimizer may have copied it
    return optimizer


def _without_decay(network: nn.Module, recipe: Recipe) -> set[str]:
    """Names of parameters whose weight does not decay.

    They are norms and biases, with one axis at most; with AdamW also what a module names by
    ``no_weight_decay()``, as class and position tokens of ours and of timm's networks.
    """
    found = {name for name, one in network.named_parameters() if one.ndim <= 1}
    if recipe.optimizer == "sgd":  # of which searches are recorded that ask no module
        return found
    for path, module in network.named_modules():
        named = getattr(module, "no_weight_decay", None)
        if callable(named):
            found |= {f"{path}.{name}".lstrip(".") for name in named()}
    return found


def kind(optimizer: Optimizer) -> str:
    """The name of an optimizer's class."""
    return type(optimizer).__name__


def named_state(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Tensors of an optimizer's state, named by the parameter's number and the key."""
    for number, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state[parameter].items():
            if isinstance(value, Tensor):
                yield f"{number}.{key}", value


def make_state(optimizer: Optimizer, state: Mapping[str, Tensor]) -> None:
    """Creates tensors for a state as from `named_state`, as a first step would."""
    parameters = list(_parameters(optimizer))
    for name, tensor in state.items():
        number, key = name.split(".")
        parameter = parameters[int(number)]
        like = torch.zeros_like(parameter) if tensor.shape == parameter.shape else tensor.clone()
        optimizer.state[parameter][key] = like.to(parameter.device)


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
