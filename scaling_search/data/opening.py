"""The splits in folders of maps, once their digests have been compared."""

import logging
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from scaling_search.core.dataset import Split, Splits
from scaling_search.runtime import digests

log = logging.getLogger(__name__)

_said: dict[Path, str] = {}
"""Faults of folders that this process has logged."""


def opened(place: Path) -> Splits | None:
    """The splits in a folder of maps; None if there is none, or it is damaged, which is logged."""
    try:
        digests.check_folder(place)
        return splits_in(place)
    except (OSError, ValueError, EOFError) as error:
        if place.is_dir() and _said.get(place) != str(error):
            _said[place] = str(error)
            log.warning("maps are not used and made again: %s in %s", error, place)
        return None


def splits_in(place: Path) -> Splits:
    """The splits in a folder of maps, as they lie there."""

    def mapped(name: str) -> torch.Tensor:
        # Copy on write: pages are shared, and the file cannot be changed.
        return torch.from_numpy(np.load(place / f"{name}.npy", mmap_mode="c", allow_pickle=False))

    names = [field.name for field in fields(Splits)]
    return Splits(*(Split(mapped(f"{name}-images"), mapped(f"{name}-labels")) for name in names))
