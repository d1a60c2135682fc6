"""The way from data to an answer: plan, search, confirm, scale and report, one after another."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from omegaconf import OmegaConf
from rich.text import Text

from scaling_search.commands.confirm import confirm as train_confirm
from scaling_search.commands.data_sheet import described, show_data
from scaling_search.commands.fresh_seeds import arms_of, seeds_needed
from scaling_search.commands.headline import USUAL_SEEDS, say_headline
from scaling_search.commands.plan import plan
from scaling_search.commands.recipe_check import others_of
from scaling_search.commands.run import Run
from scaling_search.commands.saved_options import config_of, with_options
from scaling_search.commands.scale import compound_shares, family_members, member_trials
from scaling_search.commands.scale import scale as train_scale
from scaling_search.commands.search import search, with_recorded_rate
from scaling_search.commands.sizing import SEARCH_PART, Sizing, fitting_size, seconds_of
from scaling_search.display.formatting import percent
from scaling_search.display.progress import duration
from scaling_search.display.terminal import say, tell
from scaling_search.experiment.composing import saved
from scaling_search.experiment.options import Confirm, Report, Scale, Stages
from scaling_search.follow_ups.confirmation import Confirmation
from scaling_search.training.timing import Timing

LATEST = 0.9
"""Part of the hours after which the search starts no training."""

WORTHWHILE = 0.1
"""Part of the hours that must be left of the search's for more seeds."""

REPORT_SECONDS = 20.0
"""Left for the report."""

MOST_FRESH_SEEDS = 30
"""Most fresh seeds of each network that spare time is used for."""


def run_stages(
    run: Run,
    options: Stages = Stages(),
    *,
    hours: float | None = None,
    config: str | None = None,
    scale: Scale = Scale(),
    confirm: Confirm = Confirm(),
    report: Report = Report(),
    timed: bool = True,
    price_only: bool = False,
) -> Run:
    """Goes from the data to an answer; the same call goes on where it stopped.

    Args:
        run: Folder, experiment and executor.
        options: The stages.
        hours: Time of all stages, earlier calls counted: the search takes as many networks and
            seeds as fit, and the stages after it what is left. None for the experiment's own sizes.
        config: Text of the folder's ``config.yaml``; None for what the run is made of.
        scale: Families of larger networks; with hours its sizes and seeds are at most these.
        confirm: Fresh seeds; with hours as many as fit, unless a number is given.
        report: Contents of the report.
        timed: True to time a few steps while nothing has been trained.
        price_only: True to say what would be done, and train nothing.

    Returns:
        The run, with the size that was taken.

    Raises:
        ValueError: A choice does not fit, or an answer does not fit into the hours.
        RuntimeError: The data or the folder cannot be used, or all trainings failed.
    """
    _check_hours(run, hours)
    clock = _Clock.of(run, hours)
    run, config = with_recorded_rate(run, config or config_of(run))
    dataset = run.experiment.ready_dataset()
    show_data(run.experiment, described(run.experiment, dataset), run.console)
    timings: Sequence[Timing] = ()
    if hours is not None:
        run, config, timings = _with_size(run, config, clock)
    if "plan" in options.stages or price_only:
        _say_stage(run, "plan")
        plan(run, timed=timed, timings=timings, shows_data=False)
    if price_only:
        return run
    if "search" in options.stages:
        _say_stage(run, "search")
        run = _search(run, config, clock)
    if "confirm" in options.stages:
        _confirm(run, confirm, clock)
    if "scale" in options.stages:
        _scale(run, scale, clock)
    if "report" not in options.stages:
        say_headline(run)
        return run
    _say_stage(run, "report")
    run.report(most=report.most, published=report.published, to=report.to)
    return run


@dataclass(frozen=True)
class _Clock:
    """The time that is left.

    Attributes:
        hours: Time of all stages; None for no limit.
        since: Start of the command, by `time.monotonic`, less the time of earlier ones.
    """

    hours: float | None
    since: float

    @classmethod
    def of(cls, run: Run, hours: float | None) -> "_Clock":
        """A clock that began when the folder's first training did, pauses left out."""
        return cls(hours, time.monotonic() - _spent_before(run))

    def left(self, part: float = 1.0) -> float:
        """Seconds until a part of the hours is over; infinite without hours."""
        if self.hours is None:
            return math.inf
        return 3600 * self.hours * part - (time.monotonic() - self.since)


def _check_hours(run: Run, hours: float | None) -> None:
    """Checks that hours are given only where steps can be timed.

    Raises:
        ValueError: The training is the user's own.
    """
    if hours is not None and run.experiment.training is not None:
        raise ValueError(
            f"hours must be null with training={run.experiment.training}, whose steps cannot "
            f"be timed, got {hours:g}; give candidates.max_networks, num_seeds and limits.hours"
        )


def _spent_before(run: Run) -> float:
    """Seconds that earlier commands have trained in this folder, with as many at a time as now."""
    if not run.studies.is_begun:
        return 0.0
    run.check_executor()
    beyond = [run.studies.beyond(command) for command in ("scale", "confirm")]
    records = [run.record, *(record for record in beyond if record is not None)]
    rows = [row for record in records for row in record.rows()] + others_of(run)
    shared = [(float(str(row["total_seconds"] or 0)), row["device_share"]) for row in rows]
    executor = run.executor
    num_devices = max(1.0, executor.slots * executor.device_share)
    return sum(seconds * float(str(share)) for seconds, share in shared) / num_devices


def _say_stage(run: Run, stage: str) -> None:
    run.console.print()
    run.console.print(Text(f"{stage.capitalize()}", style="bold"))


def _with_size(run: Run, config: str, clock: _Clock) -> tuple[Run, str, list[Timing]]:
    """The run and its options with the size that fits into the hours, and the timed steps.

    A search that has begun keeps its networks.
    """
    assert clock.hours is not None
    if not run.studies.is_begun:
        options, timings = fitting_size(run, clock.hours)
        return *with_options(run, config, options), timings
    held = OmegaConf.create(run.record.options[-1]) if run.record.options else saved(run.folder)
    kept = {"num_seeds": held.num_seeds}
    if hasattr(run.experiment.candidates, "max_networks"):
        kept["candidates.max_networks"] = held.candidates.max_networks
    return *with_options(run, config, kept), []


def _search(run: Run, config: str, clock: _Clock) -> Run:
    """The run after its search, with more seeds where time is left."""
    limits = run.limits
    while True:
        hours = [] if limits.hours is None else [limits.hours]
        if clock.hours is not None:
            hours.append(max(10.0, clock.left(LATEST)) / 3600)
        least = round(min(hours), 3) if hours else None
        bounded = replace(limits, hours=least)
        run = search(replace(run, limits=bounded), config=config, shows_data=False)
        run = replace(run, limits=limits)
        num_done, num_planned = len(run.finished), len(run.experiment.trials(run.networks))
        if num_done < num_planned:
            over, wider = "", ""
            if clock.hours is not None:
                wider = ", with more hours"
                if clock.left(LATEST) <= 0:
                    over = f"{percent(LATEST)} of hours={clock.hours:g} are over, and "
            said = f"{over}the search has {num_done} of {num_planned} trainings"
            say(run.console, [f"{said[0].upper()}{said[1:]}; the same command goes on{wider}."])
            return run
        more = _seeds_in_time_left(run, clock)
        if more is None:
            return run
        left = duration(clock.left(SEARCH_PART))
        say(run.console, [f"{left} of the search's time are left and take num_seeds={more:g}."])
        settled = run.experiment.recipe.rate
        run, config = with_options(
            run, config, {"num_seeds": more, "recipe.learning_rate": settled}
        )


def _seeds_in_time_left(run: Run, clock: _Clock) -> float | None:
    """The number of seeds for which the search's time is left; None where it is used up."""
    if clock.hours is None or clock.left(SEARCH_PART) < WORTHWHILE * 3600 * clock.hours:
        return None
    answer, region = run.answer, run.limits.region
    if region is not None and answer is not None and answer.region.area <= region:
        return None
    networks = run.networks
    more = Sizing(run, networks).seeds_within(len(networks) - 1, clock.left(SEARCH_PART))
    return more if more is not None and more > run.experiment.num_seeds else None


def _confirm(run: Run, options: Confirm, clock: _Clock) -> None:
    """Confirms the answer, with as many fresh seeds as fit, unless that is done."""
    fresh, conclusion = run.studies.beyond("confirm"), run.conclusion
    tested = None if fresh is None else Confirmation.last(fresh)
    _say_stage(run, "confirm")
    if conclusion.answer is None:
        say(run.console, ["There is no answer yet to confirm."])
        return
    if tested is not None:
        number, now = tested.look.arms["found"], conclusion.answer.network
        said = f"Network {number} was trained again and tested on {tested.look.when[:10]}"
        is_other = f"; now network {now} is expected to be better" if now != number else ""
        say(run.console, [f"{said}{is_other}."])
        return
    num_seeds = options.num_seeds
    if num_seeds is None and (fresh is None or not fresh.final_tests):
        num_seeds = _fresh_seeds(run, clock)
    if num_seeds == 0:
        say(run.console, [f"No time is left to confirm; later: {run.next('confirm')}"])
        return
    train_confirm(run, replace(options, num_seeds=num_seeds))


def _fresh_seeds(run: Run, clock: _Clock) -> int:
    """The number of fresh seeds; with hours those that fit into half of the rest, or 0."""
    conclusion = run.conclusion
    needed = seeds_needed(run, conclusion)
    if clock.hours is None:
        return USUAL_SEEDS if needed is None else min(needed, USUAL_SEEDS)
    arms = set(arms_of(run, conclusion)[0].values())
    each = [run.experiment.trial(one, 0) for one in run.networks if one.number in arms]

    def seconds(number: int) -> float:
        trials = [replace(one, seed=s, on_test=True) for one in each for s in range(number)]
        return seconds_of(run, trials, are_new=True)

    fitting = [n for n in range(2, MOST_FRESH_SEEDS + 1) if seconds(n) <= clock.left() / 2]
    return max(fitting, default=0)


def _scale(run: Run, options: Scale, clock: _Clock) -> None:
    """Trains families, with hours of as many sizes and seeds as fit."""
    _say_stage(run, "scale")
    if run.answer is None:
        say(run.console, ["There is no answer yet to scale by."])
        return
    if clock.hours is not None:
        fitting = _fitting_families(run, options, clock)
        if fitting is None:
            said = f"No time is left for larger networks; later: {run.next('scale')}"
            tell(run.console, said)
            return
        options = fitting
    train_scale(run, options)


def _fitting_families(run: Run, options: Scale, clock: _Clock) -> Scale | None:
    """The most sizes and seeds that fit into what is left; None if not even one size does."""
    begun = {int(str(row["phi"])) for row in run.networks_of("scale")}
    phis = sorted(begun | set(options.phis))
    least = max(begun, default=0)
    compound, _ = compound_shares(run, options)
    found = family_members(run, replace(options, phis=tuple(phis)), compound)
    most = options.num_seeds or run.experiment.most_seeds
    fitting = {}
    for last in [phi for phi in phis if phi >= max(1, least)]:
        smaller = [member for member in found if member.phi <= last]
        for num_seeds in sorted({1, most}):
            seconds = seconds_of(run, member_trials(run, smaller, num_seeds))
            if seconds <= max(0.0, clock.left() - REPORT_SECONDS):
                sizes = tuple(phi for phi in phis if phi <= last)
                fitting[seconds] = replace(options, phis=sizes, num_seeds=num_seeds)
    return fitting[max(fitting)] if fitting else None
