"""Tables of scaled networks beside their rule, and sentences on how to read them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from scaling_search.core.scaling import DIMENSIONS, Coefficients, Shares
from scaling_search.display.terminal import columns, shares_text
from scaling_search.planning.published import AuditInput


def audit_tables(audited: pd.DataFrame, *, with_distance: bool = False) -> list[Table]:
    """Tables of multipliers, costs and published counts, a row for each variant.

    Args:
        audited: As `audited_table` gives it.
        with_distance: True to add the distance of each variant from its rule.
    """
    rows = audited.to_dict("records")
    has_rule = audited["rule_depth"].notna().any()
    digits = _digits(audited.loc[audited["variant"].map(_label) != "rule", ["depth", "width"]])
    of_rule = ("rule's d", "w", "px", "phi from d", "w", "px") if has_rule else ()
    off_rule = ("off its rule",) if with_distance and has_rule else ()
    multipliers = columns("", "phi", "depth", "width", "px", *of_rule, *off_rule)
    for row in rows:
        cells: list[str | Text] = [
            _label(row["variant"]),
            f"{row['phi']:.3g}",
            *(f"{row[name]:.{digits}f}" for name in ("depth", "width")),
            f"{row['resolution']:.0f}",
        ]
        if of_rule:
            cells += [_number(row[name], 2) for name in ("rule_depth", "rule_width")]
            cells.append(_number(row["rule_resolution"], 0))
            cells += [_number(row[f"phi_from_{d}"], 2) for d in DIMENSIONS]
        if off_rule:
            off = max(abs(row[f"off_{dimension}"]) for dimension in DIMENSIONS)
            cells.append(f"{off:.1%}" if off < 10 else "over 1000%")
        multipliers.add_row(*cells)
    ratios = {"nominal_flops_ratio": "nominal cost", "cost_ratio": "real cost"}
    if has_rule:
        ratios["rule_cost_ratio"] = "rule's cost"
    costs = columns("", *ratios.values(), "nominal d/w/r", "as built d/w/r")
    for row in rows:
        splits = [[row[f"{kind}{d}_share"] for d in DIMENSIONS] for kind in ("nominal_", "")]
        costs.add_row(
            _label(row["variant"]),
            *(_number(row[name], 2) for name in ratios),
            *(shares_text(None if pd.isna(split[0]) else Shares(*split)) for split in splits),
        )
    return [multipliers, costs, *_published(rows)]


def _published(rows: Sequence[Mapping[Any, Any]]) -> Iterator[Table]:
    """Counts beside the published ones, where there are any."""
    known = [name for name in ("flops", "params") if f"published_{name}" in rows[0]]
    if not known:
        return
    table = columns("", *(title for name in known for title in (f"{name}, M", "published", "off")))
    for row in rows:
        cells = []
        for name in known:
            ours, theirs = row[name], row.get(f"published_{name}", math.nan)
            cells += [f"{ours / 1e6:,.2f}", _number(theirs / 1e6, 2)]
            cells.append("" if pd.isna(theirs) else f"{ours / theirs - 1:+.1%}")
        table.add_row(_label(row["variant"]), *cells)
    yield table


def _label(variant: str) -> Text:
    """A variant's name in a table, where brackets are no commands."""
    return Text("rule" if variant.startswith("rule, phi = ") else variant)


def _digits(values: pd.DataFrame) -> int:
    """Decimals, one to four, that show all of these as they are."""
    numbers = [float(value) for value in values.to_numpy().ravel()]
    exact = (d for d in (1, 2, 3) if all(abs(round(n, d) - n) < 1e-9 for n in numbers))
    return next(exact, 4)


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def scalings_table(scalings: pd.DataFrame) -> Table:
    """A row for each way of scaling that `published_scalings` gives."""
    table = columns("", "d", "w", "r", "paper's B", "ours, B", "px", "layers")
    for row in scalings.to_dict("records"):
        table.add_row(
            str(row["method"]),
            *("" if pd.isna(row[name]) else f"{row[name]:g}" for name in ("d", "w", "r")),
            f"{row['flops_paper_b']:.1f}",
            "" if pd.isna(row["flops"]) else f"{row['flops'] / 1e9:.3f}",
            "" if pd.isna(row["resolution"]) else f"{row['resolution']:.0f}",
            str(row["layers"]),
        )
    return table


def scalings_sentences(scalings: pd.DataFrame) -> list[str]:
    """Notes on the table, and where our FLOPs differ from the paper's rounded ones."""
    stated = scalings.dropna(subset=["flops"])
    ours = (stated["flops"] / 1e9).round(1)
    other = stated[ours != stated["flops_paper_b"]]
    apart = ", ".join(
        f"{row['method']} {row['flops'] / 1e9 / row['flops_paper_b'] - 1:+.1%}"
        for row in other.to_dict("records")
    )
    return [
        (
            f"{scalings['model'].iloc[0]} as Tan & Le 2019, Table 3, scale it: multiply-adds in "
            "billions, as published and of the network that d, w and r round to here."
        ),
        (
            f"Ours rounds to another tenth than the paper's in {len(other)} of {len(stated)} rows "
            f"that state multipliers: {apart}."
            if apart
            else "In every row that states multipliers ours rounds to the paper's figure."
        ),
    ]


def audit_sentences(
    what: AuditInput, audited: pd.DataFrame, rule: pd.DataFrame | None, held: str
) -> Iterator[str]:
    """Sentences on how to read the tables and what they say; ``held`` is the cost's column."""
    yield from _reading(what, held)
    if what.source == "own":
        yield from _distances(what, audited)
    if rule is not None:
        yield _rule_as_built(what, rule.iloc[0])
    for name in ("flops", "params"):
        if f"published_{name}" in audited:
            yield from _published_sentence(name, audited)
    if what.unstated:
        yield f"Published without multipliers, so not in the tables: {', '.join(what.unstated)}."


def _reading(what: AuditInput, held: str) -> Iterator[str]:
    """The meaning of the columns."""
    rows = {
        "family": "depth, width, px: as published.",
        "multipliers": "depth, width: those published for B0 to B7, here of this base network.",
        "table_3": "depth, width, px: as Tan & Le 2019, Table 3, scale this base network.",
        "own": "depth, width: as the table has them; px: of the network that they round to.",
    }[what.source]
    if what.source in {"family", "multipliers"}:
        phi = "phi: a reader's fit (tensorflow/tpu#390), for the paper gives none."
    elif "phi" in what.variants:
        phi = "phi: as the table has it."
    else:
        phi = "phi: the binary logarithm of the real cost, so that twice the cost is 1."
    rule = "rule's: alpha, beta, gamma to that phi, nothing rounded."
    each = "published multiplier" if what.source == "family" else "multiplier"
    yield f"{rows} {phi}" + (
        f" {rule} phi from: the phi that each {each} stands for." if what.rule else ""
    )
    network = "published network" if what.source == "family" else "network that they round to"
    costs = f"real of the {network}"
    if what.rule:
        costs += ", rule's of the network that the rule rounds to"
    counted = "" if held == "flops" else f" ({held})"
    yield (
        f"Costs{counted} are times the base network's: nominal depth·width²·resolution², {costs}. "
        "d/w/r: how the log of the cost is split over depth, width and resolution."
    )


def _distances(what: AuditInput, audited: pd.DataFrame) -> Iterator[str]:
    """The rule that the rows are compared with, and their distances from it."""
    if what.rule is None:
        yield (
            "There is no rule to hold the rows against: add a column phi, or "
            "audit.coefficients=[alpha,beta,gamma]."
        )
        return
    origin = "given"
    if what.is_fitted:
        origin = "fitted to the table's phi by least squares of logarithms"
    yield f"The rule is {_triple(what.rule)}, {origin}."
    worst = _farthest(audited)
    yield (
        f"The rows follow the rule within ±{abs(worst['off']):.1%}; the farthest is "
        f"{worst['variant']!r}, whose {worst['dimension']} is {worst['off']:+.1%} off."
    )


def _farthest(audited: pd.DataFrame) -> dict[str, Any]:
    """The row and the dimension that are farthest from the rule."""
    distances = [
        {"variant": row["variant"], "dimension": dimension, "off": row[f"off_{dimension}"]}
        for row in audited.to_dict("records")
        for dimension in DIMENSIONS
    ]
    return max(distances, key=lambda distance: abs(distance["off"]))


def _triple(rule: Coefficients) -> str:
    return f"alpha {rule.alpha:.4g}, beta {rule.beta:.4g}, gamma {rule.gamma:.4g}"


def _rule_as_built(what: AuditInput, as_built: "pd.Series[Any]") -> str:
    said = (
        f"At phi = 1 the rule's nominal {as_built['nominal_flops_ratio']:.2f} really costs "
        f"{as_built['cost_ratio']:.2f} times the base network"
    )
    if not pd.isna(as_built["depth_share"]):
        said += f", {as_built['depth_share']:.0%} of the log of it through depth"
    # Of other base networks and rules that is not known.
    return said + (", which is rounded up in every stage." if what.source == "family" else ".")


def _published_sentence(name: str, audited: pd.DataFrame) -> Iterator[str]:
    """The distance of counts from the published ones."""
    known = audited[audited[f"published_{name}"].notna()].to_dict("records")
    off = {row["variant"]: row[name] / row[f"published_{name}"] - 1 for row in known}
    if off and not any(off.values()):
        yield f"Ours are the published {name} in every row that has them."
    elif off:
        variant = max(off, key=lambda each: abs(off[each]))
        yield (
            f"Ours are within ±{abs(off[variant]):.1%} of the published {name}, farthest at "
            f"{variant!r} ({off[variant]:+.1%})."
        )
