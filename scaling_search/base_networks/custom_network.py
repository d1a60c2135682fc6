"""Any network: a user function makes it from multipliers, and it is counted built."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn

from scaling_search.base_networks.options import Count
from scaling_search.base_networks.rounding import (
    first_of_each,
    kept_direction,
    multiples,
    round_resolution,
)
from scaling_search.base_networks.traced import layers_of, traced_logits
from scaling_search.base_networks.tried import is_of, shown, try_step
from scaling_search.base_networks.user_function import KEY, Function, random_state_kept, told
from scaling_search.core.network import Layer
from scaling_search.core.part import CHECKED
from scaling_search.core.scaling import DIMENSIONS, Multipliers
from scaling_search.operators.products import UncountedError
from scaling_search.operators.trace import Trace
from scaling_search.operators.witness import confirm


@dataclass(frozen=True)
class Custom:
    """A user's network on paper, once `layers` has seen it built.

    Two of one base are equal when their multipliers give the same: of depth and width a place on a
    grid, the nearest to 1 of all in a row that give a state dict of the same names and shapes; of
    resolution the pixels.

    Attributes:
        function: Makes it.
        depth: Place of its multiplier on the grid (1 + step)**place.
        width: The same.
        resolution: Height and width of the input in pixels.
        base_resolution: Those of the base network.
        step: Distance of multipliers, a fraction.
        resolution_divisor: Scaled resolutions are multiples of it.
        in_channels: Channels of the input.
        num_classes: Number of logits.
    """

    function: Function
    depth: int
    width: int
    resolution: int
    base_resolution: int
    step: float
    resolution_divisor: int
    in_channels: int
    num_classes: int

    @property
    def num_layers(self) -> tuple[int, ...]:
        """Number of weights, tensors of two axes or more."""
        return (_shapes(self).num_weights,)

    @property
    def channels(self) -> tuple[int, ...]:
        """Every number of outputs that its weights have, in order."""
        return _shapes(self).channels

    @property
    def name(self) -> str:
        """Weights, channels, resolution, and a digest of all names and shapes of the state dict."""
        shapes = _shapes(self)
        channels = "-".join(map(str, shapes.channels))
        return f"{shapes.num_weights}/{channels}/{self.resolution}/{shapes.digest[:12]}"

    def scaled(self, multipliers: Multipliers) -> "Custom":
        """The network with these multipliers of the base network, rounded to the grid."""
        return replace(
            self,
            depth=self._place("depth", multipliers.depth),
            width=self._place("width", multipliers.width),
            resolution=self._pixels(multipliers.resolution),
        )

    def layers(self) -> tuple[Layer, ...]:
        """Every module that itself multiplies, in the order of their first products.

        Raises:
            ValueError: The function makes no network that can be counted.
        """
        return _traced(self)[0]

    def check(self) -> None:
        """Checks that torch's own counter sees the same, and that a training step runs.

        Raises:
            RuntimeError: The counts differ.
            ValueError: The step fails.
        """
        with random_state_kept(seed=2):
            network = self.build()
            confirm(network.eval(), _image(self), _traced(self)[1])
            _try_step(self, network)

    def steps(self, dimension: str, low: float, high: float) -> list[float]:
        """The smallest multiplier, to six decimals, of each distinct result within [low, high].

        Raises:
            ValueError: The network does not cost more with more of the dimension.
        """
        _check_growth(self.scaled(Multipliers(1.0, 1.0, 1.0)), dimension)
        if dimension == "resolution":
            unit = 1.0 if self.resolution_divisor == 1 else self.resolution_divisor / 2
            near = [1.0, *multiples({self.base_resolution}, unit, low, high)]
            return first_of_each(self._pixels, near, low, high)
        first, last = (_place_below(self.step, multiplier) for multiplier in (low, high))
        near = [_multiplier(self.step, place) for place in range(first, last + 1)]
        return first_of_each(lambda m: self._place(dimension, m), near, low, high)

    def build(self) -> nn.Module:
        """The network, freshly initialised as the function does.

        Raises:
            ValueError: The function makes none.
        """
        return self.function(
            depth=_multiplier(self.step, self.depth),
            width=_multiplier(self.step, self.width),
            resolution=self.resolution / self.base_resolution,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
        )

    def _pixels(self, multiplier: float) -> int:
        base = self.base_resolution
        pixels = round_resolution(base * multiplier, self.resolution_divisor)
        return kept_direction(pixels, base, multiplier)

    def _place(self, dimension: str, multiplier: float) -> int:
        """The place nearest to 1 of those in a row that give the same, nothing else scaled."""
        base = replace(self, depth=0, width=0, resolution=self.base_resolution)
        last = _place_below(self.step, multiplier)
        way = 1 if last > 0 else -1
        nearest, digest = 0, _shapes(base).digest
        for place in range(way, last + way, way):
            one = replace(base, depth=place) if dimension == "depth" else replace(base, width=place)
            there = _shapes(one).digest
            if there != digest:
                nearest, digest = place, there
        return nearest


@validate_call(config=CHECKED)
def custom(
    network: Callable[..., object],
    *,
    step: Annotated[float, Field(ge=0.001, le=1)] = 0.05,
    resolution: Count = 20,
    resolution_divisor: Count = 2,
    in_channels: Count = 1,
    num_classes: Count = 10,
) -> Custom:
    """The base network that a user function makes of multipliers 1.

    Args:
        network: The function, or a `functools.partial` of it with options of its own.
        step: Multipliers of depth and width are tried this far apart, a fraction.
        resolution: Height and width of the base network's input in pixels.
        resolution_divisor: Scaled resolutions are multiples of it.
        in_channels: Channels of the input.
        num_classes: Number of logits.
    """
    return Custom(
        function=Function.of(network),
        depth=0,
        width=0,
        resolution=resolution,
        base_resolution=resolution,
        step=step,
        resolution_divisor=resolution_divisor,
        in_channels=in_channels,
        num_classes=num_classes,
    )


@dataclass(frozen=True)
class Shapes:
    """Names and shapes in the state dict of a network.

    Attributes:
        digest: Equal exactly when all names and shapes are.
        num_weights: Tensors of two dimensions or more.
        channels: Their different numbers of outputs, in order.
    """

    digest: str
    num_weights: int
    channels: tuple[int, ...]

    @classmethod
    def of(cls, network: nn.Module) -> "Shapes":
        """Those of a network."""
        shapes = {name: tuple(t.shape) for name, t in network.state_dict().items()}
        weights = [shape for shape in shapes.values() if len(shape) > 1]
        return cls(
            digest=hashlib.sha256(repr(sorted(shapes.items())).encode()).hexdigest(),
            num_weights=len(weights),
            channels=tuple(dict.fromkeys(shape[0] for shape in weights)),
        )


@lru_cache(maxsize=100_000)
def _shapes(network: Custom) -> Shapes:
    """Shapes of a network, made without memory for its weights where the function allows it."""
    try:
        with random_state_kept(seed=0), torch.device("meta"):
            return Shapes.of(network.build())
    except Exception:  # noqa: BLE001 - anything: some networks look at values while they are made
        with random_state_kept(seed=0):
            return _shapes_of(network, network.build())


def _shapes_of(network: Custom, built: nn.Module) -> Shapes:
    try:
        return Shapes.of(built)
    except Exception as error:
        name = network.function.name
        raise ValueError(
            f"{KEY} must have parameters of known shapes, got {told(error, name)} from {name}; "
            "give lazy modules their sizes"
        ) from error


@lru_cache(maxsize=5_000)
def _traced(network: Custom) -> tuple[tuple[Layer, ...], Trace]:
    name = network.function.name
    # Another seed than above: what is drawn must not be what is built.
    with random_state_kept(seed=1):
        built = network.build().eval()
        # Whose shapes are known anyway: those of one dimension alone were walked along.
        is_known = (
            not (network.depth and network.width) and network.resolution == network.base_resolution
        )
        if is_known and _shapes_of(network, built) != _shapes(network):
            raise ValueError(
                f"{KEY} must make the same network from the same arguments, got other shapes "
                f"from {name} at the second call; use no random sizes"
            )
        image = _image(network)
        try:
            trace, logits = traced_logits(built, image)
        except UncountedError:
            _try_step(network, network.build())  # a failure there says more
            raise
        except Exception as error:
            raise ValueError(
                f"{KEY} must make a network that takes images {tuple(image.shape)} and can be "
                f"traced, got {told(error, name)} of {_described(network)}; evaluate "
                "without torch.func, torch.jit, torch.compile and torch.utils.checkpoint"
            ) from error
    wanted = (1, network.num_classes)
    if not is_of(logits, wanted):
        raise ValueError(
            f"{KEY} must make a network that gives logits {wanted} for an image, got "
            f"{shown(logits)} of {name}; it is called with num_classes={network.num_classes}"
        )
    if not trace.operations:
        raise ValueError(
            f"{KEY} must make a network with convolutions or linear layers, got none of {name}; "
            "only their products count as cost"
        )
    return tuple(layers_of(built, trace)), trace


def _image(network: Custom) -> Tensor:
    return torch.zeros(1, network.in_channels, network.resolution, network.resolution)


def _try_step(network: Custom, built: nn.Module) -> None:
    name, described = network.function.name, _described(network)
    try_step(built.train(), _image(network), network.num_classes, function=name, at=described)


@lru_cache(maxsize=100)
def _check_growth(base: Custom, dimension: str) -> None:
    """Checks that the network costs more with twice a dimension, and never less on the way."""
    name, before, last = base.function.name, _flops(base), 1.0
    for place in range(1, _place_below(base.step, 2.0) + 1):
        multiplier = _multiplier(base.step, place)
        flops = _flops(base.scaled(_alone(dimension, multiplier)))
        if flops < before:
            raise ValueError(
                f"{KEY} must not cost less with more {dimension}, got {before:,} multiply-adds at "
                f"{last:g} times and {flops:,} at {multiplier:g} times from {name}"
            )
        before, last = flops, multiplier
    if (base_flops := _flops(base)) >= _flops(base.scaled(_alone(dimension, 2.0))):
        raise ValueError(
            f"{KEY} must cost more with twice the {dimension}, got {base_flops:,} multiply-adds "
            f"for both from {name}; a search splits the cost over {', '.join(DIMENSIONS)}"
        )


def _alone(dimension: str, multiplier: float) -> Multipliers:
    return Multipliers(**dict.fromkeys(DIMENSIONS, 1.0) | {dimension: multiplier})


def _flops(network: Custom) -> int:
    return sum(layer.flops for layer in network.layers())


def _multiplier(step: float, place: int) -> float:
    return round((1 + step) ** place, 6)


def _place_below(step: float, multiplier: float) -> int:
    """The place of the grid's largest multiplier that is not larger."""
    exact = round(multiplier, 6)
    place = math.floor(math.log(exact) / math.log1p(step))
    while _multiplier(step, place + 1) <= exact:
        place += 1
    while _multiplier(step, place) > exact:
        place -= 1
    return place


def _described(network: Custom) -> str:
    step, name = network.step, network.function.name
    return (
        f"{name} at depth {_multiplier(step, network.depth):g}, width "
        f"{_multiplier(step, network.width):g}, {network.resolution} px"
    )
