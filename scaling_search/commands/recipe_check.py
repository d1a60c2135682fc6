"""Trains a few networks with other recipes before a search begins."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from scaling_search.answer.stopping import Stopping, told_failures
from scaling_search.commands.run import Run
from scaling_search.commands.training_loop import TrainingLoop
from scaling_search.commands.trainings import logged, placed, provenance
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.progress import View
from scaling_search.display.recipe_check import asking, check_sentences
from scaling_search.display.terminal import say, tell
from scaling_search.follow_ups.factorial_design import FACTORS
from scaling_search.follow_ups.recipe_check import (
    MOST_FARTHER,
    Setting,
    first_settings,
    setting_trials,
)
from scaling_search.record.record import Record
from scaling_search.record.results import KEY, Row, row_of
from scaling_search.runtime.lock import RunLock

STUDIES = ("recipe", "recipe-plain")
"""Studies of other rates and of trainings without augmentation."""


def check_recipe(
    run: Run, record: Record, hold: RunLock, *, since: float, settle: Callable[[Run, float], Run]
) -> tuple[Run, bool]:
    """Trains a few networks with other recipes, and prints whether one is better.

    Args:
        run: The search, whose record has its networks.
        record: Its record, which gets the trainings by the search's own recipe.
        hold: The folder's lock.
        since: Start of the command, by `time.monotonic`.
        settle: Keeps the rate that was found where it was open, and returns the run with it.

    Returns:
        The run, and False if a limit was reached first.
    """
    if not run.asks_recipe:
        return run, True
    studies = run.studies  # a run with another rate opens studies of its own, which cannot write
    if (taken := _rate_to_take(run, hold, since)) is None:
        return run, False
    if run.experiment.recipe.is_open:
        run = settle(run, taken)
    _take_own(run, record)
    check = run.recipe_check
    assert check is not None  # its rates are trained
    if not check.is_done:
        settings = [Setting(taken, is_augmented=False)]
        trials = setting_trials(run.experiment, run.networks, settings)
        plain = placed(replace(run, keep_weights=False), trials)
        before = [*run.record.rows(), *others_of(run, STUDIES[:1])]
        beside = studies.begun(STUDIES[1])
        beside.hold(hold)
        if not _trained(run, plain, beside, settings, hold, since, before=before):
            return run, False
        check = run.recipe_check
        assert check is not None  # as above
    say(run.console, check_sentences(check))
    return run, True


def _rate_to_take(run: Run, hold: RunLock, since: float) -> float | None:
    """Trains at three rates, and at most two farther while that is open; None at a limit."""
    recipe, check = run.experiment.recipe, run.recipe_check
    if not recipe.is_open and check is not None and check.has_rates:
        return check.rate_to_take
    # Farther rates of a command that was cut off are asked again, which trains what is left.
    earlier = [] if check is None else [one for one in check.settings if one.is_augmented]
    settings = list(dict.fromkeys([*first_settings(recipe), *earlier]))
    record = run.studies.begun(STUDIES[0])
    record.hold(hold)
    while True:
        trials = setting_trials(run.experiment, run.networks, settings)
        own = [trial for trial in trials if trial.recipe.rate == recipe.rate]
        others = [trial for trial in trials if trial.recipe.rate != recipe.rate]
        known = list(run.record.results_of(own).values())
        # Only the recipe's own are the search's, whose weights may be kept.
        every = [*placed(run, own), *placed(replace(run, keep_weights=False), others)]
        if not _trained(run, every, record, settings, hold, since, known=known):
            return None
        check = run.recipe_check
        assert check is not None  # all of it is trained
        rates, best = [one.learning_rate for one in settings], check.best_rate
        is_enough = len(rates) == len(FACTORS) + MOST_FARTHER or min(rates) < best < max(rates)
        if is_enough or not recipe.is_open:
            return check.rate_to_take
        settings.append(Setting(best * FACTORS[0 if best == min(rates) else -1]))


def _take_own(run: Run, record: Record) -> None:
    """Copies the check's trainings by the search's recipe into the search's record."""
    checked = run.studies.begun(STUDIES[0])
    rows = {tuple(row[name] for name in KEY): row for row in checked.rows()}
    own = setting_trials(run.experiment, run.networks, [Setting(run.experiment.recipe.rate)])
    mine = record.results_of(own)
    for key, result in checked.results_of(own).items():
        if key not in mine:
            known = row_of(result)
            columns: dict[str, Any] = {k: v for k, v in rows[key].items() if k not in known}
            record.add(result, **columns)


def others_of(run: Run, studies: Sequence[str] = STUDIES) -> list[Row]:
    """Rows of the check's trainings that are not the search's own; its limits count them too."""
    own, others = {tuple(row[name] for name in KEY) for row in run.record.rows()}, []
    for study in studies:
        record = run.studies.beyond(study)
        rows = [] if record is None else record.rows()
        is_plain = study == STUDIES[1]
        others += [row for row in rows if is_plain or tuple(row[k] for k in KEY) not in own]
    return others


def _trained(
    run: Run,
    trials: Sequence[Trial],
    record: Record,
    settings: Sequence[Setting],
    hold: RunLock,
    since: float,
    *,
    known: Sequence[TrialResult] = (),
    before: Sequence[Row] = (),
) -> bool:
    """Trains what is not done; a failure is a result here and ends nothing. False at a limit."""
    experiment, console = run.experiment, run.console
    retries = run.executor.retries
    loop = TrainingLoop(trials, record, provenance=provenance(), known=known, retries=retries)
    if not loop.remaining:
        return True
    say(console, [asking(len(loop.remaining), settings)])
    limits = replace(run.limits, failed_share=1.0, region=None)
    target = experiment.candidates.target
    stopping = Stopping(limits, record, target, others=before, since=since)
    view = View(console, experiment.metric)
    with logged(run):
        loop.run(None, run.executor, view, stopping=stopping, check=hold.check)
    if failed := told_failures(loop.recorded):
        tell(console, f"{failed}; search.log has the tracebacks")
    if loop.remaining:
        tell(console, f"{loop.stopped}; the same command continues the check of the recipe")
    return not loop.remaining
