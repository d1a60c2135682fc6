"""The live view of a search: how far it is, what is best, how long it takes yet."""

import math
import time
from collections.abc import Iterable, Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, track
from rich.table import Table

from scaling_search.candidates import Candidate
from scaling_search.study import Objective
from scaling_search.training import Key, Trial, TrialResult


class Tracked:
    """A bar over candidates that take a while; silent where there is no terminal."""

    def __init__(self, console: Console, what: str) -> None:
        self.console, self.what = console, what

    def __call__(self, candidates: Iterable[Candidate], total: int) -> Iterable[Candidate]:
        """The candidates, one after the other, and how far they are on the screen."""
        return track(
            candidates,
            description=self.what,
            total=total,
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )


class View:
    """A live view on a terminal, a plain line for each training elsewhere.

    Attributes:
        console: Where to.
        objective: Which metric the best is chosen by.
    """

    def __init__(self, console: Console, objective: Objective) -> None:
        self.console = console
        self.objective = objective
        self._live: Live | None = None
        self._trials: Sequence[Trial] = ()
        self._finished: dict[Key, TrialResult] = {}
        self._running: dict[Key, tuple[Trial, float]] = {}
        self._slots = 1
        self._fresh: list[TrialResult] = []

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
        """What there is to do and what was done before."""
        self._trials, self._slots = trials, max(1, slots)
        self._finished = {result.trial.key: result for result in finished}

    def started(self, trial: Trial) -> None:
        """A training was handed out."""
        self._running[trial.key] = (trial, time.monotonic())

    def ended(self, result: TrialResult) -> None:
        """A training ended."""
        self._running.pop(result.trial.key, None)
        self._finished[result.trial.key] = result
        self._fresh.append(result)
        if self._live is None:
            self.console.print(self._line(result), soft_wrap=True, highlight=False)

    def left(self) -> float:
        """Seconds until all is done, from the speed of this command's trainings; NaN unknown."""
        timed = [r for r in self._fresh if r.state == "COMPLETE"] or [
            r for r in self._finished.values() if math.isfinite(r.total_seconds)
        ]
        work = sum(r.trial.candidate.flops for r in timed)
        if not work:
            return math.nan
        pace = sum(r.total_seconds for r in timed) / work
        now = time.monotonic()
        total = 0.0
        for trial in self._trials:
            if trial.key in self._finished:
                continue
            expected = pace * trial.candidate.flops
            if trial.key in self._running:
                expected = max(0.0, expected - (now - self._running[trial.key][1]))
            total += expected
        return total / self._slots

    def _line(self, result: TrialResult) -> str:
        trial = result.trial
        what = f"{describe(trial.candidate)} seed {trial.seed}"
        if result.state == "COMPLETE":
            last = result.curve[-1]
            how = (
                f"accuracy {last.val_accuracy:.4f}  loss {last.val_loss:.4f}  "
                f"{result.total_seconds:.0f} s"
            )
        else:
            how = f"failed: {result.reason}"
        done = len(self._finished)
        return f"{done}/{len(self._trials)}  {what}  {how}  left {duration(self.left())}"

    def _table(self) -> Table:
        num_failed = sum(r.state == "FAIL" for r in self._finished.values())
        num_done = len(self._finished) - num_failed
        bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=40),
            TextColumn("[bold]{task.fields[left]}[/] left"),
            console=self.console,
        )
        bar.add_task(
            "", total=len(self._trials), completed=len(self._finished), left=duration(self.left())
        )
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", justify="right")
        table.add_column()
        table.add_row("trainings", bar)
        failed = f"[red]{num_failed} failed[/]" if num_failed else "0 failed"
        table.add_row("", f"{num_done} done   {len(self._running)} running   {failed}")
        table.add_row("best", self._best())
        now = time.monotonic()
        for trial, since in self._running.values():
            table.add_row(
                "running",
                f"{describe(trial.candidate)}  seed {trial.seed}  {duration(now - since)}",
            )
        return table

    def _best(self) -> str:
        ended = [
            r
            for r in self._finished.values()
            if r.state == "COMPLETE" and r.trial.candidate.number != 0
        ]
        if not ended:
            return "none yet"
        sign = 1 if self.objective == "val_loss" else -1
        best = min(ended, key=lambda r: sign * getattr(r.curve[-1], self.objective))
        last = best.curve[-1]
        return (
            f"{describe(best.trial.candidate)}  accuracy {last.val_accuracy:.4f}  "
            f"loss {last.val_loss:.4f}  [dim](one training)[/]"
        )


def describe(candidate: Candidate) -> str:
    """A candidate in a few words."""
    if candidate.number == 0:
        return "base network"
    c = candidate.coefficients
    return f"alpha {c.alpha:.3f} beta {c.beta:.3f} gamma {c.gamma:.3f}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if not math.isfinite(seconds):
        return "unknown time"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
