"""A second count of a network, by torch's own counter: from what its operators are made of.

The trace sees operators as the network calls them. Here torch takes each apart until convolutions
and products of matrices are left; kernels that cannot be taken apart, fused ones for attention and
recurrent layers, are off.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from scaling_search.operators.given import packet_of
from scaling_search.operators.trace import Trace, as_counted, place

Shape = Sequence[int]
Seen = dict[str, Counter[str]]
"""Counts by module and operator."""


def confirm(network: nn.Module, image: Tensor, trace: Trace) -> None:
    """Checks that torch counts of a network what its trace does.

    Raises:
        RuntimeError: It does not, by the operators and the module where they differ.
    """
    traced: tuple[Seen, Seen] = {}, {}
    for one in trace.operations:
        for seen, number in zip(traced, (one.flops, one.activations), strict=True):
            seen.setdefault(one.module, Counter())[one.kind] += number
    for measure, *counts in zip(
        ("flops", "activations"), traced, _seen(network, image, trace.given), strict=True
    ):
        _compare(measure, *counts)


def _compare(measure: str, traced: Seen, seen: Seen) -> None:
    if _total(traced) == _total(seen):
        return
    module = next(m for m in (*traced, *seen) if _of(traced, m).total() != _of(seen, m).total())
    ours, torchs = _of(traced, module), _of(seen, module)
    raise RuntimeError(
        f"the {measure} of base_network must be those that torch.utils.flop_counter sees, got "
        f"{ours.total():,} of {_named(ours)} instead of {torchs.total():,} of {_named(torchs)} in "
        f"{place(module)}; compute nothing that the logits do not need, by operators that "
        "docs/costs.md counts"
    )


def step_flops(network: nn.Module, image: Tensor) -> int:
    """Multiply-adds that torch counts in a forward and a backward pass."""
    with _taken_apart(), _counter() as counter:
        network(image).sum().backward()
    total: int = counter.get_total_flops()
    return total // 2  # torch counts a multiply-add as two


def _seen(network: nn.Module, image: Tensor, given: frozenset[str]) -> tuple[Seen, Seen]:
    """The flops and activations that torch counts, each operator in the module that runs it."""
    flops: Seen = {}
    activations: Seen = {}
    running = [""]
    counter = _counter(given)

    def noted(operator: Any, formula: Callable[..., int]) -> Callable[..., int]:
        def count(*arguments: Any, **keywords: Any) -> int:
            number = formula(*arguments, **keywords)
            elements = _activations(operator, arguments, keywords["out_val"])
            # Torch counts a multiply-add as two.
            flops.setdefault(running[-1], Counter())[str(operator)] += number // 2
            activations.setdefault(running[-1], Counter())[str(operator)] += elements
            return number

        return count

    counter.flop_registry = {key: noted(key, f) for key, f in counter.flop_registry.items()}
    hooks = []
    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(partial(_enter, running, name)))
        hooks.append(module.register_forward_hook(partial(_leave, running), always_call=True))
    # Torch's counter cannot follow what needs a gradient into a module that is given it.
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        network.requires_grad_(requires_grad=False)
        with _taken_apart(), torch.inference_mode(), counter:
            network(image)
    finally:
        for parameter in learned:
            parameter.requires_grad_()
        for hook in hooks:
            hook.remove()
    return flops, activations


def _enter(running: list[str], name: str, *_: object) -> None:
    running.append(name)


def _leave(running: list[str], *_: object) -> None:
    running.pop()


@contextmanager
def _taken_apart() -> Iterator[None]:
    """Attention and recurrent layers run as the products that they are made of."""
    kernels = torch.backends.mkldnn.flags(enabled=False)
    with as_counted(), sdpa_kernel(SDPBackend.MATH), kernels:
        yield


def _counter(given: frozenset[str] = frozenset()) -> FlopCounterMode:
    """Torch's counter, with what it leaves out."""
    counter = FlopCounterMode(display=False, custom_mapping=MISSING)
    for kind in given:
        packet = packet_of(kind)
        # By its overloads too, or torch would take it apart before it looks for a formula.
        overloads = [getattr(packet, name) for name in packet.overloads()]
        counter.flop_registry |= dict.fromkeys(overloads, counter.flop_registry[packet])
    return counter


def _activations(operator: Any, arguments: Sequence[Any], out: Any) -> int:
    elements = sum(one.numel() for one in tree_leaves(out) if isinstance(one, Tensor))
    if operator is torch.ops.aten._trilinear:  # noqa: SLF001 - its name is its own
        return int(elements * (arguments[2].shape[-1] + 1))
    return elements


def _of(seen: Seen, module: str) -> Counter[str]:
    return seen.get(module, Counter())


def _total(seen: Seen) -> int:
    return sum(counts.total() for counts in seen.values())


def _named(counts: Counter[str]) -> str:
    return ", ".join(name for name, number in counts.items() if number) or "no operator"


# What torch's counter leaves out or counts wrongly (2.13), in its unit and by its signature.


def _vectors(first: int) -> Callable[..., int]:
    """A matrix or a vector with a vector."""
    return lambda *shapes, **_: 2 * prod(shapes[first])


def _addbmm(_added: Shape, left: Shape, right: Shape, **_: Any) -> int:
    return 2 * prod(left) * right[-1]


def _trilinear(left: Shape, _weight: Shape, right: Shape, *_: Any, out_shape: Shape) -> int:
    """As `bilinear` calls it: (images, in), (out, in, in), (images, in)."""
    return 2 * prod(out_shape) * right[-1] * (left[-1] + 1)


def _convolution_backward(
    gradient: Shape, images: Shape, weight: Shape, *rest: Any, **_: Any
) -> int:
    """Twice the multiply-adds; torch's own formula takes each for one without groups."""
    is_transposed, (needs_images, needs_weight, _bias) = rest[4], rest[7]
    places = images if is_transposed else gradient
    return 2 * int(needs_images + needs_weight) * prod(places) * prod(weight[1:])


MISSING: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mv: _vectors(0),
    torch.ops.aten.dot: _vectors(0),
    torch.ops.aten.vdot: _vectors(0),
    torch.ops.aten.addmv: _vectors(1),
    torch.ops.aten.addbmm: _addbmm,
    torch.ops.aten._trilinear: _trilinear,  # noqa: SLF001 - its name is its own
    torch.ops.aten.convolution_backward: _convolution_backward,
}
