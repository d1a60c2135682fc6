"""Rounding of scaled depths, widths and resolutions."""

import math
from collections.abc import Callable, Iterable
from typing import Literal

DepthRounding = Literal["ceil", "round"]


def round_width(channels: float, divisor: int) -> int:
    """The multiple of ``divisor`` nearest to ``channels``, half up, never under 0.9 of it.

    Source: tensorflow/tpu `efficientnet_model.py`, `round_filters`.
    """
    channels = round(channels, 6)
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def round_depth(num_layers: float, rounding: DepthRounding) -> int:
    """Whole layers: ``ceil`` is official, ``round`` the nearest, half to even, at least 1.

    A float a hair over a whole number counts as that number: (2**0.5)**2 layers are 2, not 3.

    Source: tensorflow/tpu `efficientnet_model.py` (ceil); Dollár et al. 2021, pycls (round).
    """
    exact = round(num_layers, 6)
    return math.ceil(exact) if rounding == "ceil" else max(1, round(exact))


def round_resolution(pixels: float, divisor: int) -> int:
    """Whole pixels below (divisor 1), else the nearest multiple of ``divisor``, half up."""
    if divisor == 1:
        return math.floor(round(pixels, 6))
    return max(1, math.floor(round(pixels / divisor, 6) + 0.5)) * divisor


def kept_direction(rounded: int, unscaled: int, multiplier: float) -> int:
    """A rounded size, or the unscaled one where rounding went against the multiplier.

    Only then does no cost fall while a multiplier grows: 20 px times 1.01 to a multiple of 16
    would be 16.
    """
    if multiplier == 1:
        return unscaled
    return max(rounded, unscaled) if multiplier > 1 else min(rounded, unscaled)


def multiples(bases: Iterable[int], unit: float, low: float, high: float) -> list[float]:
    """All multipliers within [low, high] that take a base to a multiple of ``unit``."""
    return [
        k * unit / base
        for base in bases
        for k in range(math.floor(low * base / unit), math.ceil(high * base / unit) + 1)
    ]


def first_of_each(
    result: Callable[[float], object], near: Iterable[float], low: float, high: float
) -> list[float]:
    """The smallest multiplier, to six decimals, of each distinct result within [low, high].

    A rounding rule is a step function whose steps lie near the multipliers ``near``; the rule
    itself decides on which side of such a place, so that ``ceil`` and ``round`` need no cases.
    """
    first, last = math.ceil(low * 1e6), math.floor(high * 1e6)
    ticks = {math.floor(x * 1e6) + i for x in near for i in (-1, 0, 1, 2)}
    steps: list[float] = []
    previous = None
    for tick in (first, *sorted(t for t in ticks if first < t <= last)):
        if (current := result(tick / 1e6)) != previous:
            steps.append(tick / 1e6)
        previous = current
    return steps
