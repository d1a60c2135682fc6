"""The products of matrices that `torch.einsum` turns an equation into."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

ELLIPSIS = "."
"""Its axes are labelled by it and their place from the right."""


class Contraction(NamedTuple):
    """Two operands that become one.

    Attributes:
        flops: Multiply-adds; none where no common label is summed, which is element by element.
        outputs: Elements of the result; none where there are no multiply-adds.
        left: Which operands of the equation the first one is made of.
        right: Which the second one is made of.
    """

    flops: int
    outputs: int
    left: tuple[int, ...]
    right: tuple[int, ...]


class _Operand(NamedTuple):
    """Sizes over 1 by label, and the operands of the equation that it is made of."""

    sizes: dict[str, int]
    made_of: tuple[int, ...]


def contractions(
    equation: str, shapes: Sequence[Sequence[int]], path: Sequence[int] | None
) -> Iterator[Contraction]:
    """Yields the contractions of an equation in the order in which torch does them.

    A label that only one of the two still has is summed before they are multiplied, and what is
    broadcast, of size 1, is no label at all, as in torch's own `sumproduct_pair`.

    Args:
        equation: As ``bij,bjk->bik``.
        shapes: Shapes of the operands.
        path: Two places for each contraction in turn, the result going to the end; None for from
            left to right.
    """
    given, arrow, wanted = equation.replace(" ", "").replace("...", ELLIPSIS).partition("->")
    terms = given.split(",")
    operands = [
        _Operand(_sizes(term, sizes), (place,))
        for place, (term, sizes) in enumerate(zip(terms, shapes, strict=True))
    ]
    letters = given.replace(",", "")
    if not arrow:
        wanted = ELLIPSIS + "".join(label for label in letters if letters.count(label) == 1)
    pairs = iter(path or ())
    while len(operands) > 1:
        places = sorted((next(pairs), next(pairs))) if path is not None else [0, 1]
        right, left = (operands.pop(place) for place in reversed(places))
        others = {label for operand in operands for label in operand.sizes}
        kept = {
            label for label in left.sizes | right.sizes if label in others or label[0] in wanted
        }
        one, merged = _contracted(left, right, kept)
        if one.flops:
            yield one
        operands.insert(len(operands) if path is not None else 0, merged)


def _sizes(term: str, shape: Sequence[int]) -> dict[str, int]:
    """The size of each label; a repeated one is a diagonal and counts once."""
    before, ellipsis, behind = term.partition(ELLIPSIS)
    num_broadcast = len(shape) - len(before) - len(behind) if ellipsis else 0
    broadcast = [f"{ELLIPSIS}{place}" for place in range(num_broadcast, 0, -1)]
    labels = [*before, *broadcast, *behind]
    return {label: size for label, size in zip(labels, shape, strict=True) if size != 1}


def _contracted(left: _Operand, right: _Operand, kept: set[str]) -> tuple[Contraction, _Operand]:
    both = left.sizes.keys() & right.sizes.keys()
    # What is summed of one alone is summed before.
    sizes = {k: n for k, n in (left.sizes | right.sizes).items() if k in both or k in kept}
    result = _Operand({k: n for k, n in sizes.items() if k in kept}, left.made_of + right.made_of)
    is_product = len(result.sizes) < len(sizes)
    flops, outputs = (prod(sizes.values()), prod(result.sizes.values())) if is_product else (0, 0)
    return Contraction(flops, outputs, left.made_of, right.made_of), result
