"""Tables of scaled networks, published or one's own, beside what their rule gives."""

import pandas as pd

from scaling_search.commands.run import Run
from scaling_search.core.protocols import Cost
from scaling_search.display.audit import audit_sentences, audit_tables
from scaling_search.display.tables import show_table
from scaling_search.display.terminal import say
from scaling_search.experiment.options import Audit, triple
from scaling_search.planning.published import audit_input, audited_table, rule_as_built
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
            f"cost must be computable without a device to audit, got {cost.column}; use for "
            "instance cost=flops"
        )
    what = audit_input(network, options.table, triple(options.coefficients))
    with console.status("counting networks"):
        audited = audited_table(network, cost, what.rule, what.variants)
        rule = None if what.rule is None else rule_as_built(network, cost, what.rule)
    tables = audit_tables(pd.concat([audited, rule]), with_distance=what.source == "own")
    for table in tables:
        show_table(console, table)
        console.print()
    say(console, audit_sentences(what, audited, rule, cost.column))
    if options.write:
        from scaling_search.display.plots.audited import triangle_of_variants  # noqa: PLC0415  # matplotlib
        from scaling_search.display.plots.drawing import save  # noqa: PLC0415  # as above

        folder = run.folder
        write_table(audited, folder / "audit.csv")
        figure = triangle_of_variants(audited)
        drawn = save(figure, folder / "figures", "audited_shares")
        say(console, [f"  {path}" for path in (folder / "audit.csv", *drawn)])
