"""The report's page: one file that needs no network and runs no script but its own."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

import jinja2
import pandas as pd
from markupsafe import Markup

from scaling_search.answer.conclusions import Conclusion
from scaling_search.display.formatting import COEFFICIENTS, HEADERS, level, plus_minus
from scaling_search.display.page_tables import PageTable
from scaling_search.runtime.visible_text import visible

CARD = (
    *("phi", "pixels", "blocks", "channels", *COEFFICIENTS, "cost", "measured cost"),
    *(f"{header} ± sd" for header in HEADERS.values()),
    "seeds",
)
"""Columns that the card of a network shows."""

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


def key_figures(
    conclusion: Conclusion, coefficients: pd.DataFrame, objective: str
) -> tuple[str, list[tuple[str, str]]]:
    """The number of the network to go on with, and what it is and gives, each with its name.

    It is the answer's network, else the first of the means; empty before there is one.
    """
    found, name = conclusion.answer, objective.removeprefix("val_")
    chosen = coefficients["order"].eq(1) & coefficients["candidate"].ne(0)
    if found is not None:
        chosen = coefficients["candidate"].eq(found.network)
    if not chosen.any():
        return "", []
    row = coefficients[chosen].iloc[0]
    mean = plus_minus(row[f"{objective}_mean"], row[f"{objective}_sd"], objective)
    title, result = "first of the means, network", (f"{name}, mean", mean)
    if found is not None:
        title, result = "network", (f"{name}, expected", level(found.expected, objective))
    said = [
        (title, f"{row['candidate']}"),
        ("blocks", f"{row['layers']}"),
        ("channels", f"{row['channels']}"),
        ("pixels", f"{row['resolution']}"),
        *((one, text(row)) for one, text in COEFFICIENTS.items()),
        ("cost", f"{row['cost_ratio']:.2f}x the base"),
        result,
    ]
    base = coefficients[coefficients["candidate"] == 0]
    if base["num_seeds"].sum():
        mean, sd = (base[f"{objective}_{what}"].iloc[0] for what in ("mean", "sd"))
        said.append((f"{name} of the base", plus_minus(mean, sd, objective)))
    return f"{row['candidate']}", said


def reference_table(comparisons: Sequence[Sequence[str]]) -> PageTable | None:
    """The references of `comparison_lines` with difference and verdict; None without an answer."""
    if not comparisons:
        return None
    header, _, *references = ([line[0], line[3], line[5]] for line in comparisons)
    return PageTable.of_lines([header, *references])


def _source(name: str) -> str:
    return resources.files("scaling_search.display").joinpath(name).read_text("utf-8")
