"""Options of parts, checked where a part is built."""

from typing import TypeVar, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

CHECKED = pydantic.ConfigDict(
    strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
)
"""Configuration of the checks: no conversions, no unknown keys, no NaN or infinity."""

IMPORTED = "imported"
"""Mark, in a field's metadata, of the name of a function that is imported and called."""

Part = TypeVar("Part")


@dataclass_transform(frozen_default=True)
def part(cls: type[Part]) -> type[Part]:
    """Makes a class a frozen dataclass whose options are checked when Hydra builds it."""
    return pydantic_dataclass(frozen=True, config=CHECKED)(cls)  # type: ignore[return-value]  # it is cls
