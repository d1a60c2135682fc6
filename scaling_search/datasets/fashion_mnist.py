"""Fashion-MNIST, whole: 60,000 + 10,000 images, from a folder or by a download."""

import io
import logging
import os
import shutil
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Annotated
from urllib.error import HTTPError

from platformdirs import user_cache_path
from pydantic import Field
from rich.console import Console
from rich.progress import wrap_file
from torch import Tensor

from scaling_search.core.dataset import Split, Splits
from scaling_search.core.part import part
from scaling_search.data import images
from scaling_search.datasets.fashion import Fashion
from scaling_search.runtime.files import replace_file

NUM_OFFICIAL_TRAIN = 60_000
NUM_OFFICIAL_TEST = 10_000
FILES = {
    "train-images-idx3-ubyte": (
        (NUM_OFFICIAL_TRAIN, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte": (
        (NUM_OFFICIAL_TRAIN,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte": (
        (NUM_OFFICIAL_TEST, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte": (
        (NUM_OFFICIAL_TEST,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
"""Shape and SHA-256 of the decompressed files; Debian compresses them anew, the data are equal."""

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Folder of the files in the package `dataset-fashion-mnist`."""

URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
"""Folder of the four ``.gz`` files on the authors' server."""

TIMEOUT_SECONDS = 30

logger = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1)]


@part
class FashionMnist(Fashion):
    """Fashion-MNIST; train and val are drawn by class from the official training images.

    Attributes:
        root: Folder of the four official files, gzip or plain. None looks in Debian's folder,
            then in the user's cache, which is filled by a download.
        num_train: Training images; None for all that val leaves.
        num_val: Validation images; the same ones whatever ``num_train`` is.
        num_test: Number of official test images; None for all.
        split_seed: Seed of the draw.
    """

    root: str | None = None
    num_train: Count | None = None
    num_val: Count = 5000
    num_test: Annotated[int, Field(ge=1, le=NUM_OFFICIAL_TEST)] | None = None
    split_seed: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.num_val + (self.num_train or 1) > NUM_OFFICIAL_TRAIN:
            raise ValueError(
                f"dataset.num_val must leave dataset.num_train of {NUM_OFFICIAL_TRAIN} images, "
                f"got {self.num_val} and {self.num_train}; make one of them smaller"
            )

    def folder(self) -> Path:
        """The folder that holds all files, after a download if need be."""
        if self.root is not None:
            folder = Path(self.root).expanduser()
            for name in _missing(folder):
                raise RuntimeError(
                    f"dataset.root must hold {name}.gz, got {self.root!r}; put the four official "
                    "files there, or set dataset.root=null to use Debian's or to download them"
                )
            return folder
        cache = user_cache_path("scaling_search") / "fashion_mnist"
        if not _missing(DEBIAN_FOLDER):
            return DEBIAN_FOLDER
        for name in _missing(cache):
            _download(name, cache)
        return cache

    def splits(self, folder: Path) -> Splits:
        """The splits in native size, drawn by class; the files are verified."""

        def read(name: str) -> tuple[Tensor, Tensor]:
            remedy = "put the official file there, or delete it from the cache to download it again"
            pixels, labels = (
                images.read_idx(_path(folder, kind), *FILES[kind], remedy=remedy)
                for kind in (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte")
            )
            return pixels.unsqueeze(1), labels.long()

        pixels, labels = read("train")
        sizes = (self.num_val, self.num_train)
        val, train = images.stratified(labels, sizes, seed=self.split_seed)
        test_pixels, test_labels = read("t10k")
        (test,) = images.stratified(test_labels, (self.num_test,), seed=self.split_seed)
        return Splits(
            Split(pixels[train], labels[train]),
            Split(pixels[val], labels[val]),
            Split(test_pixels[test], test_labels[test]),
        )


def _path(folder: Path, name: str) -> Path:
    """The path of a file, plain only if the compressed one cannot be read."""
    compressed, plain = folder / f"{name}.gz", folder / name
    # access() also answers, with False, where a folder on the way may not be searched.
    return plain if os.access(plain, os.R_OK) and not os.access(compressed, os.R_OK) else compressed


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not os.access(_path(folder, name), os.R_OK)]


def _download(name: str, folder: Path) -> None:
    """Puts one file into the folder; it appears there whole and verified, or not at all."""
    url = f"{URL}/{name}.gz"
    logger.info("downloading %s to %s", url, folder)
    remedy = "set dataset.root to a folder with the four official files"
    try:
        content = _fetched(url)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise RuntimeError(
            f"{url} must be there for dataset.root=null, got {str(error)!r}; run the command "
            f"again when the network is there, or {remedy}"
        ) from error
    images.parse_idx(content, url, *FILES[name], remedy=f"run the command again, or {remedy}")
    try:
        replace_file(folder / f"{name}.gz", content)
    except RuntimeError as error:
        raise RuntimeError(
            f"{error}: set XDG_CACHE_HOME to a folder with 40 MB of space, or {remedy}"
        ) from error


def _fetched(url: str) -> bytes:
    """All that a server gives, with a bar on a terminal."""
    content = io.BytesIO()
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        num_bytes = response.length
        with wrap_file(
            response,
            num_bytes or 0,
            description=url.rpartition("/")[2],
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        ) as file:
            shutil.copyfileobj(file, content)
    if num_bytes is not None and content.tell() < num_bytes:
        raise ConnectionError(f"{content.tell()} of {num_bytes} bytes")
    return content.getvalue()
