"""A figure's SVG in a page: ids of its own, the page's colours, networks that can be found."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

from scaling_search.display.plots.drawing import FAINT, GREY, INK

THEME = {
    INK: "--ink",
    "#555555": "--soft",
    GREY: "--grey",
    FAINT: "--faint",
    "#ffffff": "--page",
}
"""Variables of the page's style that stand for a figure's colours, also on a dark background."""

_NETWORK = re.compile(r"network-(\d+)|family-.+")
_COLOUR = re.compile("|".join(THEME), re.IGNORECASE)
_LONG = re.compile(r"(\.\d\d)\d+")
_REFERENCE = re.compile(r"#([\w-]+)")


def inline_svg(
    svg: bytes, *, prefix: str, label: str, networks: Mapping[str, str] | None = None
) -> str:
    """The SVG that matplotlib wrote, as an element of an HTML page.

    Groups whose id is ``network-<number>`` or ``family-<name>-<phi>`` get the network as the
    attribute ``data-network`` instead. Other ids begin with the prefix, or go where nothing refers
    to them.

    Args:
        svg: The file's content.
        prefix: Differs between the figures of a page.
        label: Says what the figure shows.
        networks: Networks by the id of a family's member, where it is one of the search's.
    """
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in {"metadata", "style", "title"}:
                parent.remove(child)
    used = {name for element in root.iter() for name in _references(element)}
    for element in root.iter():
        _adapt(element, prefix, used, networks or {})
    size = {name: root.attrib[name] for name in ("width", "height", "viewBox")}
    root.attrib.clear()
    root.attrib.update(size | {"role": "img", "aria-label": label})
    return ET.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _references(element: ET.Element) -> list[str]:
    values = (v for k, v in element.attrib.items() if k != "id")
    return [name for value in values for name in _REFERENCE.findall(value)]


def _adapt(element: ET.Element, prefix: str, used: set[str], networks: Mapping[str, str]) -> None:
    """Makes an element one of an HTML page, which has no namespaces, and saves bytes."""
    element.tag = _local(element.tag)
    element.text, element.tail = (element.text or "").strip() or None, None
    attributes = {_local(name): value for name, value in element.attrib.items()}
    name = attributes.pop("id", "")
    if found := _NETWORK.fullmatch(name):
        attributes["data-network"] = networks.get(name, found.group(1) or name)
    elif name in used:
        attributes["id"] = f"{prefix}-{name}"
    for key, value in attributes.items():
        if key in {"d", "x", "y"}:
            attributes[key] = " ".join(_LONG.sub(r"\1", value).split())
        elif key in {"href", "clip-path"}:
            attributes[key] = _REFERENCE.sub(rf"#{prefix}-\1", value, count=1)
        elif key == "style":
            attributes[key] = _COLOUR.sub(lambda c: f"var({THEME[c.group().lower()]})", value)
    element.attrib.clear()
    element.attrib.update(attributes)
