"""Labelled images, split three ways."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Split:
    """Images and labels in memory; ``images`` is uint8 (N, C, H, W), ``labels`` int64 (N,)."""

    images: "torch.Tensor"
    labels: "torch.Tensor"

    def to(self, device: str) -> "Split":
        """The split on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Splits:
    """Splits of a dataset: train on the first, choose on val, report on test once."""

    train: Split
    val: Split
    test: Split

    def to(self, device: str) -> "Splits":
        """The splits on a device."""
        return Splits(self.train.to(device), self.val.to(device), self.test.to(device))


@runtime_checkable
class Dataset(Protocol):
    """Labelled images of one native size: a small, hashable description that `load` reads.

    Numbers that are None are read from the data before anything is planned.
    """

    @property
    def num_classes(self) -> int | None:
        """Number of labels."""

    @property
    def in_channels(self) -> int | None:
        """Channels of an image."""

    @property
    def resolution(self) -> int | None:
        """Native height and width in pixels; beyond it images are only enlarged."""

    def __hash__(self) -> int:
        """Hash of the description, a key for loaded data."""

    def check(self) -> None:
        """Makes the data ready: downloads, reads or decodes them if need be.

        Raises:
            RuntimeError: The data are missing or damaged.
        """

    def fingerprint(self) -> str:
        """A hash of all images, labels and splits, known after `check`."""

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
