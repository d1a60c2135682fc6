"""Trains some networks at other rates and lengths than the search."""

from collections.abc import Iterator

from scaling_search.commands.run import Run
from scaling_search.commands.trainings import searched, train_more
from scaling_search.display.fairness import fairness_sections
from scaling_search.display.plots.drawing import save
from scaling_search.display.plots.fairness import setting_curves
from scaling_search.display.terminal import say, show
from scaling_search.experiment.options import Fairness
from scaling_search.follow_ups.fairness import NUM_NETWORKS, fairness_checks, trials
from scaling_search.record.tables import write_table


def fairness(run: Run, options: Fairness = Fairness(), *, price_only: bool = False) -> None:
    """Tests the effect of learning rate and length of training on the comparison of networks.

    Args:
        run: A search.
        options: The checks and their number of seeds.
        price_only: True to print the price and train nothing.

    Raises:
        ValueError: Nothing is asked, or the search has no finished training.
        RuntimeError: There is no search, or all trainings failed.
    """
    experiment, console = run.experiment, run.console
    if experiment.training is not None:
        raise ValueError(
            f"fairness must be of this package's training, got training={experiment.training}"
            "; search again with other options of it and another out="
        )
    if not (options.learning_rate or options.length):
        raise ValueError(
            "fairness.learning_rate or fairness.length must be true, got false for both; add "
            "fairness.learning_rate=true"
        )
    networks = searched(run)
    conclusion = run.conclusion
    found, why = run.found(conclusion)
    say(console, _intentions(options, f"network {found.number} ({why})"))
    asked = trials(experiment, networks, found, options)
    if train_more(run, asked, "fairness", price_only=price_only) is None:
        return
    record = run.studies.begun("fairness")
    checks = fairness_checks(
        run.rows_at_rates(), record.rows(), experiment=experiment, answer=conclusion.answer
    )
    for section in fairness_sections(checks):
        console.print()
        show(console, section)
        write_table(section.table, run.folder / f"{section.name}.csv")
        figure = setting_curves(section.table, experiment.metric, equal=experiment.equal)
        drawn = save(figure, run.folder / "figures", section.name)
        say(console, [f"  {path}" for path in (run.folder / f"{section.name}.csv", *drawn)])


def _intentions(options: Fairness, found: str) -> Iterator[str]:
    """Sentences on the networks that will be trained."""
    if options.learning_rate:
        yield (
            "Learning rates are checked with the networks nearest to depth, width and resolution "
            f"alone and to equal shares (thirds), and with {found}."
        )
    if options.length:
        yield (
            "Lengths of training are checked with the base network and up to "
            f"{NUM_NETWORKS} networks spread over the triangle of shares."
        )
