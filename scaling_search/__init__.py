"""Search for coefficients of depth, width and resolution among networks of equal measured cost.

The listed names are the public API; ``docs/python.md`` describes them.
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from scaling_search.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from scaling_search import (
        base_networks,
        candidates,
        costs,
        datasets,
        executors,
        samplers,
        training,
    )
    from scaling_search.answer.stopping import Limits
    from scaling_search.commands.api import load, run, search
    from scaling_search.commands.audit import audit
    from scaling_search.commands.compare import compare
    from scaling_search.commands.confirm import confirm
    from scaling_search.commands.export import export
    from scaling_search.commands.fairness import fairness
    from scaling_search.commands.plan import plan
    from scaling_search.commands.run import Run
    from scaling_search.commands.scale import scale
    from scaling_search.commands.transfer import transfer
    from scaling_search.core.recipe import Recipe
    from scaling_search.experiment.composing import compose
    from scaling_search.experiment.experiment import Decide, Experiment
    from scaling_search.experiment.options import Audit, Confirm, Export, Fairness, Scale, Transfer
    from scaling_search.planning.budget import Caps
    from scaling_search.record.serialization import from_json

__version__ = _version("scaling-search")

__all__ = [
    "Audit",
    "Caps",
    "Confirm",
    "Decide",
    "Experiment",
    "Export",
    "Fairness",
    "Limits",
    "Recipe",
    "Run",
    "Scale",
    "Transfer",
    "__version__",
    "audit",
    "base_networks",
    "candidates",
    "compare",
    "compose",
    "confirm",
    "costs",
    "datasets",
    "executors",
    "export",
    "fairness",
    "from_json",
    "load",
    "plan",
    "run",
    "samplers",
    "scale",
    "search",
    "training",
    "transfer",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
