"""The report's page: one file that needs no network and runs no script but its own."""

import base64
import hashlib
from importlib import resources

import jinja2
from markupsafe import Markup

from scaling_search.display.formatting import COEFFICIENTS
from scaling_search.runtime.visible_text import visible

CARD = (
    *("phi", "pixels", "blocks", "channels", *COEFFICIENTS, "cost", "measured cost"),
    "seeds",
)
"""Columns that the card of a network shows, besides its means."""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'; "
    "base-uri 'none'; form-action 'none'"
)
"""What a browser may load for the page: nothing but the images, style and script within."""


def page(**content: object) -> bytes:
    """The page of the template's variables.

    Texts are escaped, `Markup` is not; what is neither goes in as it is.
    """
    style, script = (_source(f"report.{kind}") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,  # else it is HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    parts = {"style": Markup(style), "script": Markup(script), "policy": POLICY.format(digest)}
    template = environment.from_string(_source("report.html.j2"))
    return template.render(**parts, card=CARD, **content).encode()


def embedded(image: bytes) -> str:
    """An image as text for an address that holds it."""
    return base64.b64encode(image).decode()


def _source(name: str) -> str:
    return resources.files("scaling_search.display").joinpath(name).read_text("utf-8")
