"""A figure within a page: ids that differ between figures, networks that a script can find."""

import io
import re

import pytest
from matplotlib.figure import Figure

from scaling_search.display.inline_svg import THEME, inline_svg


@pytest.fixture(scope="module")
def svg() -> bytes:
    """Two networks, a family's member and a plain line within axes that clip."""
    figure = Figure(facecolor="white")
    axes = figure.subplots()
    for number in (3, 12):
        axes.scatter([number], [1], gid=f"network-{number}", edgecolor="#222222")
    axes.plot([3, 12], [1, 2], gid="network-12")
    axes.scatter([5], [2], gid="family-depth-2")
    axes.set_title("<script> & more")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def inline(svg: bytes, prefix: str = "one", **more: dict[str, str]) -> str:
    return inline_svg(svg, prefix=prefix, label="a figure", **more)


def found(text: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, text))


def test_every_reference_finds_its_id_and_no_two_figures_share_one(svg: bytes) -> None:
    ids = [found(inline(svg, prefix), r' id="([^"]*)"') for prefix in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert found(inline(svg), r"(?:href=\"|url\()#([\w-]+)") == ids[0]


def test_networks_are_named_by_an_attribute_as_often_as_they_are_drawn(svg: bytes) -> None:
    text = inline(svg)
    names = sorted(re.findall(r'data-network="([^"]*)"', text))
    assert names == ["12", "12", "3", "family-depth-2"]
    assert "network-12" not in text


def test_a_member_of_a_family_has_the_number_of_the_network_that_it_is(svg: bytes) -> None:
    text = inline(svg, networks={"family-depth-2": "7"})
    assert found(text, r'data-network="([^"]*)"') == {"3", "12", "7"}


def test_the_colours_of_texts_and_grounds_are_the_pages(svg: bytes) -> None:
    text = inline(svg).lower()
    assert "var(--ink)" in text
    assert not [colour for colour in THEME if colour in text]


def test_nothing_is_left_but_what_is_drawn(svg: bytes) -> None:
    text = inline(svg)
    assert not re.search(r"https?:|<script|<style|<!|<\?xml|xmlns|metadata", text)
    assert text.startswith("<svg ")
    assert 'role="img"' in text
    assert 'aria-label="a figure"' in text
    assert len(text) < len(svg)
