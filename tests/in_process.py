"""Commands and their trainings in this process: what they print, and what can go wrong."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Self

from rich.console import Console

from scaling_search.commands.run import Run
from scaling_search.core.protocols import Argument, Value
from scaling_search.core.trial import Trial, TrialResult
from scaling_search.training.engine import train_trial


def printed(command: Callable[..., object], run: Run, *options: Any, **more: Any) -> str:
    """The output of a command, 100 characters wide."""
    out = io.StringIO()
    command(replace(run, console=Console(file=out, width=100)), *options, **more)
    return out.getvalue()


class InProcess:
    """What executors in tests have in common beside `submit`: all is done at once."""

    retries: int = 0
    slots: int = 1
    device_share: float = 1.0

    def check(self) -> None:
        """Needs nothing."""

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Settles nothing."""

    def call(self, function: Callable[[Argument, str], Value], argument: Argument) -> Future[Value]:
        """The finished future."""
        future: Future[Value] = Future()
        future.set_result(function(argument, "cpu"))
        return future

    def __enter__(self) -> Self:
        """Starts nothing."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends nothing."""


TRAINED: dict[Trial, TrialResult] = {}
"""Results of the trainings of this process; the same training gives the same bits again."""


def trained(trial: Trial) -> TrialResult:
    """The result of a training, which is done once unless it failed or leaves files."""
    if trial.weights is not None or trial.checkpoint is not None:
        return train_trial(trial, "cpu")
    if trial not in TRAINED or TRAINED[trial].state == "FAIL":
        TRAINED[trial] = train_trial(trial, "cpu")
    return TRAINED[trial]


@dataclass
class Executing(InProcess):
    """Trains in this process what no test before has trained, with what can go wrong.

    Attributes:
        interrupt_at: At this submission, counted from 1, somebody presses Ctrl-C.
        lost: Seeds and networks of trainings whose worker is lost.
        submitted: All trainings, in order.
    """

    interrupt_at: int = 0
    lost: tuple[tuple[int, int], ...] = ()
    submitted: list[Trial] = field(default_factory=list)

    def submit(self, trial: Trial) -> Future[TrialResult]:
        """The finished future."""
        if len(self.submitted) + 1 == self.interrupt_at:
            raise KeyboardInterrupt
        self.submitted.append(trial)
        future: Future[TrialResult] = Future()
        if trial.order in self.lost:
            future.set_exception(RuntimeError("killed by signal 9"))
        else:
            future.set_result(trained(trial))
        return future
