"""Ways to find networks of the target's cost, one file each."""

from typing import TYPE_CHECKING

from scaling_search.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from scaling_search.candidates.buildable import Buildable
    from scaling_search.candidates.paper_grid import PaperGrid

__all__ = ["Buildable", "PaperGrid"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
