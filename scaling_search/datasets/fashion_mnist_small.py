"""A subset of Fashion-MNIST that lies in the package: the first run needs no download.

`benchmarks/draw_fashion_mnist_small.py` draws it from the whole.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch import Tensor

from scaling_search.core.dataset import Split, Splits
from scaling_search.core.part import part
from scaling_search.data import images
from scaling_search.datasets.fashion import Fashion

FOLDER = Path(__file__).parent / "fashion_mnist_small_data"
NUM_IMAGES = {"train": 10_000, "val": 5_000, "test": 5_000}
REMEDY = "install scaling-search again"


@part
class FashionMnistSmall(Fashion):
    """Fashion-MNIST's 10,000 train, 5,000 val and 5,000 test images, as many of each class.

    Attributes:
        num_train: Train on so many of the 10,000, as many of each class; None for all.
        num_val: Choose on so many of the 5,000; None for all.
    """

    num_train: Annotated[int, Field(ge=10, le=NUM_IMAGES["train"])] | None = None
    num_val: Annotated[int, Field(ge=10, le=NUM_IMAGES["val"])] | None = None

    def folder(self) -> Path:
        """The package's own folder."""
        return FOLDER

    def splits(self, folder: Path) -> Splits:
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

        def split(name: str, size: int | None) -> Split:
            pixels = read(f"{name}-images", (NUM_IMAGES[name], 28, 28)).unsqueeze(1)
            labels = read(f"{name}-labels", (NUM_IMAGES[name],)).long()
            if size is None:
                return Split(pixels, labels)
            (drawn,) = images.stratified(labels, [size], seed=0)
            return Split(pixels[drawn], labels[drawn])

        return Splits(
            split("train", self.num_train), split("val", self.num_val), split("test", None)
        )
