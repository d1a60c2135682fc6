"""Which networks a search would train, what it would find, and what it would take."""

import contextlib
import math
from collections.abc import Iterator, Sequence

from rich.console import Console

from scaling_search.answer.conclusions import conclude
from scaling_search.answer.detectable import detectable
from scaling_search.answer.diagnosis import Diagnosis
from scaling_search.audit import published_scalings
from scaling_search.cells import count, difference
from scaling_search.commands.data import outlined, show_data
from scaling_search.commands.run_folder import Call, record_of, stored_names
from scaling_search.data.gathering import Described
from scaling_search.experiment import Experiment
from scaling_search.follow_ups import fairness
from scaling_search.planning.candidates import Plan
from scaling_search.progress import Tracked
from scaling_search.record.results import results_table
from scaling_search.record.study import Record
from scaling_search.terminal import (
    plan_table,
    price_sentence,
    say,
    scalings_sentences,
    scalings_table,
)
from scaling_search.training.price import price
from scaling_search.training.timing import Timing, time_networks
from scaling_search.training.trial import Trial, TrialResult


def run(call: Call) -> None:
    """Prints the networks that a search would train, each built and measured.

    Of a base network that the paper scales in its Table 3, also what it says that those cost.
    """
    experiment, console = call.experiment, call.console
    about = outlined(experiment)
    if about is not None:
        show_data(experiment, about, console)
    record = None
    if experiment.name in stored_names(experiment):
        record = record_of(experiment, experiment.name)
    known = {} if record is None else record.costs
    budget = experiment.budget(known, Tracked(console, "running networks"))
    planned = experiment.plan(budget)
    planned.measure(experiment.cost, Tracked(console, "measuring networks"))
    with contextlib.suppress(ValueError):  # a plan needs no device
        experiment.executor.check()
    console.print(plan_table(planned))
    say(console, planned.sentences())
    scalings = published_scalings(experiment.base_network)
    if len(scalings):
        console.print(scalings_table(scalings))
        say(console, scalings_sentences(scalings))
    say(console, _about_differences(experiment, planned, record))
    if isinstance(experiment.dataset, Described):
        networks = (planned.base, *planned.candidates)
        sizes = {network.architecture.resolution for network in networks}
        say(console, experiment.dataset.sentences(sizes))
    if experiment.dataset is not None:
        say(console, _about_prices(experiment, planned, record, console))


def _about_differences(
    experiment: Experiment, planned: Plan, record: Record | None
) -> Iterator[str]:
    """The smallest differences between references that would be found."""
    luck = None if record is None else _measured(experiment, record)
    network_sd, measured = 0.0, ""
    seed_sd = experiment.decide.seed_sd
    if seed_sd is None and luck is not None and luck.seed_sd is not None:
        seed_sd = luck.seed_sd * math.sqrt(1 - (luck.shared_fraction or 0.0))
        network_sd, measured = luck.network_sd, ", as this run has measured"
    if seed_sd is None:
        yield (
            "How small a difference it would find depends on the luck of a seed: give "
            "decide.seed_sd, or plan again once some networks have two."
        )
        return
    shares = [c.shares for c in planned.candidates if c.shares]
    found = detectable(shares, experiment.num_seeds, seed_sd=seed_sd, network_sd=network_sd)
    if not found:
        return  # the plan's own sentences say what is missing
    objective = experiment.objective
    least, most = (
        f"{difference(pair.difference, objective)} ({' and '.join(pair.names)})"
        for pair in (found[0], found[-1])
    )
    scatter = "the surface explains all else"
    if network_sd:
        scatter = f"networks scatter around the surface by {difference(network_sd, objective)}"
    yield (
        f"With {count(experiment.num_seeds, 'seed')} a network it finds a difference between two "
        f"references with probability 0.8 from {least} to {most}, if a seed's own luck has a "
        f"standard deviation of {difference(seed_sd, objective)} and {scatter}{measured}."
    )


def _measured(experiment: Experiment, record: Record) -> Diagnosis | None:
    return conclude(
        results_table(record.rows()),
        objective=experiment.objective,
        target=experiment.candidates.target,
        delta=experiment.decide.delta,
    ).diagnosis


def _about_prices(
    experiment: Experiment, planned: Plan, record: Record | None, console: Console
) -> Iterator[str]:
    """What the search and the checks that are asked for would take."""
    trials = experiment.trials(planned)
    finished = [] if record is None else list(record.results_of(trials).values())
    timings: list[Timing] = []
    if experiment.timed:
        is_known = any(result.state == "COMPLETE" for result in finished)
        try:
            timings = _timings(experiment, trials, console, are_needed=not is_known)
        except (ValueError, RuntimeError) as error:
            yield f"Nothing is timed: {error}."
    if timings:
        yield (
            f"Timed are steps of {count(len({t.trial.key for t in timings}), 'network')} on "
            f"{timings[0].device}, {experiment.executor.slots} at a time; seconds grow with FLOPs "
            "and activations."
        )
    yield f"Search: {_price(experiment, trials, finished, finished, timings)}"
    searched = {trial.key for trial in trials}
    asked = {}
    if experiment.fairness.learning_rate:
        asked["the learning rate"] = fairness.learning_rate_trials(experiment, planned, None)
    if experiment.fairness.length:
        asked["the length of training"] = fairness.length_trials(experiment, planned)
    for what, checked in asked.items():
        more = [trial for trial in checked if trial.key not in searched]
        yield f"Fairness of {what}: {_price(experiment, more, finished, (), timings)}"


def _timings(
    experiment: Experiment, trials: Sequence[Trial], console: Console, *, are_needed: bool
) -> list[Timing]:
    """A few steps of some networks, with as many at a time as a search would have.

    Where recorded trainings say how long others take, only their number at a time is settled.

    Raises:
        ValueError: The device is not there, or the data do not fit.
        RuntimeError: The data are missing, or a network cannot be trained.
    """
    executor = experiment.executor
    executor.check()
    experiment.ready_dataset()
    with console.status("timing steps of some networks"), executor:
        executor.prepare(trials)
        return time_networks(executor, trials) if are_needed else []


def _price(
    experiment: Experiment,
    trials: Sequence[Trial],
    finished: Sequence[TrialResult],
    known: Sequence[TrialResult],
    timings: Sequence[Timing],
) -> str:
    """In trainings of the base network, and in time where that is known."""
    work = sum(t.candidate.flops_ratio * t.recipe.epochs for t in trials) / experiment.recipe.epochs
    executor = experiment.executor
    cost = price(
        trials,
        finished,
        known=known,
        slots=executor.slots,
        device_share=executor.device_share,
        timings=timings,
    )
    said = price_sentence(cost, executor.slots)
    return f"as much work as {work:,.0f} trainings of the base network. {said}"
