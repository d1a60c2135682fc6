"""Tables of scaled networks beside their rule, and sentences on how to read them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from scaling_search.core.scaling import DIMENSIONS, Coefficients, Shares
from scaling_search.display.formatting import percent, rounded
from scaling_search.display.terminal import shares_text
from scaling_search.planning.published import AuditInput


def audit_tables(audited: pd.DataFrame, *, with_distance: bool = False) -> list[list[list[str]]]:
    """Tables of multipliers, costs and published counts: a header, and a line for each variant.

    Args:
        audited: As `audited_table` gives it.
        with_distance: True to add the distance of each variant from its rule.
    """
    rows = audited.to_dict("records")
    has_rule = audited["rule_depth"].notna().any()
    digits = _digits(audited.loc[audited["variant"].map(_label) != "rule", ["depth", "width"]])
    of_rule = ("rule's d", "w", "px", "phi from d", "w", "px") if has_rule else ()
    off_rule = ("off its rule",) if with_distance and has_rule else ()
    multipliers = [["", "phi", "depth", "width", "px", *of_rule, *off_rule]]
    for row in rows:
        cells = [
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
        multipliers.append(cells)
    ratios = {"nominal_flops_ratio": "nominal cost", "cost_ratio": "real cost"}
    if has_rule:
        ratios["rule_cost_ratio"] = "rule's cost"
    costs = [["", *ratios.values(), "nominal d/w/r", "as built d/w/r"]]
    for row in rows:
        splits = [[row[f"{kind}{d}_share"] for d in DIMENSIONS] for kind in ("nominal_", "")]
        cells = [_label(row["variant"]), *(_number(row[name], 2) for name in ratios)]
        cells += [shares_text(None if pd.isna(one[0]) else Shares(*one)) for one in splits]
        costs.append(cells)
    return [multipliers, costs, *_published(rows)]


def _published(rows: Sequence[Mapping[Any, Any]]) -> Iterator[list[list[str]]]:
    """Counts beside the published ones, where there are any."""
    known = [name for name in ("flops", "params") if f"published_{name}" in rows[0]]
    if not known:
        return
    lines = [["", *(title for name in known for title in (f"{name}, M", "published", "off"))]]
    for row in rows:
        cells = [_label(row["variant"])]
        for name in known:
            ours, theirs = row[name], row.get(f"published_{name}", math.nan)
            cells += [f"{ours / 1e6:,.2f}", _number(theirs / 1e6, 2)]
            cells.append("" if pd.isna(theirs) else f"{ours / theirs - 1:+.1%}")
        lines.append(cells)
    yield lines


def _label(variant: str) -> str:
    """A variant's name in a table."""
    return "rule" if variant.startswith("rule, phi = ") else variant


def _digits(values: pd.DataFrame) -> int:
    """Decimals, one to four, that show all of these as they are."""
    numbers = [float(value) for value in values.to_numpy().ravel()]
    exact = (d for d in (1, 2, 3) if all(abs(round(n, d) - n) < 1e-9 for n in numbers))
    return next(exact, 4)


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def scalings_lines(scalings: pd.DataFrame) -> list[list[str]]:
    """A header, and a line for each way of scaling that `published_scalings` gives."""
    lines = [["scaled", "d", "w", "r", "paper's B", "ours, B", "px", "blocks"]]
    for row in scalings.to_dict("records"):
        line = [
            str(row["method"]),
            *("" if pd.isna(row[name]) else f"{row[name]:g}" for name in ("d", "w", "r")),
            f"{row['flops_paper_b']:.1f}",
            "" if pd.isna(row["flops"]) else f"{row['flops'] / 1e9:.3f}",
            "" if pd.isna(row["resolution"]) else f"{row['resolution']:.0f}",
            str(row["layers"]),
        ]
        lines.append(line)
    return lines


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
            f"{scalings['model'].iloc[0]} as scaled in Tan & Le 2019, Table 3. Multiply-adds in "
            "billions (B): those of the paper, and ours of the network that d, w and r (depth, "
            "width, resolution) round to."
        ),
        (
            f"In {len(other)} of {len(stated)} rows with multipliers, ours do not round to the "
            f"paper's number: {apart}."
            if apart
            else "In every row with multipliers, ours round to the paper's number."
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
        yield f"Not in the tables, since published without multipliers: {', '.join(what.unstated)}."


def _reading(what: AuditInput, held: str) -> Iterator[str]:
    """The meaning of the columns."""
    rows = {
        "family": "depth, width: published multipliers; px: published resolution.",
        "multipliers": "depth, width: multipliers published for B0 to B7, used on this network.",
        "table_3": "depth, width, px: from Tan & Le 2019, Table 3, for this base network.",
        "own": "depth, width: multipliers of the table; px: of the network that they round to.",
    }[what.source]
    if what.source in {"family", "multipliers"}:
        phi = "phi: the compound coefficient, fitted in tensorflow/tpu#390; the paper has none."
    elif "phi" in what.variants:
        phi = "phi: the compound coefficient of the table."
    else:
        phi = "phi: the compound coefficient, log2 of the real cost, so twice the cost is 1."
    yield f"{rows} {phi}"
    if what.rule:
        each = "published multiplier" if what.source == "family" else "multiplier"
        yield (
            "rule's: alpha, beta, gamma (coefficients of depth, width, resolution) to the power "
            f"phi, not rounded. phi from: the phi at which the rule gives the {each}."
        )
    network = "published network" if what.source == "family" else "network that they round to"
    costs = f"real: of the {network}"
    if what.rule:
        costs += "; rule's: of the network that the rule rounds to"
    counted = "" if held == "flops" else f" ({held})"
    yield (
        f"Costs{counted} are relative to the base network. nominal: depth·width²·resolution²; "
        f"{costs}. d/w/r: shares of depth, width and resolution in the log of the cost."
    )


def _distances(what: AuditInput, audited: pd.DataFrame) -> Iterator[str]:
    """The rule that the rows are compared with, and their distances from it."""
    if what.rule is None:
        yield (
            "There is no rule to compare the rows with; add a column phi, or "
            "audit.coefficients=[alpha,beta,gamma]."
        )
        return
    origin = "as given"
    if what.is_fitted:
        origin = "fitted to the logarithms of the table by least squares"
    yield f"The rule is {_triple(what.rule)}, {origin}."
    worst = _farthest(audited)
    yield (
        f"All rows follow the rule within ±{100 * abs(worst['off']):.1f} %. The largest difference "
        f"is {100 * worst['off']:+.1f} %, in the {worst['dimension']} of {worst['variant']!r}."
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
    return f"alpha {rounded(rule.alpha)}, beta {rounded(rule.beta)}, gamma {rounded(rule.gamma)}"


def _rule_as_built(what: AuditInput, as_built: "pd.Series[Any]") -> str:
    said = (
        f"At phi = 1 the rule's network has a nominal cost of "
        f"{as_built['nominal_flops_ratio']:.2f} and a real cost of {as_built['cost_ratio']:.2f}."
    )
    if not pd.isna(as_built["depth_share"]):
        said += f" The share of depth is {percent(as_built['depth_share'])}"
        # Of other base networks and rules that is not known.
        rounded = ": depth is rounded up in every stage"
        said += f"{rounded if what.source == 'family' else ''}."
    return said


def _published_sentence(name: str, audited: pd.DataFrame) -> Iterator[str]:
    """The distance of counts from the published ones."""
    known = audited[audited[f"published_{name}"].notna()].to_dict("records")
    off = {row["variant"]: row[name] / row[f"published_{name}"] - 1 for row in known}
    if off and not any(off.values()):
        yield f"The published {name} and ours are equal in every row that has them."
    elif off:
        variant = max(off, key=lambda each: abs(off[each]))
        yield (
            f"Ours are within ±{100 * abs(off[variant]):.1f} % of the published {name}. The "
            f"largest difference is {100 * off[variant]:+.1f} %, at {variant!r}."
        )
