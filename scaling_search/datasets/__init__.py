"""Image data to train on, one file each."""

from typing import TYPE_CHECKING

from scaling_search.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from scaling_search.datasets.arrays import Arrays
    from scaling_search.datasets.fashion_mnist import FashionMnist
    from scaling_search.datasets.fashion_mnist_small import FashionMnistSmall
    from scaling_search.datasets.huggingface import HuggingFace
    from scaling_search.datasets.imagefolder import ImageFolder

__all__ = ["Arrays", "FashionMnist", "FashionMnistSmall", "HuggingFace", "ImageFolder"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
