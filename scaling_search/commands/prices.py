"""Prices of a search and of the checks of its fairness, before anything is trained."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from scaling_search.experiment import Experiment, Limits
from scaling_search.follow_ups import fairness
from scaling_search.formatting import count
from scaling_search.planning.candidates import Plan
from scaling_search.record.study import Record
from scaling_search.terminal import price_sentence
from scaling_search.training.price import price
from scaling_search.training.timing import Timing, time_networks
from scaling_search.training.trial import Trial, TrialResult


def about_prices(
    experiment: Experiment, planned: Plan, record: Record | None, console: Console
) -> Iterator[str]:
    """Sentences with the price of the search and of the checks that are asked for.

    The dataset is ready.
    """
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
    limits = experiment.limits
    ends = [f"limits.{name}={value:g}" for name, value in _endings(limits) if value is not None]
    if ends:
        yield f"It ends before that at {' or '.join(ends)}."
    searched = {trial.key for trial in trials}
    asked = {}
    if experiment.fairness.learning_rate:
        asked["the learning rate"] = fairness.learning_rate_trials(experiment, planned, None)
    if experiment.fairness.length:
        asked["the length of training"] = fairness.length_trials(experiment, planned)
    for what, checked in asked.items():
        more = [trial for trial in checked if trial.key not in searched]
        yield f"Fairness of {what}: {_price(experiment, more, finished, (), timings)}"


def _endings(limits: Limits) -> Iterator[tuple[str, float | None]]:
    """The limits that end a search which goes well."""
    for name in ("trainings", "hours", "gpu_hours", "region"):
        yield name, getattr(limits, name)


def _timings(
    experiment: Experiment, trials: Sequence[Trial], console: Console, *, are_needed: bool
) -> list[Timing]:
    """A few steps of some networks, with as many at a time as a search would have.

    Where recorded trainings say how long others take, only their number at a time is settled.

    Raises:
        ValueError: The device is not there.
        RuntimeError: A network cannot be trained.
    """
    executor = experiment.executor
    executor.check()
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
