"""The options that base networks have in common, and their checks."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, Strict

LARGEST = 65_536
"""No network has more channels, layers in a stage, pixels along a side or classes: every size that
scaling can reach is walked, and the largest networks are built."""

Count = Annotated[int, Field(ge=1, le=LARGEST)]
Counts = Annotated[tuple[Count, ...], Strict(strict=False)]
"""Given as any sequence."""

Probability = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


def check_length(option: str, values: Sequence[object], wanted: int, what: str) -> None:
    """Checks that a list fits the stages that ``num_layers`` names.

    Raises:
        ValueError: It does not.
    """
    if len(values) != wanted:
        raise ValueError(
            f"base_network.{option} must have {what}, {wanted} values, got {len(values)}; "
            "num_layers has one for each stage"
        )


def check_resolution(resolution: int, least: int) -> None:
    """Checks that a pixel is left behind the last stride.

    Raises:
        ValueError: None is.
    """
    if resolution < least:
        raise ValueError(
            f"base_network.resolution must be at least the product of the strides, {least}, got "
            f"{resolution}; use larger images or fewer strides, or, where the data have as many "
            f"pixels, add base_network.resolution={least}"
        )
