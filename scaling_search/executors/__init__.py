"""Ways to run trainings, one file each."""

from typing import TYPE_CHECKING

from scaling_search.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from scaling_search.executors.inline import Inline
    from scaling_search.executors.processes import Processes
    from scaling_search.executors.ray import Ray

__all__ = ["Inline", "Processes", "Ray"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
