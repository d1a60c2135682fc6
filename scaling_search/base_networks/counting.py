"""Layers on paper: their multiply-adds, parameters and outputs in closed form."""

from functools import lru_cache

from scaling_search.core.network import Layer


@lru_cache(maxsize=100_000)
def conv_layer(
    name: str, channels: tuple[int, int], kernel_size: int, size: int, *, depthwise: bool = False
) -> Layer:
    """A convolution without bias and its batch norm; the output is ``size`` x ``size`` pixels."""
    weights = kernel_size**2 * channels[1] * (1 if depthwise else channels[0])
    return Layer(name, weights * size**2, weights + 2 * channels[1], channels[1] * size**2)


@lru_cache(maxsize=10_000)
def linear_layer(name: str, channels: tuple[int, int]) -> Layer:
    """A linear layer with bias, or a 1x1 convolution of pooled channels."""
    weights = channels[0] * channels[1]
    return Layer(name, weights, weights + channels[1], channels[1])


def strided(size: int, stride: int) -> int:
    """Pixels behind a convolution with "same" padding: a stride divides them, rounded up."""
    return -(-size // stride)
