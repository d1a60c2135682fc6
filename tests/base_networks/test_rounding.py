"""How scaled sizes become whole; B0's own numbers stand in test_efficientnet."""

import math
from types import SimpleNamespace

import pytest
from efficientnet_pytorch.utils import round_filters, round_repeats
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_search.base_networks.rounding import (
    DepthRounding,
    first_of_each,
    kept_direction,
    multiples,
    round_depth,
    round_resolution,
    round_width,
)

always_the_same = settings(derandomize=True, deadline=None)
B0_CHANNELS = (32, 16, 24, 40, 80, 112, 192, 320, 1280)
HUNDREDTHS = [k / 100 for k in range(20, 501)]


def test_widths_are_rounded_as_in_efficientnet_pytorch() -> None:
    # Source: efficientnet-pytorch 0.7.1, `round_filters`, a port of the official function.
    for multiplier in HUNDREDTHS:
        options = SimpleNamespace(width_coefficient=multiplier, depth_divisor=8, min_depth=None)
        for channels in B0_CHANNELS:
            expected = round_filters(channels, options)
            assert round_width(channels * multiplier, 8) == expected, (channels, multiplier)


def test_depths_are_rounded_up_as_in_efficientnet_pytorch() -> None:
    # Source: efficientnet-pytorch 0.7.1, `round_repeats`.
    for multiplier in HUNDREDTHS:
        options = SimpleNamespace(depth_coefficient=multiplier)
        for num_layers in (1, 2, 3, 4):
            expected = round_repeats(num_layers, options)
            assert round_depth(num_layers * multiplier, "ceil") == expected


def test_width_never_falls_below_nine_tenths() -> None:
    # 11 channels: the nearest multiple of 8 is 8, under 0.9 · 11. Source: `round_filters`.
    assert round_width(11.0, 8) == 16
    assert round_width(8.8, 8) == 8
    assert round_width(8.9, 8) == 16


@always_the_same
@given(st.floats(1.0, 5000.0), st.sampled_from([1, 2, 3, 4, 8, 16]))
def test_width_is_a_near_multiple_of_the_divisor(channels: float, divisor: int) -> None:
    rounded = round_width(channels, divisor)
    assert rounded % divisor == 0
    assert rounded >= max(divisor, 0.9 * channels - 1e-5)
    assert abs(rounded - channels) <= divisor


@always_the_same
@given(st.floats(0.5, 500.0), st.floats(0.5, 500.0), st.sampled_from([1, 2, 3, 8, 16, 32]))
def test_no_rounding_turns_more_into_less(one: float, other: float, divisor: int) -> None:
    low, high = sorted((one, other))
    assert round_width(low, divisor) <= round_width(high, divisor)
    assert round_depth(low, "ceil") <= round_depth(high, "ceil")
    assert round_depth(low, "round") <= round_depth(high, "round")
    assert round_resolution(low, divisor) <= round_resolution(high, divisor)


@pytest.mark.parametrize(
    ("num_layers", "rounding", "expected"),
    [
        (3.3, "ceil", 4),
        (3.3, "round", 3),
        (3.5, "round", 4),
        (2.5, "round", 2),  # half to even, as numpy and pycls
        (0.2, "round", 1),
        (0.2, "ceil", 1),
        (3.0, "ceil", 3),
    ],
)
def test_depth_rounds_up_or_to_the_nearest(
    num_layers: float, rounding: DepthRounding, expected: int
) -> None:
    assert round_depth(num_layers, rounding) == expected


def test_float_noise_adds_no_layer() -> None:
    assert (2**0.5) ** 2 > 2
    assert math.ceil((2**0.5) ** 2) == 3
    assert round_depth((2**0.5) ** 2, "ceil") == 2
    assert math.ceil(1.1 * 100) == 111
    assert round_depth(1.1 * 100, "ceil") == 110


@pytest.mark.parametrize(
    ("pixels", "divisor", "expected"),
    [
        (257.6, 1, 257),  # int(224 · 1.15), as facts' 257 px row
        (260 / 224 * 224, 1, 260),
        (257.6, 32, 256),
        (247.9, 16, 240),
        (248.0, 16, 256),
        (3.0, 32, 32),
    ],
)
def test_resolution_is_cut_to_pixels_or_rounded_to_the_divisor(
    pixels: float, divisor: int, expected: int
) -> None:
    assert round_resolution(pixels, divisor) == expected


def test_rounding_never_goes_against_the_multiplier() -> None:
    assert kept_direction(16, 20, 1.01) == 20
    assert kept_direction(32, 20, 1.5) == 32
    assert kept_direction(32, 28, 0.99) == 28
    assert kept_direction(16, 28, 0.5) == 16
    assert kept_direction(16, 20, 1.0) == 20


def test_multiples_take_a_base_to_whole_units() -> None:
    assert [m * 4 for m in multiples({4}, 0.5, 1.0, 1.5)] == pytest.approx([4, 4.5, 5, 5.5, 6])


def test_first_of_each_finds_the_tick_where_a_step_lies() -> None:
    # ceil(3m) is 3 up to m = 1, 4 up to 4/3 (1.333333 at six decimals), 5 up to 5/3.
    steps = first_of_each(lambda m: math.ceil(3 * m), [1, 4 / 3, 5 / 3], 1.0, 2.0)
    assert steps == [1.0, 1.000001, 1.333334, 1.666667]
