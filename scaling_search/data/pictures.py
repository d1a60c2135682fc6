"""One picture as square pixels: read from the bytes of its file, upright, cropped, resized."""

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
"""What is read; told by the first bytes of a file, not by its name."""

WAY = "1"
"""Changes with the pixels that come of a file."""

MODES = {1: "L", 3: "RGB"}

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
"""What Pillow raises for files that are cut off, damaged, or no pictures at all."""


class BrokenError(Exception):
    """A file that is no whole picture, and why."""


def square(content: bytes, channels: int, resolution: int) -> tuple[NDArray[np.uint8], int]:
    """The pixels of a picture, (C, H, W), and the shorter side that its file has.

    The shorter side is resized to the resolution and the centre cropped, by Pillow's bilinear
    filter with antialiasing, as `images.resize` does; what already has the size keeps its pixels.
    EXIF's orientation is applied before. 16 bits become the upper 8, CMYK and palettes become RGB
    without their colour profiles, transparent pixels black, as what lies around a random crop.
    Grey is Rec. 601's luma; a grey picture has equal red, green and blue.

    Source: Krizhevsky, Sutskever & Hinton 2012, section 2, for the centre of the resized picture.

    Args:
        content: Of the file.
        channels: 1 for grey, 3 for red, green and blue.
        resolution: Height and width wanted, in pixels.

    Raises:
        BrokenError: It cannot be read to its end.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            shorter = min(image.size)
            # A JPEG of four times the size and more is read at a half, a quarter or an eighth,
            # which is several times as fast; twice the size is left to the filter.
            image.draft(None, (2 * resolution, 2 * resolution))
            upright = ImageOps.exif_transpose(image)
            side = min(upright.size)
            left, top = ((length - side) // 2 for length in upright.size)
            cropped = upright.crop((left, top, left + side, top + side))
            flat = _flat(cropped, MODES[channels])
        resized = flat.resize((resolution, resolution), Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:  # whose text has a place in memory
        raise BrokenError(f"none of {', '.join(FORMATS)}") from error
    except FAULTS as error:
        raise BrokenError(" ".join(str(error).split()) or type(error).__name__) from error
    pixels = np.asarray(resized).reshape(resolution, resolution, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), shorter


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """Without depth, palette and transparency."""
    if image.mode.startswith("I"):  # of more than 8 bits; Pillow itself takes colour's upper 8
        values = np.asarray(image).astype(np.int64).clip(0, 2**16 - 1) >> 8
        image = Image.fromarray(values.astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert(mode)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow's warnings of odd files back: what matters raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
