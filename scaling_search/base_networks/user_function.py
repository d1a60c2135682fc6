"""A user function that makes networks: found, called and named in errors."""

import json
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scaling_search.core.part import IMPORTED
from scaling_search.core.scaling import DIMENSIONS
from scaling_search.core.user_function import check_options, imported, name_and_options

KEY = "base_network.network"
"""The option that holds the function."""

GIVEN = (*DIMENSIONS, "num_classes", "in_channels")
"""Arguments that the function is called with besides its own options."""

LONGEST = 300
"""Characters of an error of the function's that are repeated."""


@dataclass(frozen=True)
class Function:
    """A function that makes networks, by its name, with options: it can travel and be compared.

    Attributes:
        name: As in package.module.function.
        options: JSON of its own keyword arguments.
    """

    name: str = field(metadata={IMPORTED: True})
    options: str

    @classmethod
    def of(cls, function: Callable[..., object]) -> "Function":
        """The name and options of a function, or of a partial of it.

        Raises:
            ValueError: It is no function of a module, or its options are more than plain values.
        """
        named = cls(*name_and_options(function, KEY))
        check_options(named.keywords, GIVEN, KEY)
        return named

    @property
    def keywords(self) -> dict[str, object]:
        """Its own keyword arguments."""
        keywords: dict[str, object] = json.loads(self.options)
        return keywords

    def __call__(self, **given: object) -> nn.Module:
        """The network of these arguments.

        Raises:
            ValueError: The function raises, or gives no network.
        """
        shown = ", ".join(f"{key}={value:g}" for key, value in given.items())
        call = f"{self.name}({shown})"
        try:
            network = imported(self.name)(**given, **self.keywords)
        except Exception as error:
            raise ValueError(
                f"{KEY} must make a network, got {told(error, self.name)} from {call}; "
                f"it is called with {', '.join(GIVEN)} by name"
            ) from error
        if not isinstance(network, nn.Module):
            got = type(network).__name__
            raise ValueError(f"{KEY} must return a torch.nn.Module, got {got} from {call}")  # noqa: TRY004 - a value of the configuration
        return network


@contextmanager
def random_state_kept(seed: int) -> Iterator[None]:
    """Draws from torch's generator start at a seed and leave no trace; no other may be drawn from.

    Raises:
        ValueError: Python's or NumPy's generator was drawn from.
    """
    states: tuple[Any, Any] = random.getstate(), _numpy_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            drawn = [random.getstate() != states[0], _numpy_state() != states[1]]
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002 - that of the process
    if any(drawn):
        whose = "Python" if drawn[0] else "NumPy"
        raise ValueError(
            f"{KEY} must draw from torch's generator alone, got draws from {whose}'s; a seed "
            "would not repeat a training"
        )


def _numpy_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state()  # noqa: NPY002 - that of the process
    return (state[0], state[1].tolist(), *state[2:])


def told(error: Exception, function: str) -> str:
    """An error in one line, with the place in a function's package where it came from."""
    # Torch shows the numbers of a tensor behind what it says of it.
    text = " ".join(str(error).partition("\nTensor:")[0].split())[:LONGEST]
    said = f"{type(error).__name__} ({text})" if text else type(error).__name__
    package = sys.modules.get(function.partition(".")[0])
    places = [*getattr(package, "__path__", ()), getattr(package, "__file__", None)]
    own = [Path(place) for place in places if place]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if any(place in (file, *file.parents) for place in own):
            return f"{said} at {file.name}:{frame.lineno}"
    return said
