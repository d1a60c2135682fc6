"""Tables of scaled networks, published or one's own, beside what their rule gives."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from scaling_search.commands.run import Run
from scaling_search.core.protocols import Cost
from scaling_search.core.scaling import DIMENSIONS, Coefficients
from scaling_search.display.terminal import audit_tables, say
from scaling_search.experiment.options import Audit, triple
from scaling_search.planning.published import Asked, asked, audited_table, rule_as_built
from scaling_search.record.tables import write_table


def audit(run: Run, options: Audit = Audit()) -> None:
    """Prints a table of scaled networks beside what their rule gives, and keeps it where asked.

    Args:
        run: Its base network and cost are audited; its folder need not be there.
        options: The table and its rule.

    Raises:
        ValueError: The table is not one, or the cost cannot be told on paper.
        RuntimeError: A file cannot be read or written.
    """
    network, cost, console = run.experiment.base_network, run.experiment.cost, run.console
    if not isinstance(cost, Cost):
        raise ValueError(  # noqa: TRY004  # of an option, not of a type
            f"cost must be told on paper to audit, got {cost.column}; take for instance cost=flops"
        )
    what = asked(network, options.table, triple(options.coefficients))
    audited = audited_table(network, cost, what.rule, what.variants)
    rule = None if what.rule is None else rule_as_built(network, cost, what.rule)
    tables = audit_tables(pd.concat([audited, rule]), with_distance=what.source == "own")
    for table in tables:
        console.print(table)
        console.print()
    say(console, sentences(what, audited, rule, cost.column))
    if options.write:
        from scaling_search.display.plots.audited import triangle_of_variants  # noqa: PLC0415  # matplotlib
        from scaling_search.display.plots.drawing import save  # noqa: PLC0415  # as above

        folder = run.folder
        write_table(audited, folder / "audit.csv")
        figure = triangle_of_variants(audited)
        drawn = save(figure, folder / "figures", "audited_shares")
        say(console, [f"  {path}" for path in (folder / "audit.csv", *drawn)])


def sentences(
    what: Asked, audited: pd.DataFrame, rule: pd.DataFrame | None, held: str
) -> Iterator[str]:
    """Sentences on how to read the tables and what they say; ``held`` is the cost's column."""
    yield from _reading(what, held)
    if what.source == "own":
        yield from _distances(what, audited)
    if rule is not None:
        yield _rule_as_built(what, rule.iloc[0])
    for name in ("flops", "params"):
        if f"published_{name}" in audited:
            yield from _published(name, audited)
    if what.unstated:
        yield f"Published without multipliers, so not in the tables: {', '.join(what.unstated)}."


def _reading(what: Asked, held: str) -> Iterator[str]:
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


def _distances(what: Asked, audited: pd.DataFrame) -> Iterator[str]:
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


def _rule_as_built(what: Asked, as_built: "pd.Series[Any]") -> str:
    said = (
        f"At phi = 1 the rule's nominal {as_built['nominal_flops_ratio']:.2f} really costs "
        f"{as_built['cost_ratio']:.2f} times the base network"
    )
    if not pd.isna(as_built["depth_share"]):
        said += f", {as_built['depth_share']:.0%} of the log of it through depth"
    # Of other base networks and rules that is not known.
    return said + (", which is rounded up in every stage." if what.source == "family" else ".")


def _published(name: str, audited: pd.DataFrame) -> Iterator[str]:
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
