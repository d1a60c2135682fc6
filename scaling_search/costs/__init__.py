"""Measures of what a network costs, one file each."""

from typing import TYPE_CHECKING

from scaling_search.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from scaling_search.costs.activations import Activations
    from scaling_search.costs.flops import Flops
    from scaling_search.costs.latency import Latency
    from scaling_search.costs.memory import Memory
    from scaling_search.costs.params import Params
    from scaling_search.costs.train_flops import TrainFlops

__all__ = ["Activations", "Flops", "Latency", "Memory", "Params", "TrainFlops"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
