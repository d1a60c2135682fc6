"""Numbers as text."""

import pandas as pd
import pytest

from scaling_search.display.formatting import coefficient, rounded


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.125, "1.13"), (1.375, "1.38"), (1.005, "1.01"), (1.1249, "1.12"), (2, "2.00")],
)
def test_half_a_hundredth_of_a_coefficient_is_rounded_up(value: float, text: str) -> None:
    assert rounded(value) == text


def test_a_range_is_named_where_it_can_be_seen() -> None:
    row = pd.Series({"alpha": 1.125, "alpha_low": 1.125, "alpha_high": 1.25})
    assert coefficient("alpha")(row) == "1.13 (1.13 to 1.25)"
    assert coefficient("alpha")(row.where(row != 1.25, 1.1252)) == "1.13"
