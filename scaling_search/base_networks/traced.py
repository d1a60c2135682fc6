"""The layers of a network that is built: what each module itself multiplies, by its trace."""

from collections import Counter
from collections.abc import Set

from torch import Tensor, nn

from scaling_search.core.network import Layer
from scaling_search.operators.trace import Trace, traced


def traced_logits(network: nn.Module, image: Tensor) -> tuple[Trace, object]:
    """The trace of a network for one image, and what came out.

    The trace is empty where that is no tensor and cannot be traced.

    Raises:
        UncountedError: Not all that it multiplies can be counted.
    """
    given: list[object] = []
    hook = network.register_forward_hook(lambda *passed: given.append(passed[-1]))
    try:
        trace = traced(network, image)
    except Exception:
        # What a network gives out can be what could not be traced.
        if not given or isinstance(given[-1], Tensor):
            raise
        return Trace((), frozenset()), given[-1]
    finally:
        hook.remove()
    return trace, given[-1]


def layers_of(network: nn.Module, trace: Trace) -> list[Layer]:
    """A layer for each module that itself multiplies, in the order of their first products.

    Trainable parameters of other modules, as of norms, stand with the layer before them. A network
    without products has no layers.
    """
    own: dict[str, Counter[str]] = {}
    for one in trace.operations:
        counts = {"flops": one.flops, "activations": one.activations, "backward": one.backward}
        own.setdefault(one.module, Counter()).update(counts)
    params = _params(network, own.keys())
    return [
        Layer(
            name or "network",
            flops=counts["flops"],
            params=params[name],
            activations=counts["activations"],
            backward=counts["backward"],
        )
        for name, counts in own.items()
    ]


def _params(network: nn.Module, counted: Set[str]) -> dict[str, int]:
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
