"""The live view of a search: how far it is, what is best, how long it takes yet."""

import itertools
import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, track
from rich.table import Table
from rich.text import Text

from scaling_search.core.candidate import Candidate
from scaling_search.core.metric import VAL_ACCURACY, VAL_LOSS, Metric, shown
from scaling_search.core.trial import Key, Trial, TrialResult
from scaling_search.display.formatting import level, rounded
from scaling_search.runtime.progress import shown_by
from scaling_search.runtime.visible_text import visible
from scaling_search.training.price import work


def bars(console: Console) -> AbstractContextManager[None]:
    """Progress bars on a terminal for the long loops that begin while it is entered."""
    return shown_by(
        lambda items, description, total: (
            track(items, description, total, console=console, transient=True)
            if console.is_terminal
            else items
        )
    )


EVIDENCE_SECONDS = 3.0
"""Least time of a training from which the time left is worked out."""


class View:
    """A live view on a terminal, a plain line for each training elsewhere.

    Attributes:
        console: Output.
        objective: Which metric the best is chosen by.
        names: Names of networks by number, where they are not those of a search.
        slots: Trainings that may be in flight now.
    """

    def __init__(
        self, console: Console, objective: Metric, names: Mapping[str, str] | None = None
    ) -> None:
        self.console = console
        self.objective = objective
        self.names = names or {}
        self._live: Live | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._numbers = itertools.count()
        self._running: dict[Key, _Running] = {}
        self.slots = 1
        self._has_lengths = self._has_rates = False
        self._num_trials = self._num_finished = self._num_failed = 0
        self._best: TrialResult | None = None
        self._base: list[TrialResult] = []
        # Sums instead of lists, so that a line takes as long for the last training as for the
        # first: work that is left, and work and seconds of what has ended, before and now.
        self._work_left = 0.0
        self._before, self._now = _Pace(), _Pace()

    def __enter__(self) -> Self:
        """Starts drawing, on a terminal."""
        if self.console.is_terminal:
            with suppress(OSError):  # without it no epochs are shown
                self._folder = tempfile.TemporaryDirectory(
                    prefix="scaling-search-", ignore_cleanup_errors=True
                )
            self._live = Live(
                get_renderable=self._table, console=self.console, refresh_per_second=4
            )
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Leaves the last state on the screen."""
        if self._live is not None:
            self._live.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def begin(self, trials: Sequence[Trial], finished: Iterable[TrialResult], slots: int) -> None:
        """Takes the trainings of the search and those that are finished."""
        self.slots, self._num_trials = slots, len(trials)
        self._has_lengths = len({trial.recipe.epochs for trial in trials}) > 1
        self._has_rates = len({trial.recipe.rate for trial in trials}) > 1
        self._work_left = sum(map(work, trials))
        for result in finished:
            self._count(result, self._before)

    def started(self, trial: Trial) -> Path | None:
        """A training was handed out; returns the file that it shall write its epochs to."""
        file = None
        if self._folder is not None:
            file = Path(self._folder.name) / f"{next(self._numbers)}.epochs"
        self._running[trial.key] = _Running(trial, time.monotonic(), file)
        return file

    def ended(self, result: TrialResult) -> None:
        """A training ended."""
        self._running.pop(result.trial.key, None)
        self._count(result, self._now)
        if self._live is None:
            self.note(self._line(result))

    def again(self, result: TrialResult) -> None:
        """A training failed and will be tried again."""
        self._running.pop(result.trial.key, None)
        self.note(f"{self._named(result.trial)}  failed and is tried again: {result.reason}")

    def note(self, line: str) -> None:
        """Says something besides."""
        self.console.print(Text(visible(line)), soft_wrap=True)

    def describe(self, candidate: Candidate) -> str:
        """A network in a few words: its name, and alpha, beta, gamma."""
        if candidate.number == 0:
            return "base network"
        c = candidate.coefficients
        name = self.names.get(candidate.network, f"network {candidate.number}")
        return f"{name} ({' '.join(map(rounded, (c.alpha, c.beta, c.gamma)))})"

    def _count(self, result: TrialResult, pace: "_Pace") -> None:
        self._num_finished += 1
        self._num_failed += result.state == "FAIL"
        self._work_left -= work(result.trial)
        if result.state == "COMPLETE" and math.isfinite(result.total_seconds):
            pace.work += work(result.trial)
            pace.seconds += result.total_seconds
        if result.state == "COMPLETE" and result.trial.candidate.number == 0:
            self._base.append(result)
        elif result.state == "COMPLETE":
            best = self._best
            if best is None or self._value(result) < self._value(best):
                self._best = result

    def _value(self, result: TrialResult) -> float:
        """The last epoch's objective, smaller is better."""
        return self.objective.sign * result.scores[self.objective.name]

    def left(self) -> float:
        """Seconds until all is done, from the speed of this command's trainings; NaN unknown."""
        now = time.monotonic()
        for one in list(self._running.values()):
            one.look(now)
        rate = self._rate()
        if math.isnan(rate):
            return rate
        done = sum(one.done(rate) for one in list(self._running.values()))
        return max(0.0, rate * (self._work_left - done)) / max(1, self.slots)

    def _rate(self) -> float:
        """Seconds of a unit of work, of trainings that ended, else of those that run."""
        for pace in (self._now, self._before):
            if pace.work:
                return pace.seconds / pace.work
        told = [one.pace for one in list(self._running.values())]
        done = sum(pace.work for pace in told)
        return sum(pace.seconds for pace in told) / done if done else math.nan

    def _line(self, result: TrialResult) -> str:
        trial = result.trial
        if result.state == "COMPLETE":
            how = f"{self._scores([result])}  {result.total_seconds:.0f} s"
        else:
            how = f"failed: {result.reason}"
        return (
            f"{self._num_finished}/{self._num_trials}  {self._named(trial)}  {how}  "
            f"left {duration(self.left())}"
        )

    def _named(self, trial: Trial, *, with_length: bool = True) -> str:
        """A training in a few words: of its recipe, what is not the same for all."""
        said = [self.describe(trial.candidate), f"seed {trial.seed}"]
        if self._has_lengths and with_length:
            said.append(f"{trial.recipe.epochs:g} epochs")
        if self._has_rates:
            said.append(f"rate {trial.recipe.rate:g}")
        return " ".join(said)

    def _table(self) -> Table:
        bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=40),
            TextColumn("[bold]{task.fields[left]}[/] left"),
            console=self.console,
        )
        bar.add_task(
            "", total=self._num_trials, completed=self._num_finished, left=duration(self.left())
        )
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", justify="right")
        table.add_column()
        table.add_row("trainings", bar)
        failed = f"[red]{self._num_failed} failed[/]" if self._num_failed else "0 failed"
        num_done = self._num_finished - self._num_failed
        table.add_row("", f"{num_done} done   {len(self._running)} running   {failed}")
        if self._base:
            table.add_row("base network", self._scores(self._base))
        if self._best is not None:
            name = self.describe(self._best.trial.candidate)
            scores = f"{name}  {self._scores([self._best])}"
            table.add_row("best training", scores)
        now = time.monotonic()
        for one in list(self._running.values()):
            name = self._named(one.trial, with_length=one.epochs is None)
            table.add_row("running", f"{name}  {one.where()}{duration(now - one.since)}")
        return table

    def _scores(self, results: Sequence[TrialResult]) -> str:
        """The mean of each metric: loss before accuracy, else the objective first."""
        every = [result.scores for result in results]
        scores = [
            {name: one[name] for name in one if all(name in s for s in every)} for one in every
        ]
        known: tuple[Metric, ...] = (VAL_LOSS, VAL_ACCURACY)
        if not all(metric.name in scores[0] for metric in known):
            known = shown(self.objective, scores[0])
        means = {one: sum(each[one.name] for each in scores) / len(scores) for one in known}
        return "  ".join(
            f"{one.noun} {level(mean, one, in_table=not one.is_percent)}"
            for one, mean in means.items()
        )


@dataclass
class _Pace:
    """Work that was done, in multiply-adds of one image times epochs, and its seconds."""

    work: float = 0.0
    seconds: float = 0.0


@dataclass
class _Running:
    """A training in flight, since when, and the file that it writes its epochs to.

    Attributes:
        epochs: Epochs that are done, as far as they are known.
        first: Time and epochs of the first look that found some.
    """

    trial: Trial
    since: float
    file: Path | None
    epochs: float | None = None
    first: tuple[float, float] | None = None
    seen: float = 0.0

    def look(self, now: float) -> None:
        """Reads the file, which may be missing or half written."""
        if self.file is None:
            return
        with suppress(OSError, ValueError):
            epochs = float(self.file.read_text(encoding="ascii"))
            if epochs != self.epochs:
                self.epochs, self.seen = epochs, now
            self.first = self.first or (now, epochs)

    @property
    def pace(self) -> _Pace:
        """Work since the first look and its seconds: a start, which is slow, does not count."""
        if self.epochs is None or self.first is None or self.trial.training is not None:
            return _Pace()
        since, before = self.first
        part = (self.epochs - before) / self.trial.recipe.epochs
        seconds = self.seen - since
        return _Pace(part * work(self.trial), seconds) if seconds >= EVIDENCE_SECONDS else _Pace()

    def done(self, rate: float) -> float:
        """Work that is done, by its epochs, else by its time at ``rate`` seconds for a unit."""
        whole = work(self.trial)
        if self.epochs is not None and self.trial.training is None:
            return whole * min(1.0, self.epochs / self.trial.recipe.epochs)
        return min(whole, (time.monotonic() - self.since) / rate) if rate > 0 else 0.0

    def where(self) -> str:
        """The epoch that it is in, as far as that is known."""
        if self.epochs is None:
            return ""
        if self.trial.training is not None:
            return f"epoch {self.epochs:g}  "
        total = math.ceil(self.trial.recipe.epochs)
        return f"epoch {min(total, int(self.epochs) + 1)}/{total}  "


def duration(seconds: float) -> str:
    """Seconds in words."""
    if not math.isfinite(seconds):
        return "unknown time"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
