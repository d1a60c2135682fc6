"""From a trial to its result: one network, one seed, one device; and what that takes."""

from typing import TYPE_CHECKING

from scaling_search.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from scaling_search.training.own import builtin, command, custom

__all__ = ["builtin", "command", "custom"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
