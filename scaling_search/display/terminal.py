"""Tables and sentences for the terminal, within 80 columns where networks allow."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scaling_search.answer.verdicts import Answer
from scaling_search.core.scaling import DIMENSIONS, Shares
from scaling_search.display.answer import comparison_lines
from scaling_search.display.formatting import count
from scaling_search.display.progress import duration
from scaling_search.display.report_section import ReportSection
from scaling_search.planning.candidates import Plan
from scaling_search.planning.ladder import Member
from scaling_search.training.price import Price


def plan_table(planned: Plan) -> Table:
    """A row for the base network and each one kept."""
    table = _columns("", "alpha", "beta", "gamma", "shares d/w/r", "nominal", "real")
    for title in ("k params", "k acts", "px", "layers"):
        table.add_column(title, justify="right", no_wrap=True)
    for candidate in (planned.base, *planned.candidates):
        c = candidate.coefficients
        table.add_row(
            str(candidate.number or "base"),
            *(f"{value:.3f}" for value in (c.alpha, c.beta, c.gamma)),
            _shares(candidate.shares),
            f"{candidate.nominal_flops_ratio:.3f}",
            f"{candidate.cost_ratio:.3f}",
            f"{candidate.params / 1e3:.1f}",
            f"{candidate.activations / 1e3:.1f}",
            str(candidate.architecture.resolution),
            str(candidate.row()["layers"]),
        )
    return table


def ladder_table(found: Sequence[Member]) -> Table:
    """A row for each member of each family."""
    table = _columns("phi", "real", "shares d/w/r", "off its ray", "px", "layers")
    table.add_column("family")
    for member in found:
        candidate = member.candidate
        table.add_row(
            str(member.phi),
            f"{candidate.cost_ratio:.3f}",
            _shares(candidate.shares),
            f"{member.distance:.2f}" + (" " if member.is_on_ray else "*"),
            str(candidate.architecture.resolution),
            str(candidate.row()["layers"]),
            member.family + (" (ends: the data have no more pixels)" if member.ends else ""),
        )
    return table


def comparison_table(found: Answer) -> Table:
    """The best split against each reference; their shares are in `REFERENCES` and the report."""
    header, *lines = comparison_lines(found)
    table = _columns(*header[:1], *header[2:-1])
    table.add_column(header[-1], no_wrap=True)
    for line in lines:
        table.add_row(*line[:1], *line[2:])
    return table


def audit_tables(audited: pd.DataFrame, *, with_distance: bool = False) -> list[Table]:
    """The multipliers, the costs and what was published of them, a row for each variant.

    Args:
        audited: What `audit` gives.
        with_distance: Whether to say how far each variant is from its rule.
    """
    rows = audited.to_dict("records")
    has_rule = audited["rule_depth"].notna().any()
    digits = _digits(audited.loc[audited["variant"].map(_label) != "rule", ["depth", "width"]])
    multipliers = _columns("", "phi", "depth", "width", "px")
    for title in ("rule's d", "w", "px", "phi from d", "w", "px") if has_rule else ():
        multipliers.add_column(title, justify="right", no_wrap=True)
    if with_distance and has_rule:
        multipliers.add_column("off its rule", justify="right", no_wrap=True)
    for row in rows:
        cells = [
            _label(row["variant"]),
            f"{row['phi']:.3g}",
            *(f"{row[name]:.{digits}f}" for name in ("depth", "width")),
            f"{row['resolution']:.0f}",
        ]
        if has_rule:
            cells += [_number(row[name], 2) for name in ("rule_depth", "rule_width")]
            cells.append(_number(row["rule_resolution"], 0))
            cells += [_number(row[f"phi_from_{d}"], 2) for d in DIMENSIONS]
        if with_distance and has_rule:
            off = max(abs(row[f"off_{dimension}"]) for dimension in DIMENSIONS)
            cells.append(f"{off:.1%}" if off < 10 else "over 1000%")
        multipliers.add_row(*cells)
    costs = _columns("", "nominal cost", "real cost", *["rule's cost"] * bool(has_rule))
    for title in ("nominal d/w/r", "as built d/w/r"):
        costs.add_column(title, justify="right", no_wrap=True)
    ratios = ("nominal_flops_ratio", "cost_ratio", *["rule_cost_ratio"] * bool(has_rule))
    for row in rows:
        splits = [[row[f"{kind}{d}_share"] for d in DIMENSIONS] for kind in ("nominal_", "")]
        costs.add_row(
            _label(row["variant"]),
            *(_number(row[name], 2) for name in ratios),
            *(_shares(None if pd.isna(split[0]) else Shares(*split)) for split in splits),
        )
    return [multipliers, costs, *_published(rows)]


def _published(rows: Sequence[Mapping[Any, Any]]) -> Iterator[Table]:
    """Counts beside the published ones, where there are any."""
    known = [name for name in ("flops", "params") if f"published_{name}" in rows[0]]
    if not known:
        return
    table = _columns("", *(title for name in known for title in (f"{name}, M", "published", "off")))
    for row in rows:
        cells = []
        for name in known:
            ours, theirs = row[name], row.get(f"published_{name}", math.nan)
            cells += [f"{ours / 1e6:,.2f}", _number(theirs / 1e6, 2)]
            cells.append("" if pd.isna(theirs) else f"{ours / theirs - 1:+.1%}")
        table.add_row(_label(row["variant"]), *cells)
    yield table


def _label(variant: str) -> str:
    """A variant's name in a table, where brackets are no commands."""
    return "rule" if variant.startswith("rule, phi = ") else escape(variant)


def _digits(values: pd.DataFrame) -> int:
    """Decimals, one to four, that show all of these as they are."""
    numbers = [float(value) for value in values.to_numpy().ravel()]
    exact = (d for d in (1, 2, 3) if all(abs(round(n, d) - n) < 1e-9 for n in numbers))
    return next(exact, 4)


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def scalings_table(scalings: pd.DataFrame) -> Table:
    """A row for each way of scaling that `published_scalings` gives."""
    table = _columns("", "d", "w", "r", "paper's B", "ours, B", "px", "layers")
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
    """How to read the table, and where ours is not what the paper has rounded."""
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


def price_sentence(cost: Price, slots: int) -> str:
    """What trainings will take, before they start."""
    if not cost.num_trainings:
        return f"All {count(cost.num_known, 'training')} are done."
    known = f" ({cost.num_known} more are done)" if cost.num_known else ""
    trainings = f"{count(cost.num_trainings, 'training')}{known}"
    if math.isnan(cost.seconds) or not slots:
        return f"{trainings}; how long they take is not known before one has ended."
    shortest, longest = duration(cost.shortest), duration(cost.longest)
    each = shortest if shortest == longest else f"{shortest} to {longest}"
    hours = "GPU-hours" if cost.on_gpu else "hours of a device"
    return (
        f"{trainings}: about {duration(cost.seconds)} with {slots} at a time, "
        f"{cost.device_seconds / 3600:.2f} {hours}; one takes {each}."
    )


def show(console: Console, section: ReportSection) -> None:
    """Prints a section: its title, its table if it has one, its sentences."""
    console.print(section.title, style="bold", highlight=False)
    if section.lines:
        header, *lines = section.lines
        table = _columns(*header)
        table.columns[0].justify = "left"  # names
        for line in lines:
            table.add_row(*map(escape, line))
        console.print(table)
    say(console, section.sentences)


def _columns(*titles: str) -> Table:
    """An empty table without lines, numbers to the right."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _shares(shares: Shares | None) -> str:
    return "" if shares is None else "/".join(f"{share:.2f}" for share in shares)


def tell(console: Console, line: str) -> None:
    """Prints a line that is never broken, so that a command in it can be pasted."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def say(console: Console, sentences: Iterable[str]) -> None:
    """Prints sentences, wrapped on a terminal and one to a line elsewhere."""
    for sentence in sentences:
        console.print(sentence, highlight=False, markup=False, soft_wrap=not console.is_terminal)
