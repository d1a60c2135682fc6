"""Rounding of networks in stages, and the multipliers at which it changes them."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol, Self

from scaling_search.base_networks.options import Count, Counts
from scaling_search.base_networks.rounding import (
    DepthRounding,
    first_of_each,
    kept_direction,
    multiples,
    round_depth,
    round_resolution,
    round_width,
)
from scaling_search.core.part import part
from scaling_search.core.scaling import Multipliers


class Staged(Protocol):
    """A network on paper that has what is scaled, and the rules of its rounding."""

    @property
    def num_layers(self) -> tuple[int, ...]:
        """Blocks in each stage."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the stem, of each stage and of the head, if there is one."""

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels that are rounded; the others follow from them."""

    @property
    def resolution(self) -> int:
        """Height and width of the input in pixels."""

    @property
    def width_divisor(self) -> int:
        """Scaled widths are multiples of it."""

    @property
    def resolution_divisor(self) -> int:
        """Scaled resolutions are multiples of it."""

    @property
    def depth_rounding(self) -> DepthRounding:
        """Rule by which scaled depths become whole."""


def network_name(network: Staged) -> str:
    """A name that only equal networks of one base share: layers, channels, resolution."""
    sizes = (network.num_layers, network.channels)
    layers, channels = ("-".join(str(number) for number in numbers) for numbers in sizes)
    return f"{layers}/{channels}/{network.resolution}"


class Sizes(NamedTuple):
    """The sizes that scaling changes, under the names of `Staged`."""

    num_layers: tuple[int, ...]
    widths: tuple[int, ...]
    resolution: int


def scaled_sizes(network: Staged, multipliers: Multipliers) -> Sizes:
    """The sizes with these multipliers, rounded by the network's rules."""
    return Sizes(
        scaled_depths(network, multipliers.depth),
        scaled_widths(network, multipliers.width),
        scaled_resolution(network, multipliers.resolution),
    )


def scaled_depths(network: Staged, multiplier: float) -> tuple[int, ...]:
    """Blocks in each stage."""
    return tuple(round_depth(n * multiplier, network.depth_rounding) for n in network.num_layers)


def scaled_widths(network: Staged, multiplier: float) -> tuple[int, ...]:
    """The channels that are rounded."""
    divisor = network.width_divisor
    return tuple(
        kept_direction(round_width(c * multiplier, divisor), c, multiplier) for c in network.widths
    )


def scaled_resolution(network: Staged, multiplier: float) -> int:
    """Height and width of the input in pixels."""
    pixels = round_resolution(network.resolution * multiplier, network.resolution_divisor)
    return kept_direction(pixels, network.resolution, multiplier)


def steps(
    network: Staged,
    dimension: str,
    low: float,
    high: float,
    *,
    widths: Callable[[Staged, float], object] = scaled_widths,
) -> list[float]:
    """The smallest multiplier, to six decimals, of each distinct result within [low, high].

    Rounding rules are step functions; every step lies at a whole or half number of layers,
    divisors or pixels, or where width rounding would fall under 0.9. The rules themselves decide
    on which side of such a place the result changes.

    Args:
        network: The network to scale.
        dimension: One of `scaling.DIMENSIONS`.
        low: The smallest multiplier.
        high: The largest one.
        widths: The family's own rule, where it changes widths at no other place than
            `scaled_widths` does.
    """
    rounded: dict[str, Callable[[Staged, float], object]] = {
        "depth": scaled_depths,
        "width": widths,
        "resolution": scaled_resolution,
    }
    rule = rounded[dimension]
    near = _breakpoints(network, dimension, low, high)
    return first_of_each(lambda multiplier: rule(network, multiplier), near, low, high)


def _breakpoints(network: Staged, dimension: str, low: float, high: float) -> list[float]:
    if dimension == "depth":
        return multiples(set(network.num_layers), 0.5, low, high)
    if dimension == "resolution":
        divisor = network.resolution_divisor
        unit = 1.0 if divisor == 1 else divisor / 2
        return [1.0, *multiples({network.resolution}, unit, low, high)]
    halves = multiples(set(network.widths), network.width_divisor / 2, low, high)
    ninths = multiples(set(network.widths), network.width_divisor / 0.9, low, high)
    return [1.0, *halves, *ninths]


@part
class InStages:
    """A network in stages on paper whose sizes are options.

    Attributes:
        num_layers: Blocks in each stage.
        widths: The channels that are rounded; others follow from them.
        resolution: Height and width of the input in pixels.
        in_channels: Channels of the input.
        num_classes: Number of logits.
        width_divisor: Scaled widths are multiples of it.
        resolution_divisor: Scaled resolutions are multiples of it.
        depth_rounding: Rounding of scaled depths.
    """

    num_layers: Counts
    widths: Counts
    resolution: Count = 20
    in_channels: Count = 1
    num_classes: Count = 10
    width_divisor: Count = 2
    resolution_divisor: Count = 2
    depth_rounding: DepthRounding = "round"

    @property
    def name(self) -> str:
        """Only equal networks of one base share it."""
        return network_name(self)

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the stem, of each stage and of the head, if there is one."""
        return self.widths

    def scaled(self, multipliers: Multipliers) -> Self:
        """The network with these multipliers, rounded by the rules of this one."""
        return replace(self, **scaled_sizes(self, multipliers)._asdict())

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        """The smallest multiplier, to six decimals, of each distinct result within [low, high]."""
        return steps(self, dimension, low, high)
