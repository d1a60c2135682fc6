"""Room for resolution to grow: from the base network's images to what the data have."""

import math
from typing import Any


def fitted_resolution(native: int | None, *, target: float, tolerance: float, divisor: int) -> int:
    """The largest resolution of a base network from which the data's pixels reach the target.

    Cost grows with the square of the resolution, so that ``native`` over the square root of the
    band's lower edge has room for the target along resolution alone: 20 px below 28 at twice the
    cost. A target below 1 needs no room.

    Args:
        native: Height and width of the data in pixels.
        target: Cost over the base network's.
        tolerance: Half the width of the band around it, a fraction of it.
        divisor: Resolutions are multiples of it.

    Raises:
        ValueError: There are no data, or they are too small.
    """
    if native is None:
        raise ValueError(
            "base_network.resolution must be given without a dataset, got null; add for "
            "instance base_network.resolution=20"
        )
    room = math.sqrt(max(1.0, target * (1 - tolerance)))
    fitted = math.floor(native / room / divisor + 1e-9) * divisor
    if fitted < 1:
        raise ValueError(
            f"dataset.resolution must leave room for {target:g} times the cost, got {native}; "
            f"use larger images, or a smaller base_network.resolution_divisor than {divisor}"
        )
    return fitted


def check_sizes(
    native: int | None, base: int, limit: int | None, *, least: int, **band: Any
) -> None:
    """Looks whether the base network's images are not larger than a plan may use.

    Args:
        native: Height and width of the data in pixels; None without data.
        base: Resolution of the base network's images.
        limit: Largest that a plan may use; None for no limit.
        least: Smallest that the base network can see.
        band: Target, tolerance and divisor, as `fitted_resolution` takes them.

    Raises:
        ValueError: They are larger.
    """
    if limit is None or base <= limit:
        return
    whose = "the data have" if limit == native else "candidates.max_resolution allows"
    fitted = max(least, fitted_resolution(limit, **band))
    remedy = f"add base_network.resolution={fitted}"
    if fitted > limit:
        remedy = (
            f"it needs at least {least} px: use larger images, or a network for small ones, "
            "such as base_network=efficientnet_small"
        )
    raise ValueError(
        f"base_network.resolution must be at most the {limit} px that {whose}, got {base}: larger "
        f"images would only be upsampled; {remedy}, or candidates.max_resolution=null to allow "
        "it"
    )
