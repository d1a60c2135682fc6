"""Counts that the user's own package gives, by torch's `register_flop_formula`."""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from scaling_search.operators.products import (
    Count,
    Product,
    UncountedError,
    Value,
    as_python,
    is_tensor,
    shape,
)


def packet_of(kind: str) -> Any:
    """The operator of torch by its name in a trace, as ``my_ops::scan``; None if there is none."""
    namespace, _, name = kind.partition("::")
    return getattr(getattr(torch.ops, namespace), name, None)


def given_count(kind: str) -> Count | None:
    """A count of an operator by the formula that is registered for it; None without one."""
    formula = FlopCounterMode(display=False).flop_registry.get(packet_of(kind))
    if formula is None:
        return None

    def count(inputs: list[Value], outputs: list[Value]) -> list[Product]:
        node = outputs[0].node()
        arguments, keywords = _arguments(node)
        results = [as_python(value) for value in outputs]
        flops: object = formula(
            *arguments, **keywords, out_val=results[0] if len(results) == 1 else tuple(results)
        )
        # Torch counts a multiply-add as two.
        if not isinstance(flops, int) or flops < 0 or flops % 2:
            raise UncountedError(
                f"the formula of {kind} must give twice its multiply-adds, an even whole number, "
                f"got {flops!r}; that is torch's unit"
            )
        tensors = [value for value in inputs if is_tensor(value)]
        elements = sum(prod(shape(value)) for value in outputs if is_tensor(value))
        return [Product(flops // 2, elements, tensors, tensors)]

    return count


def _arguments(node: Any) -> tuple[list[object], dict[str, object]]:
    """Arguments as torch's own counter hands them to a formula: without defaults at the end."""
    names = torch._C.parse_schema(node.schema()).arguments  # noqa: SLF001 - no public face tells it
    given = [as_python(value) for value in node.inputs()]
    pairs = list(zip(names, given, strict=True))
    positional = [(one, value) for one, value in pairs if not one.kwarg_only]
    while positional and _is_default(*positional[-1]):
        positional.pop()
    keywords = {
        one.name: value for one, value in pairs if one.kwarg_only and not _is_default(one, value)
    }
    return [value for _, value in positional], keywords


def _is_default(argument: Any, value: object) -> bool:
    has_default: bool = argument.has_default_value()
    return has_default and not isinstance(value, Tensor) and argument.default_value == value
