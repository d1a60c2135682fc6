"""Rules that choose the next training."""

from typing import TYPE_CHECKING

from scaling_search.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from scaling_search.samplers.focus import Focus
    from scaling_search.samplers.grid import Grid
    from scaling_search.samplers.optuna import Gp, Qmc, Tpe

__all__ = ["Focus", "Gp", "Grid", "Qmc", "Tpe"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
