"""Images and labels that lie in NumPy's files."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from scaling_search.data import gathering, images, pictures, sources
from scaling_search.data.cache import Part
from scaling_search.data.description import Description
from scaling_search.data.maps import NAMES
from scaling_search.data.pictures import Head, Way
from scaling_search.data.sources import Listing, Row, Rows
from scaling_search.protocols import Splits, part

AT_ONCE_BYTES = 16_000_000
CHANNELS = (1, 3)
FAULTS = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
REMEDY = (
    "give an .npz file, or a folder of .npy files, with images and labels, or train_images, "
    "train_labels and the same of val and test"
)


@part
class Arrays:
    """An ``.npz`` file, or a folder of ``.npy`` files, with ``images`` and ``labels``.

    Images are uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), labels integers (N,) or (N, 1) from 0.
    Ready splits are called ``train_images``, ``train_labels``, ``val_images`` and so on; what is
    not there of val and test is drawn from train, class by class. Nothing is unpickled.

    Images that are not square have their centre cropped; those that are keep their pixels.

    Attributes:
        path: The file or the folder.
        val_share: The part of the training images to choose on, unless there is a ready split.
        test_share: The part to report on, unless there is a ready split.
        split_seed: Of the draw of both.
        duplicates: Whether exact copies of images stay or are taken out.
        aspect: Whether the centre of images that are not square is cropped, or the whole
            stretched.
        num_classes: Classes there must be; None for those there are.
        in_channels: 3 for colour, 1 for grey, as in the arrays; None for what they have.
        resolution: The shorter side of the arrays' images, in pixels; None for what they have.
    """

    path: str | None
    val_share: Annotated[float, Field(gt=0, lt=1)]
    test_share: Annotated[float, Field(gt=0, lt=1)]
    split_seed: Annotated[int, Field(ge=0)]
    duplicates: Literal["keep", "drop"]
    aspect: Literal["crop", "stretch"]
    num_classes: Annotated[int, Field(ge=2)] | None
    in_channels: Literal[1, 3] | None
    resolution: Annotated[int, Field(ge=1)] | None

    def __post_init__(self) -> None:
        sources.check_shares(self.val_share, self.test_share)

    @property
    def background(self) -> Literal["white"]:
        """Arrays of grey and colour have nothing transparent."""
        return "white"

    @property
    def broken(self) -> Literal["fail"]:
        """A damaged file leaves nothing to skip."""
        return "fail"

    def check(self) -> None:
        """Reads all images into maps unless they are there, with a bar on a terminal.

        Raises:
            ValueError: An option is not what lies there.
            RuntimeError: A file is missing or damaged, or there is no room.
        """
        gathering.check(self)

    def fingerprint(self) -> str:
        """A hash of the images and labels of all splits."""
        return gathering.fingerprint(self)

    def load(self, resolution: int, device: str) -> Splits:
        """The splits at a size, on a device."""
        return gathering.load(self, resolution, device)

    def parts(self, resolution: int) -> Iterator[Part]:
        """The splits at a size, some images at a time."""
        return gathering.parts(self, resolution)

    def sentences(self, resolutions: Iterable[int]) -> Iterator[str]:
        """What reading the images takes, and how much room they need at these sizes."""
        return gathering.sentences(self, resolutions)

    def numbers(self) -> Mapping[str, int]:
        """Classes, channels and resolution that are left open, read from the images."""
        return gathering.numbers(self)

    def description(self) -> Description:
        """The images as they were understood, once all have been read."""
        return gathering.description(self)

    def outline(self) -> Description:
        """The images as they are understood before any is decoded."""
        return gathering.outline(self)

    def stamp(self) -> Iterator[object]:
        """Names, sizes and times of the files."""
        place = sources.existing(self, REMEDY)
        for path in sorted(place.glob("*.npy")) if place.is_dir() else [place]:
            about = path.stat()
            yield path.name, about.st_size, about.st_mtime_ns

    def listing(self) -> Listing:
        """The labels; shapes and kinds of all arrays are looked at."""
        labels = {}
        for name, (pixels, of_images) in _arrays(sources.existing(self, REMEDY)).items():
            _check_images(self, pixels)
            labels[name] = _labels(self, of_images, len(pixels))
        highest = max(int(of.max(initial=-1)) for of in labels.values())
        return Listing(tuple(map(str, range(highest + 1))), labels)

    def heads(self, listing: Listing, count: int) -> Iterator[Head]:
        """The one size of the images of each split."""
        del listing, count
        for pixels, _ in _arrays(sources.existing(self, REMEDY)).values():
            channels, height, width = _layout(pixels.shape) or (0, 0, 0)
            yield Head(height, width, channels, pixels.dtype.itemsize > 1)

    def span(self, listing: Listing) -> tuple[int, int] | None:
        """The smallest and largest value of images of more than 8 bits."""
        del listing
        stored = [pixels for pixels, _ in _arrays(sources.existing(self, REMEDY)).values()]
        blocks = (block for of in stored if of.dtype.itemsize > 1 for block in of.blocks())
        return sources.common((int(block.min()), int(block.max())) for block in blocks)

    def rows(self, listing: Listing, way: Way, *, first: int = 0) -> Rows:
        """All images from one on; those before are read too, which takes little."""
        arrays = _arrays(sources.existing(self, REMEDY))
        for name in listing.labels:
            for block in arrays[name][0].blocks():
                yield from _rows(block[first:], way)
                first = max(0, first - len(block))


@dataclass(frozen=True)
class Stored:
    """An array that lies in a file: looked at, not read.

    Attributes:
        place: The ``.npy`` file, or the ``.npz`` file it lies in.
        name: Of the array.
        shape: As its header says.
        dtype: As its header says.
        is_fortran: Whether its first axis changes fastest.
    """

    place: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool

    def __len__(self) -> int:
        """Along its first axis."""
        return self.shape[0] if self.shape else 0

    def whole(self) -> NDArray[Any]:
        """All of it, in memory."""
        with Reading(self.place, self.name) as file:
            found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
            return found

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Some of its first axis at a time; one in Fortran's order is read whole."""
        if self.is_fortran:
            yield self.whole()
            return
        of_one = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        step = max(1, AT_ONCE_BYTES // max(1, of_one))
        with Reading(self.place, self.name) as file:
            _header(file)
            for start in range(0, len(self), step):
                count = min(step, len(self) - start)
                content = file.read(count * of_one)
                if len(content) != count * of_one:
                    raise _damaged(self.place, self.name, "its end is missing")
                yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


class Reading:
    """An array's file while it is open; what goes wrong meanwhile becomes one line."""

    def __init__(self, place: Path, name: str) -> None:
        self.place, self.name = place, name

    def __enter__(self) -> IO[bytes]:
        self._archive: zipfile.ZipFile | None = None
        try:
            if self.place.suffix == ".npz":
                self._archive = zipfile.ZipFile(self.place)
                self._file: IO[bytes] = self._archive.open(f"{self.name}.npy")
            else:
                self._file = self.place.open("rb")
        except (*FAULTS, RuntimeError) as error:  # zipfile's, for a file with a password
            raise _damaged(self.place, self.name, error) from error
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, *rest: object) -> None:
        self._file.close()
        if self._archive is not None:
            self._archive.close()
        if isinstance(error, FAULTS):
            raise _damaged(self.place, self.name, error) from error


def _damaged(place: Path, name: str, why: object) -> RuntimeError:
    reason = " ".join(str(why).split())
    return RuntimeError(
        f"dataset.path must hold whole arrays without pickled objects, got {reason!r} for {name} "
        f"in {str(place)!r}; save it again by numpy.savez or numpy.save"
    )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and kind; the file is then at the first value."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the format")
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Python objects, which are pickled")
    return shape, is_fortran, dtype


def _stored(place: Path, name: str) -> Stored:
    with Reading(place, name) as file:
        shape, is_fortran, dtype = _header(file)
    return Stored(place, name, shape, dtype, is_fortran)


def _arrays(place: Path) -> dict[str, tuple[Stored, Stored]]:
    """Images and labels of each ready split; of train where there is none.

    Raises:
        RuntimeError: They are not there or cannot be read.
    """
    if place.is_dir():
        names = {path.stem for path in place.glob("*.npy")}
    elif place.suffix == ".npz":
        try:
            with zipfile.ZipFile(place) as archive:
                names = {n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")}
        except FAULTS as error:
            raise _damaged(place, "any array", error) from error
    else:
        names = set()

    def stored(name: str) -> Stored:
        return _stored(place / f"{name}.npy" if place.is_dir() else place, name)

    prefixes = {"train": ""} if "images" in names else {name: f"{name}_" for name in NAMES}
    found = {}
    for split, prefix in prefixes.items():
        wanted = f"{prefix}images", f"{prefix}labels"
        there = [name for name in wanted if name in names]
        if len(there) == 1 or (split == "train" and not there):
            lacking = next(name for name in wanted if name not in names)
            raise RuntimeError(
                f"dataset.path must hold an array {lacking!r}, got {str(place)!r} with "
                f"{', '.join(sorted(names)) or 'none'}; {REMEDY}"
            )
        if there:
            found[split] = stored(wanted[0]), stored(wanted[1])
    return found


def _check_images(dataset: Arrays, images: Stored) -> None:
    """Looks whether images are what the options say.

    Raises:
        ValueError: They are not.
    """
    if images.dtype != np.uint8:
        raise ValueError(
            f"dataset.path must hold images of uint8, 0 to 255, got {images.dtype} for "
            f"{images.name} in {dataset.path!r}; scale and convert them by .astype('uint8')"
        )
    if len(images.shape) not in {3, 4} or (shape := _layout(images.shape)) is None:
        raise ValueError(
            f"dataset.path must hold images (N, H, W), (N, H, W, C) or (N, C, H, W) of 1 or 3 "
            f"channels, got {images.shape} for {images.name} in {dataset.path!r}; transpose them"
        )
    channels, height, width = shape
    if dataset.in_channels not in {None, channels}:
        raise sources.refused("in_channels", dataset, channels)
    if dataset.resolution not in {None, min(height, width)}:
        raise sources.refused("resolution", dataset, min(height, width))


def _layout(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Channels, height and width; None if there is no axis of channels."""
    if len(shape) == 3:
        return 1, shape[1], shape[2]
    if shape[3] in CHANNELS:
        return shape[3], shape[1], shape[2]
    return shape[1:] if shape[1] in CHANNELS else None  # type: ignore[return-value]  # of four


def _labels(dataset: Arrays, stored: Stored, num_images: int) -> NDArray[np.int64]:
    """The labels of so many images, (N,).

    Raises:
        ValueError: They are not one for each, or out of range.
    """
    if not np.issubdtype(stored.dtype, np.integer) or stored.shape not in {
        (num_images,),
        (num_images, 1),
    }:
        raise ValueError(
            f"dataset.path must hold an integer label for each of {num_images} images, got "
            f"{stored.dtype} {stored.shape} for {stored.name} in {dataset.path!r}; mend the array"
        )
    labels = stored.whole().reshape(-1).astype(np.int64)
    lowest = labels.min(initial=0)
    if lowest < 0:
        raise ValueError(
            f"dataset.path must hold labels from 0 on, got {lowest} for {stored.name} in "
            f"{dataset.path!r}; count classes from 0"
        )
    return labels


def _rows(block: NDArray[Any], way: Way) -> Iterator[Row]:
    """The images of a block, square."""
    if block.ndim == 3:
        block = block[:, None]
    elif block.shape[3] in CHANNELS:
        block = block.transpose(0, 3, 1, 2)
    if block.dtype != np.uint8:
        if way.span is None:
            raise pictures.UnknownSpanError
        block = pictures.scaled(block, way.span)
    if way.aspect == "crop":
        top, left = ((length - way.resolution) // 2 for length in block.shape[2:])
        block = block[:, :, top : top + way.resolution, left : left + way.resolution]
    block = np.ascontiguousarray(block)
    squared = images.resize(torch.from_numpy(block), way.resolution).numpy()
    for image, kept in zip(block, squared, strict=True):
        yield Row(hashlib.sha256(image.data).digest(), kept)
