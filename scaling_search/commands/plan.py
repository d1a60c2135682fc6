"""Prints the networks that a search would train, the detectable difference, and the price."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scaling_search.answer.detectable import USUAL_SCATTER, detectable
from scaling_search.commands.data_sheet import outlined, show_data
from scaling_search.commands.prices import search_prices
from scaling_search.commands.run import Run
from scaling_search.data.gathering import Described
from scaling_search.display.audit import scalings_lines, scalings_sentences
from scaling_search.display.plan import (
    PLAN_OPTIONAL,
    SEED_SD_MEANT,
    about_verdicts,
    in_seed_sds,
    plan_lines,
    plan_sentences,
    recipe_sentence,
    seeds_text,
)
from scaling_search.display.progress import bars
from scaling_search.display.tables import show_table
from scaling_search.display.terminal import say
from scaling_search.experiment.experiment import Experiment
from scaling_search.experiment.options import Fairness
from scaling_search.planning.budget import Budget
from scaling_search.planning.candidates import Plan
from scaling_search.planning.measuring import measure
from scaling_search.planning.published import published_scalings
from scaling_search.training.starts import num_started, read_start
from scaling_search.training.timing import Timing

OWN_TRAINING = (
    "Trainings are by {}. Options of recipe do not apply, the recipe is not checked, and no steps "
    "are timed: the time follows from the first trainings."
)


def plan(
    run: Run,
    *,
    timed: bool = True,
    fairness: Fairness = Fairness(),
    timings: Sequence[Timing] = (),
    shows_data: bool = True,
) -> Plan:
    """Prints the networks that a search would train, each built and measured.

    For a base network of the paper's Table 3 it also prints that table beside our counts.

    Args:
        run: Folder, experiment and executor of a search; its folder need not exist.
        timed: True to time a few steps while nothing has been trained.
        fairness: Checks of fairness whose price is printed too.
        timings: Timed steps that are known already.
        shows_data: True to print the data too.
    """
    experiment, console = run.experiment, run.console
    about = outlined(experiment, timed=timed) if shows_data else None
    _, planned = make_plan(run, run.record.costs if run.studies.is_begun else {})
    with contextlib.suppress(ValueError):  # a plan needs no device
        run.check_executor()
    if about is not None:
        show_data(experiment, about, console)
    say(console, about_training(experiment, planned))
    show_table(console, plan_lines(planned), optional=PLAN_OPTIONAL)
    say(console, plan_sentences(planned))
    say(console, about_verdicts(planned, experiment.most_seeds))
    scalings = published_scalings(experiment.base_network)
    if len(scalings):
        show_table(console, scalings_lines(scalings))
        say(console, scalings_sentences(scalings))
    say(console, _about_differences(run, planned))
    if isinstance(experiment.dataset, Described):
        sizes = {network.architecture.resolution for network in planned}
        say(console, experiment.dataset.sentences(sizes))
    if experiment.dataset is not None:
        say(console, search_prices(run, planned, fairness=fairness, timed=timed, timings=timings))
    return planned


def make_plan(run: Run, costs: Mapping[str, Any]) -> tuple[Budget, Plan]:
    """Plan the networks, and build and check each; costs that are not known are measured.

    The networks of a search that has begun with the same choices are those that it began with.

    Args:
        run: Its experiment is planned.
        costs: As `Budget.state` gives them.
    """
    experiment = run.experiment
    if not run.studies.is_begun:
        experiment.recipe.check_length()
    budget = experiment.budget(costs)
    with bars(run.console):
        planned = experiment.plan(budget)
        if _is_begun_so(run):
            base, *candidates = run.networks
            planned = replace(planned, base=base, candidates=tuple(candidates))
        measure(planned, experiment.cost)
    return budget, planned


def about_training(experiment: Experiment, planned: Plan) -> list[str]:
    """The training of a plan's networks, and the weights that they start from.

    Raises:
        RuntimeError: The file ``recipe.start`` cannot be read.
        ValueError: The base network takes nothing from it.
    """
    recipe, training = experiment.recipe, experiment.training
    if training is not None:
        return [OWN_TRAINING.format(training)]
    started = [] if recipe.start is None else [_about_start(recipe.start, planned)]
    return [recipe_sentence(recipe), *started]


def _about_start(start: str, planned: Plan) -> str:
    """The number of tensors that networks of a plan take from a file."""
    tensors = read_start(start)
    (found, number), *others = (num_started(n.architecture, tensors) for n in planned)
    if not found:
        name = next(iter(planned.base.architecture.build().state_dict()))
        raise ValueError(
            "recipe.start must have tensors of the base network, by name and shape, got none such "
            f"in {start!r}: its first is {next(iter(tensors), 'nothing')}, the network's {name}"
        )
    least, most = (pick((one for one, _ in others), default=found) for pick in (min, max))
    said = f"Of the base network's {number} tensors {found} start from {start}"
    others_said = f"and {least} to {most} of each other network's"
    limit = (
        "Those of other shapes start at random, so splits that keep shapes, as resolution alone, "
        "have an advantage"
    )
    return f"{said}, {others_said}. {limit}."


def _is_begun_so(run: Run) -> bool:
    """True if the run's record holds the networks of this very experiment."""
    try:
        run.check_choices()
    except ValueError:
        return False
    return run.studies.is_begun and bool(run.networks_of("search"))


def _about_differences(run: Run, planned: Plan) -> Iterator[str]:
    """The smallest detectable differences between references."""
    experiment = run.experiment
    diagnosis = run.conclusion.diagnosis if run.studies.is_begun else None
    seed_sd, network_sd = experiment.decide.seed_sd, None
    if seed_sd is None and diagnosis is not None and diagnosis.own_seed_sd is not None:
        seed_sd, network_sd = diagnosis.own_seed_sd, diagnosis.network_sd
    unit = 1.0 if seed_sd is None else seed_sd
    shares = [c.shares for c in planned.candidates if c.shares]
    counts = experiment.seed_counts(len(shares))
    scatter = USUAL_SCATTER * unit if network_sd is None else network_sd
    found = detectable(shares, counts, seed_sd=unit, network_sd=scatter)
    if not found:
        return  # the sentences of the plan name what is missing

    def text(value: float) -> str:
        return in_seed_sds(value / unit, seed_sd, experiment.metric)

    least, most = (
        f"{text(pair.difference)} ({' and '.join(pair.names)})" for pair in (found[0], found[-1])
    )
    yield (
        f"With {seeds_text(counts)} a search shows in 80 of 100 cases a difference between two "
        f"references of {least} to {most}."
    )
    if seed_sd is None:
        yield f"{SEED_SD_MEANT} Networks are assumed to scatter around the fit by {text(scatter)}."
    else:
        how = "as this run has measured" if network_sd is not None else "as assumed"
        yield (
            f"That is with standard deviations of {text(unit)} between seeds and {text(scatter)} "
            f"between networks and the fit, {how}."
        )
