"""The live view of a search: how far it is, what is best, how long it takes yet."""

import math
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, track
from rich.table import Table
from rich.text import Text

from scaling_search.core.candidate import Candidate
from scaling_search.core.trial import Key, Trial, TrialResult
from scaling_search.record.record import Objective
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


class View:
    """A live view on a terminal, a plain line for each training elsewhere.

    Attributes:
        console: Output.
        objective: Which metric the best is chosen by.
        slots: Trainings that may be in flight now.
    """

    def __init__(self, console: Console, objective: Objective) -> None:
        self.console = console
        self.objective = objective
        self._live: Live | None = None
        self._running: dict[Key, tuple[Trial, float]] = {}
        self.slots = 1
        self._has_lengths = self._has_rates = False
        self._num_trials = self._num_finished = self._num_failed = 0
        self._best: TrialResult | None = None
        # Sums instead of lists, so that a line takes as long for the last training as for the
        # first: work that is left, and work and seconds of what has ended, before and now.
        self._work_left = 0.0
        self._before, self._now = _Pace(), _Pace()

    def __enter__(self) -> Self:
        """Starts drawing, on a terminal."""
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self.console, refresh_per_second=4
            )
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Leaves the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def begin(self, trials: Sequence[Trial], finished: Iterable[TrialResult], slots: int) -> None:
        """Takes the trainings of the search and those that are finished."""
        self.slots, self._num_trials = slots, len(trials)
        self._has_lengths = len({trial.recipe.epochs for trial in trials}) > 1
        self._has_rates = len({trial.recipe.rate for trial in trials}) > 1
        self._work_left = sum(map(work, trials))
        for result in finished:
            self._count(result, self._before)

    def started(self, trial: Trial) -> None:
        """A training was handed out."""
        self._running[trial.key] = (trial, time.monotonic())

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

    def _count(self, result: TrialResult, pace: "_Pace") -> None:
        self._num_finished += 1
        self._num_failed += result.state == "FAIL"
        self._work_left -= work(result.trial)
        if result.state == "COMPLETE" and math.isfinite(result.total_seconds):
            pace.work += work(result.trial)
            pace.seconds += result.total_seconds
        if result.state == "COMPLETE" and result.trial.candidate.number != 0:
            best = self._best
            if best is None or self._value(result) < self._value(best):
                self._best = result

    def _value(self, result: TrialResult) -> float:
        """The last epoch's objective, smaller is better."""
        value = float(getattr(result.curve[-1], self.objective))
        return value if self.objective == "val_loss" else -value

    def left(self) -> float:
        """Seconds until all is done, from the speed of this command's trainings; NaN unknown."""
        pace = self._now if self._now.work else self._before
        if not pace.work:
            return math.nan
        rate, now = pace.seconds / pace.work, time.monotonic()
        done = sum(min(now - since, rate * work(trial)) for trial, since in self._running.values())
        return max(0.0, rate * self._work_left - done) / max(1, self.slots)

    def _line(self, result: TrialResult) -> str:
        trial = result.trial
        if result.state == "COMPLETE":
            last = result.curve[-1]
            how = (
                f"accuracy {last.val_accuracy:.4f}  loss {last.val_loss:.4f}  "
                f"{result.total_seconds:.0f} s"
            )
        else:
            how = f"failed: {result.reason}"
        return (
            f"{self._num_finished}/{self._num_trials}  {self._named(trial)}  {how}  "
            f"left {duration(self.left())}"
        )

    def _named(self, trial: Trial) -> str:
        """A training in a few words: of its recipe, what is not the same for all."""
        said = [describe(trial.candidate), f"seed {trial.seed}"]
        if self._has_lengths:
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
        table.add_row("best", self._best_line())
        now = time.monotonic()
        for trial, since in self._running.values():
            table.add_row("running", f"{self._named(trial)}  {duration(now - since)}")
        return table

    def _best_line(self) -> str:
        if self._best is None:
            return "none yet"
        last = self._best.curve[-1]
        return (
            f"{describe(self._best.trial.candidate)}  accuracy {last.val_accuracy:.4f}  "
            f"loss {last.val_loss:.4f}  [dim](one training)[/]"
        )


@dataclass
class _Pace:
    """Work that was done, in multiply-adds of one image times epochs, and its seconds."""

    work: float = 0.0
    seconds: float = 0.0


def describe(candidate: Candidate) -> str:
    """A candidate in a few words."""
    if candidate.number == 0:
        return "base network"
    c = candidate.coefficients
    return f"alpha {c.alpha:.3f} beta {c.beta:.3f} gamma {c.gamma:.3f}"


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
