"""Prices of a search and of the checks of its fairness, before anything is trained."""

from collections.abc import Iterable, Iterator, Sequence

from scaling_search.answer.stopping import Limits
from scaling_search.commands.run import Run
from scaling_search.core.candidate import Candidate
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.formatting import count
from scaling_search.display.progress import bars
from scaling_search.display.terminal import price_sentence
from scaling_search.experiment.options import Fairness
from scaling_search.follow_ups.fairness import learning_rate_trials, length_trials
from scaling_search.follow_ups.recipe_check import further_trials
from scaling_search.planning.candidates import Plan
from scaling_search.training.price import price
from scaling_search.training.timing import Timing, time_networks


def search_prices(
    run: Run,
    planned: Plan,
    *,
    fairness: Fairness,
    timed: bool,
    timings: Sequence[Timing] = (),
) -> Iterator[str]:
    """Sentences with the price of the search and of the checks that are asked for.

    The dataset is ready.

    Args:
        run: Experiment and executor.
        planned: The networks.
        fairness: Checks of fairness whose price is printed too.
        timed: True to time a few steps while nothing has been trained.
        timings: Those that are known already.
    """
    experiment = run.experiment
    trials = experiment.trials(planned)
    finished = run.known(trials) if run.studies.is_begun else []
    if timed and not timings and experiment.training is None:
        is_known = any(result.state == "COMPLETE" for result in finished)
        try:
            timings = timed_steps(run, trials, are_needed=not is_known)
        except (ValueError, RuntimeError) as error:
            yield f"No steps were timed: {error}."
    if timings:
        yield (
            "The time is estimated from a few steps of "
            f"{count(len({t.trial.key for t in timings}), 'network')} on {timings[0].device}, "
            f"{run.executor.slots} at a time, and grows with FLOPs and activations."
        )
    asking = asking_trials(run, planned)
    part = f", of which {len(asking)} check the recipe" if asking else ""
    yield f"Search: {_price(run, [*trials, *asking], finished, finished, timings, part)}"
    ends = [f"limits.{name}={value:g}" for name, value in _endings(run.limits) if value is not None]
    if ends:
        yield f"The search ends earlier at {' or '.join(ends)}."
    rate = experiment.recipe.rate
    at_rates = further_trials(experiment, planned, rate)["recipe"] if run.asks_recipe else []
    searched = {trial.key for trial in (*trials, *at_rates)}
    networks, num_seeds = list(planned), fairness.num_seeds
    asked = {}
    if fairness.learning_rate:
        asked["the learning rate"] = learning_rate_trials(
            experiment, networks, None, num_seeds=num_seeds
        )
    if fairness.length:
        asked["the length of training"] = length_trials(experiment, networks, num_seeds=num_seeds)
    for what, checked in asked.items():
        more = [trial for trial in checked if trial.key not in searched]
        yield f"Fairness of {what}: {_price(run, more, finished, (), timings)}"


def asking_trials(run: Run, networks: Iterable[Candidate]) -> list[Trial]:
    """Trainings that the check of the recipe has still to do, beside the search's own."""
    check = run.recipe_check if run.studies.is_begun else None
    if not run.asks_recipe or (check is not None and check.is_done):
        return []
    rate = run.experiment.recipe.rate if check is None else check.rate_to_take
    left = []
    for study, trials in further_trials(run.experiment, networks, rate).items():
        record = run.studies.beyond(study)
        done = {} if record is None else record.results_of(trials)
        left += [trial for trial in trials if trial.key not in done]
    return left


def _endings(limits: Limits) -> Iterator[tuple[str, float | None]]:
    """The limits that end a search which goes well."""
    for name in ("trainings", "hours", "gpu_hours", "region"):
        yield name, getattr(limits, name)


def timed_steps(run: Run, trials: Sequence[Trial], *, are_needed: bool) -> list[Timing]:
    """A few steps of some networks, with as many at a time as a search would have.

    Where recorded trainings say how long others take, only their number at a time is settled.

    Raises:
        ValueError: The device is not there.
        RuntimeError: A network cannot be trained.
    """
    run.check_executor()
    executor = run.executor
    with run.console.status("timing steps of some networks"), bars(run.console), executor:
        executor.prepare(trials)
        return time_networks(executor, trials) if are_needed else []


def _price(
    run: Run,
    trials: Sequence[Trial],
    finished: Sequence[TrialResult],
    known: Sequence[TrialResult],
    timings: Sequence[Timing],
    part: str = "",
) -> str:
    """In trainings of the base network, and in time where that is known."""
    epochs, executor = run.experiment.recipe.epochs, run.executor
    work = sum(t.candidate.flops_ratio * t.recipe.epochs for t in trials) / epochs
    cost = price(
        trials,
        finished,
        known=known,
        slots=executor.slots,
        device_share=executor.device_share,
        timings=timings,
    )
    said = price_sentence(cost, executor.slots, part)
    return f"the work of {work:,.0f} trainings of the base network. {said}"
