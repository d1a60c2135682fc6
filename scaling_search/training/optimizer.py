"""The optimizer of a training, and its state by name."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from scaling_search.core.recipe import Recipe


def make_optimizer(network: nn.Module, recipe: Recipe, rate: Tensor) -> Optimizer:
    """Nesterov SGD over a network's weights, with weight decay for those of more than one axis.

    Args:
        network: A network on its device.
        recipe: Momentum and weight decay.
        rate: The learning rate, a tensor on the device that each step reads.
    """
    parameters = list(network.parameters())
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=rate.device.type != "mps",
    )
    for group in optimizer.param_groups:
        group["lr"] = rate  # the optimizer may have copied it
    return optimizer


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
