"""Pictures: exact pixels for known ones, and one error for whatever cannot be read."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from scaling_search.data import images
from scaling_search.data.pictures import (
    BrokenError,
    Head,
    UnknownSpanError,
    Way,
    extremes,
    head,
    quiet,
    scaled,
    square,
)

always_the_same = settings(derandomize=True, deadline=None, max_examples=40)


def content(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def of(values: Any, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(np.asarray(values, np.uint8))
    return image if mode is None else image.convert(mode)


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def grey(content: bytes, resolution: int) -> NDArray[np.uint8]:
    return square(content, Way(1, resolution)).reshape(resolution, resolution)


def colour(content: bytes, **how: Any) -> list[int]:
    """Red, green and blue of a picture of one pixel."""
    return square(content, Way(3, 1, **how)).ravel().tolist()


def test_a_picture_of_the_size_keeps_its_pixels() -> None:
    pixels = noise(7, 7, 3)
    found = square(content(of(pixels)), Way(3, 7))
    assert np.array_equal(found, pixels.transpose(2, 0, 1))
    assert found.flags.c_contiguous


@pytest.mark.parametrize("transposed", [False, True])
def test_the_centre_is_cropped_to_the_pixel(transposed: bool) -> None:
    pixels = noise(4, 9)
    wide = pixels.T if transposed else pixels
    centre = pixels[:, 2:6].T if transposed else pixels[:, 2:6]
    assert np.array_equal(grey(content(of(wide)), 4), centre)


def test_a_checker_is_blown_up_bilinearly() -> None:
    # New centres lie a quarter off the old ones: 3/4 of the near value, 1/4 of the far.
    ramp = np.array([0, 1, 3, 4]) / 4
    expected = 255 * (ramp[:, None] * (1 - ramp) + (1 - ramp[:, None]) * ramp)
    found = grey(content(of([[0, 255], [255, 0]])), 4)
    assert np.abs(found - expected).max() <= 1


def test_a_checker_shrinks_to_grey() -> None:
    checker = np.indices((16, 16)).sum(0) % 2 * 255
    inside = grey(content(of(checker)), 4)[1:-1, 1:-1]
    assert np.abs(inside - 127.5).max() <= 1  # without antialiasing it would be 0 or 255


@always_the_same
@given(st.integers(2, 20), st.integers(2, 20), st.integers(1, 24))
def test_the_filter_is_that_of_all_other_resizing(width: int, height: int, size: int) -> None:
    pixels = noise(height, width)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    cropped = torch.from_numpy(pixels[top : top + side, left : left + side].copy())[None, None]
    expected = images.resize(cropped, size)[0, 0].numpy()
    found = grey(content(of(pixels)), size)
    assert np.abs(found.astype(int) - expected).max() <= 2  # Pillow rounds between two passes


ORIENTED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.T,
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).T,
    8: lambda upright: np.rot90(upright, 3),
}
"""How an upright picture lies in a file by its tag. Source: Exif 2.32, table of tag 274."""


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("shape", [(6, 6), (4, 7)])
def test_pictures_are_turned_upright_before_they_are_cropped(
    orientation: int, shape: tuple[int, int]
) -> None:
    upright = noise(*shape)
    stored = of(np.ascontiguousarray(ORIENTED[orientation](upright)))
    exif = Image.Exif()
    exif[274] = orientation
    size = min(shape)
    expected = grey(content(of(upright)), size)
    assert np.array_equal(grey(content(stored, exif=exif), size), expected)


def deep_of(values: Any) -> bytes:
    return content(Image.fromarray(np.asarray(values, np.uint16)))


def test_values_of_more_than_eight_bits_are_scaled_from_their_span() -> None:
    # 12 bits in files of 16: 4,095 is white, and half of it 127.5, rounded to even.
    way = Way(1, 2, span=(0, 4095))
    found = square(deep_of([[0, 4095], [819, 1638]]), way).ravel().tolist()
    assert found == [0, 255, 51, 102]
    assert square(
        deep_of([[100, 200], [150, 300]]), Way(1, 2, span=(100, 200))
    ).ravel().tolist() == [
        *(0, 255),
        *(128, 255),
    ]


@always_the_same
@given(st.integers(0, 65_534), st.integers(1, 65_535), st.lists(st.integers(0, 65_535)))
def test_scaling_keeps_the_order_and_reaches_both_ends(
    low: int, more: int, values: list[int]
) -> None:
    span = (low, min(low + more, 65_535))
    deep = np.array(sorted([*values, *span]))
    found = scaled(deep, span)
    assert (np.diff(found.astype(int)) >= 0).all()
    assert (found[deep <= low] == 0).all()
    assert (found[deep >= span[1]] == 255).all()


def test_a_span_that_is_not_known_is_asked_for() -> None:
    with pytest.raises(UnknownSpanError):
        square(deep_of([[1, 2], [3, 4]]), Way(1, 2))
    assert extremes(deep_of([[7, 9], [3, 4]])) == (3, 9)
    assert extremes(content(of(noise(4, 4)))) is None
    assert extremes(b"no picture") is None


def test_floating_point_values_are_broken() -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(file, "TIFF")
    with pytest.raises(BrokenError, match="floating-point numbers"):
        square(file.getvalue(), Way(1, 4))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_grey_stays_grey_in_every_mode(mode: str) -> None:
    deep = np.full((2, 2), 65535, np.uint16)
    white = Image.fromarray(deep) if mode == "I;16" else of(np.full((2, 2), 255)).convert(mode)
    assert colour(content(white), span=(0, 65535)) == [255, 255, 255]
    found = square(content(white), Way(1, 2, span=(0, 65535)))
    assert found.ravel().tolist() == [255] * 4


@pytest.mark.parametrize(
    ("mode", "channels", "is_deep"),
    [
        ("1", 1, False),
        ("L", 1, False),
        ("LA", 1, False),
        ("P", 1, False),
        ("RGB", 3, False),
        ("RGBA", 3, False),
        ("I;16", 1, True),
    ],
)
def test_a_head_tells_size_channels_and_depth(mode: str, channels: int, is_deep: bool) -> None:
    pixels = noise(4, 7)
    image = Image.fromarray(pixels.astype(np.uint16)) if is_deep else of(pixels).convert(mode)
    assert head(content(image)) == Head(4, 7, channels, is_deep)
    exif = Image.Exif()
    exif[274] = 6
    assert head(content(of(pixels), exif=exif)) == Head(7, 4, 1, False)
    assert head(b"no picture") is None


def test_a_palette_of_colours_is_coloured() -> None:
    image = of(noise(4, 4, 3)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert head(content(image)) == Head(4, 4, 3, False)


def test_colour_becomes_luma() -> None:
    # 0.299, 0.587, 0.114 of 255. Source: ITU-R BT.601.
    for pixel, luma in (((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)):
        assert grey(content(Image.new("RGB", (2, 2), pixel)), 1).item() == luma


def test_inks_become_light() -> None:
    for ink, light in (
        ((0, 0, 0, 0), [255, 255, 255]),
        ((255, 0, 0, 0), [0, 255, 255]),
        ((0, 0, 0, 255), [0, 0, 0]),
    ):
        found = colour(content(Image.new("CMYK", (8, 8), ink), "JPEG", quality=100))
        assert np.abs(np.subtract(found, light)).max() <= 2  # JPEG


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_shows_the_paper(kind: str) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    for alpha, on_white, on_black in (
        (255, [200, 100, 50], [200, 100, 50]),
        (128, [227, 177, 152], [100, 50, 25]),
        (0, [255, 255, 255], [0, 0, 0]),
    ):
        file = content(Image.new("RGBA", (2, 2), (200, 100, 50, alpha)), kind, **options)
        assert np.abs(np.subtract(colour(file), on_white)).max() <= 1
        assert np.abs(np.subtract(colour(file, background="black"), on_black)).max() <= 1


def test_a_palettes_transparent_colour_shows_the_paper() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert colour(content(image)) == [200, 100, 50]
    assert colour(content(image, transparency=1)) == [255, 255, 255]


def test_black_ink_on_transparent_paper_is_not_black() -> None:
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[2:6, 2:6, 3] = 255
    found = grey(content(of(ink)), 8)
    assert found[0, 0] == 255
    assert found[3, 3] == 0


def test_a_picture_may_be_stretched_as_a_whole() -> None:
    pixels = noise(4, 8)
    found = square(content(of(pixels)), Way(1, 4, aspect="stretch"))[0]
    whole = np.asarray(of(pixels).resize((4, 4), Image.Resampling.BILINEAR))
    assert np.array_equal(found, whole)


def test_a_large_jpeg_is_read_in_part_and_looks_the_same() -> None:
    smooth = of(noise(8, 10)).resize((400, 320), Image.Resampling.BICUBIC)
    found = grey(content(smooth, "JPEG", quality=95), 20)
    assert np.abs(found.astype(int) - grey(content(smooth), 20)).max() <= 6


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "WEBP", "PNG"])
def test_every_lossless_format_has_the_same_pixels(kind: str) -> None:
    pixels = noise(4, 4)
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(grey(content(of(pixels), kind, **options), 4), pixels)


def test_of_several_frames_the_first_is_read() -> None:
    first, second = of(np.full((4, 4), 10)), of(np.full((4, 4), 200))
    for kind in ("GIF", "TIFF"):
        file = content(first, kind, save_all=True, append_images=[second])
        assert grey(file, 4).tolist() == [[10] * 4] * 4


def test_other_formats_are_refused_whatever_their_name() -> None:
    for kind in ("ICO", "TGA"):
        with pytest.raises(BrokenError, match="none of JPEG, PNG, WEBP, BMP, TIFF, GIF, PPM"):
            square(content(of(noise(16, 16)), kind), Way(1, 4))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_was_cut_off_is_broken(kind: str) -> None:
    whole = content(of(noise(64, 64)), kind)
    for part in (0.0, 0.01, 0.3, 0.6, 0.9):
        with pytest.raises(BrokenError) as error:
            square(whole[: int(len(whole) * part)], Way(1, 8))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
@always_the_same
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4))))
def test_a_damaged_picture_is_broken_or_read_and_nothing_else(
    kind: str, damages: list[tuple[float, bytes]]
) -> None:
    damaged = bytearray(content(of(noise(16, 16)), kind))
    for place, bytes_ in damages:
        start = int(place * len(damaged))
        damaged[start : start + len(bytes_)] = bytes_
    with quiet():
        try:
            found = square(bytes(damaged), Way(3, 8))
        except BrokenError:
            return
    assert found.shape == (3, 8, 8)
    assert found.dtype == np.uint8


def test_a_picture_that_would_fill_the_memory_is_broken() -> None:
    huge = content(Image.new("1", (20_000, 20_000)))
    with pytest.raises(BrokenError, match="exceeds limit"):
        square(huge, Way(1, 8))


COLOUR_TYPES = {2: 4, 3: 2, 4: 6}
"""Of PNG by channels. Source: ISO/IEC 15948, table 11.1."""


def png_of_16_bits(values: NDArray[np.uint16]) -> bytes:
    """A PNG file of values (H, W, C), which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    about = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    parts = chunk(b"IHDR", about) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff_of_16_bits(values: NDArray[np.uint16], order: str) -> bytes:
    """A plain TIFF file of values (H, W, 3) in a byte order, ``<`` or ``>``."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    begin, shorts, longs = 134, 3, 4
    entries = [
        (256, longs, 1, width),
        (257, longs, 1, height),
        (258, shorts, 3, begin - 6),
        (259, longs, 1, 1),
        (262, longs, 1, 2),
        (273, longs, 1, begin),
        (277, longs, 1, channels),
        (278, longs, 1, height),
        (279, longs, 1, len(data)),
    ]
    fields = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return (
        (head + fields + bytes(4)).ljust(begin - 6, b"\0")
        + struct.pack(f"{order}3H", 16, 16, 16)
        + data
    )


@pytest.mark.parametrize(
    "made",
    [
        png_of_16_bits,
        lambda values: tiff_of_16_bits(values, "<"),
        lambda values: tiff_of_16_bits(values, ">"),
    ],
)
def test_colours_of_16_bits_are_scaled_from_their_span(
    made: Callable[[NDArray[np.uint16]], bytes],
) -> None:
    values = np.random.default_rng(0).integers(0, 2**12, (6, 6, 3), dtype=np.uint16)
    file = made(values)
    span = int(values.min()), int(values.max())
    assert head(file) == Head(6, 6, 3, is_deep=True, is_cut=False)
    assert extremes(file) == span
    found = square(file, Way(channels=3, resolution=6, span=span))
    np.testing.assert_array_equal(found, scaled(values, span).transpose(2, 0, 1))
    assert found.max() == 255
    with pytest.raises(UnknownSpanError):
        square(file, Way(channels=3, resolution=6))


def test_alpha_of_16_bits_shows_the_paper() -> None:
    values = np.full((2, 2, 4), 4000, np.uint16)
    values[..., 3] = [[0, 65535], [0, 65535]]
    file = png_of_16_bits(values)
    assert extremes(file) == (4000, 4000)
    found = square(file, Way(channels=3, resolution=2, span=(0, 4000), background="black"))
    assert found[0].tolist() == [[0, 255], [0, 255]]


def test_grey_of_16_bits_with_alpha_keeps_the_upper_8_and_says_so() -> None:
    values = np.full((2, 2, 2), 0x8040, np.uint16)
    values[..., 1] = 65535
    file = png_of_16_bits(values)
    found = head(file)
    assert found is not None
    assert (found.is_deep, found.is_cut) == (False, True)
    assert square(file, Way(channels=1, resolution=2)).ravel().tolist() == [0x80] * 4
    eight = head(content(of(noise(6, 6, 3))))
    assert eight == Head(6, 6, 3, is_deep=False, is_cut=False)
