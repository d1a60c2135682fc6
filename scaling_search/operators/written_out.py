"""Products of matrices and distances that a network writes out by arithmetic of single elements."""

from itertools import zip_longest
from math import prod
from typing import Any, NamedTuple

from scaling_search.operators.products import UncountedError, Value, as_python, is_tensor

MULTIPLYING = frozenset({"mul", "multiply", "div", "divide", "true_divide", "addcmul", "addcdiv"})
SUBTRACTING = frozenset({"sub", "subtract", "rsub"})
ADDING = SUBTRACTING | {"add", "neg", "negative"}
COMPARING = frozenset({"cosine_similarity", "pairwise_distance", "dist"})
"""Products of matrices that are written out: each tensor repeated along the other's axes."""

REPEATING = frozenset({"expand", "expand_as", "broadcast_to", "repeat", "tile"})
_SHAPING = """
    alias clone contiguous detach expand expand_as flatten moveaxis movedim mT numpy_T permute
    reshape reshape_as select slice squeeze swapaxes swapdims t to transpose type_as unflatten
    unsqueeze view view_as _unsafe_view
"""
SHAPING = frozenset(_SHAPING.split())
SQUARING = frozenset({"abs", "absolute", "float_power", "pow", "square"})
_SUMMING = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d avg_pool3d
    cumsum mean nanmean nansum sum
"""
SUMMING = frozenset(_SUMMING.split())
NORMS = frozenset({"frobenius_norm", "linalg_vector_norm", "norm"})


class _Pairs(NamedTuple):
    """Elements of one tensor, each with several of another.

    Attributes:
        kind: The operator that made them.
        is_difference: They are differences, which are no products before they are squared.
        common: Axes that both tensors have; None once their order has changed.
    """

    kind: str
    is_difference: bool
    common: frozenset[int] | None


class WrittenOut:
    """Looks for a sum over pairs: of two tensors, each repeated along an axis of the other.

    Such a sum costs what a product of matrices does. A tensor times one that has all its axes is no
    such pair, as a gate, a mask or a scale of channels: one multiplication for each element.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, list[int]] = {}
        self._pairs: dict[int, _Pairs] = {}

    def check(self, node: Any, place: str) -> None:
        """Looks at the next operator of a trace, one without products.

        Args:
            node: The operator.
            place: The module where it stands, as shown.

        Raises:
            UncountedError: It sums products of pairs up.
        """
        tensors = [value for value in node.inputs() if is_tensor(value) and _known(value)]
        outputs = list(node.outputs())
        if not tensors or len(outputs) != 1 or not is_tensor(outputs[0]) or not _known(outputs[0]):
            return
        name = node.kind().removeprefix("aten::")
        name, out = name if name.startswith("_") else name.rstrip("_"), outputs[0]
        self._follow_sizes(name, tensors, out)
        made = [pairs for value in tensors if (pairs := self._pairs.get(value.unique()))]
        found = self._paired(node.kind(), name, tensors)
        if found and name in COMPARING:
            raise _refused(f"{node.kind()} of all pairs", place)
        if made and _sums(name, made[0], node):
            raise _refused(f"a sum over {made[0].kind}", place)
        if made and not found:
            others = [value for value in tensors if value.unique() not in self._pairs]
            found = _kept(name, made, others, out)
        if found:
            self._pairs[out.unique()] = found

    def _follow_sizes(self, name: str, tensors: list[Value], out: Value) -> None:
        """Notes the axes along which a result is one tensor, repeated: they have size 1 here."""
        before, after = self._of(tensors[0]), out.type().sizes()
        if name in REPEATING:
            aligned = zip_longest(reversed(before), reversed(after), fillvalue=1)
            self._sizes[out.unique()] = [b if b == 1 else a for b, a in aligned][::-1]
        elif len(tensors) == 1 and tensors[0].type().sizes() == after and name not in SHAPING:
            self._sizes[out.unique()] = before

    def _of(self, value: Value) -> list[int]:
        sizes: list[int] = self._sizes.get(value.unique()) or value.type().sizes()
        return sizes

    def _paired(self, kind: str, name: str, tensors: list[Value]) -> _Pairs | None:
        if name not in MULTIPLYING | SUBTRACTING | COMPARING or len(tensors) < 2:
            return None
        axes = list(zip_longest(*(reversed(self._of(one)) for one in tensors[-2:]), fillvalue=1))
        common = [place for place, (left, right) in enumerate(axes) if left > 1 and right > 1]
        is_outer = any(left > right == 1 for left, right in axes) and any(
            right > left == 1 for left, right in axes
        )
        if not (common and is_outer):
            return None
        return _Pairs(kind, name in SUBTRACTING, frozenset(-1 - place for place in common))


def _known(value: Value) -> bool:
    return value.type().sizes() is not None


def _sums(name: str, pairs: _Pairs, node: Any) -> bool:
    """True if an operator sums over what both tensors of the pairs have."""
    if name not in SUMMING | NORMS or (pairs.is_difference and name not in NORMS):
        return False
    if pairs.common is None or name not in {"sum", "mean", "nansum", "nanmean"}:
        return True
    inputs = list(node.inputs())
    axes, num_axes = as_python(inputs[1]), inputs[0].type().dim()
    if not isinstance(axes, list) or not all(isinstance(axis, int) for axis in axes) or not axes:
        return True
    return any((axis if axis < 0 else axis - num_axes) in pairs.common for axis in axes)


def _kept(name: str, made: list[_Pairs], others: list[Value], out: Value) -> _Pairs | None:
    """The pairs that come out of an operator on some; None where they are pairs no more."""
    pairs = made[0]
    if name in SHAPING:
        return pairs._replace(common=None)
    is_square = name in SQUARING or (name in MULTIPLYING and not others and len(made) > 1)
    if pairs.is_difference and is_square:
        return pairs._replace(is_difference=False)
    # Times what is smaller, as a number; with another of its size they are one tensor of many.
    is_alone = all(prod(one.type().sizes()) < prod(out.type().sizes()) for one in others)
    return pairs if is_alone and name in MULTIPLYING | ADDING else None


def _refused(operator: str, place: str) -> UncountedError:
    return UncountedError(
        f"base_network must multiply matrices by operators that are counted, got {operator} in "
        f"{place}; write it as torch.matmul or torch.einsum"
    )
