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
        """The same on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Splits:
    """A dataset as training sees it: fit on train, choose on val, report on test once."""

    train: Split
    val: Split
    test: Split

    def to(self, device: str) -> "Splits":
        """The same on a device."""
        return Splits(self.train.to(device), self.val.to(device), self.test.to(device))


@runtime_checkable
class Dataset(Protocol):
    """Labelled images of one native size. Hashable and small: it describes, `load` reads.

    What is None of its numbers is read from the data before anything is planned.
    """

    @property
    def num_classes(self) -> int | None:
        """Number of labels."""

    @property
    def in_channels(self) -> int | None:
        """Channels of an image."""

    @property
    def resolution(self) -> int | None:
        """Native height and width in pixels; above it, images are only blown up."""

    def __hash__(self) -> int:
        """Of the description, so that loaded data can be kept by it."""

    def check(self) -> None:
        """Makes the data ready: downloads, reads or decodes them where that is its way.

        Raises:
            RuntimeError: The data are missing or damaged.
        """

    def fingerprint(self) -> str:
        """A hash of all images, labels and splits, known after `check`; equal if the data are."""

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
