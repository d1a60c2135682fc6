"""The answer of a run in three lines, with the next command and its price."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from scaling_search.answer.conclusions import Conclusion
from scaling_search.answer.detectable import FEWEST_PLACES
from scaling_search.commands.fresh_seeds import arms_of, seeds_needed
from scaling_search.core.space_filling import places
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.display.formatting import count
from scaling_search.display.headline import Headline, about_certainty, about_network
from scaling_search.display.progress import duration
from scaling_search.display.terminal import tell
from scaling_search.follow_ups.confirmation import Confirmation
from scaling_search.training.price import price

if TYPE_CHECKING:
    from scaling_search.commands.run import Run

USUAL_SEEDS = 10
"""Most fresh seeds of each network that are advised."""


def headline(run: "Run", conclusion: Conclusion, coefficients: pd.DataFrame) -> Headline:
    """The answer in three lines.

    Args:
        run: A search that has begun.
        conclusion: Its conclusion.
        coefficients: Its coefficient table.
    """
    fresh = run.studies.beyond("confirm")
    return Headline(
        use=about_network(
            conclusion,
            coefficients,
            None if fresh is None else Confirmation.last(fresh),
            run.experiment.metric,
        ),
        how_sure=about_certainty(conclusion),
        next=next_step(run, conclusion),
    )


def say_headline(run: "Run", told: Headline | None = None) -> None:
    """Prints the three lines, those of the record as it is now if none are given."""
    run.console.print()
    for line in str(told or run.headline).splitlines():
        tell(run.console, line)


def next_step(run: "Run", conclusion: Conclusion) -> str:
    """The command that makes the answer surer, and its price where that is known."""
    check, rate = run.recipe_check, run.experiment.recipe.rate
    if check is not None and check.is_done and check.rate_to_take != rate:
        return (
            f"scaling-search run with the options of this search, recipe.learning_rate="
            f"{check.rate_to_take:g} and another out= (that rate is better than {rate:g})"
        )
    trials, finished = run.experiment.trials(run.networks), run.finished
    if len(finished) < len(trials):
        return _priced(run, run.next("search"), trials, finished)
    answer = conclusion.answer
    if answer is None:
        return _longer(run)
    confirmed = run.studies.beyond("confirm")
    if confirmed is None or Confirmation.last(confirmed) is None:
        return _to_confirm(run, conclusion)
    if run.studies.beyond("scale") is None:
        return f"{run.next('scale')}  (larger networks, for accuracy over FLOPs)"
    if answer.region.is_everything:
        return _more_seeds(run, math.floor(run.experiment.num_seeds) + 1)
    if run.studies.beyond("transfer") is None:
        return f"{run.next('transfer')}  (does the rule hold for larger networks?)"
    return _last(run)


def _last(run: "Run") -> str:
    """The networks as files, which are those of this package's training alone; else more seeds."""
    if run.experiment.training is not None:
        return _more_seeds(run, math.floor(run.experiment.num_seeds) + 1)
    return f"{run.next('export')}  (the networks as files, to take away)"


def _longer(run: "Run") -> str:
    """What a first look lacks for an answer: second seeds in this folder, places in another."""
    shares = [one.shares for one in run.networks if one.shares]
    if len(set(places(shares))) >= FEWEST_PLACES and run.experiment.most_seeds < 2:
        return _more_seeds(run, 1.25)
    if run.experiment.training is not None:  # whose steps cannot be timed, as hours need
        return (
            "scaling-search search with the options of this search, candidates.max_networks=32 "
            "num_seeds=1.25 and another out="
        )
    return (
        "scaling-search run with the options of this search, hours=1 or more and another out= "
        "(it takes as many networks and seeds as an answer needs)"
    )


def _more_seeds(run: "Run", num_seeds: float) -> str:
    wider = replace(run.experiment, num_seeds=num_seeds)
    command = run.next("search", f"num_seeds={wider.num_seeds:g}")
    return _priced(run, command, wider.trials(run.networks), run.finished)


def _to_confirm(run: "Run", conclusion: Conclusion) -> str:
    needed = seeds_needed(run, conclusion)
    num_seeds = USUAL_SEEDS if needed is None else min(needed, USUAL_SEEDS)
    options = [] if num_seeds == needed else [f"confirm.num_seeds={num_seeds}"]
    arms = sorted(set(arms_of(run, conclusion)[0].values()))
    networks = {one.number: one for one in run.networks}
    trials = [
        run.experiment.trial(networks[arm], seed) for arm in arms for seed in range(num_seeds)
    ]
    return _priced(run, run.next("confirm", *options), trials, run.finished, are_new=True)


def _priced(
    run: "Run",
    command: str,
    trials: Sequence[Trial],
    finished: Sequence[TrialResult],
    *,
    are_new: bool = False,
) -> str:
    """A command with the number of its trainings and their time."""
    slots, share = run.executor.slots, run.executor.device_share
    where = ""
    if not slots:  # the devices are unknown before they are needed
        where, share = " on one device", finished[-1].device_share if finished else 1.0
        slots = max(1, round(1 / share))
    cost = price(
        trials,
        finished,
        known=() if are_new else finished,
        slots=slots,
        device_share=share,
    )
    said = count(cost.num_trainings, "training")
    if math.isfinite(cost.seconds):
        said = f"{said}, about {duration(cost.seconds)}{where}"
    return f"{command}  ({said})"
