"""Options and methods that Fashion-MNIST and its subset share.

Source: Xiao, Rasul & Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist.
"""

import functools
from abc import ABC, abstractmethod
from dataclasses import field
from pathlib import Path
from typing import Literal

from scaling_search.core.dataset import Splits
from scaling_search.core.part import part
from scaling_search.data import images


@part
class Fashion(ABC):
    """Grey images of clothes, 28 px, ten classes.

    Attributes:
        num_classes: Kinds of clothes.
        in_channels: Grey alone.
        resolution: Native height and width in pixels.
    """

    num_classes: Literal[10] = field(default=10, kw_only=True)
    in_channels: Literal[1] = field(default=1, kw_only=True)
    resolution: Literal[28] = field(default=28, kw_only=True)

    @property
    def licence(self) -> str:
        """As its authors state it."""
        return "MIT"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by their labels. Source: table 2."""
        return (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        )

    @abstractmethod
    def folder(self) -> Path:
        """The folder that holds all files, after a download if need be."""

    @abstractmethod
    def splits(self, folder: Path) -> Splits:
        """The splits in native size, from the verified files of a folder."""

    def check(self) -> None:
        """Finds the files, or downloads them, and verifies what they hold.

        Raises:
            RuntimeError: They are missing or damaged, or the download failed.
        """
        self.fingerprint()

    def fingerprint(self) -> str:
        """A hash of all images, labels and splits; computed once in a process."""
        return _fingerprint(self, self.folder())

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
        return images.prepared(self.splits(self.folder()), resolution, device)


@functools.lru_cache(maxsize=16)
def _fingerprint(dataset: Fashion, folder: Path) -> str:
    return images.fingerprint(dataset.splits(folder))
