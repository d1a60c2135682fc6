"""The multiply-adds of each operator that has any, from the shapes that stand in a trace.

A product is one multiplication of two tensors whose results are summed: a convolution, a product
of matrices. An operator is one or several of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from math import prod
from typing import Any, NamedTuple

import torch

from scaling_search.operators.einsum import contractions

Value = Any
"""`torch._C.Value`: what goes into an operator of a trace, or comes out."""


class Product(NamedTuple):
    """One multiplication of two tensors.

    Attributes:
        flops: Multiply-adds.
        outputs: Elements of what comes out.
        left: Values that the first operand depends on.
        right: Values that the second one depends on.
    """

    flops: int
    outputs: int
    left: Sequence[Value]
    right: Sequence[Value]


Count = Callable[[list[Value], list[Value]], Iterable[Product]]
"""Counts an operator by its inputs and outputs."""


class UncountedError(ValueError):
    """A network whose multiply-adds cannot all be counted."""


def shape(value: Value) -> list[int]:
    """The sizes of a tensor.

    Raises:
        UncountedError: The trace does not know them, as of a sparse or a nested tensor.
    """
    sizes: list[int] | None = value.type().sizes()
    if sizes is None:
        raise UncountedError(
            f"base_network must multiply dense tensors of real numbers, got {value.type()} in "
            f"{value.node().kind()}; no other is counted"
        )
    return sizes


def listed(value: Value) -> list[Value]:
    """The values of a list."""
    return list(value.node().inputs())


def is_tensor(value: Value) -> bool:
    """True if a value is one tensor."""
    return bool(value.type().kind() == "TensorType")


def as_python(value: Value) -> Any:
    """A constant as it is, a tensor as one without memory; None for a number that was computed."""
    if is_tensor(value):
        return torch.empty(shape(value), device="meta")
    if value.node().kind() == "prim::ListConstruct":
        return [as_python(one) for one in listed(value)]
    return value.toIValue()


def _convolution(inputs: list[Value], outputs: list[Value]) -> Iterator[Product]:
    """Every weight at every place of the output; of the input where it is transposed."""
    image, weight = inputs[:2]
    # `_convolution_mode`, padding="same" or "valid", has fewer inputs and is never transposed.
    is_transposed = len(inputs) > 7 and inputs[6].toIValue()
    batch, _, *places = shape(image if is_transposed else outputs[0])
    flops = batch * prod(places) * prod(shape(weight))
    yield Product(flops, prod(shape(outputs[0])), [image], [weight])


def _matrices(first: int) -> Count:
    """A sum for every element that comes out, over the first operand's last axis."""

    def count(inputs: list[Value], outputs: list[Value]) -> Iterator[Product]:
        left, right = inputs[first : first + 2]
        elements = prod(shape(outputs[0]))
        yield Product(elements * shape(left)[-1], elements, [left], [right])

    return count


def _addbmm(inputs: list[Value], outputs: list[Value]) -> Iterator[Product]:
    """A product of matrices for each of the batch, all summed up."""
    left, right = inputs[1:3]
    flops = prod(shape(left)) * shape(right)[-1]
    yield Product(flops, prod(shape(outputs[0])), [left], [right])


def _tensordot(inputs: list[Value], outputs: list[Value]) -> Iterator[Product]:
    """A sum for every element that comes out, over the axes that are named."""
    left, right, axes = inputs[:3]
    elements, sizes = prod(shape(outputs[0])), shape(left)
    flops = elements * prod(sizes[axis] for axis in as_python(axes))
    yield Product(flops, elements, [left], [right])


def _bilinear(inputs: list[Value], outputs: list[Value]) -> Iterator[Product]:
    """The first operand with the weight (out, in, in), then what that gives with the second."""
    left, right, weight = inputs[:3]
    elements, (_, num_left, num_right) = prod(shape(outputs[0])), shape(weight)
    inner = elements * num_right
    yield Product(inner * num_left, inner, [left], [weight])
    yield Product(inner, elements, [left, weight], [right])


def _einsum(inputs: list[Value], outputs: list[Value]) -> Iterator[Product]:
    """One product for each contraction of two operands, in torch's order."""
    del outputs
    values = listed(inputs[1])
    path = as_python(inputs[2]) if len(inputs) > 2 else None
    for one in contractions(inputs[0].toIValue(), [shape(value) for value in values], path):
        left, right = ([values[i] for i in operands] for operands in (one.left, one.right))
        yield Product(one.flops, one.outputs, left, right)


def _attention(inputs: list[Value], outputs: list[Value]) -> Iterator[Product]:
    """Every query with every key, then the weights with the values; a mask saves nothing."""
    query, key, value = inputs[:3]
    *heads, queries, channels = shape(query)
    *other_heads, keys, _ = shape(key)
    # Fewer heads of keys than of queries are repeated; else one is broadcast to the other.
    batch = zip_longest(reversed(heads), reversed(other_heads), fillvalue=1)
    scores = prod(max(sizes) for sizes in batch) * queries * keys
    elements = prod(shape(outputs[0]))
    yield Product(scores * channels, scores, [query], [key])
    yield Product(elements * keys, elements, [query, key], [value])


def _recurrent(inputs: list[Value], outputs: list[Value]) -> Iterator[Product]:
    """Every weight at every step, of every layer and direction.

    The first step of a layer starts from the given state, which seldom has a gradient, the others
    from what came before.
    """
    del outputs
    # Packed: (data, sizes of batches, state, weights, ...), else (sequence, state, weights, ...).
    is_packed = inputs[3].type().kind() == "ListType"
    sequence, state, weights, *options = inputs[:1] + inputs[2:] if is_packed else inputs
    states = listed(state) if state.type().kind() == "ListType" else [state]
    has_biases, layers, _, _, bidirectional = (option.toIValue() for option in options[:5])
    parameters = listed(weights)
    each = len(parameters) // (layers * (1 + bidirectional))
    steps, batch = prod(shape(sequence)[:-1]), shape(states[0])[1]
    so_far = [sequence]
    for layer in range(layers):
        of_layer = parameters[layer * (1 + bidirectional) * each :][: (1 + bidirectional) * each]
        for start in range(0, len(of_layer), each):
            own = of_layer[start : start + each]
            every = [*so_far, *states, *own]
            yield _weighted(own[0], steps, so_far)
            yield _weighted(own[1], batch, states[:1])
            yield _weighted(own[1], steps - batch, every)
            if each == (5 if has_biases else 3):  # of an LSTM that projects its output
                yield _weighted(own[-1], steps, every)
        so_far = [*so_far, *states, *of_layer]


def _weighted(weight: Value, rows: int, operand: Sequence[Value]) -> Product:
    outputs, inner = shape(weight)
    return Product(rows * outputs * inner, rows * outputs, operand, [weight])


COUNTED: dict[str, Count] = {
    "aten::_convolution": _convolution,
    "aten::_convolution_mode": _convolution,
    "aten::linear": _matrices(0),
    "aten::mm": _matrices(0),
    "aten::mv": _matrices(0),
    "aten::dot": _matrices(0),
    "aten::vdot": _matrices(0),
    "aten::bmm": _matrices(0),
    "aten::inner": _matrices(0),
    "aten::matmul": _matrices(0),
    "aten::linalg_matmul": _matrices(0),
    "aten::addmm": _matrices(1),
    "aten::addmv": _matrices(1),
    "aten::baddbmm": _matrices(1),
    "aten::addbmm": _addbmm,
    "aten::tensordot": _tensordot,
    "aten::bilinear": _bilinear,
    "aten::einsum": _einsum,
    "aten::scaled_dot_product_attention": _attention,
    "aten::rnn_tanh": _recurrent,
    "aten::rnn_relu": _recurrent,
    "aten::lstm": _recurrent,
    "aten::gru": _recurrent,
}
"""The operators that multiply, by their names in a trace. Cells of recurrent layers, attention
layers and whole transformer layers are traced as what they are made of."""
