"""Real pictures in files: the package's own, a few of each class, in every form that is read."""

import io
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from scaling_search.core.dataset import Dataset, Split, Splits
from scaling_search.datasets.arrays import Arrays
from scaling_search.datasets.fashion_mnist_small import FashionMnistSmall
from scaling_search.datasets.huggingface import HuggingFace
from scaling_search.datasets.imagefolder import ImageFolder

SUFFIXES = ("png", "jpg", "webp")


def few(of_each: int = 12, num_classes: int = 10) -> Splits:
    """The first pictures of each class of the package's data, in all splits."""
    whole = FashionMnistSmall(num_train=of_each * 10, num_val=50).load(28, "cpu")
    chosen = whole.train.labels < num_classes
    train = Split(whole.train.images[chosen], whole.train.labels[chosen])
    return Splits(train, whole.val, whole.test)


def arrays_of(of_each: int = 12, num_classes: int = 10) -> tuple[NDArray[Any], NDArray[Any]]:
    """Grey images (N, 28, 28) and labels (N,)."""
    train = few(of_each, num_classes).train
    return train.images[:, 0].numpy(), train.labels.numpy()


def write_tree(
    root: Path,
    of_each: int = 12,
    num_classes: int = 10,
    *,
    suffixes: tuple[str, ...] = SUFFIXES,
    mode: str = "L",
    size: tuple[int, int] | None = None,
) -> Path:
    """A folder for each class, ``class 0`` and so on."""
    for number, (image, label) in enumerate(zip(*arrays_of(of_each, num_classes), strict=True)):
        suffix = suffixes[number % len(suffixes)]
        path = root / f"class {label}" / f"{number:04}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image).convert(mode)
        (picture if size is None else picture.resize(size)).save(path)
    return root


def fingerprint_of(dataset: Dataset) -> str:
    """The fingerprint of a dataset that is made ready first."""
    dataset.check()
    return dataset.fingerprint()


def options(**changes: Any) -> dict[str, Any]:
    """Of the trees and arrays here; what all three data sets have in common."""
    shares = {"val_share": 0.25, "test_share": 0.25}
    return shares | {"num_classes": 10, "in_channels": 1, "resolution": 28} | changes


def folder_of(place: Path, **changes: Any) -> ImageFolder:
    return ImageFolder(**options(path=str(place)) | changes)


def arrays_in(place: Path, **changes: Any) -> Arrays:
    return Arrays(**options(path=str(place)) | changes)


def hugging_face(place: Path | str, **changes: Any) -> HuggingFace:
    return HuggingFace(**options(path=str(place)) | changes)


def table(of_each: int = 12, num_classes: int = 10, *, named: bool = True) -> Any:
    """The same pictures as PNG files in a table of `datasets`."""
    import datasets  # noqa: PLC0415 - seconds to load

    pictures, labels = arrays_of(of_each, num_classes)
    rows = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": None})
    names = [f"class {label}" for label in range(num_classes)]
    kind = datasets.ClassLabel(names=names) if named else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    return datasets.Dataset.from_dict({"image": rows, "label": labels.tolist()}, features=features)
