"""A subset of Fashion-MNIST that lies in the package: the first run needs no download.

`benchmarks/draw_fashion_mnist_small.py` draws it from the whole.
Source: Xiao, Rasul & Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist.
"""

import functools
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scaling_search.core.dataset import Split, Splits
from scaling_search.core.part import part
from scaling_search.data import images

FOLDER = Path(__file__).parent / "fashion_mnist_small_data"
NUM_IMAGES = {"train": 10_000, "val": 5_000, "test": 5_000}
REMEDY = "install scaling-search again"


@part
class FashionMnistSmall:
    """Fashion-MNIST's 10,000 train, 5,000 val and 5,000 test images, as many of each class.

    Attributes:
        num_train: Train on so many of the 10,000, as many of each class; None for all.
        num_val: Choose on so many of the 5,000; None for all.
        num_classes: Kinds of clothes.
        in_channels: Grey alone.
        resolution: Native height and width in pixels.
    """

    num_train: Annotated[int, Field(ge=10, le=NUM_IMAGES["train"])] | None = None
    num_val: Annotated[int, Field(ge=10, le=NUM_IMAGES["val"])] | None = None
    num_classes: Literal[10] = 10
    in_channels: Literal[1] = 1
    resolution: Literal[28] = 28

    @property
    def licence(self) -> str:
        """As its authors state it."""
        return "MIT"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by their labels."""
        return images.FASHION_CLASSES

    def check(self) -> None:
        """Verifies the package's files, once in a process.

        Raises:
            RuntimeError: A file is missing or damaged.
        """
        self.fingerprint()

    def fingerprint(self) -> str:
        """A hash of all images, labels and splits; computed once in a process."""
        return _fingerprint(FOLDER, self.num_train, self.num_val)

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
        return images.prepared(
            _drawn(_read(FOLDER), self.num_train, self.num_val), resolution, device
        )


@functools.cache
def _fingerprint(folder: Path, num_train: int | None, num_val: int | None) -> str:
    return images.fingerprint(_drawn(_read(folder), num_train, num_val))


def _drawn(splits: Splits, num_train: int | None, num_val: int | None) -> Splits:
    """So many images of train and val, stratified; always the same."""

    def draw(split: Split, size: int | None) -> Split:
        if size is None:
            return split
        (indices,) = images.stratified(split.labels, [size], seed=0)
        return Split(split.images[indices], split.labels[indices])

    return Splits(draw(splits.train, num_train), draw(splits.val, num_val), splits.test)


def _read(folder: Path) -> Splits:
    """The splits in native size, each file compared with its line in ``SHA256SUMS``."""
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RuntimeError(
            f"{folder / 'SHA256SUMS'} must be readable, got {str(error)!r}; {REMEDY}"
        ) from error
    sums = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}

    def read(name: str, shape: tuple[int, ...]) -> Tensor:
        path = folder / f"{name}.gz"
        return images.read_idx(path, shape=shape, sha256=sums.get(name, ""), remedy=REMEDY)

    def split(name: str) -> Split:
        pixels = read(f"{name}-images", (NUM_IMAGES[name], 28, 28))
        labels = read(f"{name}-labels", (NUM_IMAGES[name],))
        return Split(pixels.unsqueeze(1), labels.long())

    return Splits(split("train"), split("val"), split("test"))
