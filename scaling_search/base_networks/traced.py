"""The layers of a network that is built: what each module itself computes, counted by fvcore."""

import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import (
    addmm_flop_jit,
    conv_flop_jit,
    get_shape,
    linear_flop_jit,
    matmul_flop_jit,
)
from torch import Tensor, nn

from scaling_search.protocols import Layer
from scaling_search.threads import threads

Handle = Callable[[list[Any], list[Any]], Any]
"""Counts one operator from its inputs and outputs in the graph."""

COUNTED: dict[str, Handle] = {
    "aten::_convolution": conv_flop_jit,
    "aten::linear": linear_flop_jit,
    "aten::addmm": addmm_flop_jit,
    "aten::matmul": matmul_flop_jit,
}
"""The operators of which a cost counts the multiply-adds, with fvcore's own count of each."""


def traced_layers(network: nn.Module, image: Tensor) -> tuple[list[Layer], object]:
    """A layer for each module that itself convolves or multiplies matrices, and what came out.

    In the order in which modules are called. Trainable parameters of other modules, as of norms,
    stand with the layer before them. A network without such a module has no layers.

    Args:
        network: As it evaluates.
        image: One, (1, C, H, W).
    """
    names = {module: name for name, module in network.named_modules()}
    called: dict[str, None] = {}
    given: list[object] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, _: called.setdefault(names[module]))
        for module in names
    ]
    hooks.append(network.register_forward_hook(lambda *passed: given.append(passed[-1])))
    try:
        counts = _counted(network, image)
    except Exception:
        # What a network gives out can be what could not be traced.
        if not given or isinstance(given[-1], Tensor):
            raise
        return [], given[-1]
    finally:
        for hook in hooks:
            hook.remove()
    own = {name: Counter(count) for name, count in counts.items()}
    for name, count in counts.items():
        if name:
            own[name.rpartition(".")[0]].subtract(count)
    params = _params(network, {name for name, count in own.items() if any(count.values())})
    layers = [
        Layer(name or "network", own[name]["flops"], params[name], own[name]["activations"])
        for name in called
        if name in params
    ]
    return layers, given[-1]


def _counted(network: nn.Module, image: Tensor) -> dict[str, Counter[str]]:
    """Multiply-adds and outputs of each module with those inside it, in one trace for both."""
    analysis = FlopCountAnalysis(network, image).clear_op_handles()
    analysis.set_op_handle(**{kind: _both(handle) for kind, handle in COUNTED.items()})
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    # One thread, since one image is too little work to share.
    with threads(1), warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer's; costs measure the network once more
        counts: dict[str, Counter[str]] = analysis.by_module_and_operator()
        return counts


def _both(flops: Handle) -> Handle:
    def counted(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        count = flops(inputs, outputs)
        num = sum(count.values()) if isinstance(count, Counter) else count
        return Counter(flops=int(num), activations=math.prod(get_shape(outputs[0])))

    return counted


def _params(network: nn.Module, counted: set[str]) -> dict[str, int]:
    """Trainable parameters of the counted modules, those of others with the counted one before."""
    modules = dict(network.named_modules())
    params = {name: 0 for name in modules if name in counted}
    seen: set[nn.Parameter] = set()
    last = next(iter(params), None)
    for name, module in modules.items():
        last = name if name in counted else last
        own = {p for p in module.parameters(recurse=False) if p.requires_grad} - seen
        if last is not None:
            params[last] += sum(p.numel() for p in own)
        seen |= own
    return params
