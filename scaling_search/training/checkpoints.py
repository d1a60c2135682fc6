"""Checkpoints of long trainings."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

from scaling_search.core.trial import Epoch, Trial
from scaling_search.runtime.files import replace_file
from scaling_search.training import tensor_files
from scaling_search.training.optimizer import kind
from scaling_search.training.steps import Steps

log = logging.getLogger(__name__)

TOLD_SECONDS = 0.5
"""Least time between two writes of the number of epochs."""

LAYOUT = 3
"""Version of the names of tensors in a checkpoint; an older one is not used."""


class Progress:
    """The progress of a training. A checkpoint holds it and the state of its steps, no code.

    Attributes:
        curve: Epochs that have ended.
        seconds_before: Wall time of earlier attempts until their checkpoint.
    """

    def __init__(self, trial: Trial, steps: Steps, where: str) -> None:
        """Begins at the first step; ``where`` names versions, device and what else decides bits."""
        self.curve: list[Epoch] = []
        self.seconds_before = 0.0
        self._trial, self._steps, self._where = trial, steps, where
        self._train_seconds = 0.0
        self._since: float | None = None
        self._began = time.perf_counter()
        self._minutes = trial.recipe.checkpoint_minutes or math.inf
        self._due = self._began + 60 * self._minutes
        self._told = -math.inf

    @property
    def train_seconds(self) -> float:
        """Wall time of the steps so far, also of earlier attempts that it continues."""
        now = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._train_seconds + now

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Counts the time while it is entered as training."""
        self._since = time.perf_counter()
        yield
        self._train_seconds, self._since = self.train_seconds, None

    def after_step(self) -> None:
        """Tells the number of epochs and writes a checkpoint, each if it is due."""
        self._tell_if_due()
        self.keep_if_due()

    def _tell_if_due(self) -> None:
        path, now = self._trial.told, time.perf_counter()
        if path is None or now - self._told < TOLD_SECONDS:
            return
        self._told = now
        # The view may have ended, or run on another machine; the training goes on.
        with contextlib.suppress(OSError):
            path.write_text(f"{self._steps.taken / self._steps.per_epoch:.4f}", encoding="ascii")

    def keep_if_due(self) -> None:
        """Writes a checkpoint if the last is too old; a failure is only logged."""
        path = self._trial.checkpoint
        if path is None or time.perf_counter() < self._due:
            return
        facts = {
            "identity": self._identity(),
            "taken": self._steps.taken,
            "curve": [asdict(epoch) for epoch in self.curve],
            "train_seconds": self.train_seconds,
            "seconds": self.seconds_before + time.perf_counter() - self._began,
        }
        try:
            replace_file(path, tensor_files.content_of(self._steps.state(), facts))
        except RuntimeError as error:
            log.warning("no checkpoint: %s", error)
        self._due = time.perf_counter() + 60 * self._minutes

    def restore(self) -> None:
        """Restores the checkpoint of this very training, if there is one."""
        path = self._trial.checkpoint
        if path is None or not path.is_file():
            return
        try:
            facts, state = tensor_files.read(path)
            if facts["identity"] != self._identity():
                log.info("%s is of a training under other conditions", path.name)
                return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read, the training starts again: %s", path.name, error)
            return
        self._steps.restore(state, facts["taken"])
        self.curve = [Epoch(**epoch) for epoch in facts["curve"]]
        self._train_seconds, self.seconds_before = facts["train_seconds"], facts["seconds"]

    def _identity(self) -> str:
        trial = self._trial
        recipe = replace(trial.recipe, checkpoint_minutes=None)
        assert trial.dataset is not None
        data = trial.fingerprint or trial.dataset.fingerprint()
        how = f"{kind(self._steps.optimizer)} {recipe}"
        return f"{LAYOUT} {trial.key} {how} {data} {self._where}"
