"""The published EfficientNet coefficients beside what their rule gives."""

import pandas as pd

from scaling_search import audit
from scaling_search.commands.run_folder import Call
from scaling_search.scaling import PAPER
from scaling_search.terminal import audit_sentences, audit_tables, say


def run(call: Call) -> None:
    """Prints the published EfficientNet coefficients beside what their rule gives."""
    experiment, console = call.experiment, call.console
    network, cost = experiment.base_network, experiment.cost
    variants = audit.audit(network, cost, PAPER, audit.published_family())
    rule = audit.rule_as_built(network, cost, PAPER)
    for table in audit_tables(pd.concat([variants, rule])):
        console.print(table)
        console.print()
    say(console, audit_sentences(rule))
