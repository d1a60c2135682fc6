"""Products of a network: the operators of its trace, each counted or refused by name."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from fvcore.nn.jit_analysis import _get_scoped_trace_graph
from torch import Tensor, nn

from scaling_search.operators.given import given_count
from scaling_search.operators.products import COUNTED, Product, UncountedError, Value
from scaling_search.operators.without_products import (
    READS_NO_VALUE,
    VIEWS,
    WITHOUT_GRADIENT,
    is_without_products,
)
from scaling_search.operators.written_out import WrittenOut
from scaling_search.runtime.threads import threads


class Operation(NamedTuple):
    """One operator with products, where it stands.

    Attributes:
        kind: Its name in the trace, as ``aten::linear``.
        module: The name of the module that calls it; empty for the network itself.
        flops: Multiply-adds.
        activations: Elements that its products put out, inner ones too.
        backward: Multiply-adds of its backward pass: each product once more for each of its two
            operands that needs a gradient.
    """

    kind: str
    module: str
    flops: int
    activations: int
    backward: int


@dataclass(frozen=True)
class Trace:
    """The operators with products that a network calls for one image, in their order.

    Attributes:
        operations: Each of them.
        given: Names of those that a formula of the user's own counts.
    """

    operations: tuple[Operation, ...]
    given: frozenset[str]

    @property
    def flops(self) -> int:
        """Multiply-adds of all."""
        return sum(operation.flops for operation in self.operations)

    @property
    def activations(self) -> int:
        """Elements that their products put out."""
        return sum(operation.activations for operation in self.operations)


@contextmanager
def as_counted() -> Iterator[None]:
    """A network is run so that each of its operators can be seen.

    Fused layers for attention, which torch takes while evaluating, are off. One thread: sharing
    one image between threads makes it up to 8 times as slow on a busy machine.
    """
    is_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with threads(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's: values become constants for one image
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)


def traced(network: nn.Module, image: Tensor) -> Trace:
    """Counts a network by the trace of one image.

    Args:
        network: Evaluating or training: both count the same.
        image: One, (1, C, H, W).

    Raises:
        UncountedError: An operator is neither counted nor known to have no products, or a weight
            goes into none.
    """
    names = {module: name for name, module in network.named_modules()}
    for module, name in names.items():
        _check_is_open(module, name)
    with as_counted(), torch.inference_mode():
        # The trace of fvcore's own counts, with modules' names; its public face keeps the graph.
        graph = _get_scoped_trace_graph(network, (image,), names)
    # The tracer takes each tensor of the state once, by its first name.
    state: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        state.setdefault(id(tensor), (name, tensor))
    weights = dict(zip(list(graph.inputs())[1:], state.values(), strict=True))
    operations = tuple(_operations(graph, weights))
    _check_used(weights)
    return Trace(operations, frozenset(one.kind for one in operations if one.kind not in COUNTED))


def _check_is_open(module: nn.Module, name: str) -> None:
    """Checks that a trace sees what a module computes."""
    is_compiled = hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None)
    if is_compiled or isinstance(module, torch.jit.ScriptModule):
        by = "torch.compile" if is_compiled else "torch.jit"
        raise UncountedError(
            f"base_network must have modules that a trace can see into, got one of {by} in "
            f"{place(name)}; give it as it was before {by}"
        )


def _operations(graph: Any, weights: dict[Value, tuple[str, Tensor]]) -> Iterator[Operation]:
    """Yields the operators with products, and refuses what may hide some."""
    # Values that need a gradient, by number: what is learned, and all that is made of it.
    learned = {value.unique() for value, (_, tensor) in weights.items() if tensor.requires_grad}
    written_out = WrittenOut()
    for node in graph.nodes():
        kind = node.kind()
        if kind == "prim::Constant":
            continue
        inputs, outputs = list(node.inputs()), list(node.outputs())
        if is_without_products(kind):
            written_out.check(node, place(_module(node)))
        elif count := COUNTED.get(kind) or given_count(kind):
            yield _operation(node, list(count(inputs, outputs)), learned)
        else:
            raise _uncounted(node)
        if kind not in WITHOUT_GRADIENT and any(value.unique() in learned for value in inputs):
            learned.update(value.unique() for value in outputs)
            if kind.endswith("_"):
                learned.update(value.unique() for value in _written(inputs[0]))


def _operation(node: Any, products: list[Product], learned: set[int]) -> Operation:
    operands = (value for one in products for value in (*one.left, *one.right))
    is_complex = any(str(value.type().scalarType()).startswith("Complex") for value in operands)
    if is_complex and node.kind() in COUNTED:
        raise UncountedError(
            f"base_network must multiply real numbers, got complex ones of {node.kind()} in "
            f"{place(_module(node))}; multiply real and imaginary parts"
        )
    backward = sum(
        one.flops * any(value.unique() in learned for value in operand)
        for one in products
        for operand in (one.left, one.right)
    )
    flops, activations = sum(one.flops for one in products), sum(one.outputs for one in products)
    return Operation(node.kind(), _module(node), flops, activations, backward)


def _check_used(weights: dict[Value, tuple[str, Tensor]]) -> None:
    """Checks that each weight goes into an operator: what does not, escapes the count.

    What is left of a trace is what the logits need, so that a weight that is only added, looked
    up or scaled by has its use too. One that has none belongs to a module that is never called,
    whose result is thrown away, or that computes outside of torch.
    """
    for value, (name, tensor) in weights.items():
        is_weight = isinstance(tensor, nn.Parameter) and tensor.ndim > 1
        if is_weight and all(use.user.kind() in READS_NO_VALUE for use in value.uses()):
            raise UncountedError(
                f"base_network must use every weight for its logits, got {name!r} of shape "
                f"{tuple(tensor.shape)} in no operator; remove it, or compute with it by torch's "
                "operators while evaluating too"
            )


def _written(value: Value) -> Iterator[Value]:
    """Values that change too when one is changed in place: all that it is a view of."""
    yield value
    while value.node().kind() in VIEWS:
        value = next(iter(value.node().inputs()))
        yield value


def _uncounted(node: Any) -> UncountedError:
    """An error by the name of an operator, and how its count is given."""
    kind: str = node.kind()
    name = kind
    remedy = (
        f"give the count of torch.ops.{kind.replace('::', '.')} by "
        "torch.utils.flop_counter.register_flop_formula in your package, see docs/extending.md"
    )
    if kind.startswith("prim::"):
        remedy = (
            "call torch's operators instead, or make it a torch.library.custom_op whose count you "
            "give, see docs/extending.md"
        )
    if kind == "prim::PythonOp":
        name = f"{node.pyname()} (a torch.autograd.Function)"
    elif kind == "prim::CallFunction":
        name = f"{next(iter(node.inputs())).node().s('name')} (a function of torch.jit.script)"
    return UncountedError(
        f"base_network must use operators whose multiply-adds are known, got {name} in "
        f"{place(_module(node))}; {remedy}"
    )


def _module(node: Any) -> str:
    scope: str = node.scopeName()
    return scope.rpartition("/")[2]


def place(module: str) -> str:
    """A module as shown, by its name."""
    return f"module {module!r}" if module else "the network itself"
