"""The size of a search that fits into some hours: its places and its seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scaling_search.answer.detectable import FEWEST_PLACES, USUAL_SCATTER, detectable
from scaling_search.commands.plan import make_plan
from scaling_search.commands.prices import asking_trials, timed_steps
from scaling_search.commands.run import Run
from scaling_search.core.candidate import Candidate
from scaling_search.core.scaling import Shares
from scaling_search.core.space_filling import places
from scaling_search.core.trial import Trial
from scaling_search.display.plan import SEED_SD_MEANT, in_seed_sds
from scaling_search.display.progress import duration
from scaling_search.display.tables import show_table
from scaling_search.display.terminal import say
from scaling_search.training.price import price
from scaling_search.training.timing import Timing

SEARCH_PART = 0.75
"""Part of the hours that the search takes; the rest confirms, trains families and reports."""

FEWEST_SEEDS = 1.25
"""Second seeds of a quarter of the networks show the luck of a seed."""

MOST_SEEDS = 10.0
"""Seeds beyond which more places or longer trainings tell more."""

STEP = 0.25
"""Between two numbers of seeds."""

FEWER = 0.7
"""Networks of the next smaller choice over those of the last."""


@dataclass(frozen=True)
class Size:
    """A size of a search.

    Attributes:
        num_networks: Networks beside the base network.
        num_places: Their places in the triangle of shares.
        num_seeds: As `Experiment.num_seeds`.
        num_trainings: All, those of the check of the recipe too.
        seconds: Their time.
        smallest: Difference between any two reference splits that is found with probability 0.8,
            over the standard deviation of a seed.
    """

    num_networks: int
    num_places: int
    num_seeds: float
    num_trainings: int
    seconds: float
    smallest: float


@dataclass(frozen=True)
class Sizing:
    """Sizes that fit into hours, from timed steps.

    Attributes:
        run: Its experiment is sized.
        networks: The base network, then all of the largest plan; the first of them are those of a
            smaller one, nearly.
        timings: Timed steps of some networks; unused once trainings have ended.
    """

    run: Run
    networks: Sequence[Candidate]
    timings: Sequence[Timing] = ()

    def fitting(self, hours: float, *, can_shrink: bool) -> Size | None:
        """The size that finds the smallest difference within `SEARCH_PART` of the hours.

        Args:
            hours: Of the whole way to the answer.
            can_shrink: False if all networks of the plan are trained in any case.

        Returns:
            None if not even the fewest places with second seeds fit.
        """
        seconds = 3600 * hours * SEARCH_PART
        fitting = [
            (number, num_seeds)
            for number in self._numbers(can_shrink=can_shrink)
            if (num_seeds := self.seeds_within(number, seconds)) is not None
        ]
        sizes = [self._size(number, num_seeds) for number, num_seeds in fitting[:2]]
        return min(sizes, key=lambda size: size.smallest, default=None)

    def seeds_within(self, num_networks: int, seconds: float) -> float | None:
        """The most seeds of so many networks within a time; None if the fewest take longer."""
        if self._seconds(num_networks, FEWEST_SEEDS) > seconds:
            return None
        low, high = 0, int((MOST_SEEDS - FEWEST_SEEDS) / STEP)
        while low < high:
            middle = (low + high + 1) // 2
            if self._seconds(num_networks, FEWEST_SEEDS + middle * STEP) <= seconds:
                low = middle
            else:
                high = middle - 1
        return FEWEST_SEEDS + low * STEP

    def least_hours(self, *, can_shrink: bool) -> float:
        """Hours into which the smallest search with an answer fits."""
        numbers = list(self._numbers(can_shrink=can_shrink))
        return self._seconds(numbers[-1], FEWEST_SEEDS) / SEARCH_PART / 3600

    def _numbers(self, *, can_shrink: bool) -> Iterator[int]:
        """Numbers of networks to choose from, descending, none of fewer places than an answer."""
        number = len(self.networks) - 1
        yield number
        while can_shrink and number > FEWEST_PLACES:
            number = max(FEWEST_PLACES, int(FEWER * number))
            if self._places(number) < FEWEST_PLACES:
                return
            yield number

    def _shares(self, number: int) -> list[Shares]:
        return [one.shares for one in self.networks[1 : number + 1] if one.shares]

    def _places(self, number: int) -> int:
        return len(set(places(self._shares(number)).tolist()))

    def _trials(self, number: int, num_seeds: float) -> list[Trial]:
        experiment = replace(self.run.experiment, num_seeds=num_seeds)
        first = self.networks[: number + 1]
        return [*experiment.trials(first), *asking_trials(self.run, first)]

    def _seconds(self, number: int, num_seeds: float) -> float:
        return seconds_of(self.run, self._trials(number, num_seeds), self.timings)

    def _size(self, number: int, num_seeds: float) -> Size:
        shares = self._shares(number)
        counts = replace(self.run.experiment, num_seeds=num_seeds).seed_counts(len(shares))
        found = detectable(shares, counts, seed_sd=1.0, network_sd=USUAL_SCATTER)
        return Size(
            num_networks=number,
            num_places=self._places(number),
            num_seeds=num_seeds,
            num_trainings=len(self._trials(number, num_seeds)),
            seconds=self._seconds(number, num_seeds),
            smallest=found[-1].difference if found else float("inf"),
        )


def seconds_of(
    run: Run, trials: Sequence[Trial], timings: Sequence[Timing] = (), *, are_new: bool = False
) -> float:
    """Wall time of the trainings of them that are not done, in seconds.

    Args:
        run: A search.
        trials: Trainings.
        timings: Timed steps, for a search that has not begun.
        are_new: True for trainings with seeds that were not used yet.
    """
    finished = run.finished if run.studies.is_begun else []
    scaled = run.studies.beyond("scale") if finished else None
    known = run.known(trials) if finished and not are_new else []
    if scaled is not None and not are_new:
        known += scaled.results_of(trials).values()
    cost = price(
        trials,
        finished,
        known=known,
        slots=max(1, run.executor.slots),
        device_share=run.executor.device_share,
        timings=timings,
    )
    return cost.seconds


def fitting_size(run: Run, hours: float) -> tuple[dict[str, float | None], list[Timing]]:
    """The options that make a search fit into hours, and the timed steps; prints the choice.

    Args:
        run: A search that has not begun.
        hours: Of the whole way to the answer.

    Returns:
        Values by key of the experiment; the timings.

    Raises:
        ValueError: An answer does not fit.
        RuntimeError: A network cannot be trained.
    """
    can_shrink = hasattr(run.experiment.candidates, "max_networks")
    if can_shrink:
        candidates: Any = run.experiment.candidates
        every = replace(candidates, max_networks=None)
        run = replace(run, experiment=replace(run.experiment, candidates=every))
    _, planned = make_plan(run, {})
    if planned.num_places < FEWEST_PLACES:
        raise ValueError(
            f"candidates must have networks in {FEWEST_PLACES} places or more for an answer, got "
            f"{planned.num_places}, which no hours change; widen candidates.tolerance, use smaller "
            "divisors in base_network, or leave out hours"
        )
    timings = timed_steps(run, run.experiment.trials(planned), are_needed=True)
    sizing = Sizing(run, list(planned), timings)
    with run.console.status("choosing how many networks and seeds"):
        sizes = {
            part * hours: sizing.fitting(part * hours, can_shrink=can_shrink)
            for part in (0.5, 1.0, 2.0)
        }
    if (size := sizes[hours]) is None:
        least = math.ceil(100 * sizing.least_hours(can_shrink=can_shrink)) / 100
        raise ValueError(
            f"hours must be at least {least:g} here for {FEWEST_PLACES} places and second seeds, "
            f"got {hours:g}; add hours={least:g}, or fewer recipe.epochs, or recipe.check=false"
        )
    show_table(run.console, _lines(run, sizes, taken=hours))
    say(run.console, _about(run, size))
    options: dict[str, float | None] = {"num_seeds": size.num_seeds}
    if can_shrink:
        is_all = size.num_networks == len(planned.candidates)
        options["candidates.max_networks"] = None if is_all else size.num_networks
    return options, timings


def _lines(run: Run, sizes: Mapping[float, Size | None], *, taken: float) -> list[list[str]]:
    """A line for each number of hours: the search that fits, and what it would find."""
    titles = ("networks", "seeds", "trainings", "search takes", "would find", "")
    lines = [["hours", *titles]]
    for hours, size in sizes.items():
        if size is None:
            lines.append([f"{hours:g}", *["–"] * 5, "too little for an answer"])
            continue
        line = [f"{hours:g}", str(size.num_networks), f"{size.num_seeds:g}"]
        found = in_seed_sds(size.smallest, run.experiment.decide.seed_sd, run.experiment.metric)
        line += [str(size.num_trainings), duration(size.seconds), found]
        lines.append([*line, "taken" if hours == taken else ""])
    return lines


def _about(run: Run, size: Size) -> Iterator[str]:
    yield (
        "Would find: the smallest difference between two reference splits, depth alone and width "
        "alone for instance, that such a search shows in 80 of 100 cases."
    )
    if run.experiment.decide.seed_sd is None:
        yield SEED_SD_MEANT
    yield (
        f"The search takes {SEARCH_PART:.0%} of the hours: {size.num_networks} networks in "
        f"{size.num_places} places of the triangle of shares. What is left confirms the answer "
        "and trains larger networks."
    )
