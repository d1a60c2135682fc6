"""Tables that fit a width: fewer columns, broken headers and words, never a cut number."""

from collections.abc import Sequence
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from scaling_search.display.tables import show_table

LINES = [
    ["network", "loss, nats ± sd", "better by", "found is", "seeds"],
    ["base", "0.3405 ± 0.0027", "0.0028 (-0.0096 to 0.0152)", "cannot tell", "2"],
    ["31", "0.3086 ± 0.0031", "0.0255 (0.0125 to 0.0385)", "better", "10"],
]


def printed(lines: Sequence[Sequence[str]], width: int, *optional: str) -> str:
    out = StringIO()
    show_table(Console(file=out, width=width), lines, optional=optional)
    return out.getvalue()


def test_a_table_with_room_has_a_line_for_each_row() -> None:
    text = printed(LINES, 80, "seeds")
    assert len(text.splitlines()) == len(LINES)
    assert "0.0028 (-0.0096 to 0.0152)  cannot tell" in text


def test_headers_are_broken_before_a_column_is_left_out() -> None:
    text = printed(LINES, 71, "seeds")
    assert "seeds" in text
    assert "0.0028 (-0.0096 to 0.0152) cannot tell" in text
    assert "seeds" not in printed(LINES, 64, "seeds")


def test_words_are_broken_and_numbers_are_not() -> None:
    text = printed(LINES, 58, "seeds")
    assert "cannot\n" in text.replace(" ", "")
    assert "0.0028 (-0.0096 to 0.0152)" in text


def test_columns_without_room_follow_below_with_the_names() -> None:
    text = printed(LINES, 30)
    assert text.count("base") == text.count("31 ") > 1
    for cell in ("0.3405 ± 0.0027", "(-0.0096 to 0.0152)", "10"):
        assert cell in text


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=3),
    st.integers(28, 120),
)
def test_every_number_is_printed_whole_at_every_width(
    numbers: list[list[float]], width: int
) -> None:
    lines = [["a", "b c", "d"], *([f"{number:.4f}" for number in line] for line in numbers)]
    text = printed(lines, width)
    assert {cell for line in lines[1:] for cell in line} <= set(text.split())
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("name", ["a" * 200, "日本語" * 40])
def test_a_name_of_any_length_leaves_the_numbers_whole(name: str) -> None:
    text = printed([["class", "train"], [name, "12,345"]], 80)
    assert "12,345" in text


def test_signs_that_a_terminal_obeys_are_written_out() -> None:
    assert "\x1b" not in printed([["class", "train"], ["\x1b[31mred", "1"]], 80)
