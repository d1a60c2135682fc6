"""Fashion-MNIST, whole: 60,000 + 10,000 grey images of clothes, 28 px, ten classes.

Source: Xiao, Rasul & Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist.
"""

import functools
import logging
import os
import secrets
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Literal
from urllib.error import HTTPError

from platformdirs import user_cache_path
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from torch import Tensor

from scaling_search.core.dataset import Split, Splits
from scaling_search.core.part import part
from scaling_search.data import images
from scaling_search.data.cache import NotCheckedError

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
"""Where the package `dataset-fashion-mnist` puts them."""

TIMEOUT_SECONDS = 30
CHUNK_BYTES = 2**16

logger = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1)]


@part
class FashionMnist:
    """Fashion-MNIST; train and val are drawn by class from the official training images.

    Attributes:
        root: Folder of the four official files, gzip or plain. None looks in Debian's folder,
            then in the user's cache.
        download: Whether to fill the cache where the files are in neither.
        url: Where the four ``.gz`` files are.
        num_train: Training images; None for all that val leaves.
        num_val: Validation images; the same ones whatever ``num_train`` is.
        num_test: Of the official test images; None for all.
        split_seed: Of the draw.
        num_classes: Kinds of clothes.
        in_channels: Grey alone.
        resolution: Native height and width in pixels.
    """

    root: str | None = None
    download: bool = True
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    )
    num_train: Count | None = None
    num_val: Count = 5000
    num_test: Annotated[int, Field(ge=1, le=NUM_OFFICIAL_TEST)] | None = None
    split_seed: Annotated[int, Field(ge=0)] = 0
    num_classes: Literal[10] = 10
    in_channels: Literal[1] = 1
    resolution: Literal[28] = 28

    def __post_init__(self) -> None:
        if self.num_val + (self.num_train or 1) > NUM_OFFICIAL_TRAIN:
            raise ValueError(
                f"dataset.num_val must leave dataset.num_train of {NUM_OFFICIAL_TRAIN} images, "
                f"got {self.num_val} and {self.num_train}; make one of them smaller"
            )

    @property
    def licence(self) -> str:
        """As its authors state it."""
        return "MIT"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by their labels."""
        return images.FASHION_CLASSES

    def check(self) -> None:
        """Finds the files, or downloads them, and verifies what they hold.

        Raises:
            RuntimeError: They are missing or damaged, or the download failed.
        """
        if self.root is None and self.download and _missing(DEBIAN_FOLDER):
            for name in _missing(_cache()):
                _download(f"{self.url.rstrip('/')}/{name}.gz", _cache(), name)
        self.fingerprint()

    def fingerprint(self) -> str:
        """A hash of all images, labels and splits; computed once in a process."""
        return _fingerprint(self, self._folder())

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
        return images.prepared(_drawn(self, self._folder()), resolution, device)

    def _folder(self) -> Path:
        """The folder that holds all files.

        Raises:
            RuntimeError: There is none.
        """
        if self.root is not None:
            folder = Path(self.root).expanduser()
            for name in _missing(folder):
                raise RuntimeError(
                    f"dataset.root must hold {name}.gz, got {self.root!r}; put the four official "
                    "files there, or set dataset.root=null to use Debian's or to download them"
                )
            return folder
        for folder in (DEBIAN_FOLDER, _cache()):
            if not _missing(folder):
                return folder
        lacks = f"{_cache()} lacks {_missing(_cache())[0]}.gz"
        if self.download:
            raise NotCheckedError(f"dataset must be checked while {lacks}; call check()")
        raise RuntimeError(
            f"dataset.download must be true while {lacks}, got False; allow it, set dataset.root "
            "to a folder with the four official files, or install the Debian package "
            "dataset-fashion-mnist"
        )


def _cache() -> Path:
    return user_cache_path("scaling_search") / "fashion_mnist"


def _path(folder: Path, name: str) -> Path:
    """Where a file is, plain only if the compressed one cannot be read."""
    compressed, plain = folder / f"{name}.gz", folder / name
    # access() also answers, with False, where a folder on the way may not be searched.
    return plain if os.access(plain, os.R_OK) and not os.access(compressed, os.R_OK) else compressed


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not os.access(_path(folder, name), os.R_OK)]


@functools.lru_cache(maxsize=16)
def _fingerprint(dataset: FashionMnist, folder: Path) -> str:
    return images.fingerprint(_drawn(dataset, folder))


def _drawn(dataset: FashionMnist, folder: Path) -> Splits:
    """The splits in native size."""

    def read(name: str) -> Tensor:
        shape, sha256 = FILES[name]
        remedy = "put the official file there, or delete it from the cache to download it again"
        return images.read_idx(_path(folder, name), shape=shape, sha256=sha256, remedy=remedy)

    def split(pixels: Tensor, labels: Tensor, indices: Tensor) -> Split:
        return Split(pixels[indices].unsqueeze(1), labels[indices].long())

    pixels, labels = read("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte")
    sizes = (dataset.num_val, dataset.num_train)
    val, train = images.stratified(labels, sizes, seed=dataset.split_seed)
    test_pixels, test_labels = read("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte")
    (test,) = images.stratified(test_labels, (dataset.num_test,), seed=dataset.split_seed)
    return Splits(
        split(pixels, labels, train),
        split(pixels, labels, val),
        split(test_pixels, test_labels, test),
    )


def _download(url: str, folder: Path, name: str) -> None:
    """Puts one file into the folder; it appears there whole and verified, or not at all."""
    logger.info("downloading %s to %s", url, folder)
    elsewhere = "set dataset.root to a folder with the four official files"
    try:
        content = _fetched(url)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise RuntimeError(
            f"dataset.url must give {name}.gz, got {str(error)!r} from {url}; run the command "
            f"again when the network is there, or {elsewhere}"
        ) from error
    shape, sha256 = FILES[name]
    remedy = f"run the command again, correct dataset.url, or {elsewhere}"
    images.parse_idx(content, url, shape=shape, sha256=sha256, remedy=remedy)
    path = folder / f"{name}.gz"
    partial = folder / f".{name}.{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"{path} must be writable, got {error.strerror!r}; set XDG_CACHE_HOME to a folder "
            f"with 40 MB of space, or {elsewhere}"
        ) from error


def _fetched(url: str) -> bytes:
    """What a server gives, all of it, with a bar where a person looks on.

    Raises:
        OSError: There is no answer, an error, or an end before the announced one.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    content = bytearray()
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, progress:
        num_bytes = response.length
        task = progress.add_task(url.rpartition("/")[2], total=num_bytes)
        while chunk := response.read(CHUNK_BYTES):
            content += chunk
            progress.advance(task, len(chunk))
    if num_bytes is not None and len(content) < num_bytes:
        raise ConnectionError(f"{len(content)} of {num_bytes} bytes")
    return bytes(content)
