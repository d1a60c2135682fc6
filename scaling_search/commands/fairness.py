"""Trains some networks at other rates and lengths than the search."""

from pathlib import Path

from scaling_search.commands.run_folder import Call, begun_follow_up, searched
from scaling_search.commands.trainings import train_more
from scaling_search.follow_ups import fairness
from scaling_search.plots.drawing import save
from scaling_search.plots.fairness import section_figure
from scaling_search.record.tables import write_table
from scaling_search.terminal import say, show


def run(call: Call) -> None:
    """Says whether the learning rate or the length of training favours some networks.

    Raises:
        ValueError: Nothing is asked, or the search has no finished training.
    """
    experiment, console = call.experiment, call.console
    asked = experiment.fairness
    if not (asked.learning_rate or asked.length):
        raise ValueError(
            "fairness.learning_rate or fairness.length must be true, got false for both; add "
            "fairness.learning_rate=true"
        )
    before = searched(call)
    found, why = before.found(experiment.objective)
    say(console, [f"found: network {found.number}, {why}"])
    trials = fairness.trials(experiment, before.plan, found)
    if train_more(call, trials, "fairness", before) is None:
        return
    record = begun_follow_up(experiment, "fairness")
    sections = fairness.stored_sections(
        before.record.rows(), record.rows(), experiment=experiment, found=found.number
    )
    folder = Path(experiment.out)
    for section in sections:
        console.print()
        show(console, section)
        write_table(section.table, folder / f"{section.name}.csv")
        figure = section_figure(section, experiment.objective, equal=experiment.recipe.equal)
        drawn = save(figure, folder / "figures", section.name)
        say(console, [f"  {path}" for path in (folder / f"{section.name}.csv", *drawn)])
