"""One picture as square pixels: read from the bytes of its file, upright, cropped, resized."""

import contextlib
import errno
import io
import os
import struct
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM") + ("AVIF",) * bool(
    features.check("avif")
)
"""Formats that are read, told by a file's first bytes, not its name; the first of its frames."""

SUFFIXES = (
    frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"})
    | {".gif", ".ppm", ".pgm", ".pbm", ".pnm"}
    | frozenset([".avif"] * bool(features.check("avif")))
)
"""Endings of files that should be pictures, in lower case."""

VERSION = "2"
"""Changes with the pixels that come of a file."""

MODES = {1: "L", 3: "RGB"}

GREY = frozenset({"1", "L", "LA", "La"})
"""Modes of grey pictures of up to 8 bits; deep ones are grey too."""

PAPERS = {"white": (255, 255, 255, 255), "black": (0, 0, 0, 255)}

MOST_BYTES = 2**30
"""Files that are larger hold no picture; to read one could take all memory."""

FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    TypeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    Image.DecompressionBombError,
)
"""Errors of Pillow for files that are cut off, damaged, or no pictures at all."""


class BrokenError(Exception):
    """A file that is no whole picture, and why."""


class UnknownSpanError(Exception):
    """A picture of more than 8 bits, where the range of such pictures is not known yet."""


@dataclass(frozen=True)
class Way:
    """The way from pictures to pixels.

    Attributes:
        channels: 1 for grey, 3 for red, green and blue.
        resolution: Height and width wanted, in pixels.
        background: Paper under transparent pixels, ``white`` or ``black``.
        aspect: ``crop`` takes the centre of a picture that is not square, ``stretch`` the whole.
        span: Smallest and largest value of all pictures of more than 8 bits, which become 0 and
            255; None where there are none.
    """

    channels: int
    resolution: int
    background: str = "white"
    aspect: str = "crop"
    span: tuple[int, int] | None = None


class Head(NamedTuple):
    """A picture as its file describes it.

    Attributes:
        height: In pixels, upright.
        width: In pixels, upright.
        channels: 1 for grey, 3 for colour.
        is_deep: True if its values are integers of more than 8 bits.
        is_cut: True if only the upper 8 of 16 bits can be read: grey with alpha.
    """

    height: int
    width: int
    channels: int
    is_deep: bool
    is_cut: bool = False

    @property
    def shorter(self) -> int:
        """The shorter side in pixels."""
        return min(self.height, self.width)


def read(path: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
        OSError: It cannot be read, or is larger than `MOST_BYTES`.
    """
    if path.stat().st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return path.read_bytes()


def head(file: bytes | Path) -> Head | None:
    """The head of a picture, its pixels not decoded; None where it cannot be read."""
    try:
        with Image.open(
            io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS
        ) as i:
            # Before EXIF is looked for, which may read the whole picture and forgets how.
            is_deep = _is_deep(i)
            is_cut = not is_deep and ";16" in _raw_modes(i)
            is_turned = i.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            width, height = reversed(i.size) if is_turned else i.size
            palette = i.getpalette() if i.mode == "P" else None
            is_grey = i.mode in GREY or i.mode.startswith("I") or _is_grey(palette)
            return Head(height, width, 1 if is_grey else 3, is_deep, is_cut)
    except FAULTS:
        return None


def extremes(content: bytes) -> tuple[int, int] | None:
    """The smallest and the largest value of a picture of more than 8 bits; None for all others."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if not _is_deep(image):
                return None
            values = np.asarray(image)
            if values.ndim == 3:
                values = _deep_colours(content, values)[:, :, :3]
            return int(values.min()), int(values.max())
    except FAULTS:
        return None


def square(content: bytes, way: Way) -> NDArray[np.uint8]:
    """The pixels of a picture, (C, H, W).

    The centre is cropped to a square, or the whole stretched to one, and resized by Pillow's
    bilinear filter with antialiasing, as `images.resize` does; what already has the size keeps its
    pixels. EXIF's orientation is applied before. Values of more than 8 bits are scaled from their
    span to 0 to 255. CMYK and palettes become RGB without their colour profiles, what is
    transparent shows the background. Grey is Rec. 601's luma; a grey picture has equal red, green
    and blue.

    Source: Krizhevsky, Sutskever & Hinton 2012, section 2, for the centre of the resized picture.

    Args:
        content: Bytes of the file.
        way: Way of reading.

    Raises:
        BrokenError: It cannot be read to its end, or its values are no integers.
        UnknownSpanError: It has more than 8 bits, and the way has no span.
    """
    size = (way.resolution, way.resolution)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # A JPEG of four times the size and more is read at a half, a quarter or an eighth,
            # which is several times as fast; twice the size is left to the filter.
            image.draft(None, (2 * way.resolution, 2 * way.resolution))
            upright = ImageOps.exif_transpose(_shallow(image, content, way.span))
            if way.aspect == "crop":
                side = min(upright.size)
                left, top = ((length - side) // 2 for length in upright.size)
                upright = upright.crop((left, top, left + side, top + side))
            flat = _flat(upright, way)
        resized = flat.resize(size, Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:  # whose text has a place in memory
        raise BrokenError(f"none of {', '.join(FORMATS)}") from error
    except FAULTS as error:
        raise BrokenError(" ".join(str(error).split()) or type(error).__name__) from error
    pixels = np.asarray(resized).reshape(*size, way.channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def scaled(values: NDArray[Any], span: tuple[int, int]) -> NDArray[np.uint8]:
    """Integers as bytes: the span's ends become 0 and 255, what lies between its nearest."""
    low, high = span
    # Doubles hold every difference of integers of 32 bits exactly.
    parts = (values.astype(np.float64) - low) / max(1, high - low)
    found: NDArray[np.uint8] = np.rint(255 * parts.clip(0, 1)).astype(np.uint8)
    return found


OTHER_BYTE = {
    ";16B": ";16L",
    ";16L": ";16B",
    ";16N": ";16B" if sys.byteorder == "little" else ";16L",
}
"""Pillow's names for reading the upper byte of 16 bits, each with that for the lower one."""


def _raw_modes(image: Any) -> str:
    """Pillow's raw modes for a picture that is not decoded yet."""
    return str([tile.args for tile in image.tile])


def _is_deep(image: Image.Image) -> bool:
    """True if a picture that is not decoded yet has more than 8 bits, all of which can be read."""
    modes = _raw_modes(image)
    is_colour = image.mode in {"RGB", "RGBA"} and any(
        f"'{image.mode}{b}" in modes for b in OTHER_BYTE
    )
    return image.mode.startswith("I") or is_colour


def _shallow(image: Image.Image, content: bytes, span: tuple[int, int] | None) -> Image.Image:
    """The picture with 8 bits a value; alpha keeps its upper 8."""
    if not _is_deep(image):
        return image
    if span is None:
        raise UnknownSpanError
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    values = np.asarray(image)
    if values.ndim == 3:
        colours = _deep_colours(content, values)[:, :, :3]
        made = Image.fromarray(np.dstack([scaled(colours, span), values[:, :, 3:]]))
    else:
        made = Image.fromarray(scaled(values, span))
    made.getexif()[ExifTags.Base.Orientation] = orientation
    return made


def _deep_colours(content: bytes, upper: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Values (H, W, C) of a picture of 16 bits, of which Pillow gives the upper bytes alone."""

    def other(args: Any) -> Any:
        if isinstance(args, tuple):
            return tuple(map(other, args))
        for byte, its_other in OTHER_BYTE.items():
            if isinstance(args, str) and args.endswith(byte):
                return args.removesuffix(byte) + its_other
        return args

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        image.tile = [tile._replace(args=other(tile.args)) for tile in image.tile]
        lower = np.asarray(image, np.uint16)
    return np.add(lower, upper.astype(np.uint16) * 256, dtype=np.uint16)


def _is_grey(palette: list[int] | None) -> bool:
    return palette is not None and palette[::3] == palette[1::3] == palette[2::3]


def _flat(image: Image.Image, way: Way) -> Image.Image:
    """Without palette and transparency."""
    if image.mode == "F":
        raise BrokenError("values are floating-point numbers; save them as integers")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, PAPERS[way.background])
        image = Image.alpha_composite(paper, image)
    return image.convert(MODES[way.channels])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow's warnings of odd files back: what matters raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
