"""Which networks a search would train."""

from scaling_search.commands.run_folder import Call
from scaling_search.progress import Tracked
from scaling_search.terminal import plan_table, say


def run(call: Call) -> None:
    """Prints the networks that a search would train, each built and measured."""
    experiment, console = call.experiment, call.console
    planned = experiment.plan()
    planned.measure(experiment.cost, Tracked(console, "measuring networks"))
    console.print(plan_table(planned))
    say(console, planned.sentences())
